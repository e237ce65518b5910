"""`gnomon feedback`: from a file of completions to a file of preferences that a recipe trains on."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from project import Ran, write_rows

from gnomon.api.feedback.server import make_demo
from gnomon.cli.feedback.export import LEFT_OUT
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import Preference
from gnomon.data.records import read_records
from gnomon.feedback.quality.summary import annotator_table
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.queue import NewJudgement, Queue

Ask = Callable[..., Ran]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(ask: Ask, rows: list[object], *more: str) -> None:
    write_rows(Path("answers.jsonl"), rows)
    start = ("feedback", "init", "f.db", "--project", "tone", "--title", "Kinder?", "--votes-per-item", "1")
    code, out, err = ask(*start, *more)
    assert code == 0, err
    assert "next: gnomon feedback import f.db --project tone FILE" in out
    code, _, err = ask("feedback", "import", "f.db", "answers.jsonl", "--project", "tone")
    assert code == 0, err


def judge_all(choice: str = "first") -> int:
    store = Store("f.db")
    store.add_annotator("ann", id="ann")
    queue, count = Queue(store, "tone"), 0
    while (task := queue.take("ann")) is not None:
        queue.submit(NewJudgement(f"j{task.item}", task.item, "ann", {"choice": choice}))
        count += 1
    store.close()
    return count


def test_import_judgements_of_other_tools(ask: Ask, here: Path) -> None:
    row = {
        "instruction": "Name a film.",
        "response1": "Ran.",
        "response2": "No.",
        "annotator1": 1,
        "annotator2": 0,
    }
    write_rows(Path("votes.jsonl"), [row, {**row, "annotator1": None, "annotator2": None}])
    command = ("feedback", "import", "f.db", "votes.jsonl", "--project", "old")
    code, out, err = ask(*command, "--judgements", "--format", "comparison")
    assert code == 0, err
    assert "2 judgements added, 0 there already" in out
    assert "1 row is not used: nobody has judged it" in out + err
    code, _, err = ask(*command, "--judgements", "--ratings")
    assert (code, "--prompts, --ratings and --judgements exclude each other" in err) == (2, True)
    code, _, err = ask(*command, "--format", "comparison")
    assert (code, "apply only with --ratings or --judgements" in err) == (2, True)


def test_import_judge_and_export(ask: Ask, here: Path) -> None:
    make(
        ask,
        [
            {"prompt": "你好", "completions": ["您好！", "哦。", "有事吗？"]},
            {"prompt": "Hi", "completions": ["Hello!", "What?"]},
        ],
    )
    assert judge_all() == 3 + 1
    code, out, err = ask("feedback", "status", "f.db", "--project", "tone")
    assert (code, "done: 4" in out, "ann (active, id ann): 4" in out) == (0, True, True), err
    code, out, err = ask("feedback", "export", "f.db", "--project", "tone", "--out", "data")
    assert (code, out.startswith("4 preferences from 4 judgements of 1 annotator in data (digest ")) == (
        0,
        True,
    ), err
    rows = read_records(Preference, Path("data/preferences.jsonl"))
    manifest = read_json(Path("data/manifest.json"))
    judgements = list(read_jsonl(Path("data/judgements.jsonl")))
    assert sorted(row["id"] for row in judgements) == ["j1", "j2", "j3", "j4"]
    assert (manifest["judgements"], manifest["annotators"]) == (4, ["ann"])
    assert len(rows) == 4
    assert {row.probability for row in rows} == {1.0}


def test_init_has_an_option_for_every_setting(ask: Ask, here: Path) -> None:
    expected = {
        "gold_rate": 0.0, "min_reliability": 0.4, "min_votes_before_pause": 7, "consensus_threshold": 0.6,
        "min_seconds": 2.0, "max_seconds": 90.0, "contact": "Ann, room 4",
    }  # fmt: skip
    line = [str(part) for name, value in expected.items() for part in (f"--{name.replace('_', '-')}", value)]
    code, _, err = ask("feedback", "init", "f.db", "--project", "tone", "--title", "x", *line)
    assert code == 0, err
    store = Store("f.db")
    assert store.project("tone").settings == expected, "a gold rate of 0 is a setting, not the default"
    store.close()
    code, _, err = ask("feedback", "init", "f.db", "--project", "two", "--title", "x", "--consensus-threshold", 1)
    assert (code, "--consensus-threshold must be at least 0 and below 1" in " ".join(err.split())) == (2, True)
    settings = ("min-seconds", 9, "max-seconds", 3)
    line = [str(part) for n in (0, 2) for part in (f"--{settings[n]}", settings[n + 1])]
    assert ask("feedback", "init", "f.db", "--project", "two", "--title", "x", *line)[0] == 2


def test_gold_items_and_agreement_on_the_command_line(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": f"Hi {n}", "chosen": f"Hello {n}!", "rejected": f"What {n}?"} for n in range(8)])
    write_rows(
        Path("known.jsonl"), [{"prompt": f"Yo {n}", "chosen": f"Yo {n}!", "rejected": f"{n}?"} for n in range(9)]
    )
    code, out, err = ask("feedback", "gold", "f.db", "known.jsonl", "--project", "tone")
    assert (code, out.strip()) == (0, "9 gold items added, 0 existing items marked as gold"), err
    store = Store("f.db")
    project = store.project("tone")
    store.update_project(replace(project, settings={"gold_rate": 0.5}))
    store.close()
    judgements = judge_all("tie")
    code, out, err = ask("feedback", "agreement", "f.db", "--project", "tone", "--json")
    report = json.loads(out)
    assert (code, report["votes"], report["gold"]) == (0, 8, judgements - 8), err
    (person,) = report["people"]
    assert (person["about"]["name"], person["record"]["metrics"]["gold"]["hits"]) == ("ann", 0)
    code, out, err = ask("feedback", "agreement", "f.db", "--project", "tone")
    assert (code, f"8 judgements, {judgements - 8} of gold items" in out) == (0, True), err
    assert "ann" in out
    code, out, err = ask("feedback", "status", "f.db")
    gold = f", and {judgements - 8} of gold items" if judgements > 8 else ""
    assert (code, f"ann (active, id ann): 8{gold}\n" in out) == (0, True), (out, err)
    code, out, err = ask("feedback", "invite", "f.db", "--project", "tone", "--name", "Rae", "--reviewer")
    assert (code, out.startswith("/join/")) == (0, True), err


def test_names_are_complete_in_a_narrow_terminal(
    ask: Ask, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(ask, [{"prompt": f"Hi {n}", "chosen": f"Hello {n}!", "rejected": f"What {n}?"} for n in range(8)])
    ask("feedback", "auto-annotate", "f.db", "--annotator", "simulated:always-first")
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = ask("feedback", "agreement", "f.db")
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    table = out[out.index("\nannotators") :]
    assert "…" not in table
    width = table.splitlines()[3].index("judged")
    names = "".join(line[:width].strip() for line in table.splitlines()[5:]).replace(" ", "")
    assert "simulated:always-first#0" in names, table


def test_export_counts_what_it_leaves_out(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    judge_all("bad")
    code, out, err = ask("feedback", "export", "f.db", "--out", "data")
    assert code == 0, err
    assert out.startswith("nothing from 1 judgement of 1 annotator in data")
    assert "left out: 1 item where both are bad\n" in out
    assert set(read_json(Path("data/manifest.json"))["left_out"]) <= set(LEFT_OUT)


def test_importing_again_adds_nothing(ask: Ask, here: Path) -> None:
    rows: list[object] = [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}]
    make(ask, rows)
    code, out, _ = ask("feedback", "import", "f.db", "answers.jsonl", "--project", "tone")
    assert (code, out.strip()) == (0, "0 items added, 1 there already")


def test_many_completions_make_as_many_pairs_and_cover_all(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": "Hi", "completions": [f"answer {n}" for n in range(9)]}])
    assert judge_all("tie") == 9
    _, _, err = ask("feedback", "export", "f.db", "--project", "tone", "--out", "data")
    rows = read_records(Preference, Path("data/preferences.jsonl"))
    assert {row.probability for row in rows} == {0.5}, err
    assert len({text for row in rows for text in (row.chosen.text, row.rejected.text)}) == 9


def test_known_completions_with_other_ids_are_not_added_again(ask: Ask, here: Path) -> None:
    row = {"prompt": {"id": "a", "messages": [{"role": "user", "content": "Hi"}]}}
    both = [{"id": "c1", "text": "Hello!"}, {"id": "c2", "text": "What?"}]
    make(ask, [{**row, "completions": both}])
    other = {"id": "b", "messages": [{"role": "user", "content": "Hi"}]}
    more = [{"id": "d1", "text": "Hello!"}, {"id": "d2", "text": "What?"}, {"id": "d3", "text": "Hello!"}]
    write_rows(Path("more.jsonl"), [{"prompt": other, "completions": more}])
    code, out, err = ask("feedback", "import", "f.db", "more.jsonl", "--project", "tone")
    assert (code, out.strip()) == (0, "0 items added, 1 there already"), err


def item_texts(store: Store) -> list[list[str]]:
    """The texts of each item as one annotator gets it, in alphabetical order."""
    store.add_annotator("ann", id="ann")
    queue, texts = Queue(store, "tone"), []
    while (task := queue.take("ann")) is not None:
        texts.append(sorted(one.text for one in task.completions))
        queue.skip("ann", task.item, "")
    return sorted(texts)


def test_ranking_items_are_sets_of_completions(ask: Ask, here: Path) -> None:
    """Three of three at once; of seven, sets of three that cover 21 pairs once, three pairs per set."""
    many = [f"answer {n}" for n in range(7)]
    rows: list[object] = [{"prompt": "Hi", "completions": ["a", "b", "c"]}, {"prompt": "Yo", "completions": many}]
    make(
        ask,
        [*rows, {"prompt": "Oh", "completions": ["same", "same"]}],
        "--task",
        "ranking",
        "--ranking-size",
        "3",
    )
    store = Store("f.db")
    items = item_texts(store)
    store.close()
    assert items[0] == ["a", "b", "c"]
    assert len(items) == 1 + 7
    assert {text for one in items[1:] for text in one} == set(many)
    assert all(len(one) == 3 for one in items)
    again = ask("feedback", "import", "f.db", "answers.jsonl", "--project", "tone")[1]
    assert again.strip() == "0 items added, 8 there already"


@pytest.mark.parametrize("task", ["rating", "likert"])
def test_rating_items_are_single_completions(ask: Ask, here: Path, task: str) -> None:
    rows: list[object] = [
        {"prompt": "Hi", "completions": ["a"]},
        {"prompt": "Hi", "completions": ["b", {"id": "c", "text": "c"}]},
        {"prompt": "Yo", "completion": "d"},
        {"prompt": "Yo", "chosen": "e", "rejected": "d"},
    ]
    make(ask, rows, "--task", task, "--criteria", "kind, 真实，brief", "--confidence", "--min-reason-chars", "9")
    store = Store("f.db")
    items, settings = item_texts(store), store.project("tone").settings
    store.close()
    assert items == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert settings == {"criteria": ["kind", "真实", "brief"], "confidence": True, "min_reason_chars": 9}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--task", "quiz"], "give one of pair, ranking, rating, likert, demonstration"),
        (["--task", "demonstration", "--rewrite"], "a demonstration has no rewrite"),
        (["--approval"], "a pair has no approval, which is a setting of demonstration"),
        (
            ["--task", "demonstration", "--min-answer-chars", "9", "--max-answer-chars", "8"],
            "swap min_answer_chars",
        ),
        (["--criteria", "kind"], "a pair has no criteria"),
        (["--task", "rating", "--criteria", "kind,kind"], "give different names"),
        (["--task", "rating", "--criteria", "kind,,true"], "give different names"),
        (["--task", "ranking", "--ranking-size", "12"], "--ranking-size must be at least 3 and at most 9"),
    ],
    ids=str,
)
def test_an_invalid_task_is_refused(ask: Ask, here: Path, more: list[str], message: str) -> None:
    code, _, err = ask("feedback", "init", "f.db", "--project", "tone", "--title", "x", *more)
    assert code == 2
    assert message in " ".join(err.replace("│", "").split())
    assert not Path("f.db").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "Hi", "completion": "a"},
            "line 2: no 'chosen' in it, which has prompt, completion; give rows with a prompt",
        ),
        ({"prompt": "Hi", "completions": ["a"]}, "line 2: there are fewer than two completions; give rows"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "line 2: the prompt is empty; give rows"),
    ],
    ids=str,
)
def test_the_error_names_the_invalid_row(ask: Ask, here: Path, row: object, message: str) -> None:
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    write_rows(Path("more.jsonl"), [{"prompt": "Hi", "chosen": "A", "rejected": "B"}, row])
    code, _, err = ask("feedback", "import", "f.db", "more.jsonl", "--project", "tone")
    assert (code, message in " ".join(err.split())) == (2, True), err


def test_a_failed_import_adds_nothing(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    one, two, other = {"id": "x", "text": "One"}, {"id": "y", "text": "Two"}, {"id": "y", "text": "Three"}
    rows = [{"prompt": "New?", "completions": [one, two]}, {"prompt": "Newer?", "completions": [one, other]}]
    write_rows(Path("broken.jsonl"), rows)
    code, _, err = ask("feedback", "import", "f.db", "broken.jsonl", "--project", "tone")
    assert (code, "use another id" in " ".join(err.split())) == (2, True)
    store = Store("f.db")
    assert len(store.prompts("tone")) == 1
    store.close()


def test_invite_and_revoke_a_link(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    code, out, err = ask("feedback", "invite", "f.db", "--project", "tone", "--name", "Eve", "--admin")
    assert (code, out.startswith("/join/")) == (0, True), err
    _, out, _ = ask("feedback", "status", "f.db", "--project", "tone")
    (name,) = re.findall(r"Eve \(active, id ([0-9a-f]+)\): 0", out)
    assert ask("feedback", "set-annotator", "f.db", name, "withdrawn")[0] == 0
    assert "Eve (withdrawn" in ask("feedback", "status", "f.db", "--project", "tone")[1]
    code, _, err = ask("feedback", "set-annotator", "f.db", "nobody", "paused")
    assert (code, "has no annotator 'nobody'" in err) == (2, True)
    code, _, err = ask("feedback", "set-annotator", "f.db", name, "asleep")
    assert (code, "give active, paused or withdrawn" in " ".join(err.split())) == (2, True)


def test_judgements_of_withdrawn_annotators_are_not_exported(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    judge_all()
    assert ask("feedback", "set-annotator", "f.db", "ann", "withdrawn")[0] == 0
    code, _, err = ask("feedback", "export", "f.db", "--project", "tone", "--out", "data")
    assert code == 2
    assert "has no judgements yet" in " ".join(err.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["import", "f.db", "nowhere.jsonl", "--project", "tone"], "nowhere.jsonl"),
        (["import", "f.db", "answers.jsonl", "--project", "other"], "the store has no project 'other'"),
        (["import", "f.db", "broken.jsonl", "--project", "tone"], "give rows with a prompt and completions"),
        (["init", "f.db", "--project", "tone", "--title", "x"], "there is a project 'tone' already"),
        (["status", "f.db", "--project", "other"], "the store has no project 'other'"),
        (["agreement", "f.db", "--project", "other"], "the store has no project 'other'"),
        (["gold", "f.db", "broken.jsonl", "--project", "tone"], "broken.jsonl"),
        (
            ["export", "f.db", "--project", "tone", "--out", "data"],
            "has no judgements yet; judge something first",
        ),
        (["serve", "g.db"], "there is no feedback store at g.db; create one with gnomon feedback init."),
        (["serve", "answers.jsonl"], "cannot be opened (file is not a database)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(ask: Ask, here: Path, line: list[str], message: str) -> None:
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}] * 40)
    write_rows(Path("broken.jsonl"), [{"prompt": "Hi"}])
    code, _, err = ask("feedback", *line)
    assert code == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "line",
    [
        ["status", "--project", "tone"],
        ["invite", "--project", "tone", "--name", "Ann"],
        ["set-annotator", "ann", "paused"],
        ["export", "--out", "out"],
        ["import", "answers.jsonl", "--project", "tone"],
        ["auto-annotate", "--project", "tone", "--annotator", "rule:longer"],
    ],
)
def test_only_init_and_imports_create_a_store(ask: Ask, here: Path, line: list[str]) -> None:
    code, _, err = ask("feedback", line[0], "no.db", *line[1:])
    assert code != 0
    assert "there is no feedback store at no.db; create one with gnomon feedback init." in " ".join(err.split())
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        ["status"],
        ["agreement"],
        ["invite", "--name", "Ann"],
        ["import", "answers.jsonl"],
        ["import", "answers.jsonl", "--prompts"],
        ["gold", "answers.jsonl"],
        ["select-prompts", "--count", "1", "--out", "next.jsonl"],
        ["auto-annotate", "--annotator", "rule:longer"],
        ["generate", "--from", "nowhere", "--prompts", "nowhere.jsonl"],
        ["export", "--out", "data"],
        ["serve", "--port", "0"],
        ["import", "answers.jsonl", "--ratings"],
    ],
    ids=" ".join,
)
def test_every_command_takes_the_only_project(ask: Ask, here: Path, line: list[str]) -> None:
    """Any later error is another sentence; with several projects, the error asks for the project's name."""
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    judge_all()
    if line[0] != "serve":
        code, _, err = ask("feedback", line[0], "f.db", *line[1:])
        meant = line[0] != "generate" and "--ratings" not in line
        assert (code == 0) == meant, err
        assert "--project" not in err
    with closing(Store("f.db")) as store:
        store.add_project(Project("other", "Which?", "pair"))
    code, _, err = ask("feedback", line[0], "f.db", *line[1:])
    assert code == 2
    assert err.strip() == "error: name the project with --project (the store has: tone, other)."


