"""The administrators' pages: how far it is, how people agree, who they are, what tests them, how it is set up."""

from __future__ import annotations

import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse
from sqlalchemy import func, select
from starlette.background import BackgroundTask

from gnomon.core.errors import DataError
from gnomon.core.storage.files import to_json
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.feedback.export.provenance import MANIFEST
from gnomon.feedback.export.writers import write_export
from gnomon.feedback.quality.summary import annotator_table
from gnomon.feedback.store.schema import ExportRow, PromptRow
from gnomon.feedback.store.store import Project
from gnomon.feedback.task_types import Setup, setup_of
from gnomon.feedback.tasks.adjudication import review_item, skip_count, unanimous_items
from gnomon.feedback.tasks.gold_items import gold_items, mark_gold, unmark_gold
from gnomon.web.agreement_tables import intraclass_rows
from gnomon.web.context import Admin, Server, admin
from gnomon.web.payloads import scores_of
from gnomon.web.schemas import AnnotatorStatePayload, GoldPayload, InvitePayload, NewLinkPayload, SetupPayload

router = APIRouter(dependencies=[Depends(admin)])
PAIRS_SHOWN = 100
ONLY_FOR = {"criteria": ("rating", "likert"), "ranking_size": ("ranking",)}
WATCHING = (
    "gold_rate",
    "min_reliability",
    "min_votes_before_pause",
    "consensus_threshold",
    "min_seconds",
    "max_seconds",
    "min_reason_chars",
    "contact",
)


@router.get("/admin")
def show_overview(request: Request, here: Server, who: Admin) -> HTMLResponse:
    """How far it is, and what waits for somebody."""
    table = annotator_table(here.store, here.project)
    with here.store.reading() as session:
        past = select(ExportRow.digest, ExportRow.created).where(ExportRow.project == here.project)
        exports = session.execute(past.order_by(ExportRow.key.desc()).limit(5)).all()
        prompts = session.scalar(select(func.count()).where(PromptRow.project == here.project))
    return here.page(
        "admin.html.j2",
        request,
        user=who,
        progress=here.queue.progress(),
        annotators=table,
        prompts=prompts,
        skips=skip_count(here.store, here.project),
        gold=len(gold_items(here.store, here.project)),
        exports=exports,
    )


@router.get("/admin/agreement")
def show_agreement(request: Request, here: Server, who: Admin) -> HTMLResponse:
    """How far people agree, all together, by category, and each two of them."""
    found = here.quality_report()
    return here.page(
        "agreement.html.j2",
        request,
        user=who,
        found=found,
        intraclass=intraclass_rows(found.intraclass),
        names=found.names(),
        most=PAIRS_SHOWN,
    )


@router.get("/admin/annotators")
def show_annotators(request: Request, here: Server, who: Admin) -> HTMLResponse:
    """What each annotator did, and how far they can be relied on."""
    found = here.quality_report()
    known = {person.about["id"]: person for person in found.people}
    table = [(about, known.get(about["id"])) for about in annotator_table(here.store, here.project)]
    setup = setup_of(here.store.project(here.project).settings)
    return here.page("annotators.html.j2", request, user=who, found=found, table=table, setup=setup)


@router.get("/admin/gold")
def show_gold(request: Request, here: Server, who: Admin) -> HTMLResponse:
    """Items with a known answer, and those that might be one."""
    listed = [
        (one, review_item(here.store, here.project, one.item)) for one in gold_items(here.store, here.project)
    ]
    likely = unanimous_items(here.store, here.project)
    return here.page("gold.html.j2", request, user=who, listed=listed, likely=likely)


@router.get("/admin/setup")
def show_setup(request: Request, here: Server, who: Admin) -> HTMLResponse:
    """How the project asks, and how it keeps watch."""
    asked = here.store.project(here.project)
    fields = [field for field in _fields(setup_of(asked.settings)) if asked.task in field["tasks"]]
    groups = {
        "asking": [field for field in fields if field["name"] not in WATCHING],
        "watching": [field for field in fields if field["name"] in WATCHING],
    }
    low, high = scores_of(asked)
    asking = {"low": low, "high": high}
    return here.page("setup.html.j2", request, user=who, groups=groups, asking=asking, kept=asked)


@router.get("/api/admin/progress")
def progress(here: Server) -> dict[str, int]:
    """Items by state, and judgements."""
    return here.queue.progress()


