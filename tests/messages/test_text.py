from __future__ import annotations

import pytest

from wavebreak.messages.errors import InvalidMessage
from wavebreak.messages.text import check_id, check_text, read_back


@pytest.mark.parametrize("text", ["", "hello", "hällo 🌍", "a\nb\x00"])
def test_whatever_utf_8_can_hold_is_text(text: str) -> None:
    check_text("text", text)


def test_a_lone_surrogate_is_refused_with_its_place_and_the_remedy() -> None:
    broken = "ab\ud83d"
    with pytest.raises(InvalidMessage, match=r"text='ab\\ud83d' has a character at 2 .*replace"):
        check_text("text", broken)
    check_text("text", broken.encode(errors="replace").decode())


@pytest.mark.parametrize("value", [None, 7, b"bytes"])
def test_what_is_no_text_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(InvalidMessage, match=r"^sender=.* is not a text$"):
        check_text("sender", value)


@pytest.mark.parametrize("value", ["", None, 7])
def test_an_id_is_a_text_that_is_not_empty(value: object) -> None:
    with pytest.raises(InvalidMessage, match=r"^session_id=.*give a text that is not empty$"):
        check_id("session_id", value)


def test_an_id_is_something_that_utf_8_can_hold() -> None:
    check_id("session_id", "s1")
    check_id("session_id", "é")
    with pytest.raises(InvalidMessage, match=r"UTF-8 cannot hold"):
        check_id("session_id", "\udc00")


def test_json_is_refused_that_could_not_be_read_as_a_part_of_something() -> None:
    assert read_back(b'[{"a":[1]}]') == [{"a": [1]}]
    flat = b"[" + b",".join([b"[]"] * 500) + b"]"
    assert len(read_back(flat)) == 500
    read_back(b"[" * 183 + b"]" * 183)
    with pytest.raises(ValueError, match="more than 184 levels"):
        read_back(b"[" * 190 + b"]" * 190)
    with pytest.raises(ValueError, match="more than 184 levels"):
        read_back(b"[" * 240 + b"]" * 240)
    with pytest.raises(ValueError, match="number"):
        read_back(b"[" + b"1" * 5000 + b"]")
