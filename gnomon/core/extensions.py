"""Load classes and functions from outside Gnomon: from a Python file that a recipe names or an installed package.

`path/to/file.py:Name` runs the file; only recipes, commands and calls name such files, never a model's folder. An
installed package provides names in an entry point group such as `gnomon.algorithms`, and is imported when one of
its names is used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from gnomon.core.config import did_you_mean
from gnomon.core.errors import ConfigError

T = TypeVar("T")
_SPEC = re.compile(r"(?P<file>.+\.py):(?P<name>[^:/\\]+)")


@dataclass(frozen=True)
class LoadedFile:
    """A file that was run for its classes.

    Attributes:
        module: module of the file.
        digest: digest of the file's content when it was run.
    """

    module: ModuleType
    digest: str


_loaded: dict[Path, LoadedFile] = {}  # by resolved path


def is_file_spec(spec: str) -> bool:
    """Return whether a name has the form `path/to/file.py:Name`."""
    return _SPEC.fullmatch(spec) is not None


def short_name(name: str) -> str:
    """Return the name after the colon of `path/to/file.py:Name`, and any other name unchanged."""
    return name.rpartition(":")[2] if is_file_spec(name) else name


def file_of(spec: str, noun: str, member: str = "Class") -> Path:
    """Return the file of `path/to/file.py:Name`.

    Args:
        spec: `path/to/file.py:Name`.
        noun: singular name of the extension type, used in error messages, such as `reward`.
        member: placeholder of the name, used in error messages.

    Raises:
        ConfigError: the file does not exist.
    """
    match = _SPEC.fullmatch(spec)
    assert match is not None
    path = Path(match["file"]).expanduser()
    if not path.is_file():
        raise ConfigError(f"{noun} '{spec}': there is no file {path}; give path/to/file.py:{member}.")
    return path


def run_file(path: Path, label: str) -> ModuleType:
    """Run a Python file as a module of its own.

    Its folder is first in `sys.path` meanwhile, as for `python file.py`.

    Args:
        path: path of the file.
        label: prefix of error messages.

    Raises:
        ConfigError: the file raises an exception.
    """
    module_name = f"gnomon_file_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # dataclasses and type hints of the file look it up there
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exits_as_errors(module_spec.loader.exec_module)(module)
    except Exception as error:  # a user's file may raise anything
        problem = f"{path} cannot be run ({describe_error(error)})"
        raise ConfigError(f"{label}: {problem}; fix the file.") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def member_of(module: ModuleType, spec: str, noun: str, member: str) -> Any:
    """Return a function or class of a file that was run.

    Args:
        module: module of the file.
        spec: `path/to/file.py:Name`.
        noun: singular name of the extension type, used in error messages, such as `reward`.
        member: `class` or `function`, used in error messages. Any callable is returned; the caller checks it.

    Raises:
        ConfigError: the file has nothing of that name that can be called.
    """
    name = spec.rpartition(":")[2]
    value = getattr(module, name, None)
    if not callable(value):
        own = [(n, v) for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        known = [n for n, v in own if inspect.isclass(v) or (inspect.isfunction(v) and member == "function")]
        path = file_of(spec, noun)
        raise ConfigError(f"{noun} '{spec}': {path} has no {member} '{name}'; {did_you_mean(name, known)}")
    return value


def load_class(spec: str, noun: str) -> Any:
    """Return the class of `path/to/file.py:Class`; its file is run once, until `forget_changed_files`.

    A function or another callable is returned too: a reward may be one, and the other extension types check that
    theirs is a class.

    Args:
        spec: `path/to/file.py:Class`.
        noun: singular name of the extension type, used in error messages, such as `algorithm`.

    Raises:
        ConfigError: the file does not exist or cannot be run, or it has no callable of that name.
    """
    return member_of(_loaded_file(spec, noun).module, spec, noun, "class")


def _loaded_file(spec: str, noun: str) -> LoadedFile:
    path = file_of(spec, noun)
    key = path.resolve()
    if key not in _loaded:
        digest = _digest(path)
        _loaded[key] = LoadedFile(run_file(path, f"{noun} '{spec}'"), digest)
    return _loaded[key]


def forget_changed_files() -> None:
    """Drop cached modules whose file has changed or is gone; the next `load_class` runs the file again."""
    for path, loaded in list(_loaded.items()):
        if not path.is_file() or _digest(path) != loaded.digest:
            del _loaded[path]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def exits_as_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that code of others cannot end this program, for example with `sys.exit`.

    `SystemExit` and other exceptions outside `Exception` become a `RuntimeError`, except `KeyboardInterrupt`.
    """

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise RuntimeError(describe_error(error)) from error

    return call


