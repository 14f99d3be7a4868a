"""A chat in the terminal: what one writes goes out at once, and what happens is shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from .terminal import text_of

if TYPE_CHECKING:
    from .client import Client


def _lines() -> asyncio.Queue[str | None]:
    """The lines of standard input as they come; None at its end."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.strip())
        loop.call_soon_threadsafe(lines.put_nowait, None)

    # A daemon: nothing else ends a thread that waits for somebody to write.
    threading.Thread(target=read, name="wavebreak-stdin", daemon=True).start()
    return lines


async def talk(client: Client, session: str) -> None:
    """Talk until the end of the input; what is under way then is waited for.

    Raises:
        ServiceError: the service refused, or is not there.
    """
    console = Console(highlight=False)
    path = f"/v1/sessions/{quote(session, safe='')}"
    open_messages: set[str] = set()
    idle = asyncio.Event()
    idle.set()

    async def show() -> None:
        async with contextlib.aclosing(client.events(f"{path}/events")) as events:
            async for event in events:
                data = json.loads(event.data)
                words = _words(event.event, data)
                if words is not None:
                    console.print(words)
                if event.event == "message_ended":
                    open_messages.discard(data["message_id"])
                    if not open_messages:
                        idle.set()

    shows = asyncio.create_task(show())
    try:
        await _send_lines(client, path, open_messages, idle, shows)
        if not shows.done():
            waits = asyncio.create_task(idle.wait())
            await asyncio.wait({shows, waits}, return_when=asyncio.FIRST_COMPLETED)
            waits.cancel()
        if shows.done():
            shows.result()
    finally:
        shows.cancel()
        await asyncio.gather(shows, return_exceptions=True)


async def _send_lines(
    client: Client,
    path: str,
    open_messages: set[str],
    idle: asyncio.Event,
    shows: asyncio.Task[None],
) -> None:
    lines = _lines()
    while not shows.done():
        reading = asyncio.create_task(lines.get())
        await asyncio.wait({reading, shows}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            reading.cancel()
            return
        line = reading.result()
        if line is None:
            return
        if line:
            sent = await client.post(f"{path}/messages", {"text": line}, wait=0)
            open_messages.add(sent["message_id"])
            known = await client.get(f"{path}/messages/{quote(sent['message_id'], safe='')}")
            if "status" in known:
                open_messages.discard(sent["message_id"])
            else:
                idle.clear()


def _words(kind: str, event: dict[str, Any]) -> Text | None:
    match kind:
        case "wave_started":
            tools = ", ".join(
                f"{call['tool']}{' (carried over)' if call['answered_from'] else ''}"
                for call in event["calls"]
            )
            return Text(f"  wave {event['wave']}: {tools}", style="dim")
        case "said":
            return Text(f"< {event['text']}")
        case "turn_ended" if event["outcome"] == "finished":
            return Text(f"< {text_of(event['reply'])}", style="bold")
        case "turn_ended":
            return Text(f"  the turn was {event['outcome']}", style="yellow")
        case "close":
            return Text(f"  ({event['reason']})", style="dim")
        case _:
            return None
