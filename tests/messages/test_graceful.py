from __future__ import annotations

from dataclasses import dataclass

import pytest

from wavebreak import (
    ActorSystem,
    CancellationToken,
    CancelledException,
    GracefulAnswer,
    Now,
    PartialResults,
    Plan,
    Reason,
    Turn,
    TurnEnded,
    run_waves,
    tool,
)
from wavebreak.messages.message import Reply
from wavebreak.messages.reasons import TurnOutcome
from wavebreak.testing import gate


@dataclass
class Room:
    name: str


@tool(effect="read")
async def search(city: str) -> Room:
    return Room(f"a room in {city}")


async def test_a_plan_that_was_cancelled_is_answered_with_what_it_had() -> None:
    token = CancellationToken()
    hold = gate("price")
    plan = Plan()
    first = plan.add(search("Rome"))
    plan.add(hold.tool(7, effect="read")(), after=[first])
    plan.add(search("Milan"), after=[first])

    @tool(effect="read")
    async def cancel() -> None:
        token.cancel("the user left")

    last = plan.add(cancel(), after=[first])
    plan.add(search("Paris"), after=[last])
    hold.let_go()
    with pytest.raises(CancelledException) as raised:
        await run_waves(plan, cancel_token=token)
    assert GracefulAnswer.of(raised.value) == GracefulAnswer(
        response="I have stopped. What was done until then: search, price, cancel.",
        action="cancelled",
        reasoning="cancelled before wave 3 of 3: the user left",
        cancelled=True,
        cancel_reason="the user left",
        wave_cancelled_at=3,
        results={
            "search#1": {"name": "a room in Rome"},
            "price#2": 7,
            "search#3": {"name": "a room in Milan"},
            "cancel#4": None,
        },
    )


async def test_a_plan_whose_time_was_over_says_so() -> None:
    plan = Plan()
    plan.add(search("Rome"))
    with pytest.raises(CancelledException) as raised:
        await run_waves(plan, cancel_token=CancellationToken(deadline=0))
    answer = GracefulAnswer.of(raised.value, response="Too late.")
    assert (answer.action, answer.cancel_reason) == ("timed_out", "Operation timeout")
    assert (answer.response, answer.results) == ("Too late.", {})


async def test_a_turn_that_was_stopped_is_answered_with_what_it_had() -> None:
    hold = gate("hold")
    ended: list[TurnEnded] = []

    async def agent(turn: Turn) -> str:
        await turn.one(search("Rome"))
        await turn.one(turn.call("hold", {}))
        return "done"

    async with ActorSystem(agent, tools=(hold.tool(1, effect="read"),)) as system:
        system.on(TurnEnded, ended.append)
        session = system.session("ann")
        await session.send("a")
        await hold.reached()
        await session.stop(Now(), reason="the user left")
    answer = GracefulAnswer.of(ended[0])
    assert answer == GracefulAnswer(
        response="I have stopped. What was done until then: search.",
        action="cancelled",
        reasoning="turn 1 was stopped before wave 3: the user left",
        cancelled=True,
        cancel_reason="the user left",
        wave_cancelled_at=3,
        results={"search#1": {"name": "a room in Rome"}},
    )
    assert GracefulAnswer.model_validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize(
    ("outcome", "reason", "action", "cancelled"),
    [
        (TurnOutcome.INTERRUPTED, Reason.SUPERSEDED, "interrupted", True),
        (TurnOutcome.TIMED_OUT, Reason.DEADLINE, "timed_out", True),
        (TurnOutcome.FAILED, Reason.ERROR, "failed", False),
        (TurnOutcome.FAILED, Reason.CRASHED, "failed", False),
        (TurnOutcome.STOPPED, Reason.STOPPED, "cancelled", True),
    ],
)
def test_a_turns_end_and_what_it_left_say_the_same(
    outcome: TurnOutcome, reason: Reason, action: str, cancelled: bool
) -> None:
    left = PartialResults(reason=reason)
    event = TurnEnded(
        tenant="",
        session_id="ann",
        turn=1,
        at=0.0,
        outcome=outcome,
        reason=reason,
        partial_results=left,
    )
    for answer in (GracefulAnswer.of(event), GracefulAnswer.of(left)):
        assert (answer.action, answer.cancelled) == (action, cancelled)
        assert answer.cancel_reason == (str(reason) if cancelled else None)
        assert answer.response
        assert str(reason) in answer.reasoning


def test_a_turn_that_finished_is_answered_by_its_reply() -> None:
    event = TurnEnded(
        tenant="",
        session_id="ann",
        turn=1,
        at=0.0,
        outcome=TurnOutcome.FINISHED,
        reply=Reply(text="done"),
    )
    assert GracefulAnswer.of(event) == GracefulAnswer(response="done", action="answered")
