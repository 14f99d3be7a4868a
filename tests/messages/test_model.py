from __future__ import annotations

import pytest
from pydantic import ValidationError

from wavebreak.messages.history import HistoryEntry, HistoryKind
from wavebreak.messages.message import Attachment
from wavebreak.messages.model import Frozen


class Point(Frozen):
    x: int
    y: int = 0


def test_what_is_frozen_cannot_be_changed_and_takes_no_other_field() -> None:
    point = Point(x=1)
    with pytest.raises(ValidationError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Point(x=1, z=3)  # type: ignore[call-arg]


def test_what_is_made_in_trust_is_like_what_is_made_with_care() -> None:
    careful, trusted = Point(x=1, y=2), Point.trusted({"x": 1, "y": 2})
    assert trusted == careful
    assert hash(trusted) == hash(careful)
    assert repr(trusted) == repr(careful)
    assert trusted.model_dump() == careful.model_dump()
    assert trusted.model_dump_json() == careful.model_dump_json()
    assert trusted.model_copy(update={"x": 5}) == Point(x=5, y=2)
    assert trusted.model_fields_set == careful.model_fields_set
    with pytest.raises(ValidationError):
        trusted.x = 3  # type: ignore[misc]


def test_what_is_made_in_trust_is_not_looked_at() -> None:
    assert Attachment.trusted({"url": None, "media_id": None}).url is None


def test_an_entry_of_the_history_says_what_it_is_from() -> None:
    entry = HistoryEntry(kind=HistoryKind.SAID, turn=1, text="one moment", at=1.0)
    assert not entry.interrupted
    assert entry.message is None
    assert entry.reply is None
