"""``wavebreak journal`` on real files, sound and damaged ones."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw
import pytest

from wavebreak import ActorSystem, Enqueue, SessionFailed, SessionMessage, SqliteJournal, Turn, tool
from wavebreak import cli as command_line
from wavebreak.journal.codec import checksum_of
from wavebreak.journal.database import opened
from wavebreak.journal.inspect import Inspection
from wavebreak.journal.rows import TABLES
from wavebreak.journal.writer import Lost, Writer
from wavebreak.messages.ids import SessionKey
from wavebreak.testing import RecordingDeliver, gate

from .processes import BOT, served, wavebreak

if TYPE_CHECKING:
    from wavebreak.messages.history import HistoryEntry
    from wavebreak.testing import Run


Journal = Callable[..., tuple[int, Any]]

pytestmark = pytest.mark.slow

MANY: Final = 12


class OrderShipped(SessionMessage):
    """Of a class that the command line does not have."""

    order: int


@tool
async def book(room: str) -> str:
    if room == "none":
        message = "no such room"
        raise ValueError(message)
    return f"booked {room}"


async def talk(path: Path, left: Path, keep: int) -> None:
    """Hold conversations, and copy the files in the middle of one, as a crash leaves them."""
    hold = gate("hold")
    held = hold.tool("held", effect="idempotent")

    async def agent(turn: Turn) -> str:
        turn.say(f"about {turn.text}")
        await turn.settle(book(turn.text), book("none"))
        if turn.text == "wait":
            await turn.wave(held())
        return f"re: {turn.text}"

    system = ActorSystem(
        agent,
        journal=SqliteJournal(path, snapshot_after=15, keep_entries=keep),
        deliver=RecordingDeliver(),
        message_types=(OrderShipped,),
        close_within=0,
    )
    async with system:
        for number in range(MANY):
            session = system.session(f"s{number}")
            await (await session.send("red", message_id=f"s{number}")).outcome()
        ann = system.session("ann")
        for text in ("red", "blue", "green"):
            await (await ann.send(text, message_id=f"ann-{text}")).outcome()
        bob = system.session("bob", tenant="acme")
        await (await bob.send(OrderShipped(order=7), message_id="order")).outcome()
        await bob.send("wait", message_id="bob-wait")
        await hold.reached(1)
        await bob.send("later", message_id="bob-later", policy=Enqueue())
        for session in (system.session("s0"), ann, bob):
            await session.send_later("in a year", at=timedelta(days=365))
            withdrawn = await session.send_later("not at all", at=timedelta(days=1))
            await session.withdraw(withdrawn.message_id)
        await asyncio.sleep(1)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{left}{suffix}")
        hold.let_go()


@pytest.fixture
def left(run: Run, tmp_path: Path) -> Path:
    """A journal that was not closed, with all of it in its ``-wal``."""
    (tmp_path / "left").mkdir()
    path = tmp_path / "left" / "left.db"
    run(talk(tmp_path / "journal.db", path, keep=0))
    return path


@pytest.fixture
def closed(left: Path) -> Path:
    """The same journal in one file."""
    path = left.with_name("closed.db")
    shutil.copy(left, path)
    shutil.copy(f"{left}-wal", f"{path}-wal")
    connection = opened(path)
    connection.execute("UPDATE about SET value = 0 WHERE name = 'open'")
    connection.close()
    assert not path.with_name("closed.db-wal").exists()
    return path


@pytest.fixture
def journal(capsys: pytest.CaptureFixture[str]) -> Journal:
    """Run the command, and give its status and what it said, decoded."""

    def journal(*arguments: str | Path) -> tuple[int, Any]:
        status = command_line.main(["journal", *map(str, arguments)])
        said = capsys.readouterr()
        return status, json.loads(said.out) if "--json" in arguments else said.out + said.err

    return journal


def traces(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def change(path: Path, sql: str, *values: Any) -> None:
    connection = opened(path)
    connection.execute(sql, values)
    assert connection.changes() > 0, "it did nothing"
    connection.close()


# --- check ---


@pytest.mark.parametrize("which", ["left", "closed"])
@pytest.mark.parametrize("thorough", [(), ("--fold",)])
def test_a_sound_journal_is_called_whole_and_not_touched(
    which: str, thorough: tuple[str, ...], request: pytest.FixtureRequest, journal: Journal
) -> None:
    path: Path = request.getfixturevalue(which)
    before = traces(path.parent)
    status, answer = journal("check", "-j", path, "--json", *thorough)
    assert status == 0
    assert (answer["ok"], answer["problems"]) == (True, [])
    assert answer["sessions"] == MANY + 2
    assert answer["folded"] == (MANY + 2 if thorough else 2)
    assert traces(path.parent) == before
    assert "is whole" in journal("check", "-j", path)[1]


BOB: Final = "(SELECT id FROM session WHERE session_id = 'bob')"
OF_BOB: Final = f"place >> 32 = {BOB}"
LAST: Final = f"(SELECT max(place) FROM recent WHERE {OF_BOB})"  # noqa: S608
LAST_BUT_ONE: Final = f"(SELECT max(place) FROM recent WHERE {OF_BOB} AND place < {LAST})"  # noqa: S608
SECOND: Final = f"place = (SELECT min(place) + 1 FROM recent WHERE {OF_BOB})"  # noqa: S608

DAMAGES: Final = {
    "a row is another": (
        f"UPDATE recent SET data = zeroblob(9) WHERE {SECOND}",  # noqa: S608
        "entry at 2 is not what was written",
    ),
    "a row is missing": (
        f"DELETE FROM recent WHERE place = {LAST_BUT_ONE}",  # noqa: S608
        "is missing: the next entry is at",
    ),
    "a row is of a later version": (
        f"UPDATE recent SET version = 99 WHERE {OF_BOB}",  # noqa: S608
        "was written in version 99",
    ),
    "every row is missing": (f"DELETE FROM recent WHERE {OF_BOB}", "gone but its history"),  # noqa: S608
    "history is another": (
        f"UPDATE later_history SET checksum = 1 WHERE place >> 32 = {BOB}",  # noqa: S608
        "history at",
    ),
    "more is counted": (
        "UPDATE session SET unfinished = 9 WHERE session_id = 'bob'",
        "2 messages and deliveries have",
    ),
    "nothing is counted": (
        "UPDATE session SET unfinished = 0 WHERE session_id = 'bob'",
        "is not started by itself",
    ),
    "another time is noted": (
        f"UPDATE due SET at = 5 WHERE id >> 32 = {BOB}",  # noqa: S608
        "is not woken in time",
    ),
    "no time is noted": (f"DELETE FROM due WHERE id >> 32 = {BOB}", "is not woken in time"),  # noqa: S608
    "a time is noted twice": (
        f"INSERT INTO due SELECT id + 1, at FROM due WHERE id >> 32 = {BOB}",  # noqa: S608
        "woken in vain",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_session_is_named_and_no_other(
    damage: str, closed: Path, journal: Journal
) -> None:
    sql, words = DAMAGES[damage]
    change(closed, sql)
    status, answer = journal("check", "-j", closed, "--json")
    assert status == 1
    assert not answer["ok"]
    (problem,) = answer["problems"]
    assert (problem["tenant"], problem["session_id"]) == ("acme", "bob")
    assert words in problem["what"]
    assert problem["do"]
    status, said = journal("check", "-j", closed)
    assert status == 1
    assert "acme/bob" in said
    assert "is damaged" in said


def _rewritten(path: Path, table: str, session: str, data: bytes) -> None:
    """Put something else in a row, with its checksum."""
    connection, column = opened(path), TABLES[table]
    place: Any = connection.execute(
        f"SELECT max({column}) FROM {table} WHERE {column} >> 32 = "  # noqa: S608
        "(SELECT id FROM session WHERE session_id = ?)",
        (session,),
    ).get
    connection.execute(
        f"UPDATE {table} SET data = ?, checksum = ? WHERE {column} = ?",  # noqa: S608
        (data, checksum_of(place, data), place),
    )
    connection.close()


def test_a_snapshot_that_is_none_is_found_without_its_checksum(
    closed: Path, journal: Journal
) -> None:
    _rewritten(closed, "snapshot", "ann", b'{"position": "x"}')
    status, answer = journal("check", "-j", closed, "--json")
    assert status == 1
    (problem,) = answer["problems"]
    assert problem["session_id"] == "ann"
    assert "snapshot at" in problem["what"]


def test_history_is_read_when_it_is_asked_for(closed: Path, journal: Journal) -> None:
    _rewritten(closed, "later_history", "s3", b"[7]")
    assert journal("check", "-j", closed)[0] == 0
    status, answer = journal("check", "-j", closed, "--fold", "--json")
    assert status == 1
    assert [problem["session_id"] for problem in answer["problems"]] == ["s3"]


def test_rows_of_nobody_are_told(closed: Path, journal: Journal) -> None:
    change(closed, "DELETE FROM session WHERE session_id = 's5'")
    status, answer = journal("check", "-j", closed, "--json")
    assert status == 1
    (problem,) = answer["problems"]
    assert problem["where"] == "rows"
    assert "session number 6" in problem["what"]


@pytest.mark.parametrize("flipped", [False, True])
def test_a_newest_part_that_is_gone_or_damaged_is_told(
    flipped: bool, left: Path, journal: Journal
) -> None:
    wal = left.with_name("left.db-wal")
    if flipped:
        data = bytearray(wal.read_bytes())
        data[32 + 20 * 4120 + 600] ^= 4
        wal.write_bytes(data)
    else:
        wal.unlink()
    before = traces(left.parent)
    status, answer = journal("check", "-j", left, "--json")
    assert status == 1
    (problem,) = (problem for problem in answer["problems"] if problem["where"] == "wal")
    assert ("frame 21" if flipped else "is missing") in problem["what"]
    assert "accept_loss" in problem["do"]
    # Who looks otherwise is told that this is not all, and an export is not taken for a whole one.
    for arguments, wanted in ((("stats",), {0}), (("show", "s1"), {0, 1}), (("export",), {1})):
        status, said = journal(*arguments, "-j", left)
        assert "missing or damaged, and this is without it" in said
        assert status in wanted
    assert traces(left.parent) == before


@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_sqlite_cannot_read_is_told_and_the_rest_is_looked_at(
    seed: int, closed: Path, journal: Journal
) -> None:
    data = bytearray(closed.read_bytes())
    page = (2 + 3 * seed) * 4096
    data[page : page + 4096] = bytes([seed + 1]) * 4096
    closed.write_bytes(data)
    status, answer = journal("check", "-j", closed, "--json")
    assert status == 1
    assert any(problem["where"] == "file" for problem in answer["problems"])
    # And the others do not end in a traceback, either.
    for command in ("stats", "export", "compact"):
        status, _ = journal(command, "-j", closed)
        assert status in {0, 1}


def test_of_sessions_whose_page_cannot_be_read_each_is_named_and_the_others_are_saved(
    closed: Path, tmp_path: Path, journal: Journal
) -> None:
    connection = opened(closed)
    pages: list[Any] = connection.execute(
        "SELECT pageno FROM dbstat WHERE name = 'later_history' AND pagetype = 'leaf' ORDER BY path"
    ).fetchall()
    connection.close()
    assert len(pages) > 2, "else it would be all of them"
    data = bytearray(closed.read_bytes())
    start = (pages[1][0] - 1) * 4096
    data[start : start + 4096] = bytes(4096)
    closed.write_bytes(data)
    status, answer = journal("check", "-j", closed, "--json")
    assert status == 1
    assert answer["sessions"] == MANY + 2, "it goes on behind it"
    named = [one["session_id"] for one in answer["problems"] if one["where"] == "session"]
    assert 0 < len(named) < MANY
    lines = _export(closed, tmp_path / "a.jsonl", journal, status=1)
    assert lines[-1]["end"] == {
        "sessions": MANY + 2,
        "rows": sum("table" in line or "unreadable" in line for line in lines),
        "damaged": len(named),
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no journal"),
        (b"", "is empty"),
        (b"no database at all" * 300, "is no journal"),
    ],
)
@pytest.mark.parametrize("command", ["check", "stats", "show", "export", "compact"])
def test_what_is_no_journal_is_said_to_be_none_and_nothing_is_made(
    command: str, content: bytes | None, words: str, tmp_path: Path, journal: Journal
) -> None:
    path = tmp_path / "other" / "x.db"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    before = traces(path.parent)
    status, said = journal(command, *(["ann"] if command == "show" else []), "-j", path)
    assert status == 1
    assert words in said
    assert "Traceback" not in said
    assert traces(path.parent) == before


def test_a_newer_versions_journal_is_left_to_the_newer_version(
    closed: Path, journal: Journal
) -> None:
    connection = opened(closed)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    status, said = journal("check", "-j", closed)
    assert status == 1
    assert "has schema 9" in said


def test_a_journal_that_is_written_to_meanwhile_says_nothing(
    closed: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Inspection.sessions

    def meanwhile(self: Inspection, *arguments: Any) -> Any:
        yield from sessions(self, *arguments)
        change(closed, "UPDATE session SET touched_at = 7")

    monkeypatch.setattr(Inspection, "sessions", meanwhile)
    status, said = journal("check", "-j", closed)
    assert status == 1
    assert "look again" in said


def test_names_of_files_may_be_as_they_like(left: Path, journal: Journal) -> None:
    path = left.with_name("a b#c?d%20e.db")
    left.rename(path)
    left.with_name("left.db-wal").rename(path.with_name(f"{path.name}-wal"))
    before = traces(left.parent)
    status, answer = journal("check", "-j", path, "--json")
    assert (status, answer["sessions"]) == (0, MANY + 2)
    assert traces(left.parent) == before


def test_a_service_starts_on_a_damaged_newest_part_only_if_it_is_told_to(left: Path) -> None:
    wal = left.with_name("left.db-wal")
    data = bytearray(wal.read_bytes())
    data[32 + 20 * 4120 + 600] ^= 4
    wal.write_bytes(data)
    with pytest.raises(AssertionError, match="accept_loss"):
        wavebreak("serve", BOT, "--port", "0", "--journal", str(left))
    assert wal.read_bytes() == data
    with served("--journal", str(left), "--accept-loss") as service:
        listed = wavebreak("ps", "--json", environment=service.environment)
        assert "s0" in listed
    (kept,) = left.parent.glob("*-damaged-*")
    assert kept.read_bytes() == data


# --- beside a system ---


async def test_a_journal_is_looked_at_beside_the_system_that_writes_it_and_not_compacted(
    tmp_path: Path, journal: Journal
) -> None:
    async def agent(turn: Turn) -> str:
        return turn.text

    path = tmp_path / "journal.db"
    async with ActorSystem(agent, journal=SqliteJournal(path)) as system:
        await (await system.session("ann").send("a")).outcome()
        files = set(traces(tmp_path))
        for turn in range(1, 4):
            status, answer = journal("check", "-j", path, "--json", "--fold")
            assert (status, answer["problems"]) == (0, [])
            _, stats = journal("stats", "-j", path, "--json")
            assert stats["holder"]
            assert journal("show", "ann", "-j", path, "--json")[1]["now"]["turn"] == turn
            status, said = journal("compact", "-j", path)
            assert status == 1
            assert "is open already, in process" in said
            await (await system.session("ann").send("more")).outcome()
        assert set(traces(tmp_path)) == files
    assert journal("stats", "-j", path, "--json")[1]["holder"] is None


def test_the_command_works_beside_a_service_and_tells_by_its_status(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with served("--journal", str(path)) as service:
        wavebreak("send", "ann", "rome 0", environment=service.environment)
        assert "is whole" in wavebreak("journal", "check", "-j", str(path))
        assert "found rome 0" in wavebreak("journal", "show", "ann", "-j", str(path))
        with pytest.raises(AssertionError, match=f"in process {service.process.pid}"):
            wavebreak("journal", "compact", "-j", str(path))
    # It was killed: what is left is looked at as it is.
    assert "is whole" in wavebreak("journal", "check", "-j", str(path))
    assert "0 bytes" not in wavebreak("journal", "compact", "-j", str(path))
    change(path, "UPDATE session SET unfinished = 5")
    with pytest.raises(AssertionError, match="is damaged"):
        wavebreak("journal", "check", "-j", str(path))


# --- stats and show ---


def test_a_journal_is_told_in_figures(left: Path, closed: Path, journal: Journal) -> None:
    for path in (left, closed):
        _, stats = journal("stats", "-j", path, "--json", "--largest", "3")
        assert stats["sessions"] == MANY + 2
        assert (stats["unfinished"], stats["messages"], stats["running"]) == (1, 2, 1)
        assert stats["deliveries"] == 0
        assert stats["scheduled"] == 3
        assert stats["snapshots"] == 1
        assert stats["unreadable"] == 0
        assert {one["session_id"] for one in stats["largest"]} >= {"ann", "bob"}
        assert len(stats["largest"]) == 3
        assert (stats["wal_bytes"] is None) is (path is closed)
    said = journal("stats", "-j", closed)[1]
    assert "acme/bob" in said


def test_a_session_is_shown_with_its_calls_and_how_they_ended(left: Path, journal: Journal) -> None:
    _, shown = journal("show", "bob", "--tenant", "acme", "-j", left, "--json")
    assert (shown["now"]["turn"], shown["now"]["running"]) == (2, True)
    calls = [
        (line["turn"], line["text"].partition("(")[0], line["effect"], line["outcome"])
        for line in shown["timeline"]
        if line["kind"] == "call"
    ]
    assert calls == [
        (1, "book", "once", "completed"),
        (1, "book", "once", "failed"),
        (2, "book", "once", "completed"),
        (2, "book", "once", "failed"),
        (2, "hold", "idempotent", "open"),
    ]
    said = journal("show", "bob", "--tenant", "acme", "-j", left)[1]
    for words in ("ValueError: no such room", "about wait", "delivered", "later"):
        assert words in said


def test_what_lies_before_a_snapshot_is_shown_from_the_history(
    closed: Path, journal: Journal
) -> None:
    _, shown = journal("show", "ann", "-j", closed, "--last", "0", "--json")
    assert shown["kept_from"] > 1
    replies = [line["text"] for line in shown["timeline"] if "re: " in line["text"]]
    assert replies == ["re: red", "re: blue", "re: green"]
    assert sum(line["kind"] == "call" for line in shown["timeline"]) == 6
    _, last = journal("show", "ann", "-j", closed, "--last", "1", "--json")
    assert {line["turn"] for line in last["timeline"]} - {0} == {3}


def test_a_session_of_another_tenant_is_hinted_at(closed: Path, journal: Journal) -> None:
    status, said = journal("show", "bob", "-j", closed)
    assert status == 1
    assert "--tenant acme" in said
    status, said = journal("show", "nobody", "-j", closed)
    assert status == 1
    assert "has no session 'nobody'" in said


def test_a_session_that_cannot_be_folded_is_shown_with_the_reason(
    closed: Path, journal: Journal
) -> None:
    change(closed, f"DELETE FROM recent WHERE place = {LAST_BUT_ONE}")  # noqa: S608
    _, shown = journal("show", "bob", "--tenant", "acme", "-j", closed, "--json")
    assert shown["now"] is None
    assert "should be: repair it" in shown["trouble"]
    assert shown["timeline"]


# --- export and import ---


def _export(path: Path, to: Path, journal: Journal, status: int = 0) -> list[Any]:
    assert journal("export", "-j", path, "--to", to)[0] == status
    return [json.loads(line) for line in to.read_text("utf-8").splitlines()]


async def test_what_was_exported_is_imported_and_goes_on(
    left: Path, tmp_path: Path, journal: Journal
) -> None:
    lines = _export(left, tmp_path / "a.jsonl", journal)
    assert lines[0]["format"] == "wavebreak-journal"
    assert lines[0]["version"] == 1
    assert lines[-1]["end"]["sessions"] == MANY + 2
    copy = tmp_path / "copy.db"
    status, answer = journal("import", tmp_path / "a.jsonl", "-j", copy, "--json")
    assert status == 0
    assert answer["sessions"] == MANY + 2
    assert journal("check", "--fold", "-j", copy)[0] == 0
    assert _export(copy, tmp_path / "b.jsonl", journal)[1:] == lines[1:]
    started: list[str] = []

    async def agent(turn: Turn) -> str:
        started.append(f"{turn.session_id} {turn.text} {turn.attempt}")
        return "done"

    system = ActorSystem(agent, journal=SqliteJournal(copy), message_types=(OrderShipped,))
    async with system:
        again = await system.session("ann").send("red", message_id="ann-red")
        assert again.duplicate
        reply = (await again.outcome()).reply
        assert reply is not None
        assert reply.text == "re: red"
        await system.session("bob", tenant="acme").outcome("bob-later")
    assert started == ["bob wait 2", "bob later 1"]


def test_one_session_is_exported_to_a_pipe(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    assert command_line.main(["journal", "export", "ann", "-j", str(closed)]) == 0
    lines = [json.loads(line) for line in out.buffer.getvalue().splitlines()]
    sessions = [line["session"]["session_id"] for line in lines if "session" in line]
    assert sessions == ["ann"]


async def test_damaged_rows_are_exported_as_they_are_and_their_session_is_quarantined(
    closed: Path, tmp_path: Path, journal: Journal
) -> None:
    change(closed, f"UPDATE recent SET data = zeroblob(9) WHERE {SECOND}")  # noqa: S608
    lines = _export(closed, tmp_path / "a.jsonl", journal, status=1)
    assert lines[-1]["end"]["damaged"] == 1
    copy = tmp_path / "copy.db"
    assert journal("import", tmp_path / "a.jsonl", "-j", copy)[0] == 1

    async def agent(turn: Turn) -> str:
        return turn.text

    async with ActorSystem(agent, journal=SqliteJournal(copy)) as system:
        assert (await system.session("ann").send("red", message_id="ann-red")).duplicate
        with pytest.raises(SessionFailed):
            await system.session("bob", tenant="acme").send("x")


Lines = list[bytes]

SPOILT: Final[dict[str, tuple[Callable[[Lines], Lines], str]]] = {
    "the end is missing": (lambda lines: lines[:-1], "not whole"),
    "a row is missing": (lambda lines: [*lines[:4], *lines[5:]], "not whole"),
    "the beginning is missing": (lambda lines: lines[1:], "no export"),
    "nothing is there": (lambda _: [], "no export"),
    "it is of a later version": (
        lambda lines: [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]],
        "version 2",
    ),
    "a line is no JSON": (lambda lines: [*lines[:3], b"{...\n", *lines[3:]], "line 4"),
    "a line says nothing": (lambda lines: [*lines[:3], b"7\n", *lines[3:]], "line 4"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_half_an_export_makes_no_journal(
    how: str,
    closed: Path,
    tmp_path: Path,
    journal: Journal,
) -> None:
    file = tmp_path / "a.jsonl"
    _export(closed, file, journal)
    spoil, words = SPOILT[how]
    file.write_bytes(b"".join(spoil(file.read_bytes().splitlines(keepends=True))))
    copy = tmp_path / "made" / "copy.db"
    copy.parent.mkdir()
    status, said = journal("import", file, "-j", copy)
    assert status == 1
    assert words in said
    assert set(traces(copy.parent)) <= {"copy.db-lock"}


def test_nothing_is_imported_beside_the_newest_part_of_another_journal(
    closed: Path, left: Path, tmp_path: Path, journal: Journal
) -> None:
    file = tmp_path / "a.jsonl"
    _export(closed, file, journal)
    left.unlink()
    status, said = journal("import", file, "-j", left)
    assert status == 1
    assert "left.db-wal' is there already" in said
    status, said = journal("check", "-j", left)
    assert status == 1
    assert "put it back beside 'left.db-wal'" in said
    assert not left.exists()


def test_an_export_that_is_not_there_and_a_number_that_cannot_be_are_named(
    closed: Path, tmp_path: Path, journal: Journal
) -> None:
    status, said = journal("import", tmp_path / "a.jsonl", "-j", tmp_path / "new.db")
    assert status == 1
    assert "there is no export" in said
    assert not (tmp_path / "new.db-lock").exists()
    status, said = journal("stats", "--largest", "-1", "-j", closed)
    assert status == 1
    assert "--largest -1: give 0 or more" in said


def test_nothing_is_written_over(closed: Path, tmp_path: Path, journal: Journal) -> None:
    file = tmp_path / "a.jsonl"
    _export(closed, file, journal)
    for arguments in (("export", "-j", closed, "--to", file), ("import", file, "-j", closed)):
        status, said = journal(*arguments)
        assert status == 1
        assert "is there already" in said


# --- compact ---


@pytest.mark.parametrize("keep", [10, 1000])
def test_entries_that_are_kept_behind_a_snapshot_are_shown_and_checked_too(
    keep: int, run: Run, tmp_path: Path, journal: Journal
) -> None:
    path, left = tmp_path / "journal.db", tmp_path / "left.db"
    run(talk(path, left, keep))
    for file in (path, left):
        status, answer = journal("check", "--fold", "-j", file, "--json")
        assert (status, answer["problems"]) == (0, [])
    _, shown = journal("show", "ann", "-j", path, "--last", "0", "--json")
    assert sum(line["kind"] == "call" for line in shown["timeline"]) == 6
    assert (shown["kept_from"] == 1) is (keep == 1000)
    damaged = tmp_path / "damaged.db"
    shutil.copy(path, damaged)
    ann = "(SELECT id FROM session WHERE session_id = 'ann')"
    snapshot = f"(SELECT id FROM snapshot WHERE id >> 32 = {ann})"  # noqa: S608
    change(
        damaged,
        "DELETE FROM entry WHERE id = "  # noqa: S608
        f"(SELECT max(id) FROM entry WHERE id >> 32 = {ann} AND id <= {snapshot})",
    )
    (problem,) = journal("check", "-j", damaged, "--json")[1]["problems"]
    assert problem["session_id"] == "ann"
    assert "is missing" in problem["what"]
    # Compacting keeps as many as it is told to.
    journal("compact", "--keep-entries", "3", "-j", path)
    assert journal("check", "--fold", "-j", path)[0] == 0
    _, shown = journal("show", "ann", "-j", path, "--last", "0", "--json")
    assert sum(line["kind"] == "call" for line in shown["timeline"]) == 6
    before = shown["now"]["position"] - shown["kept_from"] + 1
    assert 0 < before < 8


async def test_a_compacted_journal_is_smaller_and_says_the_same(
    closed: Path, journal: Journal
) -> None:
    status, done = journal("compact", "-j", closed, "--json")
    assert status == 0
    assert done["bytes_after"] < done["bytes_before"]
    assert done["sessions"] == MANY + 2
    assert done["compacted"] == MANY + 1
    assert done["running"] == 1
    assert done["bad"] == []
    assert journal("check", "--fold", "-j", closed)[0] == 0
    again = journal("compact", "-j", closed, "--json")[1]
    assert (again["compacted"], again["dropped"]) == (0, 0)

    async def agent(turn: Turn) -> str:
        return f"anew: {turn.text}"

    system = ActorSystem(agent, journal=SqliteJournal(closed), message_types=(OrderShipped,))
    async with system:
        for number in range(MANY):
            session = system.session(f"s{number}")
            outcome = await (await session.send("red", message_id=f"s{number}")).outcome()
            assert outcome.reply is not None
            assert outcome.reply.text == "re: red", "it is known, and not answered again"
            assert (await (await session.send("more")).outcome()).turn == 2
            texts = [entry.text for entry in await session.history(limit=20)]
            assert "about red" in texts
        await system.session("bob", tenant="acme").outcome("bob-later")


def test_a_session_that_cannot_be_read_is_left_as_it_is(closed: Path, journal: Journal) -> None:
    change(closed, "UPDATE recent SET checksum = 7 WHERE place >> 32 = 1")
    status, done = journal("compact", "-j", closed, "--json")
    assert status == 1
    assert [key["session_id"] for key in done["bad"]] == ["s0"]
    assert done["compacted"] == MANY
    _, answer = journal("check", "-j", closed, "--json")
    assert [problem["session_id"] for problem in answer["problems"]] == ["s0"]


def test_a_disk_without_room_is_told_and_nothing_is_lost(
    closed: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Writer) -> None:
        raise apsw.FullError

    monkeypatch.setattr(Writer, "vacuum", full)
    status, said = journal("compact", "-j", closed)
    assert status == 1
    assert "--no-vacuum" in said
    assert journal("check", "--fold", "-j", closed)[0] == 0
    assert journal("compact", "--no-vacuum", "-j", closed)[0] == 0


def test_a_disk_that_fails_while_it_is_compacted_is_told(
    closed: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Writer, items: object) -> None:
        raise Lost from apsw.IOError("disk I/O error")

    monkeypatch.setattr(Writer, "write", fail)
    status, said = journal("compact", "-j", closed)
    assert status == 1
    assert "cannot be compacted: disk I/O error; nothing is lost" in said
    monkeypatch.undo()
    assert journal("check", "--fold", "-j", closed)[0] == 0


async def test_a_journal_of_which_sessions_were_erased_is_whole_and_so_is_what_begins_anew(
    tmp_path: Path, journal: Journal
) -> None:
    async def agent(turn: Turn) -> str:
        return f"re: {turn.text}"

    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    async with ActorSystem(agent, journal=SqliteJournal(path)) as system:
        for name in ("ann", "bob", "cem"):
            for text in ("red", "blue"):
                await (await system.session(name).send(text)).outcome()
        await system.session("ann").delete()
        await system.session("bob").delete()
        await (await system.session("bob").send("green")).outcome()
    status, said = journal("check", "-j", path, "--fold", "--json")
    assert (status, said["problems"], said["sessions"]) == (0, [], 2)
    lines = _export(path, tmp_path / "lines.jsonl", journal)
    assert [line["session"]["session_id"] for line in lines if "session" in line] == ["cem", "bob"]
    assert journal("import", tmp_path / "lines.jsonl", "-j", copy)[0] == 0
    for one in (path, copy):
        assert journal("compact", "-j", one)[0] == 0
        assert journal("check", "-j", one, "--fold")[0] == 0
        async with ActorSystem(agent, journal=SqliteJournal(one)) as system:
            assert len(await system.session("bob").history()) == 2
            with system.session("ann").events() as stream:
                await (await system.session("ann").send("again")).outcome()
                first = await anext(stream)
            assert first.position is not None
            assert first.position > 10


GOLDEN: Final = Path(__file__).resolve().parent.parent / "journal" / "golden"


async def test_what_an_earlier_version_and_this_one_have_of_a_history_is_one(
    tmp_path: Path, journal: Journal
) -> None:
    """It is in two tables, and of two versions; an import has all of it in one."""
    path, copy = tmp_path / "old.db", tmp_path / "copy.db"
    shutil.copy(GOLDEN / "version-3.db", path)
    done = SessionKey("", "done")

    async def agent(turn: Turn) -> str:
        await turn.wave(book(turn.text))
        return f"new: {turn.text}"

    async def gone_on(one: Path, text: str) -> list[HistoryEntry]:
        """Send some more, look at the end of the history, and give all of it."""
        kept = SqliteJournal(one, snapshot_after=15)
        async with ActorSystem(agent, journal=kept, deliver=RecordingDeliver()) as system:
            for number in range(2):
                await (await system.session("done").send(f"{text} {number}")).outcome()
            entries = list(await kept.history(done, 1000))
            for limit in range(1, len(entries) + 1):
                assert list(await kept.history(done, limit)) == entries[-limit:]
        return entries

    entries = await gone_on(path, "first")
    replies = [entry.text for entry in entries if entry.kind == "reply"]
    assert replies == ["re: a", "re: b", "re: ü", "re: c", "new: first 0", "new: first 1"]
    _, stats = journal("stats", "-j", path, "--json")
    assert stats["rows"]["history"] > 0
    assert stats["rows"]["later_history"] > 0
    assert stats["bytes"]["later_history"] > 0
    assert journal("check", "-j", path, "--fold")[0] == 0
    lines = _export(path, tmp_path / "lines.jsonl", journal)
    versions = [line["version"] for line in lines if line.get("table") == "history"]
    assert set(versions) == {1, 2}
    assert journal("import", tmp_path / "lines.jsonl", "-j", copy)[0] == 0
    for one in (path, copy):
        assert journal("compact", "-j", one)[0] == 0
        more = await gone_on(one, "second")
        assert more[: len(entries)] == entries
        assert [entry.text for entry in more[-1:]] == ["new: second 1"]
        assert journal("check", "-j", one, "--fold")[0] == 0
