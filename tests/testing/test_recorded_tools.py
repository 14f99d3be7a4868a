from __future__ import annotations

import pytest

from wavebreak import ActorSystem, CallFailed, Turn, tool
from wavebreak.testing import ScriptedAgent, recording


@tool(effect="read")
async def look(what: str) -> str:
    return f"seen {what}"


@tool(effect="read")
def count(words: str) -> int:
    return len(words.split())


async def ask(agent: object, text: str) -> str:
    async with ActorSystem(agent) as system:  # type: ignore[arg-type]
        outcome = await (await system.session("ann").send(text)).outcome()
    return outcome.reply.text if outcome.reply is not None else outcome.error


async def agent(turn: Turn) -> str:
    return f"{await turn.one(look('tea'))}, {await turn.one(count('a b'))}"


async def test_calls_are_kept_in_order_with_their_arguments_and_keys() -> None:
    with recording(look, count) as recorder:
        assert await ask(agent, "hello") == "seen tea, 2"
    assert [call.tool for call in recorder.calls] == ["look", "count"]
    assert recorder.of(look) == [{"what": "tea"}]
    assert recorder.of("count") == [{"words": "a b"}]
    assert recorder.calls[0].call_id == "1.1.1.1"
    assert recorder.calls[0].idempotency_key.endswith("-1.1.1.1")


async def test_a_result_or_an_error_takes_the_place_of_the_work() -> None:
    with recording(look, count) as recorder:
        recorder.returns(look, "nothing")
        recorder.returns(count, 7)
        assert await ask(agent, "hello") == "nothing, 7"
        recorder.fails(look, ValueError("closed"))
        assert "closed" in await ask(agent, "hello")
        assert await ask(agent, "hello") == "seen tea, 2"
    assert len(recorder.of(look)) == 3


async def test_the_tools_are_as_they_were_behind_the_block() -> None:
    plain = look.function
    with recording(look), recording(look):
        assert look.function is not plain
    assert look.function is plain


async def test_a_scripted_agent_does_what_is_written_down() -> None:
    scripted = ScriptedAgent(
        ["one moment", look("tea"), [look("milk"), look("bread")], lambda turn: turn.number, "ok"],
        ["again"],
    )
    assert await ask(scripted, "hello") == "ok"
    (seen,) = scripted.seen
    assert seen.texts == ("hello",)
    assert seen.results == [True, "seen tea", ("seen milk", "seen bread"), 1]


async def test_its_last_list_serves_all_turns_that_come_after() -> None:
    scripted = ScriptedAgent(["first"], [lambda turn: f"turn {turn.number}"])
    async with ActorSystem(scripted) as system:
        replies: list[str | None] = []
        for text in "abc":
            outcome = await (await system.session("ann").send(text)).outcome()
            replies.append(outcome.reply.text if outcome.reply else None)
    assert replies == ["first", "turn 2", "turn 3"]


async def test_what_a_scripted_call_raises_ends_its_turn() -> None:
    with recording(look) as recorder:
        recorder.fails(look, ValueError("closed"))
        assert CallFailed.__name__ in await ask(ScriptedAgent([look("tea"), "ok"]), "hello")


def test_a_scripted_agent_without_a_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="of which the last is the reply"):
        ScriptedAgent()
    with pytest.raises(ValueError, match="of which the last is the reply"):
        ScriptedAgent([])
