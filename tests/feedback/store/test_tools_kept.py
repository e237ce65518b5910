"""Tools, tool calls and their results in a store: imported, displayed, exported and read unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from annotating import downgrade
from sqlalchemy import select
from test_turns import ROLES, store_of
from tiny import prompts_of

from gnomon.core.storage.digests import digest
from gnomon.core.types import Demonstration, Preference
from gnomon.data.reading.messages import message_row
from gnomon.data.records import parse_record, read_records
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.export.writers import Writer
from gnomon.feedback.importing.items import add_groups, read_groups
from gnomon.feedback.store.ingest import add_prompts
from gnomon.feedback.store.schema import PromptRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.queue import NewJudgement, Queue
from gnomon.web.markdown import completion_as_html

TOOL = {
    "type": "function",
    "function": {"name": "tide", "description": "Tide.", "parameters": {"type": "object"}},
}
ASK = {"role": "user", "content": "How high?"}


def call(**arguments: Any) -> dict[str, Any]:
    function = {"name": "tide", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": function}]}


def loop(port: str) -> list[dict[str, Any]]:
    result = {"role": "tool", "name": "tide", "tool_call_id": "c1", "content": "4 m"}
    return [call(port=port, days=[1, None]), result, {"role": "assistant", "content": "Four."}]


ROW = {
    "prompt": [ASK],
    "chosen": loop("Brest"),
    "rejected": loop("Dover"),
    "tools": [TOOL],
    "chat_template_kwargs": {"enable_thinking": False},
}


def judged(store: Store, queue: Queue, **more: Any) -> Any:
    """A judgement for the completion with the port of Brest."""
    task = queue.take("ann")
    assert task is not None
    good = next(n for n, one in enumerate(task.completions) if "Brest" in (one.turns or ())[0].tool_calls[0])
    answer = {"choice": ("first", "second")[good], **more}
    queue.submit(NewJudgement("j", task.item, "ann", answer))
    return task


@pytest.mark.parametrize("format", ["jsonl", "parquet", "datasets"])
def test_a_loop_of_calls_is_exported_as_it_was_imported(tmp_path: Path, format: str) -> None:
    """Answers that differ in the arguments of a call alone are two."""
    store, queue = store_of(tmp_path / "f.db", [ROW])
    judged(store, queue)
    tally = start_export(store.project("p"), ExportSpec())
    with Writer(tmp_path / "out", format, tally.kinds) as writer:
        for kind, exported in export_rows(store, tally):
            if kind in tally.kinds:
                writer.add(kind, exported)
        writer.finish(tally.to_json)
    ending = {"jsonl": ".jsonl", "parquet": ".parquet", "datasets": ""}[format]
    (read,) = read_records(Preference, tmp_path / "out" / f"preferences{ending}")
    imported = parse_record(Preference, ROW)
    assert read.prompt.context == imported.prompt.context
    assert (read.chosen.turns, read.rejected.turns) == (imported.chosen.turns, imported.rejected.turns)
    assert add_groups(store, "p", read_groups(tmp_path / "f.jsonl")).known == 1
    store.close()


def test_a_rewrite_of_a_turn_keeps_its_calls(tmp_path: Path) -> None:
    row = {**ROW, "chosen": [call(port="Brest")], "rejected": [call(port="Dover")]}
    store, queue = store_of(tmp_path / "f.db", [row], rewrite=True)
    judged(store, queue, rewrite={"place": 0, "text": "Let me look."})
    tally = start_export(store.project("p"), ExportSpec())
    rows = [exported for kind, exported in export_rows(store, tally) if kind == "demonstrations"]
    (turn,) = parse_record(Demonstration, rows[0]).completion.turns or ()
    assert (turn.content, len(turn.tool_calls)) == ("Let me look.", 1)
    store.close()


def test_prompts_that_differ_in_their_tools_are_two_and_digests_of_others_do_not_change(tmp_path: Path) -> None:
    """A prompt without tools has the digest of its messages alone."""
    rows: list[dict[str, Any]] = [{**ROW, "tools": tools, "chat_template_kwargs": None} for tools in ([], [TOOL])]
    store, _ = store_of(tmp_path / "f.db", rows)
    with store.reading() as session:
        plain, tooled = session.scalars(select(PromptRow).order_by(PromptRow.key))
        assert plain.digest == digest([ASK])
        assert plain.context is None
        assert tooled.digest != plain.digest
        assert tooled.context == {"tools": [TOOL]}
    store.close()


def test_an_older_store_has_prompts_without_tools(database: str) -> None:
    """The column is removed on the way back, and added by the migration."""
    store = Store(database)
    store.add_project(Project("p", "Which?", "pair"))
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of("Q")])
    downgrade(store, "0007")
    store.close()
    again = Store(database)
    (prompt,) = again.prompts("p")
    assert (prompt.tools, prompt.chat_template_kwargs) == ((), "")
    again.close()


def test_calls_are_displayed_as_code(tmp_path: Path) -> None:
    row = {"prompt": [ASK], "completion": [call(port="<b>Brest & more")]}
    html = completion_as_html(parse_record(Demonstration, row).completion, ROLES)
    assert "<pre><code>tide({\n  &quot;port&quot;: &quot;&lt;b&gt;Brest &amp; more&quot;\n})</code></pre>" in html
    assert "<b>" not in html.replace("User <b>", "")


def test_a_message_without_calls_is_stored_as_before() -> None:
    record = parse_record(Demonstration, {"prompt": [ASK], "completion": "a"})
    assert json.dumps(message_row(record.prompt.messages[0])) == json.dumps(ASK)