def test_the_error_for_an_empty_store_names_the_command(ask: Ask, here: Path) -> None:
    Store("f.db").close()
    code, _, err = ask("feedback", "status", "f.db")
    message = "error: the store has no project; create one with gnomon feedback init."
    assert (code, err.strip()) == (2, message)
    write_rows(Path("ratings.jsonl"), [{"text": "Hi", "rater": "ann", "rating": 3}])
    assert ask("feedback", "import", "no.db", "ratings.jsonl", "--ratings")[0] == 2
    assert not Path("no.db").exists()


def test_gold_for_ratings_is_refused_before_the_file_is_read(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": "Hi", "completion": "Hello!"}], "--task", "rating")
    write_rows(Path("known.jsonl"), [{"prompt": "Hi", "completion": "Hello!"}])
    code, _, err = ask("feedback", "gold", "f.db", "known.jsonl", "--project", "tone")
    assert code != 0
    assert "collects scores, which an order does not give" in " ".join(err.split())


def test_a_port_in_use_is_one_sentence(ask: Ask, here: Path) -> None:
    make(ask, [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, err = ask("feedback", "serve", "f.db", "--port", port)
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in " ".join(err.split())


@pytest.mark.slow
def test_serve_demo_prints_a_link_to_the_demo(here: Path) -> None:
    """The printed link leads to pairs of film reviews; the link is printed only once."""

    def serve() -> tuple[subprocess.Popen[str], list[str]]:
        command = [sys.executable, "-m", "gnomon", "feedback", "serve", "demo.db", "--demo", "--port", "0"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        lines: list[str] = []
        while "stop with Ctrl-C" not in "".join(lines):
            lines.append(process.stderr.readline())
            assert process.poll() is None, lines
        return process, lines

    process, lines = serve()
    assert process.stderr is not None
    link = process.stderr.readline().strip().rpartition(" ")[2]
    try:
        address = re.match(r"http://127\.0\.0\.1:\d+", link)
        assert address
        browser = requests.Session()
        page = ""
        for _ in range(100):
            try:
                page = browser.post(link, headers={"Origin": address[0]}).text
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        assert "Which sentence is more positive about its film?" in page
        task = browser.post(f"{address[0]}/api/task", json={}, headers={"Origin": address[0]}).json()["task"]
        assert len(task["completions"]) == 2
        assert all(c["html"].startswith("<p>") for c in task["completions"])
    finally:
        process.terminate()
        process.communicate(timeout=30)
    process, lines = serve()
    process.terminate()
    _, rest = process.communicate(timeout=30)
    assert "/join/" not in "".join(lines) + rest


@pytest.mark.slow
def test_the_demo_is_created_once(here: Path) -> None:
    store = Store("demo.db")
    assert make_demo(store) == make_demo(store) == "film-reviews"
    assert Queue(store, "film-reviews").progress()["open"] == 40
    assert store.project("film-reviews").guidelines.startswith("Choose the sentence")
    store.close()


def test_an_existing_annotator_gets_another_link(ask: Ask, here: Path) -> None:
    with closing(Store(here / "f.db")) as store:
        store.add_project(Project("films", "Which?", "pair"))
        first = Access(store).invite("films", "Rae", "reviewer")
        (rae,) = [about["id"] for about in annotator_table(store, "films")]
        code, out, err = ask("feedback", "invite", "f.db", "--project", "films", "--annotator", rae)
        assert (code, err) == (0, "")
        access = Access(store)
        assert access.login(first) is None
        items = access.current_user(access.login(out.strip().removeprefix("/join/")))
        assert items is not None
        assert (items.annotator, items.name, items.role) == (rae, "Rae", "reviewer")
    for more in (
        (),
        ("--annotator", rae, "--name", "Rae"),
        ("--annotator", "x"),
        ("--annotator", rae, "--admin"),
    ):
        assert ask("feedback", "invite", "f.db", "--project", "films", *more)[0] == 2


def test_demonstrations_from_prompts_to_a_file(ask: Ask, here: Path) -> None:
    """Prompts alone become items; answers are written; the export is read by training."""
    rows: list[object] = [
        {"prompt": "How does it work?", "category": "machines"},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "为什么？"}]},
        {"prompt": "How does it work?"},
    ]
    write_rows(Path("prompts.jsonl"), rows)
    start = ("feedback", "init", "f.db", "--project", "help", "--title", "Write it.", "--task", "demonstration")
    more = ("--approval", "--min-answer-chars", "5", "--check-language", "--max-votes", "3")
    assert ask(*start, *more)[0] == 0
    code, out, err = ask("feedback", "import", "f.db", "prompts.jsonl")
    assert (code, out.strip()) == (0, "2 items added, 1 there already"), err
    assert ask("feedback", "import", "f.db", "prompts.jsonl", "--prompts")[1].strip() == (
        "0 prompts added, 3 there already"
    )
    store = Store("f.db")
    project = store.project("help")
    assert (project.votes_per_item, project.max_votes) == (1, 3)
    assert project.settings == {"approval": True, "min_answer_chars": 5, "check_language": True}
    queue = Queue(store, "help")
    for who in ("ann", "bob"):
        store.add_annotator(who, id=who)
    for number, text in enumerate(("It turns a wheel.", "As an AI language model, I cannot.")):
        task = queue.take("ann")
        assert task is not None
        queue.submit(NewJudgement(f"w{number}", task.item, "ann", {"text": text}))
    task = queue.take("bob")
    assert task is not None
    queue.submit(NewJudgement("r", task.item, "bob", {"text": task.written, "reviews": task.reviews}))
    store.close()
    out = ask("feedback", "status", "f.db")[1]
    assert "written answers: 2 (1 accepted, 1 waiting for a review, 1 flagged)" in out
    out = ask("feedback", "agreement", "f.db")[1]
    assert "2 written answers: 1 accepted" in out
    assert "α" not in out
    code, out, err = ask("feedback", "export", "f.db", "--out", "data")
    assert code == 0, err
    assert "1 demonstration from 3 judgements of 2 annotators" in out
    assert "left out: 1 written answer" in out
    (row,) = read_jsonl(Path("data/demonstrations.jsonl"))
    assert (row["completion"]["text"], row["provenance"]["rater"]) == ("It turns a wheel.", "ann")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["import", "f.db", "x.jsonl", "--judgements"],
            "collects written answers, and --judgements imports choices",
        ),
        (["import", "f.db", "x.jsonl", "--ratings"], "ratings need a project that scores on one criterion"),
        (["gold", "f.db", "x.jsonl"], "of which none is the only right one"),
        (["qualification", "f.db", "x.jsonl"], "of which none is the only right one"),
        (["auto-annotate", "f.db", "--annotator", "rule:longer"], "collects answers that people write"),
        (["generate", "f.db", "--from", "http://localhost:1/v1#m"], "collects answers that people write"),
        (["reorder", "f.db", "--uncertainty-from", "vader"], "has prompts without completions"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_needs_completions_is_refused_for_demonstrations(
    ask: Ask, here: Path, command: list[str], message: str
) -> None:
    row = {"prompt": "Why?", "output_1": "a", "output_2": "b", "preference": 1, "text": "a", "rating": 3}
    write_rows(Path("x.jsonl"), [row])
    ask("feedback", "init", "f.db", "--project", "help", "--title", "Write it.", "--task", "demonstration")
    code, _, err = ask("feedback", *command)
    assert (code, message in " ".join(err.replace("│", "").split())) == (2, True), err


def test_a_conversation_with_its_answer_is_no_prompt(ask: Ask, here: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    write_rows(Path("x.jsonl"), [{"messages": turns}])
    ask("feedback", "init", "f.db", "--project", "help", "--title", "Write it.", "--task", "demonstration")
    code, _, err = ask("feedback", "import", "f.db", "x.jsonl")
    assert code == 2
    assert "the prompt ends with the assistant's turn" in " ".join(err.split())


def test_completions_are_not_used_where_annotators_write(ask: Ask, here: Path) -> None:
    write_rows(Path("x.jsonl"), [{"prompt": "Why?", "completions": ["a", "b"], "colour": "red"}])
    write_rows(Path("y.jsonl"), [{"prompt": "How?", "chosen": "a", "rejected": "b"}])
    ask("feedback", "init", "f.db", "--project", "help", "--title", "Write it.", "--task", "demonstration")
    for file, names, more in (
        ("x", "completions", ["x.jsonl: read as prompts; not read: colour"]),
        ("y", "chosen, rejected", []),
    ):
        code, out, err = ask("feedback", "import", "f.db", f"{file}.jsonl")
        assert (code, "1 items added" in out) == (0, True), err
        line = (
            f"{file}.jsonl: completions are not used by this task, whose answers annotators write (keys: {names})"
        )
        assert [one for one in (out + err).splitlines() if "items added" not in one] == [line, *more]


def test_prompts_of_a_bank_are_called_prompts(ask: Ask, here: Path) -> None:
    write_rows(Path("x.jsonl"), [{"prompt": "Why?", "completions": ["a", "b"]}])
    ask("feedback", "init", "f.db", "--project", "tone", "--title", "Which?")
    code, out, err = ask("feedback", "import", "f.db", "x.jsonl", "--prompts")
    assert (code, "x.jsonl: read as prompts; not read: completions" in out + err) == (0, True)
