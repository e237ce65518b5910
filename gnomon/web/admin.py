"""The administrators' pages: progress, agreement, annotators, gold items, set-up."""

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
from gnomon.feedback.task_types import SETTINGS_OF, SHAPES, Setup, setup_of
from gnomon.feedback.tasks.adjudication import review_item, skip_count, unanimous_items
from gnomon.feedback.tasks.gold_items import check_known_answers, gold_items, mark_gold, unmark_gold
from gnomon.feedback.tasks.suitability import requirement_status
from gnomon.web.agreement_tables import intraclass_rows
from gnomon.web.context import Admin, Server, admin
from gnomon.web.payloads import scores_of
from gnomon.web.schemas import AnnotatorStatePayload, GoldPayload, InvitePayload, NewLinkPayload, SetupPayload

router = APIRouter(dependencies=[Depends(admin)])
PAIRS_SHOWN = 100
QUALITY_SETTINGS = (
    "gold_rate",
    "min_reliability",
    "min_votes_before_pause",
    "consensus_threshold",
    "min_seconds",
    "max_seconds",
    "min_reason_chars",
    "contact",
    "qualification_pass",
    "qualification_attempts",
)


@router.get("/admin")
def show_overview(request: Request, server: Server, user: Admin) -> HTMLResponse:
    """Show the page of progress, disputed items, annotators and exports.

    Args:
        request: HTTP request.
        server: state of the server.
        user: administrator who sent the request.
    """
    table = annotator_table(server.store, server.project)
    with server.store.reading() as session:
        exports_query = select(ExportRow.digest, ExportRow.created).where(ExportRow.project == server.project)
        exports = session.execute(exports_query.order_by(ExportRow.key.desc()).limit(5)).all()
        prompts = session.scalar(select(func.count()).where(PromptRow.project == server.project))
    return server.page(
        "admin.html.j2",
        request,
        user=user,
        progress=server.queue.progress(),
        annotators=table,
        prompts=prompts,
        skips=skip_count(server.store, server.project),
        gold=len(gold_items(server.store, server.project)),
        exports=exports,
        requirements=requirement_status(server.store, server.project),
    )


@router.get("/admin/agreement")
def show_agreement(request: Request, server: Server, user: Admin) -> HTMLResponse:
    """Show the page of agreement: overall, by category, and by pair of annotators.

    Args:
        request: HTTP request.
        server: state of the server.
        user: administrator who sent the request.
    """
    report = server.quality_report()
    return server.page(
        "agreement.html.j2",
        request,
        user=user,
        report=report,
        intraclass=intraclass_rows(report.intraclass),
        names=report.names(),
        most=PAIRS_SHOWN,
    )


@router.get("/admin/annotators")
def show_annotators(request: Request, server: Server, user: Admin) -> HTMLResponse:
    """Show the page of each annotator's judgements and reliability.

    Args:
        request: HTTP request.
        server: state of the server.
        user: administrator who sent the request.
    """
    report = server.quality_report()
    known = {person.about["id"]: person for person in report.people}
    table = [(about, known.get(about["id"])) for about in annotator_table(server.store, server.project)]
    setup = setup_of(server.store.project(server.project).settings)
    return server.page("annotators.html.j2", request, user=user, table=table, setup=setup)


@router.get("/admin/gold")
def show_gold(request: Request, server: Server, user: Admin) -> HTMLResponse:
    """Show the page of gold items, and of items that could become gold.

    Args:
        request: HTTP request.
        server: state of the server.
        user: administrator who sent the request.

    Raises:
        ConfigError: annotators of the project write the answers.
    """
    check_known_answers(server.project, server.store.project(server.project).task)
    listed = [
        (one, review_item(server.store, server.project, one.item))
        for one in gold_items(server.store, server.project)
    ]
    likely = unanimous_items(server.store, server.project)
    return server.page("gold.html.j2", request, user=user, listed=listed, likely=likely)


@router.get("/admin/setup")
def show_setup(request: Request, server: Server, user: Admin) -> HTMLResponse:
    """Show the page of the project's question and settings.

    Args:
        request: HTTP request.
        server: state of the server.
        user: administrator who sent the request.
    """
    project = server.store.project(server.project)
    fields = [field for field in _fields(setup_of(project.settings)) if project.task in field["tasks"]]
    groups = {
        "asking": [field for field in fields if field["name"] not in QUALITY_SETTINGS],
        "watching": [field for field in fields if field["name"] in QUALITY_SETTINGS],
    }
    low, high = scores_of(project)
    scale = {"low": low, "high": high}
    return server.page("setup.html.j2", request, user=user, groups=groups, scale=scale, stored=project)


