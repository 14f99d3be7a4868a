from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.benchmarks.replaying.recorded import Conversation, RecordingError, load

if TYPE_CHECKING:
    from pathlib import Path


def turn(speaker: str, utterance: str, *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    frames = [
        {
            "service": "Hotels_1",
            "service_call": {"method": method, "parameters": parameters},
            "service_results": [{"name": "Inn"}],
        }
        for method, parameters in calls
    ]
    return {"speaker": speaker, "utterance": utterance, "frames": frames or [{"service": "x"}]}


def dialogue(name: str = "1_0") -> dict[str, Any]:
    return {
        "dialogue_id": name,
        "services": ["Hotels_1"],
        "turns": [
            turn("USER", "A hotel in Oslo"),
            turn("SYSTEM", "There is the Inn", ("SearchHotel", {"where": "Oslo"})),
            turn("USER", "Book it"),
            turn("SYSTEM", "Done", ("ReserveHotel", {"name": "Inn"})),
        ],
    }


def is_the_dialogue(talk: Conversation) -> bool:
    first, second = talk.exchanges
    return (
        (first.text, first.answer) == ("A hotel in Oslo", "There is the Inn")
        and [call.key for call in first.calls] == ['SearchHotel {"where":"Oslo"}']
        and first.calls[0].results == ({"name": "Inn"},)
        and [call.method for call in second.calls] == ["ReserveHotel"]
    )


def test_a_file_of_json_lines_is_read(tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text("\n".join(json.dumps(dialogue(name)) for name in ("a", "b")) + "\n\n")

    talks = load(file)

    assert [talk.conversation_id for talk in talks] == ["a", "b"]
    assert all(map(is_the_dialogue, talks))


def test_a_json_list_that_is_gzipped_is_read_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "dialogues"
    file.write_bytes(gzip.compress(json.dumps([dialogue()]).encode()))

    assert is_the_dialogue(load(file)[0])


def test_a_folder_of_the_data_set_is_read_and_equal_ids_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "dialogues_001.json").write_text(json.dumps([dialogue("a")]))
    (tmp_path / "dialogues_002.json").write_text(json.dumps([dialogue("a"), dialogue("b")]))
    (tmp_path / "schema.json").write_text("[1]")

    assert [talk.conversation_id for talk in load(tmp_path)] == ["a", "a#2", "b"]


def test_several_system_turns_in_a_row_belong_to_the_message_before(tmp_path: Path) -> None:
    talk = dialogue()
    talk["turns"].insert(0, turn("SYSTEM", "Hello"))
    talk["turns"].append(turn("SYSTEM", "Anything else?", ("GetWeather", {})))
    file = tmp_path / "talk.jsonl"
    file.write_text(json.dumps(talk))

    _, last = load(file)[0].exchanges

    assert last.answer == "Done Anything else?"
    assert [call.method for call in last.calls] == ["ReserveHotel", "GetWeather"]


@pytest.mark.parametrize(
    ("method", "books"),
    [
        ("FindBus", False),
        ("SearchHotel", False),
        ("GetWeather", False),
        ("CheckBalance", False),
        ("LookupSong", False),
        ("ReserveHotel", True),
        ("TransferMoney", True),
        ("GetRide", True),
    ],
)
def test_searches_are_reads_and_transactions_book(
    tmp_path: Path, method: str, *, books: bool
) -> None:
    file = tmp_path / "talk.jsonl"
    turns = [turn("USER", "Please"), turn("SYSTEM", "Done", (method, {}))]
    file.write_text(json.dumps({"dialogue_id": "a", "turns": turns}))

    assert load(file)[0].exchanges[0].calls[0].books is books


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1: not JSON"),
        ("[{]", "the list: not JSON"),
        ('{"dialogue_id": "a"}', "line 1: turns: Field required"),
        (
            '{"dialogue_id": "a", "turns": [{"speaker": "BOT", "utterance": "x"}]}',
            "turns.0.speaker",
        ),
        ("[3]", "dialogue 1: the object"),
        ("", "no conversation"),
        ('{"dialogue_id": "a", "turns": []}', "no conversation"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_place_at_fault(
    tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text(content)

    with pytest.raises(RecordingError, match=words) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_a_broken_gzip_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(gzip.compress(b"x" * 100)[:-12])
    folder = tmp_path / "folder"
    folder.mkdir()

    for path, words in (
        (tmp_path / "none", "cannot read"),
        (broken, "cannot read"),
        (folder, "no dialogues"),
    ):
        with pytest.raises(RecordingError, match=words):
            load(path)
