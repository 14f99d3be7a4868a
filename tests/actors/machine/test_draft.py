from __future__ import annotations

from typing import get_args

import pytest
from pydantic_core import PydanticUndefined

from wavebreak.actors.machine.draft import _DEFAULTS, Draft
from wavebreak.actors.machine.state import Rules, SessionState
from wavebreak.messages.events import AnyEvent, MessageEnded, SessionOpened
from wavebreak.messages.reasons import MessageStatus, Reason

from .driving import KEY, opened


def test_an_event_is_made_with_its_place_and_time_and_folded_at_once() -> None:
    draft = Draft(SessionState(KEY), Rules(), 5.0)
    draft.emit(SessionOpened, epoch=3, uid="u")
    assert draft.entries == [
        SessionOpened(tenant="acme", session_id="s1", position=1, at=5.0, epoch=3, uid="u")
    ]
    assert (draft.state.position, draft.state.epoch, draft.state.uid) == (1, 3, "u")


def test_a_delivery_has_the_id_of_the_event_that_makes_it() -> None:
    state = opened().state
    assert Draft(state, Rules(), 5.0).delivery_id() == f"uid-{state.position + 1}"
    assert Draft(state, Rules(delivers=False), 5.0).delivery_id() is None


def test_how_a_message_ended_is_told_with_what_is_known() -> None:
    draft = Draft(opened().state, Rules(), 5.0)
    draft.end_message("m1", MessageStatus.FAILED, Reason.ERROR, detail="no", turn=4)
    (ended,) = draft.entries
    assert isinstance(ended, MessageEnded)
    assert (ended.message_id, ended.status, ended.reason) == (
        "m1",
        MessageStatus.FAILED,
        Reason.ERROR,
    )
    assert (ended.detail, ended.turn) == ("no", 4)


def test_events_are_made_without_validation_from_the_defaults_of_their_classes() -> None:
    for kind in get_args(get_args(AnyEvent)[0]):
        required = {name for name, field in kind.model_fields.items() if field.is_required()}
        unset = {name for name, value in _DEFAULTS[kind].items() if value is PydanticUndefined}
        assert unset == required
        assert all(field.default_factory is None for field in kind.model_fields.values())


def test_a_clause_for_a_turn_needs_one() -> None:
    with pytest.raises(AssertionError, match="in states with a turn only"):
        _ = Draft(opened().state, Rules(), 5.0).running