@router.get("/api/admin/figures.json")
def quality_report(here: Server) -> dict[str, Any]:
    """All figures of agreement and annotators."""
    found: dict[str, Any] = to_json(here.quality_report().to_json())
    return found


@router.post("/api/admin/invite")
def invite(sent: InvitePayload, here: Server) -> dict[str, Any]:
    """A personal link, which is shown this once."""
    return {"link": f"/join/{here.access.invite(here.project, sent.name, sent.role)}"}


@router.post("/api/admin/link")
def link_again(sent: NewLinkPayload, here: Server) -> dict[str, Any]:
    """Another link for somebody whose own is lost or ended, which is shown this once."""
    return {"link": f"/join/{here.access.invite_again(here.project, sent.id)}"}


@router.post("/api/admin/annotator")
def set_annotator(sent: AnnotatorStatePayload, here: Server, who: Admin) -> dict[str, Any]:
    """Pause somebody, let them go on, or withdraw them with their links and all that they said."""
    if sent.id not in {about["id"] for about in annotator_table(here.store, here.project)}:
        raise DataError("nobody of this project has that id; load the page again.")
    if sent.id == who.annotator and sent.state == "withdrawn":
        raise DataError("nobody withdraws themselves; ask another administrator.")
    here.store.set_annotator(sent.id, sent.state)
    if sent.state == "withdrawn":
        here.access.revoke(sent.id)
    return {}


@router.post("/api/admin/gold")
def set_gold(sent: GoldPayload, here: Server) -> dict[str, Any]:
    """Make an item one whose answer is known, or one like all others."""
    if sent.answer is None:
        unmark_gold(here.store, here.project, sent.item)
    else:
        mark_gold(here.store, here.project, sent.item, sent.answer)
    return {}


@router.post("/api/admin/setup")
def set_up(sent: SetupPayload, here: Server) -> dict[str, Any]:
    """Change how the project asks."""
    now = here.store.project(here.project)
    settings = {name: value for name, value in (now.settings | sent.settings).items() if value is not None}
    here.store.update_project(
        Project(now.id, sent.title, now.task, sent.votes_per_item, sent.max_votes, sent.guidelines, settings),
    )
    return {}


@router.post("/api/admin/export")
def export(here: Server) -> FileResponse:
    """All that the project gives, as `gnomon feedback export` writes it, in one archive.

    Raises:
        DataError: nobody has judged anything yet.
    """
    with ExitStack() as held:
        folder = held.enter_context(temporary_folder(Path(tempfile.gettempdir())))
        made = write_export(here.store, here.project, folder / "data")
        with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted({*made["files"], MANIFEST}):
                archive.write(folder / "data" / name, name)
        return FileResponse(
            folder / "all.zip",
            media_type="application/zip",
            filename=f"{here.project}.zip",
            background=BackgroundTask(held.pop_all().close),
        )


def _parts(annotation: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """The types that an annotation allows, and the rules that `Annotated` gives any of them."""
    types, rules = list[Any](), list[Any]()
    for part in get_args(annotation) or (annotation,):
        if get_origin(part) is Annotated:
            part, *more = get_args(part)
            rules += more
        types.append(part)
    return tuple(types), rules


def _fields(setup: Setup) -> list[dict[str, Any]]:
    """The settings as a form has them: whatever `Setup` holds."""
    found = []
    for name, field in Setup.model_fields.items():
        if name == "scale":  # came with imported ratings
            continue
        kinds, declared = _parts(field.annotation)
        bounds = {
            key: bound
            for rule in (*field.metadata, *declared)
            for key in ("ge", "le", "gt", "lt")
            if (bound := getattr(rule, key, None)) is not None
        }
        value = getattr(setup, name)
        kind = (
            "yes" if bool in kinds
            else "whole" if int in kinds
            else "number" if float in kinds
            else "lines" if isinstance(value, tuple)
            else "text"
        )  # fmt: skip
        found.append(
            {
                "name": name,
                "kind": kind,
                "value": "\n".join(value) if isinstance(value, tuple) else value,
                "required": kind in ("whole", "number") and type(None) not in kinds,
                "low": bounds.get("ge", bounds.get("gt")),
                "high": bounds.get("le", bounds.get("lt")),
                "tasks": ONLY_FOR.get(name, ("pair", "ranking", "rating", "likert")),
            }
        )
    return found
