"""What one sees of the concierge: the chat, the waves, what stops and what is carried over."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from wavebreak import (
    MessageStatus,
    StopRequested,
    TurnEnded,
    TurnOutcome,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)
from wavebreak.examples.concierge_typing import Typing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from wavebreak import ActorSystem, Delivery, Receipt, Session

WELCOME = (
    "[bold]A hotel concierge whom you can interrupt.[/]\n"
    "It works in waves of calls: it understands what you wrote, searches, asks every hotel for a "
    "room and a price, and answers. Write while it works: it ends its wave, keeps what it has "
    "found out, and goes on with that and everything you wrote.\n"
)
HINT = (
    "Try [green]a hotel in Lisbon from friday, 3 nights[/], and while it works "
    "[green]with a pool, please[/]; then [green]hold the cheapest[/]. "
    "[green]stop[/] stops it; Ctrl-D or [green]quit[/] leaves.\n"
)

PROMPT = "you       "

# What the guest of the script says, and when: during the wave of that number, or after the reply.
SCRIPT: tuple[tuple[str, int | None], ...] = (
    ("Hello! A hotel in Lisbon from 9 June for 3 nights, please, under 250 a night.", None),
    ("With a pool, please.", 3),
    ("Hold the cheapest of them.", None),
    ("Wait, it must have breakfast.", 4),
    ("Thanks, that is all.", None),
)


class Screen:
    """Tells what happens, line by line, in plain words."""

    def __init__(self) -> None:
        self.above: Callable[[], AbstractContextManager[None]] = nullcontext
        self._console = Console(highlight=False)
        self._waves: asyncio.Queue[int] = asyncio.Queue()

    def print(self, words: str) -> None:
        """Show a line, above what is being typed."""
        with self.above():
            self._console.print(words)

    async def deliver(self, delivery: Delivery) -> None:
        """Show the guest a reply: this is the way replies reach users."""
        self.print(f"[bold cyan]concierge[/] {escape(delivery.reply.text)}\n")

    def watch(self, system: ActorSystem) -> None:
        """Show what the system's sessions do; programs need none of this."""
        system.on(TurnStarted, self._turn_started)
        system.on(WaveStarted, self._wave_started)
        system.on(WaveEnded, self._wave_ended)
        system.on(StopRequested, self._stop_requested)
        system.on(TurnEnded, self._turn_ended)

    def guest(self, text: str) -> None:
        """Show what the script's guest writes."""
        self.print(f"[bold green]{PROMPT}[/]{escape(text)}")

    async def wave(self, number: int) -> None:
        """Wait until a wave of that number begins."""
        while await self._waves.get() != number:
            pass

    def _turn_started(self, event: TurnStarted) -> None:
        messages = len(event.message_ids)
        self._note(
            f"turn {event.turn} begins" + (f", on {messages} messages" if messages > 1 else "")
        )

    def _wave_started(self, event: WaveStarted) -> None:
        started = _counted(call.tool for call in event.calls if call.answered_from is None)
        carried = _counted(call.tool for call in event.calls if call.answered_from is not None)
        words = f"wave {event.wave} begins: {started or 'nothing to start'}"
        self._note(f"{words}; [yellow]carried over: {carried}[/]" if carried else words)
        self._waves.put_nowait(event.wave)

    def _wave_ended(self, event: WaveEnded) -> None:
        self._note(f"wave {event.wave} has ended")

    def _stop_requested(self, event: StopRequested) -> None:
        why = "you wrote again" if event.by else "you said stop"
        what = "nothing runs" if event.turn is None else f"turn {event.turn} ends with its wave"
        self._note(f"[yellow]{why}: {what}[/]")

    def _turn_ended(self, event: TurnEnded) -> None:
        if event.outcome is TurnOutcome.FINISHED:
            return
        kept = len(event.partial_results.completed) if event.partial_results else 0
        words = f"turn {event.turn} has ended: {event.outcome} {event.detail}".rstrip()
        self._note(f"[yellow]{escape(words)}; the results of {kept} calls are kept[/]")

    def _note(self, words: str) -> None:
        self.print(f"[dim]          · {words}[/]")


async def play_script(session: Session, screen: Screen) -> None:
    """Play a conversation with interruptions in the middle of a wave.

    Raises:
        RuntimeError: a message was not answered.
    """
    screen.print(WELCOME)
    sent: list[Receipt] = []
    for text, during in SCRIPT:
        if during is None:
            await _answered(sent)
        else:
            await screen.wave(during)
        screen.guest(text)
        sent.append(await session.send(text))
    await _answered(sent)


async def _answered(receipts: Iterable[Receipt]) -> None:
    for receipt in receipts:
        outcome = await receipt.outcome()
        if outcome.status is not MessageStatus.ANSWERED:
            msg = f"a message was not answered: {outcome.status} {outcome.error}"
            raise RuntimeError(msg)


async def chat(session: Session, screen: Screen) -> None:
    """Talk with whoever sits at the terminal, who may write at any time."""
    screen.print(f"{WELCOME}\n{HINT}")
    typing = Typing(PROMPT)
    screen.above = typing.above
    async with aclosing(typing.lines()) as lines:
        async for line in lines:
            words = line.strip()
            if words in {"quit", "exit"}:
                break
            if words == "stop":
                await session.stop(reason="the guest said so")
            elif words:
                await session.send(words)
    screen.above = nullcontext
    screen.print("[dim]Good-bye.[/]")


def _counted(names: Iterable[str]) -> str:
    return ", ".join(
        name if count == 1 else f"{count} x {name}" for name, count in Counter(names).items()
    )
