"""One run of ``durable.py`` on a journal with many conversations, in a process of its own.

    python benchmarks/durable_at_rest.py SESSIONS EVENTS

With EVENTS, each session was in the middle of a turn with so many events, and runs again at the
start; without, each has been answered and rests.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavebreak import ActorSystem, SqliteJournal, UserMessage
from wavebreak.actors.machine.stored import StateForm
from wavebreak.benchmarks.hotpath_job import peak_mb
from wavebreak.messages.entries import Progressed
from wavebreak.messages.events import (
    MessageAccepted,
    MessageEnded,
    SessionOpened,
    TurnEnded,
    TurnStarted,
)
from wavebreak.messages.ids import CallId, Fence, IdempotencyKey, SessionKey
from wavebreak.messages.message import Reply
from wavebreak.messages.policies import AfterWave
from wavebreak.messages.reasons import CallStatus, Effect, MessageStatus, TurnOutcome
from wavebreak.messages.records import CallDone, CallStarted

if TYPE_CHECKING:
    from wavebreak import Turn
    from wavebreak.messages.entries import Entry

IN_A_PROGRESS = 4
"""Events of one entry of a turn that goes on: two calls end, a wave ends, another begins."""


def conversation(key: SessionKey, events: int) -> list[Entry]:
    """What a journal has of a session, at rest or in the middle of a turn."""
    tenant, session_id = key
    common: dict[str, Any] = {"tenant": tenant, "session_id": session_id, "at": 1.0}
    began: list[Entry] = [
        SessionOpened(position=1, epoch=1, uid=session_id, **common),
        MessageAccepted(
            position=2,
            message_type="UserMessage",
            message=UserMessage(message_id="m", text="a question of some length, as people write"),
            policy=AfterWave(),
            fingerprint="f" * 32,
            **common,
        ),
        TurnStarted(position=3, turn=1, message_ids=("m",), **common),
    ]
    if events:
        return [*began, *(_progress(number) for number in range(events // IN_A_PROGRESS))]
    return [
        *began,
        TurnEnded(
            position=4,
            turn=1,
            outcome=TurnOutcome.FINISHED,
            reply=Reply(text="an answer of some length, as models write"),
            **common,
        ),
        MessageEnded(position=5, turn=1, message_id="m", status=MessageStatus.ANSWERED, **common),
    ]


def _progress(number: int) -> Progressed:
    names = [CallId(f"1.1.{number + 1}.{place}") for place in (1, 2)]
    calls = tuple(
        CallStarted(
            *(name, "look", "", {"where": name}, Effect.READ, False, None, True),
            IdempotencyKey(name),
        )
        for name in names
    )
    before = [CallId(f"1.1.{number}.{place}") for place in (1, 2)] if number else []
    done = tuple(
        CallDone(number, name, "look", CallStatus.COMPLETED, {"found": ["a", "b"]})
        for name in before
    )
    position = 4 if not number else 5 + IN_A_PROGRESS * (number - 1)
    return Progressed(position, 1.0, Fence(1, 1, 1), done, number, number + 1, calls)


async def fill(path: Path, sessions: int, events: int) -> None:
    """Make the journal."""
    journal = SqliteJournal(path, "NORMAL", most_pending=1 << 40)
    journal.bind({}, StateForm({}))
    await journal.open()
    for number in range(sessions):
        key = SessionKey("", f"session-{number}")
        # In rows as a system writes them: one for each report of a runtime.
        entries = conversation(key, events)
        for first, last in [(0, 1), (1, 3), *((n, n + 1) for n in range(3, len(entries)))]:
            journal.append(key, entries[first:last])
        if number % 2_000 == 0:
            await journal.load(key)
    await journal.close()


async def start(path: Path, sessions: int, events: int) -> dict[str, float]:
    """Start a system on it, and have a message answered, or all turns that were left."""
    answered, size = 0, os.stat(path).st_size  # noqa: PTH116 - nothing runs yet
    done = asyncio.Event()

    async def agent(turn: Turn) -> str:
        nonlocal answered
        answered += 1
        if answered == sessions:
            done.set()
        return turn.text

    began, cpu = time.perf_counter(), time.process_time()
    async with ActorSystem(agent, journal=SqliteJournal(path)) as system:
        started = time.perf_counter() - began
        if events:
            await done.wait()
        else:
            session = system.session(f"session-{sessions // 2}")
            await (await session.send("and more")).outcome()
        seconds = time.perf_counter() - began
        cpu = time.process_time() - cpu
    return {
        "conversations": sessions,
        "seconds_to_start": round(started, 3),
        "seconds_until_answered": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "peak_mb": round(peak_mb()),
        "journal_mb": size >> 20,
    }


def main() -> None:
    """Make the journal in one process, start on it in another: its memory is what is told."""
    sessions, events = int(sys.argv[1]), int(sys.argv[2])
    if sys.argv[3:]:
        print(json.dumps(asyncio.run(start(Path(sys.argv[3]), sessions, events))))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        path = Path(folder, "journal.db")
        asyncio.run(fill(path, sessions, events))
        subprocess.run([sys.executable, __file__, *sys.argv[1:3], str(path)], check=True)  # noqa: S603


if __name__ == "__main__":
    main()
