"""How old sessions are: by the time that has passed, and not by what a clock was set to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loguru import logger

if TYPE_CHECKING:
    from .database import Database

PAUSE: Final = 7 * 86_400.0
"""Seconds between two looks that are taken for a pause; more are taken for a clock that was set."""

AT_A_TIME: Final = 20_000
"""Sessions that are looked at in one go."""


def note_time(connection: Database, now: float, *, is_first: bool) -> None:
    """Note that somebody looks at how old sessions are.

    Args:
        connection: in a transaction.
        now: seconds since the epoch.
        is_first: whether that is the first look since the journal was opened; later the clock is
            that of a running process, which cannot be set.

    A clock that was set forward by a year must not delete them all. So when it seems that more time
    has passed than a pause may take, none has: every session is as much younger. Set back, what
    seems to come from the future was used now.
    """
    if is_first:
        _set_back(connection, now)
    connection.execute("INSERT OR REPLACE INTO about VALUES ('looked_at', ?)", (now,))


def _set_back(connection: Database, now: float) -> None:
    last: float | None = connection.execute(
        "SELECT max(at) FROM (SELECT value AS at FROM about WHERE name = 'looked_at' "
        "UNION ALL SELECT max(touched_at) FROM session)"
    ).get
    if last is None:
        return
    if now - last > PAUSE:
        logger.warning(
            "{:.0f} days have passed since the journal was last looked at for what is not used, or "
            "the clock was set: they do not count",
            (now - last) / 86_400,
        )
        connection.execute("UPDATE session SET touched_at = touched_at + ?", (now - last,))
    elif last > now:
        connection.execute("UPDATE session SET touched_at = ?1 WHERE touched_at > ?1", (now,))


def unused(
    connection: Database, after: int, since: float
) -> tuple[list[tuple[str, str]], int | None]:
    """Some of the sessions that nothing waits for and nobody has used since then.

    Returns:
        their keys, and the id to go on after; None at the end.
    """
    rows: list[Any] = connection.execute(
        "SELECT id, tenant, session_id, unfinished = 0 AND touched_at < ? AND NOT EXISTS (SELECT 1 "
        "FROM due WHERE due.id BETWEEN session.id << 32 AND session.id << 32 | 0xFFFFFFFF) "
        "FROM session WHERE id > ? ORDER BY id LIMIT ?",
        (since, after, AT_A_TIME),
    ).fetchall()
    keys = [(tenant, session_id) for _, tenant, session_id, is_unused in rows if is_unused]
    return keys, rows[-1][0] if rows else None
