"""Recorded conversations in the format of the Schema-Guided Dialogue data set.

One file of JSON lines, one JSON list, either of them gzipped, or a folder of the data set's own
``dialogues_*.json``.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

READS = ("Find", "Search", "Get", "Check", "Lookup")
# The data set's schema calls these two transactions, in spite of their names.
BOOKINGS_IN_DISGUISE = frozenset({"GetRide", "GetTrainTickets"})
GZIP_MAGIC = b"\x1f\x8b"


class RecordingError(ValueError):
    """A file that is not a recording, with the place at fault."""


class ServiceCall(NamedTuple):
    """A call of a service as it was recorded, with what the service answered."""

    service: str
    method: str
    parameters: dict[str, Any]
    results: tuple[dict[str, Any], ...]

    @property
    def books(self) -> bool:
        """Whether it changes the world, rather than looks something up."""
        return self.method in BOOKINGS_IN_DISGUISE or not self.method.startswith(READS)

    @property
    def key(self) -> str:
        """What makes two calls equal: method and parameters in a canonical form."""
        return call_key(self.method, self.parameters)


class Exchange(NamedTuple):
    """What the user said, the calls made for it, and what was answered."""

    text: str
    calls: tuple[ServiceCall, ...]
    answer: str


class Conversation(NamedTuple):
    """A conversation, told from the user's side."""

    conversation_id: str
    exchanges: tuple[Exchange, ...]


def call_key(method: str, parameters: dict[str, Any]) -> str:
    """Name a call so that equal calls, and only they, have equal names."""
    return f"{method} {json.dumps(parameters, sort_keys=True, separators=(',', ':'))}"


def load(path: Path) -> list[Conversation]:
    """Read every conversation of a file or of a folder of ``dialogues_*.json``.

    Args:
        path: where the recording is; gzip is noticed by content, not by name.

    Raises:
        RecordingError: when a file is missing, or is not in the data set's format.
    """
    dialogues = [dialogue for file in _files(path) for dialogue in _dialogues(file)]
    conversations = [talk for talk in map(_conversation, dialogues) if talk.exchanges]
    if not conversations:
        msg = f"{path} holds no conversation in which a user says something"
        raise RecordingError(msg)
    return _unique(conversations)


class _Call(BaseModel):
    method: str
    parameters: dict[str, Any] = {}


class _Frame(BaseModel):
    service: str = ""
    service_call: _Call | None = None
    service_results: list[dict[str, Any]] = []


class _Turn(BaseModel):
    speaker: Literal["USER", "SYSTEM"]
    utterance: str
    frames: list[_Frame] = []


class _Dialogue(BaseModel):
    dialogue_id: str
    turns: list[_Turn]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted([*path.glob("dialogues_*.json"), *path.glob("dialogues_*.json.gz")])
    if not files:
        msg = f"the folder {path} has no dialogues_*.json"
        raise RecordingError(msg)
    return files


def _dialogues(path: Path) -> Iterator[_Dialogue]:
    for place, raw in _objects(path, _text(path)):
        try:
            yield _Dialogue.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            msg = f"{path}, {place}: {where or 'the object'}: {first['msg']}"
            raise RecordingError(msg) from error


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        msg = f"cannot read {path}: {error}"
        raise RecordingError(msg) from error


def _objects(path: Path, text: str) -> Iterator[tuple[str, object]]:
    """Every object of the file with words for where it stands."""
    if text.lstrip().startswith("["):
        for number, item in enumerate(_json(path, "the list", text), start=1):
            yield f"dialogue {number}", item
        return
    # Not splitlines(): a dialogue may hold line separators that JSON does not escape.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _json(path, f"line {number}", line)


def _json(path: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"{path}, {place}: not JSON: {error}"
        raise RecordingError(msg) from error


def _conversation(dialogue: _Dialogue) -> Conversation:
    """Give each message of the user the calls of the system's turns that follow it."""
    exchanges: list[Exchange] = []
    for turn in dialogue.turns:
        if turn.speaker == "USER":
            exchanges.append(Exchange(turn.utterance, (), ""))
        elif exchanges:
            last = exchanges[-1]
            answer = f"{last.answer} {turn.utterance}".strip()
            exchanges[-1] = Exchange(last.text, (*last.calls, *_calls(turn.frames)), answer)
    return Conversation(dialogue.dialogue_id, tuple(exchanges))


def _calls(frames: Iterable[_Frame]) -> Iterator[ServiceCall]:
    for frame in frames:
        call = frame.service_call
        if call is not None:
            results = tuple(frame.service_results)
            yield ServiceCall(frame.service, call.method, call.parameters, results)


def _unique(conversations: list[Conversation]) -> list[Conversation]:
    """Tell apart conversations that share an id, as those of several files do."""
    seen: Counter[str] = Counter()
    named: list[Conversation] = []
    for talk in conversations:
        seen[talk.conversation_id] += 1
        again = seen[talk.conversation_id]
        name = talk.conversation_id if again == 1 else f"{talk.conversation_id}#{again}"
        named.append(talk._replace(conversation_id=name))
    return named
