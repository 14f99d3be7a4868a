"""The witness: a file of its own, synced at every line, that knows nothing of the framework."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from pathlib import Path

Message = tuple[str, str]
"""A session and a message of it."""

Call = tuple[str, int, str]
"""A session, a turn of it, and a call of that turn with its arguments."""


_TORN: Final = b"\tand here it was killed\n"
"""Ends a line that a process was killed in; no other has a tab."""


class Witness:
    """Writes down what happened in the world, one line for each thing, before anything follows.

    Args:
        path: of the file; it is appended to.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, _TORN)  # nothing followed on what the one before had half written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def note(self, *what: str | int | bool | None) -> None:
        """Write a line; it is on the disk when this returns."""
        os.write(self._file, json.dumps(what).encode() + b"\n")
        os.fdatasync(self._file)


class Account:
    """What the witness has written, read from time to time; and what is wrong with it.

    Args:
        path: of the witness's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.accepted: set[Message] = set()
        self.ended: dict[Message, tuple[str, str | None]] = {}
        self.deliveries: dict[str, tuple[str, ...]] = {}
        self.replies: dict[Message, str] = {}
        self.calls = 0
        self.carried_on = 0
        self.problems: list[str] = []
        self._named: dict[tuple[str, str], Call] = {}
        self._recorded: set[Call] = set()
        self._once: Counter[tuple[str, str]] = Counter()
        self._started: defaultdict[Call, int] = defaultdict(int)

    def read(self) -> None:
        """Read on, as far as there are whole lines."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the process was killed while it wrote
                self._offset += len(line)
                if line.endswith(_TORN):
                    continue
                kind, *what = json.loads(line)
                getattr(self, f"_{kind}")(*what)

    def _is_accepted(self, session: str, message: str) -> None:
        self.accepted.add((session, message))

    def _starts(self, session: str, call_id: str, call: str, once: bool) -> None:
        self.calls += 1
        key = (session, int(call_id.partition(".")[0]), call)
        self._named[session, call_id] = key
        if key in self._recorded:
            self.problems.append(f"{key} ran again although its end was durable")
        if self._started[key]:
            self.carried_on += 1
        self._started[key] += 1
        if once:
            self._once[session, call] += 1
            if self._once[session, call] > 1:
                self.problems.append(f"{key} was started twice, and must be once at most")

    def _is_recorded(self, session: str, call_id: str) -> None:
        self._recorded.add(self._named.pop((session, call_id)))

    def _is_delivered(self, session: str, delivery: str, text: str, *answers: str) -> None:
        before = self.deliveries.setdefault(delivery, (text, *answers))
        if before != (text, *answers):
            self.problems.append(f"delivery {delivery} was {before}, and then {text!r}")
        for message in answers:
            if self.replies.setdefault((session, message), delivery) != delivery:
                self.problems.append(f"{session} {message} was answered by two deliveries")

    def _has_ended(self, session: str, message: str, status: str, text: str | None) -> None:
        before = self.ended.setdefault((session, message), (status, text))
        if before != (status, text):
            self.problems.append(f"{session} {message} ended as {before}, then {(status, text)}")

    def close(self) -> Summary:
        """Say what there was, and what is wrong when nothing more can come."""
        self.read()
        lost = sorted(self.accepted - self.ended.keys())
        answered = {key for key, (status, _) in self.ended.items() if status == "answered"}
        problems = [
            *self.problems,
            *(f"{message} was accepted, and never ended" for message in lost),
            *(f"{key} was answered, and not delivered" for key in answered - self.replies.keys()),
            *(f"{key} ended as {end}" for key, end in self.ended.items() if end[0] != "answered"),
        ]
        return Summary(
            len(self.accepted),
            len(lost),
            len(answered),
            len(self.deliveries),
            self.calls,
            self.carried_on,
            problems,
        )


class Summary(NamedTuple):
    """What came of it.

    Args:
        accepted: messages.
        lost: of these, those that never ended.
        answered: messages.
        deliveries: different ones.
        calls: starts of tools.
        made_again: starts of a call that had been started before, and of which no end was known.
        problems: what is wrong.
    """

    accepted: int
    lost: int
    answered: int
    deliveries: int
    calls: int
    made_again: int
    problems: list[str]
