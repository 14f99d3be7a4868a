"""Makes the journal that later versions must be able to read: run it once for each version.

    python tests/journal/make_golden.py

It is never made again for a version that has one: what it holds is what was written then.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from wavebreak import (
    ActorSystem,
    AfterWave,
    Attachment,
    Enqueue,
    Now,
    Reply,
    SessionMessage,
    SqliteJournal,
    Turn,
    UserMessage,
    tool,
)
from wavebreak.journal.database import opened
from wavebreak.journal.schema import SCHEMA_VERSION
from wavebreak.testing import RecordingDeliver, gate, run

FOLDER: Final = Path(__file__).with_name("golden")


class Order(SessionMessage):
    """A message of a program's own."""

    order: int


class Last(BaseModel):
    """The state of a session."""

    text: str = ""


async def make(path: Path) -> None:
    """Hold conversations in which all that can happen has happened, and leave in their middle."""
    hold = gate("hold")
    held = hold.tool("held", effect="read")

    @tool
    async def book(room: str) -> dict[str, str]:
        if room == "none":
            message = "no such room"
            raise ValueError(message)
        return {"room": room}

    async def draw() -> int:
        return 7

    async def agent(turn: Turn) -> str | Reply:
        turn.say(f"about {turn.text}")
        await turn.step(draw)
        await turn.settle(book(turn.text or "none"), book("none"))
        turn.save(Last(text=turn.text))
        if turn.text == "wait":
            await turn.wave(held())
        return Reply(text=f"re: {turn.text}", data={"turn": turn.number})

    deliver = RecordingDeliver()
    system = ActorSystem(
        agent,
        journal=SqliteJournal(path, snapshot_after=15),
        deliver=deliver,
        message_types=(Order,),
        version="golden",
        close_within=0,
    )
    async with system:
        done, stopped, left = (system.session(name) for name in ("done", "stopped", "left"))
        for text in ("a", "b", "ü"):
            outcome = await (await done.send(text, message_id=f"done-{text}")).outcome()
            assert outcome.reply is not None, outcome
        await stopped.send("wait", message_id="s1")
        await hold.reached(1)
        await stopped.send("over", message_id="s2", policy=Now())
        await asyncio.sleep(10)
        await system.session("later").send_later(
            "tea", at=datetime(2900, 1, 1, tzinfo=UTC), message_id="t1", policy=Now(grace=1.0)
        )
        await left.send(Order(order=7), message_id="l0")
        await asyncio.sleep(1)
        await left.send("wait", message_id="l1", policy=AfterWave(), deadline=1e9)
        await hold.reached(2)
        await left.send(
            UserMessage(
                text="later",
                message_id="l2",
                sender="ann",
                attachments=(Attachment(url="https://example.org/a.png"),),
                metadata={"from": ["x", 1, None]},
            ),
            policy=Enqueue(),
        )
        deliver.hang()
        await (await done.send("c", message_id="done-c")).outcome()
        await asyncio.sleep(1)
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            shutil.copy(source, FOLDER / f"version-{SCHEMA_VERSION}.db{suffix}")
        copy = opened(FOLDER / f"version-{SCHEMA_VERSION}.db")
        copy.execute("UPDATE about SET value = 0 WHERE name = 'open'")  # all of it is in one file
        copy.close()
        deliver.let_go()
        hold.let_go()


if __name__ == "__main__":
    if (FOLDER / f"version-{SCHEMA_VERSION}.db").exists():
        sys.exit("there is one of this version: what was written then is not made again")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run(make(Path(folder) / "journal.db"))
