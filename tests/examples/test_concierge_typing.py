from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavebreak.examples.concierge_typing import TypedLine


def typed(*keys: str) -> tuple[list[str], str]:
    line = TypedLine()
    finished = [text for some in keys for text in line.feed(some.encode())]
    return finished, line.text


@pytest.mark.parametrize(
    ("keys", "finished", "left"),
    [
        (("a hotel", " in Kyoto\r"), ["a hotel in Kyoto"], ""),
        (("one\rtwo\nthr",), ["one", "two"], "thr"),
        (("pooll\x7f",), [], "pool"),
        (("\x7f\x08",), [], ""),
        (("with a pool\x17",), [], "with a "),
        (("no, wait\x15yes",), [], "yes"),
        (("up\x1b[A and \x1b[1;5Chome\x1bOH\x00",), [], "up and home"),
        (("not empty\x04",), [], "not empty"),
    ],
)
def test_keys_do_what_they_do_in_a_terminal(
    keys: tuple[str, ...], finished: list[str], left: str
) -> None:
    assert typed(*keys) == (finished, left)


def test_the_input_ends_on_an_empty_line_only() -> None:
    line = TypedLine()
    line.feed(b"x\x04")
    assert not line.ended
    line.feed(b"\x7f\x04")
    assert line.ended


@given(st.text(st.characters(categories=("L", "N", "P", "S"))), st.data())
def test_a_text_arrives_whole_wherever_its_bytes_are_cut(text: str, data: st.DataObject) -> None:
    line, raw = TypedLine(), text.encode()
    cut = data.draw(st.integers(0, len(raw)))

    assert line.feed(raw[:cut]) == []
    assert line.feed(raw[cut:] + b"\r") == [text]
