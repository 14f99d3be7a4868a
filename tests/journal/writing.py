"""Entries for journals, and what the tests do to a journal's file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from wavebreak import SessionMessage, SqliteJournal, UserMessage
from wavebreak.actors.machine.stored import StateForm
from wavebreak.journal.base import Commit
from wavebreak.journal.database import opened
from wavebreak.messages.entries import Progressed
from wavebreak.messages.events import Event, MessageAccepted, MessageEnded
from wavebreak.messages.ids import CallId, Fence, SessionKey
from wavebreak.messages.policies import AfterWave
from wavebreak.messages.reasons import CallStatus, MessageStatus
from wavebreak.messages.records import CallDone

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from wavebreak.messages.entries import Entry

ANN = SessionKey("", "ann")
BEN = SessionKey("shop", "ben")


def accepted(key: SessionKey, position: int, text: str = "hello") -> MessageAccepted:
    return MessageAccepted(
        tenant=key.tenant,
        session_id=key.session_id,
        position=position,
        at=float(position),
        message_type="UserMessage",
        message=UserMessage(text=text, message_id=f"m{position}"),
        policy=AfterWave(),
    )


def ended(key: SessionKey, position: int, message_id: str) -> MessageEnded:
    return MessageEnded(
        tenant=key.tenant,
        session_id=key.session_id,
        position=position,
        at=float(position),
        message_id=message_id,
        status=MessageStatus.ANSWERED,
    )


def progressed(position: int, result: Any = None) -> Progressed:
    done = CallDone(1, CallId(f"c{position}"), "look", CallStatus.COMPLETED, result)
    return Progressed(position, float(position), Fence(1, 1, 1), (done,))


async def durable(commit: Commit) -> None:
    """Wait for a commit, and raise its error."""
    import asyncio  # noqa: PLC0415

    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    commit.add_done_callback(lambda _: done.set_result(None))
    await done
    if commit.error is not None:
        raise commit.error


def journal_at(path: Path, *types: type[SessionMessage], **options: Any) -> SqliteJournal:
    """A journal that knows how states and messages are written."""
    journal = SqliteJournal(path, **options)
    names = {kind.__name__: kind for kind in types}
    journal.bind(names, StateForm(names))
    return journal


async def entries_of(journal: SqliteJournal, key: SessionKey = ANN) -> list[Entry]:
    return list((await journal.load(key)).entries)


def texts(entries: list[Entry]) -> list[str]:
    return [
        entry.message.as_text()
        for entry in entries
        if isinstance(entry, Event) and isinstance(entry, MessageAccepted)
    ]


def copy(path: Path, to: Path) -> Path:
    """What is on the disk at this moment, as another machine would find it after a kill."""
    to.mkdir()
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, to / source.name)
    return to / path.name


def change(path: Path, sql: str, *values: Any) -> None:
    """Change a journal behind its back."""
    connection = opened(path)
    connection.execute(sql, values)
    assert connection.changes() > 0
    connection.close()
