"""What the outside asks of a session about messages that wait, and about many sessions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ..messages.ids import Fence
    from ..messages.message import MessageOutcome, SessionMessage
    from ..messages.view import SessionView
    from .future import Future
    from .requests import StopRequest, StopResult


class Withdrawal(NamedTuple):
    """What taking a message back came to.

    Args:
        done: whether it waited, and has ended as cancelled.
        turn: the running turn that has it, when it was too late.
        outcome: how it had ended before, when it had.
    """

    done: bool
    turn: int | None = None
    outcome: MessageOutcome | None = None


class Edited(NamedTuple):
    """What editing a message came to.

    Args:
        done: whether its words were replaced: it waited, and nobody had seen it.
        turn: the turn that has seen it, when it was too late; None if the ``aside`` handler has.
        outcome: how it had ended before, when it had.
    """

    done: bool
    turn: int | None = None
    outcome: MessageOutcome | None = None


class ResumeRequest(NamedTuple):
    """Let what was parked go on; a session that has failed reads its journal again."""

    answer: Future[None]


class WithdrawRequest(NamedTuple):
    """Take a message back."""

    message_id: str
    answer: Future[Withdrawal]


class EditRequest(NamedTuple):
    """Put other words in place of a message's."""

    message_id: str
    text: str
    answer: Future[Edited]


class StopIf(NamedTuple):
    """Stop the session if the predicate holds; None is the answer when it does not."""

    predicate: Callable[[SessionView], bool]
    request: StopRequest
    answer: Future[StopResult | None]


class TakeRequest(NamedTuple):
    """Of a turn: give me what I was offered."""

    at: float
    fence: Fence
    taken: asyncio.Future[tuple[SessionMessage, ...]]