def describe_error(error: BaseException) -> str:
    """Return the type and message of an exception on one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


@cache
def _entry_points_by_name(group: str, sys_path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:  # noqa: ARG001
    """Return the entry points of a group by name, each package once.

    Args:
        group: entry point group.
        sys_path: `sys.path`, in which packages are searched; part of the cache key, so that a change is seen.
    """
    by_name: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in entry_points(group=group):
        by_name.setdefault(entry.name, {}).setdefault((_package(entry), entry.value), entry)
    return {name: sorted(entries.values(), key=_package) for name, entries in sorted(by_name.items())}


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "?"


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Registry of one extension type: Gnomon's own classes, those of installed packages, and those in files.

    Attributes:
        noun: singular name of the extension type, used in error messages.
        group: entry point group in which packages provide classes.
        own_names: returns the names of Gnomon's own classes.
        load_own: loads one of Gnomon's own classes by its name.
        check: returns a class from outside if it keeps the contract, and raises `ConfigError` otherwise; its
            second argument is a prefix of the error message.
    """

    noun: str
    group: str
    own_names: Callable[[], Collection[str]]
    load_own: Callable[[str], T]
    check: Callable[[Any, str], T]

    def names(self) -> list[str]:
        """Return all names except those of files: Gnomon's own first, then those of installed packages."""
        own = list(self.own_names())
        return [*own, *(name for name in self._entry_points() if name not in own)]

    def knows(self, name: str) -> bool:
        """Return whether a name is one of `names`, or has the form `path/to/file.py:Name`."""
        return is_file_spec(name) or name in self.own_names() or name in self._entry_points()

    def is_outside(self, name: str) -> bool:
        """Return whether a name is known and not one of Gnomon's own."""
        return self.knows(name) and name not in self.own_names()

    def find(self, name: str) -> T:
        """Return the class of a name.

        Raises:
            ConfigError: no class or several classes have the name, or the class cannot be loaded or does not keep
                the contract.
        """
        if is_file_spec(name):
            return self.check(load_class(name, self.noun), f"{self.noun} '{name}'")
        entries = self._entry_points().get(name, [])
        packages = [_package(entry) for entry in entries]
        if name in self.own_names():
            if entries:
                raise ConfigError(
                    f"{self.noun} '{name}' is Gnomon's own, and the package {packages[0]} provides another of "
                    "that name; rename it there, or uninstall the package."
                )
            return self.load_own(name)
        if not entries:
            raise ConfigError(f"unknown {self.noun} '{name}'; {did_you_mean(name, self.names())}")
        if len(entries) > 1:
            raise ConfigError(
                f"{self.noun} '{name}' is provided by the packages {' and '.join(packages)}; uninstall one."
            )
        label = f"{self.noun} '{name}' of the package {packages[0]}"
        try:
            loaded = exits_as_errors(entries[0].load)()
        except Exception as error:  # an installed package may raise anything
            problem = f"{entries[0].value} cannot be imported ({describe_error(error)})"
            raise ConfigError(f"{label}: {problem}; fix or uninstall the package.") from error
        return self.check(loaded, label)

    def digest(self, name: str) -> str:
        """Return a digest of the code behind a name from outside: of its file as it was run, or of its module.

        For a package, the digest covers the module that defines the class and the package's version.

        Raises:
            ConfigError: as for `find`.
        """
        if is_file_spec(name):
            return _loaded_file(name, self.noun).digest
        source = inspect.getsourcefile(self.find(name))  # type: ignore[arg-type]
        content = Path(source).read_bytes() if source and Path(source).is_file() else b""
        versions = [
            f"{_package(entry)} {entry.dist.version if entry.dist else ''}"
            for entry in self._entry_points()[name]
        ]
        return hashlib.sha256("\n".join(versions).encode() + content).hexdigest()

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        return _entry_points_by_name(self.group, tuple(sys.path))
