"""An agent that does what a test has written down, instead of what a model would say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..tools.call import ToolCall

if TYPE_CHECKING:
    from ..actors.turn import Turn
    from ..messages.message import Reply
    from ..messages.records import PartialResults

Act = str | ToolCall[Any] | Sequence[ToolCall[Any]] | Callable[["Turn"], Any]
"""One thing to do: say a text, make a call, run a wave, or whatever a function of the turn does."""


class TurnSeen(NamedTuple):
    """A run of a scripted agent.

    Args:
        number: the turn's.
        attempt: the attempt's.
        texts: of its messages.
        previous: what the turns before left.
        results: what each act came to, as far as it got.
    """

    number: int
    attempt: int
    texts: tuple[str, ...]
    previous: PartialResults | None
    results: list[Any]


class ScriptedAgent:
    """Plays one list of acts in each turn; the last one for all that come after.

    The last act of a list is the reply, as a text or as a function that gives it; texts before it
    are said. ``seen`` has the runs.

    Args:
        turns: the acts of each turn, such as ``[search("Rome"), "one moment", "done"]``.

    Raises:
        ValueError: there is no turn, or one without a reply.
    """

    def __init__(self, *turns: Sequence[Act]) -> None:
        if not turns or not all(turns):
            msg = f"{turns!r}: give a list of acts for each turn, of which the last is the reply"
            raise ValueError(msg)
        self.seen: list[TurnSeen] = []
        self._turns = turns

    async def __call__(self, turn: Turn) -> str | Reply:
        """Work on a turn, as the system has it do."""
        acts = self._turns[min(turn.number, len(self._turns)) - 1]
        texts = tuple(message.as_text() for message in turn.messages)
        seen = TurnSeen(turn.number, turn.attempt, texts, turn.previous, [])
        self.seen.append(seen)
        for act in acts[:-1]:
            seen.results.append(await _done(turn, act))
        last = acts[-1]
        reply: str | Reply = last if isinstance(last, str) else await _done(turn, last)
        return reply


async def _done(turn: Turn, act: Any) -> Any:
    if isinstance(act, str):
        return turn.say(act)
    if isinstance(act, ToolCall):
        return await turn.one(cast("Any", act))
    if callable(act):
        result: object = act(turn)
        return await result if inspect.isawaitable(result) else result
    return await turn.wave(*act)
