"""What is kept of a session that was erased: above which positions a new one begins.

A number, under a hash of the session's key. After a while the hash goes, too: the number is then
only part of the highest of them all, above which every session begins that is new.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from .rows import TABLES
from .schema import POSITIONS

if TYPE_CHECKING:
    from ..messages.ids import SessionKey
    from .database import Database

KEPT: Final = 30 * 86_400.0
"""Seconds that the number of a session is kept by itself.

With one number for all, a session that is begun, erased and begun again counts on from where any
other was erased; so that happens no more than once in this time, and there is room for ages.
"""

_FLOOR_OF: Final = (
    "SELECT floor FROM erased WHERE name = ? "
    "UNION ALL SELECT value FROM about WHERE name = 'floor' LIMIT 1"
)

_AT_ONCE: Final = 1000
"""Numbers that are put together in one transaction."""


def salt_of(connection: Database) -> bytes:
    """What makes a journal's hashes its own."""
    salt: bytes = connection.execute("SELECT value FROM about WHERE name = 'salt'").get
    return salt


def name_of(key: SessionKey, salt: bytes) -> bytes:
    """The hash of a session's key."""
    tenant, session_id = (part.encode() for part in key)
    text = b"%d:%b%b" % (len(tenant), tenant, session_id)
    return blake2b(text, digest_size=16, key=salt).digest()


def floor_of(connection: Database, name: bytes) -> int:
    """Above which position a session begins that is not there; 0 if none was ever erased."""
    floor: int | None = connection.execute(_FLOOR_OF, (name,)).get
    return floor or 0


def may_begin(connection: Database, name: bytes, floor: int) -> bool:
    """Whether a session that is not there may begin above a position."""
    own: int | None = connection.execute("SELECT floor FROM erased WHERE name = ?", (name,)).get
    if own is not None:
        return floor == own
    # It may have been its own one when the session was looked at.
    return floor <= floor_of(connection, name)


def last_of(connection: Database, session: int, last: int) -> int:
    """A position that none of a session's is above, also if its rows cannot be read.

    Args:
        connection: to the journal.
        session: its id.
        last: its last position, if that is known; else 0.
    """
    bounds = (session * POSITIONS, (session + 1) * POSITIONS - 1)
    found: list[tuple[int, int]] = []
    for table, place in TABLES.items():
        rows: list[Any] = connection.execute(
            f"SELECT {place}, length(data) FROM {table} "  # noqa: S608 - our own words
            f"WHERE {place} BETWEEN ? AND ? ORDER BY {place} DESC LIMIT 1",
            bounds,
        ).fetchall()
        found += ((id_ - bounds[0], size) for id_, size in rows)
    if all(position <= last for position, _ in found):
        return last
    # A row stands for one position or more, but for no more than it has bytes.
    return max(position + size for position, size in found)


def raise_floor(connection: Database, name: bytes, floor: int, at: float) -> None:
    """Note above what a session begins that is begun anew, and forget the oldest hashes."""
    connection.execute("INSERT OR REPLACE INTO erased VALUES (?, ?, ?)", (name, floor, at))
    old: list[Any] = connection.execute(
        "SELECT name, floor FROM erased WHERE at < ? LIMIT ?", (at - KEPT, _AT_ONCE)
    ).fetchall()
    for name_, _ in old:
        connection.execute("DELETE FROM erased WHERE name = ?", (name_,))
    if old:
        raise_floor_of_all(connection, max(floor for _, floor in old))


def raise_floor_of_all(connection: Database, floor: int) -> None:
    """Note above what every session begins that is new."""
    if floor:
        connection.execute(
            "INSERT INTO about VALUES ('floor', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
            (floor,),
        )


def highest_floor(connection: Database) -> int:
    """Above what a session could begin that nobody knows the floor of; 0 if none was erased."""
    if connection.pragma("user_version") == 1:
        return 0  # as it was before sessions could be erased
    floor: int | None = connection.execute(
        "SELECT max(floor) FROM (SELECT floor FROM erased "
        "UNION ALL SELECT value FROM about WHERE name = 'floor')"
    ).get
    return floor or 0
