"""Records with media in other layouts and containers: the same records after a way out and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from trl.data_utils import prepare_multimodal_messages

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Demonstration, Label, MediaPart, Message, Preference, Prompt
from gnomon.data.conversion import convert_file, writer_of
from gnomon.data.formats.registry import find_format
from gnomon.data.inspection import Inspection
from gnomon.data.record_rows import record_row
from gnomon.data.records import parse_record, read_records, record_media

Inspected = Callable[..., Inspection]
PNG = "data:image/png;base64,iVBORw0KGgo="
LAYOUTS = ("gnomon", "trl", "llama-factory", "sharegpt", "llama-factory-v1", "openrlhf")


def image(source: str, position: int = 0, options: str = "") -> MediaPart:
    return MediaPart("image", source, position, options)


def asked(*media: MediaPart, text: str = "What is this?", **more: Any) -> Prompt:
    return parse_record(Prompt, record_row(Prompt("", (Message("user", text, media=media),), **more)))


def answer(text: str, *media: MediaPart) -> Completion:
    turns = [{"role": "assistant", "content": text}]
    plain = parse_record(Demonstration, {"prompt": "Q", "completion": turns}).completion
    if not media:
        return plain
    row = {"prompt": "Q", "completion": [record_row_of(Message("assistant", text, media=media))]}
    return parse_record(Demonstration, row).completion


def record_row_of(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = record_row(Prompt("p", (message,)))["messages"][0]
    return row


TWO = (image("a.png", 5), image(PNG, 13))
CAT = answer("A cat.")
WRITTEN: dict[tuple[str, str], str] = {  # why a layout refuses a record; others hold it
    ("trl", "audio"): "TRL rows have images alone, and it has 1 sound",
    ("trl", "answer"): "TRL rows have no place for media in an answer, and it has 1 image",
    ("llama-factory", "sides"): "LLaMA-Factory rows have no place for media in the answers of a pair",
    ("llama-factory", "system"): "LLaMA-Factory rows have no place for media in the system's message",
    ("llama-factory", "mark"): "LLaMA-Factory rows put <image> in the stead of media, and a text beside 1 image",
    ("sharegpt", "system"): "ShareGPT conversations have no place for media in the system's message",
    ("sharegpt", "mark"): "ShareGPT conversations put <image> in the stead of media",
    ("openrlhf", "pair"): "OpenRLHF rows with answers have no place for media, and it has 2 images",
    ("openrlhf", "plain"): "OpenRLHF rows with answers have no place for media",
    ("hh", "pair"): "HH transcripts have no place for media, and it has 2 images",
    ("label-studio", "pair"): "have no place for media, and it has 2 images",
    ("trl", "sides"): "TRL rows have no place for media in an answer",
    ("openrlhf", "sides"): "OpenRLHF rows with answers have no place for media",
    ("openrlhf", "audio"): "OpenRLHF rows with answers",
    ("openrlhf", "answer"): "OpenRLHF rows with answers",
    ("openrlhf", "system"): "OpenRLHF rows with answers",
    ("openrlhf", "mark"): "OpenRLHF rows with answers",
    ("openrlhf", "several"): "OpenRLHF rows with answers",
    ("openrlhf", "label"): "",
}
RECORDS: dict[str, Any] = {
    "plain": Demonstration(asked(*TWO), CAT, 2.0),
    "pair": Preference(asked(*TWO), CAT, answer("A dog."), margin=1.0),
    "label": Label(asked(image("a.png")), CAT, good=False),
    "prompt": asked(*TWO),
    "empty": asked(image("a.png"), text=""),
    "several": parse_record(
        Demonstration,
        {
            "images": ["a", "b"],
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "<image>"},
                {"role": "assistant", "content": "A"},
                {"role": "user", "content": "and <image>?"},
                {"role": "assistant", "content": "B"},
            ],
        },
    ),
    "audio": Demonstration(asked(MediaPart("audio", "a.wav"), MediaPart("video", "b.mp4", 13)), CAT),
    "answer": Demonstration(asked(), answer("See.", image("a.png", 4))),
    "sides": Preference(asked(), answer("See.", image("a.png", 4)), answer("See.", image("b.png", 4))),
    "system": parse_record(
        Demonstration,
        {
            "prompt": [
                {"role": "system", "content": [{"type": "image", "image": "a"}]},
                {"role": "user", "content": "Q"},
            ],
            "completion": "A",
        },
    ),
    "mark": Demonstration(asked(image("a.png"), text="Write <image>."), CAT),
}


def there_and_back(record: Any, layout: str) -> Any:
    """A record written in a layout, through JSON, and read again."""
    row = json.loads(json.dumps(writer_of(layout, type(record))[0](record)))
    rows = (
        [row] if layout == "gnomon" else [one for _, one in find_format(layout).scan(type(record), [("", row)])]
    )
    assert isinstance(rows[0], dict)
    return parse_record(type(record), rows[0])


def holds(layout: str, record: Any) -> bool:
    return layout == "gnomon" or type(record) in find_format(layout).writes


@pytest.mark.parametrize(
    ("layout", "name"),
    [(to, n) for to in (*LAYOUTS, "hh", "label-studio") for n, record in RECORDS.items() if holds(to, record)],
)
def test_a_written_record_is_the_same_when_it_is_read_or_refused_by_name(layout: str, name: str) -> None:
    record = RECORDS[name]
    reason = WRITTEN.get(
        (layout, name), WRITTEN.get((layout, "pair")) if layout in ("hh", "label-studio") else None
    )
    if reason is not None:
        with pytest.raises(DataError) as error:
            there_and_back(record, layout)
        assert reason.partition(", and")[0] in str(error.value)
        return
    assert there_and_back(record, layout) == record


def test_rows_are_those_of_the_tools() -> None:
    record = RECORDS["plain"]
    written = {layout: writer_of(layout, Demonstration)[0](record) for layout in LAYOUTS[:5]}
    assert {key: written["trl"][key] for key in ("images", "prompt", "completion")} == {
        "images": ["a.png", PNG],
        "prompt": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What "},
                    {"type": "image"},
                    {"type": "text", "text": "is this?"},
                    {"type": "image"},
                ],
            }
        ],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}],
    }
    assert (written["llama-factory"]["images"], written["llama-factory"]["conversations"][0]) == (
        ["a.png", PNG],
        {"from": "human", "value": "What <image>is this?<image>"},
    )
    assert written["sharegpt"]["images"] == ["a.png", PNG]
    assert written["llama-factory-v1"]["messages"][0]["content"] == [
        {"type": "text", "value": "What "},
        {"type": "image_url", "value": "a.png"},
        {"type": "text", "value": "is this?"},
        {"type": "image_url", "value": PNG},
    ]
    prompt = writer_of("openrlhf", Prompt)[0](RECORDS["prompt"])
    assert prompt["images"] == ["a.png", PNG]
    assert [part["type"] for part in prompt["input"][0]["content"]] == ["text", "image", "text", "image"]


def test_trl_fills_written_prompts_as_gnomon_reads_them() -> None:
    row = writer_of("trl", Prompt)[0](RECORDS["prompt"])
    filled = prepare_multimodal_messages(row["prompt"], row["images"])
    assert filled == record_row(RECORDS["prompt"])["messages"]
    plain = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    own = parse_record(Prompt, {"prompt": plain, "images": ["a", "b"]})
    assert prepare_multimodal_messages(plain, ["a", "b"])[1:] == record_row(own)["messages"][1:]


def test_a_file_is_converted_row_by_row_and_options_are_counted(tmp_path: Path, inspected: Inspected) -> None:
    detailed = {"type": "image_url", "image_url": {"url": "a.png", "detail": "high"}}
    words = {"type": "text", "text": "What?"}
    rows = [
        {"prompt": [{"role": "user", "content": [part, words]}], "completion": "A."}
        for part in (detailed, {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "out.jsonl"
    result = convert_file(path, out, "trl")
    assert (result.written, dict(result.rejected)) == (1, {WRITTEN["trl", "audio"]: 1})
    assert not result.left_out
    (rejected,) = map(json.loads, (tmp_path / "out.rejected.jsonl").read_text(encoding="utf-8").splitlines())
    assert rejected["where"] == "line 2"
    factory = convert_file(path, tmp_path / "factory.jsonl", "llama-factory")
    assert (factory.written, dict(factory.left_out)) == (2, {"options of images, sounds and videos": 1})
    with pytest.raises(DataError, match="no row can be written as openrlhf; OpenRLHF rows with answers have no"):
        convert_file(path, tmp_path / "rlhf.jsonl", "openrlhf")


TRL_ROW = {
    "images": ["a.png", PNG],
    "prompt": [
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Q"}]}
    ],
    "completion": [{"role": "assistant", "content": [{"type": "text", "text": "A"}]}],
}


def containers(folder: Path) -> Iterator[Path]:
    """The row in each container that holds nested values."""
    (folder / "rows.jsonl").write_text(json.dumps(TRL_ROW) + "\n", encoding="utf-8")
    yield folder / "rows.jsonl"
    (folder / "rows.json").write_text(json.dumps([TRL_ROW], indent=1), encoding="utf-8")
    yield folder / "rows.json"
    pq.write_table(pa.Table.from_pylist([TRL_ROW]), folder / "rows.parquet")
    yield folder / "rows.parquet"
    datasets.Dataset.from_list([TRL_ROW]).save_to_disk(str(folder / "folder"))
    yield folder / "folder"


def test_each_container_holds_the_same_record(tmp_path: Path) -> None:
    records = [record for path in containers(tmp_path) for record in read_records(Demonstration, path)]
    assert len(records) == 4
    assert len(set(records)) == 1
    assert [one.source for one in record_media(records[0])] == TRL_ROW["images"]


def test_images_of_datasets_are_read_with_their_bytes(tmp_path: Path) -> None:
    """SVG is text, and bytes all the same."""
    table = {
        "images": [[{"bytes": b"\x89PNG\r\n\x1a\n\xff", "path": "a.png"}, {"bytes": b"<svg/>", "path": None}]]
    }
    features = datasets.Features(
        {
            "images": [datasets.Image(decode=False)],
            "prompt": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    folder = tmp_path / "folder"
    datasets.Dataset.from_dict({**table, "prompt": ["Q"], "answer": ["A"]}, features).save_to_disk(str(folder))
    (record,) = read_records(Prompt, folder)
    assert [(one.source, one.options) for one in record_media(record)] == [
        ("data:image/png;base64,iVBORw0KGgr/", '{"name": "a.png"}'),
        ("data:image/octet-stream;base64,PHN2Zy8+", ""),
    ]


sources = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6).filter(
    lambda text: text[0] not in "[{"
)
texts = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def messages(draw: Any, role: str, kinds: tuple[str, ...]) -> Message:
    pieces = draw(st.lists(st.one_of(texts, st.tuples(st.sampled_from(kinds), sources)), max_size=5))
    content, media = "", []
    for piece in pieces:
        if isinstance(piece, str):
            content += piece
        else:
            media.append(MediaPart(piece[0], piece[1], len(content)))
    if not content.strip() and not media:
        content = "?"
    return Message(role, content, media=tuple(media))  # type: ignore[arg-type]


KINDS_OF = {"trl": ("image",), "openrlhf": ("image",)}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_round_trips_keep_texts_media_and_their_order(layout: str, data: Any) -> None:
    kinds = KINDS_OF.get(layout, ("image", "audio", "video"))
    turns = data.draw(st.lists(messages("user", kinds), min_size=1, max_size=1))
    drawn = layout in ("gnomon", "llama-factory-v1", "sharegpt")
    plain = texts.map(lambda text: Message("assistant", text))
    last = data.draw(messages("assistant", kinds) if drawn else plain)
    row = record_row(Prompt("", tuple(turns)))
    del row["id"]
    if layout == "openrlhf":
        record: Any = parse_record(Prompt, row)
    else:
        record = parse_record(
            Demonstration,
            {"prompt": row["messages"], "completion": [record_row(Prompt("p", (last,)))["messages"][0]]},
        )
    assert there_and_back(record, layout) == record