@router.get("/api/admin/progress")
def progress(server: Server) -> dict[str, int]:
    """Number of items by state, and of judgements."""
    return server.queue.progress()


@router.get("/api/admin/figures.json")
def quality_report(server: Server) -> dict[str, Any]:
    """Return the quality report as JSON."""
    report: dict[str, Any] = to_json(server.quality_report().to_json())
    return report


@router.post("/api/admin/invite")
def invite(payload: InvitePayload, server: Server) -> dict[str, Any]:
    """Invite a person; the personal link is shown only once."""
    return {"link": f"/join/{server.access.invite(server.project, payload.name, payload.role)}"}


@router.post("/api/admin/link")
def new_link(payload: NewLinkPayload, server: Server) -> dict[str, Any]:
    """Issue a new link for a person whose link is lost or ended; it is shown only once."""
    return {"link": f"/join/{server.access.invite_again(server.project, payload.id)}"}


@router.post("/api/admin/annotator")
def set_annotator(payload: AnnotatorStatePayload, server: Server, user: Admin) -> dict[str, Any]:
    """Pause an annotator, let them continue, or withdraw them with their links and judgements.

    Args:
        payload: validated body of the request.
        server: state of the server.
        user: administrator who sent the request.
    """
    if payload.id not in {about["id"] for about in annotator_table(server.store, server.project)}:
        raise DataError("nobody of this project has that id; load the page again.")
    if payload.id == user.annotator and payload.state == "withdrawn":
        raise DataError("nobody withdraws themselves; ask another administrator.")
    server.store.set_annotator(payload.id, payload.state)
    if payload.state == "withdrawn":
        server.access.revoke(payload.id)
    return {}


@router.post("/api/admin/gold")
def set_gold(payload: GoldPayload, server: Server) -> dict[str, Any]:
    """Make an item gold with its known answer, or make it an ordinary item."""
    if payload.answer is None:
        unmark_gold(server.store, server.project, payload.item)
    else:
        mark_gold(server.store, server.project, payload.item, payload.answer)
    return {}


@router.post("/api/admin/setup")
def set_up(payload: SetupPayload, server: Server) -> dict[str, Any]:
    """Change the project's question and settings."""
    project = server.store.project(server.project)
    settings = {name: value for name, value in (project.settings | payload.settings).items() if value is not None}
    server.store.update_project(
        Project(
            project.id,
            payload.title,
            project.task,
            payload.votes_per_item,
            payload.max_votes,
            payload.guidelines,
            settings,
        ),
    )
    return {}


@router.post("/api/admin/export")
def export(server: Server) -> FileResponse:
    """All exports of the project as one ZIP archive, with the files of `gnomon feedback export`.

    Raises:
        DataError: the project has no judgements.
    """
    with ExitStack() as resources:
        folder = resources.enter_context(temporary_folder(Path(tempfile.gettempdir())))
        manifest = write_export(server.store, server.project, folder / "data")
        with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted({*manifest["files"], MANIFEST}):
                archive.write(folder / "data" / name, name)
        return FileResponse(
            folder / "all.zip",
            media_type="application/zip",
            filename=f"{server.project}.zip",
            background=BackgroundTask(resources.pop_all().close),
        )


def _parts(annotation: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """Return the types that an annotation allows, and the constraints that `Annotated` attaches to them."""
    types, rules = list[Any](), list[Any]()
    for part in get_args(annotation) or (annotation,):
        if get_origin(part) is Annotated:
            part, *more = get_args(part)
            rules += more
        types.append(part)
    return tuple(types), rules


def _fields(setup: Setup) -> list[dict[str, Any]]:
    """Return the fields of `Setup` as the form shows them."""
    fields = []
    for name, field in Setup.model_fields.items():
        if name == "scale":  # set by the import of ratings
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
        fields.append(
            {
                "name": name,
                "kind": kind,
                "value": "\n".join(value) if isinstance(value, tuple) else value,
                "required": kind in ("whole", "number") and type(None) not in kinds,
                "low": bounds.get("ge", bounds.get("gt")),
                "high": bounds.get("le", bounds.get("lt")),
                "tasks": SETTINGS_OF.get(name, tuple(SHAPES)),
            }
        )
    return fields
