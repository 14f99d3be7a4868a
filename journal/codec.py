"""How a journal on disk writes entries down: JSON, with the schema's version and a checksum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar
from zlib import crc32

from pydantic import TypeAdapter
from pydantic_core import to_json

from ..messages.entries import AnyEntry, Entry, Line, Progressed, read_entry
from ..messages.errors import JournalCorrupt
from ..messages.history import HistoryEntry, WrittenHistory
from ..messages.message import SessionMessage

T = TypeVar("T")

VERSION: Final = 2
"""Of what is in a row. A later version reads what this one wrote, or refuses it by this number.

In 1 the calls of a turn were a text within its history, and in 2 they are JSON as all else is."""

READABLE: Final = frozenset({1, VERSION})


class Row:
    """A row that was read: what it says, and what shows that it says what was written.

    Args:
        row_id: its place; part of the checksum, so that a row in another place is noticed.
    """

    __slots__ = ("checksum", "data", "row_id", "version")

    def __init__(self, row_id: int, version: int, checksum: int, data: bytes) -> None:
        self.row_id = row_id
        self.version = version
        self.checksum = checksum
        self.data = data


def checksum_of(row_id: int, data: bytes) -> int:
    """The checksum of a row."""
    return crc32(data, (row_id ^ (row_id >> 32)) & 0xFFFFFFFF)


def checked(row: Row, what: str) -> bytes:
    """What a row says.

    Raises:
        JournalCorrupt: it is not what was written, or of a version that is not known.
    """
    if row.version not in READABLE:
        msg = (
            f"{what} at {row.row_id & 0xFFFFFFFF} was written in version {row.version}, and this "
            f"wavebreak reads {VERSION}: open it with the wavebreak that wrote it"
        )
        raise JournalCorrupt(msg)
    if checksum_of(row.row_id, row.data) != row.checksum:
        msg = (
            f"{what} at {row.row_id & 0xFFFFFFFF} is not what was written: its checksum differs; "
            "restore it from a backup"
        )
        raise JournalCorrupt(msg)
    return row.data


class Codec:
    """Entries and history as bytes, and back.

    Args:
        message_types: the program's own classes of messages, by name.
    """

    def __init__(self, message_types: Mapping[str, type[SessionMessage]]) -> None:
        self._context = {"message_types": message_types}
        self._entries: TypeAdapter[list[Entry]] | None = None  # made when there are some to read
        self._history: TypeAdapter[list[HistoryEntry]] | None = None

    def entries(self, entries: Sequence[Entry]) -> bytes:
        """The bytes of some entries of one session."""
        parts = [
            entry.line if isinstance(entry, Progressed) else to_json(entry) for entry in entries
        ]
        return b"[" + b",".join(parts) + b"]"

    def history(self, entries: Sequence[HistoryEntry]) -> bytes:
        """The bytes of some entries of one session's history."""
        if isinstance(entries, WrittenHistory):  # as those of most turns are
            return entries.as_json()
        return to_json(list(entries))

    def read_entries(self, rows: Sequence[Row], what: str) -> list[Entry]:
        """What :meth:`entries` wrote, row after row.

        Raises:
            JournalCorrupt: it cannot be read.
        """
        read: list[Entry] = []
        others: list[bytes] = []
        for row in rows:
            data = checked(row, what)[1:-1]
            entry = read_entry(Line(data)) if data.startswith(b"[") else None
            if entry is None:
                others.append(data)
                continue
            if others:
                read += self._decode(others, what)
                others = []
            read.append(entry)
        return read + self._decode(others, what) if others else read

    def _decode(self, entries: list[bytes], what: str) -> list[Entry]:
        """What was written in some rows; all in one go: a third less than row by row."""
        if self._entries is None:
            self._entries = TypeAdapter(list[AnyEntry])
        return self._decoded(self._entries, b"[" + b",".join(entries) + b"]", what)

    def read_history(self, row: Row, what: str) -> list[HistoryEntry]:
        """What :meth:`history` wrote.

        Raises:
            JournalCorrupt: it cannot be read.
        """
        if self._history is None:
            self._history = TypeAdapter(list[HistoryEntry])
        return self._read(self._history, row, what)

    def _read(self, adapter: TypeAdapter[T], row: Row, what: str) -> T:
        return self._decoded(adapter, checked(row, what), what)

    def _decoded(self, adapter: TypeAdapter[T], data: bytes, what: str) -> T:
        try:
            return adapter.validate_json(data, context=self._context)
        except ValueError as error:
            msg = f"{what} cannot be read: {error}"
            raise JournalCorrupt(msg) from error
