"""apsw's connection as the journal uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class Rows(Protocol):
    """What a statement gives."""

    @property
    def get(self) -> Any:
        """The only value of the only row; None when there is no row."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection. A protocol of our own, for apsw's names a type that Python 3.11 has not."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, statements: str, bindings: Sequence[Any] | None = None, /) -> Rows:
        """Run statements."""
        ...

    def pragma(self, name: str, value: str | int | None = None, /) -> Any:
        """Set a pragma, or ask for it."""
        ...

    def config(self, op: int, value: int, /) -> int:
        """Set an option of the connection."""
        ...

    def changes(self) -> int:
        """Rows that the last statement changed."""
        ...

    def set_busy_timeout(self, milliseconds: int, /) -> None:
        """How long a statement waits for another connection's lock."""
        ...

    def set_wal_hook(self, callable: Callable[..., int] | None, /) -> None:  # noqa: A002 - apsw's
        """Be told of the pages in the ``-wal`` file after every commit."""
        ...

    def wal_checkpoint(self, dbname: str | None = None, mode: int = 0) -> tuple[int, int]:
        """Move what is in the ``-wal`` file into the main one."""
        ...

    def release_memory(self) -> None:
        """Keep as little of the file in memory as possible."""
        ...

    def close(self, force: bool = False) -> None:
        """Let go of the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> bool | None: ...


def opened_at_rest(path: Path, vfs: str | None = None) -> Database:
    """A connection to a file that nobody writes to; it locks nothing, and makes no other file.

    Raises:
        apsw.Error: SQLite cannot open it.
    """
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection: object = apsw.Connection(
        f"{path.absolute().as_uri()}?immutable=1", flags=flags, vfs=vfs
    )
    return cast("Database", connection)


def opened(path: Path, vfs: str | None = None, *, read_only: bool = False) -> Database:
    """A connection to a file.

    Raises:
        apsw.Error: SQLite cannot open it.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection: object = apsw.Connection(
        str(path), flags=apsw.SQLITE_OPEN_READONLY if read_only else flags, vfs=vfs
    )
    return cast("Database", connection)
