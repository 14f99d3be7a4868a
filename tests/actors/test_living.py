from __future__ import annotations

import asyncio

from wavebreak.actors.living import Living


def test_it_keeps_what_lives_on_each_loop() -> None:
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    living = Living[str]()
    assert list(living.add(one, "a")) == []
    living.add(one, "b")
    living.add(two, "c")
    assert (living.on(one), living.on(two)) == (2, 1)
    living.discard(one, "a")
    living.discard(one, "never there")
    assert living.on(one) == 1
    one.close()
    two.close()


def test_it_lets_go_of_a_loop_with_its_last_actor() -> None:
    loop = asyncio.new_event_loop()
    living = Living[str]()
    living.add(loop, "a")
    living.discard(loop, "a")
    living.discard(loop, "a")
    loop.close()
    assert living._by_loop == {}


def test_those_left_on_a_closed_loop_are_handed_over_once() -> None:
    old, new = asyncio.new_event_loop(), asyncio.new_event_loop()
    living = Living[str]()
    living.add(old, "a")
    living.add(old, "b")
    old.close()
    assert sorted(living.add(new, "c")) == ["a", "b"]
    assert list(living.add(new, "d")) == []
    assert living.on(old) == 0
    new.close()
