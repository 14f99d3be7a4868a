"""What is remembered of a session for models and people: who said what, in order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import (
    BeforeValidator,
    SerializeAsAny,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic_core import to_json

from .entries import Line, Progressed
from .message import Reply, SessionMessage, of_its_class
from .model import Frozen
from .reasons import Reason, TurnOutcome
from .records import CallRecord


class HistoryKind(StrEnum):
    """What a history entry is."""

    MESSAGE = "message"
    CALL = "call"
    """A tool was called; its result follows behind the calls of its wave."""
    RESULT = "result"
    """What a call came to; exactly one for each call."""
    SAID = "said"
    COURTESY = "courtesy"
    """Words of the session itself."""
    ASIDE = "aside"
    """The answer to the message before it, that was given beside the turns."""
    STREAMED = "streamed"
    """As much of a reply as was streamed, or heard, before its turn was cut short."""
    REPLY = "reply"
    ENDED = "ended"
    """Why a turn ended without a reply; nobody said that, it is for who reads."""
    WORK = "work"
    """Only in a journal: the calls of a turn, as they were recorded."""
    CORRECTION = "correction"
    """Only in a journal: what became known of an entry when it had been written."""


_LOG: Final = TypeAdapter(tuple[Progressed, ...])


def _as_text(log: Any) -> Any:
    return to_json(log, inf_nan_mode="constants").decode() if isinstance(log, list) else log


class Work(NamedTuple):
    """The calls of a turn as they were recorded, and what is needed to say how they ended.

    As a text they take 3 KB for a turn of 5 waves of 2 calls; as objects they took 9 KB, all of it
    for the garbage collector to walk over.

    Args:
        log: waves and ends of calls, in order, in their JSON form. Where it is written down as a
            part of what is JSON already it need not be a text.
        senders: whose messages the turn worked on.
        attempt: the last attempt of the turn.
        wave: the last wave of that attempt.
        reason: why the turn ended without a reply; None if it has one.
        stopped_at: when it was told to stop, in seconds since the epoch; None if it was not.
    """

    log: Annotated[str, BeforeValidator(_as_text)]
    senders: tuple[str | None, ...] = ()
    attempt: int = 1
    wave: int = 0
    reason: Reason | None = None
    stopped_at: float | None = None

    def entries(self) -> tuple[Progressed, ...]:
        """The waves and ends of calls."""
        return _LOG.validate_json(self.log)


def as_log(lines: Iterable[Line]) -> str:
    """Waves and ends of calls as :class:`Work` keeps them."""
    return f"[{b','.join(lines).decode()}]"


class HistoryEntry(Frozen):
    """One entry of a session's history.

    Args:
        turn: the turn it belongs to; 0 for none.
        text: its words, as a model should read them.
        message_type: the name of the message's class; empty if there is none.
        message: the message, for a ``message``.
        reply: the reply, for a ``reply``; as it was sent, also when less of it was heard.
        call: the call's record, for a ``call`` and its ``result``.
        outcome: how the turn ended, for ``ended``.
        reason: why, for ``ended``.
        work: the calls, for ``work``.
        heard: how many characters of the turn's words were heard, for a ``correction``.
        interrupted: whether it comes from a turn that was cut short after it, or in it.
        at: seconds since the epoch.
    """

    kind: HistoryKind
    turn: int
    text: str
    message_type: str = ""
    message: SerializeAsAny[SessionMessage] | None = None
    reply: Reply | None = None
    call: CallRecord | None = None
    outcome: TurnOutcome | None = None
    reason: Reason | None = None
    work: Work | None = None
    heard: int | None = None
    interrupted: bool = False
    at: float

    @field_validator("message", mode="before")
    @classmethod
    def _of_its_class(cls, message: object, info: ValidationInfo) -> object:
        if message is None:
            return None
        return of_its_class(message, info.data.get("message_type", ""), info)


class WrittenHistory(Sequence[HistoryEntry]):
    """Entries of a history that are made when somebody reads them, and can be written down before.

    A journal on disk writes what every turn adds, and mostly nobody has read it by then.
    """

    __slots__ = ()

    @abstractmethod
    def as_json(self) -> bytes:
        """The JSON array of the entries."""
