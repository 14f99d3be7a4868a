"""What the command logs, and how settings are told."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from wavebreak import InvalidSetting
from wavebreak.service import ServiceSettings
from wavebreak.service.logs import log_to_stderr
from wavebreak.service.settings import unknown_variables

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def as_the_command() -> Generator[None]:
    """Put back what the command's logging changes."""
    names = (None, "uvicorn.error", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logger.remove()
    logger.add(sys.stderr)
    logger.disable("wavebreak")


SECRETS = ("a wish", "a dream", "a place", "a list")


def fail() -> None:
    wish, dream, place, group = SECRETS
    try:
        raise KeyError(wish)  # noqa: TRY301 - it is what is logged
    except KeyError as error:
        several = [ValueError(dream), OSError(28, place)]
        raise ExceptionGroup(group, several) from error


def logged_by_a_failure(capsys: pytest.CaptureFixture[str]) -> str:
    try:
        fail()
    except ExceptionGroup as error:
        logger.opt(exception=error).error("it failed")
        logging.getLogger("uvicorn.error").exception("the server says so")
    return capsys.readouterr().err


@pytest.mark.usefixtures("as_the_command")
def test_errors_are_logged_by_their_types_and_places_and_not_in_their_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr()
    text = logged_by_a_failure(capsys)
    for part in ("it failed", "the server says so", "KeyError", "ExceptionGroup", "OSError"):
        assert part in text
    assert text.count("in fail") >= 2
    for word in SECRETS:
        assert word not in text


@pytest.mark.usefixtures("as_the_command")
def test_errors_are_logged_in_their_words_if_so_wished(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(texts=True)
    text = logged_by_a_failure(capsys)
    assert "KeyError: 'a wish'" in text
    assert "ValueError: a dream" in text


@pytest.mark.usefixtures("as_the_command")
def test_only_who_debugs_is_told_all(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    logger.debug("a detail")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert capsys.readouterr().err == ""
    log_to_stderr(debug=True)
    logger.debug("a {detail} with braces")
    assert "a {detail} with braces" in capsys.readouterr().err


def test_a_setting_that_cannot_be_used_is_told_as_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidSetting, match=r"^port=70000: .*65535"):
        ServiceSettings.given(port=70_000)
    monkeypatch.setenv("WAVEBREAK_RATE", "often")
    with pytest.raises(InvalidSetting, match=r"^WAVEBREAK_RATE='often': .* number"):
        ServiceSettings.given(port=None)


def test_names_are_given_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("10.0.0.1, 10.0.0.2", '["10.0.0.1", "10.0.0.2"]'):
        monkeypatch.setenv("WAVEBREAK_PROXIES", value)
        assert ServiceSettings.given().proxies == ("10.0.0.1", "10.0.0.2")
    monkeypatch.setenv("WAVEBREAK_PROXIES", "")
    assert ServiceSettings.given().proxies == ()


def test_a_variable_that_is_no_setting_is_noticed() -> None:
    told = unknown_variables(["WAVEBREAK_PROT", "WAVEBREAK_PORT", "WAVEBREAK_TOKEN", "PATH"])
    assert told == ["WAVEBREAK_PROT is no setting: did you mean WAVEBREAK_PORT?"]
