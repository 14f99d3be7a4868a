"""The life of a cancellation token, without sessions: made, cancelled, answered, and used again.

python examples/token_life.py prints:

    finished: 2 results
    cancelled: cancelled before wave 2 of 2: the user left
    {"response":"I have stopped. What was done until then: search.","action":"cancelled",
     "cancel_reason":"the user left","wave_cancelled_at":2,"results":{"search#1":"a room"}}
    a child with a deadline: Operation timeout, its parent lives on: True
    the token as new: is_cancelled=False
"""

from __future__ import annotations

import asyncio

from wavebreak import CancellationToken, CancelledException, GracefulAnswer, Plan, run_waves, tool


@tool(effect="read")
async def search(city: str) -> str:
    """Find a room."""
    await asyncio.sleep(0.05)
    return "a room" if city else "nothing"


@tool(effect="read")
async def price(room: str) -> int:
    """Ask for its price."""
    await asyncio.sleep(0.05)
    return 10 * len(room)


def a_plan() -> Plan:
    """Make two waves: a search, then the price of what it found."""
    plan = Plan()
    found = plan.add(search("Rome"))
    plan.add(price(found.result))
    return plan


async def main() -> None:
    """Follow one token from its making to its second use."""
    token = CancellationToken()
    print(f"finished: {len(await run_waves(a_plan(), cancel_token=token))} results")

    asyncio.get_running_loop().call_later(0.02, token.cancel, "the user left")
    try:
        await run_waves(a_plan(), cancel_token=token)
    except CancelledException as error:
        print(f"cancelled: {error}")
        words = GracefulAnswer.of(error).model_dump_json(exclude={"reasoning", "cancelled"})
        print(words.replace(',"cancel_reason', ',\n "cancel_reason'))

    token.reset()  # nothing runs on it any more, so it may be
    hurried = token.child(deadline=0)  # seconds from now
    try:
        await run_waves(a_plan(), cancel_token=hurried)
    except CancelledException as error:
        lives = not token.is_cancelled
        print(f"a child with a deadline: {error.cancel_reason}, its parent lives on: {lives}")
    print(f"the token as new: is_cancelled={token.is_cancelled}")


if __name__ == "__main__":
    asyncio.run(main())
