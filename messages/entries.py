"""What a journal records: events, and what happened to calls in one go, as one entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple, NewType

from pydantic import Discriminator, GetCoreSchemaHandler, Tag
from pydantic_core import core_schema, from_json

from .events import AnyEvent, CallEnded, Event, WaveEnded, WaveStarted
from .ids import CallId, Fence, SessionKey
from .lines import writer_of
from .reasons import CallStatus, Effect
from .records import CallDone, CallError, CallStarted


class _Progress(NamedTuple):
    position: int
    at: float
    fence: Fence
    done: tuple[CallDone, ...] = ()
    wave_done: int = 0
    wave: int = 0
    calls: tuple[CallStarted, ...] = ()


_COMPLETED = CallStatus.COMPLETED

Line = NewType("Line", bytes)
"""A ``Progressed`` as a journal on disk has it; see :attr:`Progressed.line`."""

_write = writer_of(_Progress)


class Progressed(_Progress):
    """A journal entry that stands for several events: what happened to calls in one go.

    Most of what a busy session does is this, so it is kept in the form in which it is reported;
    :meth:`events` says the same in events, for those who look.

    Args:
        position: of its first event; it takes :attr:`span` positions.
        at: seconds since the epoch.
        fence: the attempt it belongs to.
        done: the calls that ended; in an entry of late ends there is nothing else.
        wave_done: the wave of which every call has ended, or 0.
        wave: the wave that begins, or 0.
        calls: the calls of that wave.
    """

    @property
    def line(self) -> Line:
        """The entry as JSON, made once: for the journal, and for who keeps it in memory.

        As bytes they are nothing that the garbage collector has to walk over, again and again: of
        a turn of 5 waves of 2 calls the named tuples would be 37 objects.
        """
        line: Line | None = self.__dict__.get("_line")
        if line is None:
            line = self.__dict__["_line"] = Line(_write(self))
        return line

    @property
    def span(self) -> int:
        """How many events it stands for."""
        return len(self.done) + bool(self.wave_done) + bool(self.wave)

    @property
    def is_late(self) -> bool:
        """Whether it tells of calls that nobody waited for any more."""
        return bool(self.done) and self.done[0].late

    def events(self, key: SessionKey) -> list[Event]:
        """The events it stands for, in order."""
        _, turn, attempt = self.fence
        told: list[tuple[type[Event], dict[str, Any]]] = [
            (
                CallEnded,
                {
                    "call_id": done.call_id,
                    "tool": done.tool,
                    "wave": done.wave,
                    "status": done.status,
                    "result": done.result,
                    "error": done.error,
                    "answered_from": done.answered_from,
                    "late": done.late,
                },
            )
            for done in self.done
        ]
        if self.wave_done:
            told.append((WaveEnded, {"wave": self.wave_done}))
        if self.wave:
            told.append((WaveStarted, {"wave": self.wave, "calls": self.calls}))
        common = {**key._asdict(), "turn": turn, "attempt": attempt, "at": self.at}
        return [
            kind(**common, **fields, position=position)
            for position, (kind, fields) in enumerate(told, self.position)
        ]


Entry = Event | Progressed
"""What a journal records."""


def entry_of(line: Line) -> Progressed:
    """The entry that a line is of."""
    position, at, fence, done, wave_done, wave, calls = from_json(line, cache_strings="keys")
    ends = tuple([_ending(values) for values in done])
    begun = tuple([_beginning(values) for values in calls])
    return Progressed(position, at, _new(Fence, fence), ends, wave_done, wave, begun)


def rows_of(entries: Sequence[Progressed | Line]) -> Sequence[Sequence[Any]]:
    """What entries consist of, field by field: as JSON has it for those that are lines.

    For who takes out of them what it needs, and no objects; all lines are read in one go.
    """
    lines = [entry for entry in entries if isinstance(entry, bytes)]
    if len(lines) < len(entries):
        return [from_json(one) if isinstance(one, bytes) else one for one in entries]
    rows: list[list[Any]] = from_json(b"[%b]" % b",".join(lines), cache_strings="keys")
    return rows


def read_entry(line: Line) -> Progressed | None:
    """The entry that a line is of, which it keeps; None if that is not for sure.

    A row of a journal is mostly one of these, and has a checksum: in half the time that it takes
    to validate it, and nobody has to write it down again. What an older version wrote, with fewer
    values, is another's to read.
    """
    try:
        entry = entry_of(line)
    except (ValueError, TypeError, LookupError):
        return None
    if len(entry.fence) != _FENCE or any(len(end) != _ENDING for end in entry.done):
        return None
    if any(len(call) != _BEGINNING for call in entry.calls):
        return None
    entry.__dict__["_line"] = line
    return entry


_FENCE: Final = len(Fence._fields)
_ENDING: Final = len(CallDone._fields)
_BEGINNING: Final = len(CallStarted._fields)
_STATUSES: Final = {str(status): status for status in CallStatus}
_EFFECTS: Final = {str(effect): effect for effect in Effect}
_new = tuple[Any, ...].__new__  # 0.1 instead of the 0.3 µs of a named tuple's own, 300 in a turn


def _ending(values: list[Any]) -> CallDone:
    """A call's end, of fields as JSON has them."""
    values[3] = _STATUSES[values[3]]
    if values[5] is not None:
        values[5] = CallError(**values[5])
    return _new(CallDone, values)


def _beginning(values: list[Any]) -> CallStarted:
    values[4] = _EFFECTS[values[4]]
    return _new(CallStarted, values)


def completed_by(line: Line) -> list[CallId]:
    """The calls that completed by the entry of a line; of one that was answered, the other."""
    ends = from_json(line, cache_strings="keys")[3]
    return [end[6] or end[1] for end in ends if end[3] == _COMPLETED]


def time_of(line: Line) -> float:
    """When the entry of a line was recorded, in seconds since the epoch."""
    return float(line.split(b",", 2)[1])


def _sort_of(entry: object) -> str:
    return "progressed" if isinstance(entry, list | tuple) else "event"


_KnownEntry = Annotated[
    Annotated[Progressed, Tag("progressed")] | Annotated[AnyEvent, Tag("event")],
    Discriminator(_sort_of),
]


class _AsKnown:
    """To pydantic an event is one of those that there are; to a type checker it is an event."""

    def __get_pydantic_core_schema__(
        self, _: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return handler.generate_schema(_KnownEntry)


AnyEntry = Annotated[Entry, _AsKnown()]
"""Any entry; for decoding. In JSON a ``Progressed`` is an array, an event an object."""


def _as_logged(entry: Entry) -> Event | Line:
    return entry.line if isinstance(entry, Progressed) else entry


class _AsLogged:
    """To pydantic it is any entry of a journal, of which it keeps the line."""

    def __get_pydantic_core_schema__(
        self, _: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            _as_logged, handler.generate_schema(AnyEntry)
        )


Logged = Annotated[Event | Line, _AsLogged()]
"""An entry in a turn's log; in JSON it is that of the journal."""
