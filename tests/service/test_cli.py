from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from wavebreak import ActorSystem, InvalidSetting, MemoryJournal, Turn
from wavebreak import cli as command_line
from wavebreak.service.target import load, system_of

from .processes import BOT, Served, served, wavebreak

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    Run = Callable[..., str]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service() -> Generator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def run(service: Served, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line against the service, in this process, and give what it printed."""

    def run(*arguments: str) -> str:
        where = ("--url", service.url, "--token", service.token)
        assert command_line.main([*arguments, *where]) == 0
        return capsys.readouterr().out

    return run


def test_a_message_is_sent_and_its_reply_printed(run: Run) -> None:
    assert run("send", "ann", "rome 0").strip() == "found rome 0"
    answer = json.loads(run("send", "ann", "x 0", "--wait", "0", "--json"))
    assert answer["session_id"] == "ann"
    assert "outcome" not in answer


def test_sessions_are_listed_and_shown_in_words_and_in_json(run: Run) -> None:
    run("send", "bob/b", "paris 0")
    assert "bob/b" in run("ps")
    listed = json.loads(run("ps", "--json"))
    assert "bob/b" in [each["session_id"] for each in listed["sessions"]]


def test_a_session_is_shown_with_its_turns_and_calls(run: Run) -> None:
    run("send", "bob", "paris 0")
    assert "search" in run("show", "bob")
    shown = json.loads(run("show", "bob", "--json"))
    assert shown["turns"][0]["reply"]["text"] == "found paris 0"


def test_a_turn_is_stopped(run: Run) -> None:
    run("send", "dan", "x 60", "--wait", "0")
    assert run("stop", "dan", "--now").strip() == "dan: turn 1 stopped"
    assert json.loads(run("stop", "--all", "--json")) == {"stopped": []}


def test_a_chat_waits_for_what_is_under_way(service: Served) -> None:
    environment = service.environment
    printed = wavebreak("chat", "--session", "cid", environment=environment, given="oslo 0\n")
    assert "< found oslo 0" in printed


def test_a_chat_runs_an_agent_without_a_service() -> None:
    assert "< found oslo 0" in wavebreak("chat", BOT, given="oslo 0\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "no_such_module:agent"), "there is no module 'no_such_module'"),
        (("serve", "json"), "give MODULE:AGENT"),
        (("serve", "json:nothing"), "has no 'nothing'"),
        (("serve", BOT, "--host", "0.0.0.0"), "wavebreak token new NAME"),  # noqa: S104
        (("serve", BOT, "--workers", "4"), "one process serves one journal"),
        (("stop",), "--all"),
        (("ps", "--url", "http://127.0.0.1:9"), "no service answers"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(list(arguments)) == 1
    told = capsys.readouterr().err
    assert words in told
    assert told.startswith("wavebreak: ")
    assert "Traceback" not in told


def test_a_wrong_token_is_told(service: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["ps", "--url", service.url, "--token", "wb_wrong"]) == 1
    assert "WAVEBREAK_TOKEN" in capsys.readouterr().err


def test_tokens_are_made_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "tokens.json")

    def run(*arguments: str) -> str:
        assert command_line.main(["token", *arguments, "--file", file]) == 0
        return capsys.readouterr().out

    token = run("new", "bot", "--scope", "read", "--tenant", "acme").strip()
    assert token.startswith("wb_")
    assert token not in (tmp_path / "tokens.json").read_text()
    assert json.loads(run("list", "--json")) == [
        {"name": "bot", "scopes": ["read"], "tenants": ["acme"]}
    ]
    assert command_line.main(["token", "new", "bot", "--file", file]) == 1
    assert "there already" in capsys.readouterr().err
    run("revoke", "bot")
    assert json.loads(run("list", "--json")) == []
    assert command_line.main(["token", "revoke", "bot", "--file", file]) == 1


def test_a_signal_ends_the_service_in_order() -> None:
    with served() as service:
        service.process.send_signal(signal.SIGTERM)
        told = service.process.communicate(timeout=50)[1]
        assert service.process.returncode == 0, told
        assert told == ""


# What can be served.


async def an_agent(turn: Turn) -> str:
    return turn.text


def a_system(journal: MemoryJournal) -> ActorSystem:
    return ActorSystem(an_agent, journal=journal)


def a_mistake(_journal: MemoryJournal) -> str:
    return "no system"


def test_an_agent_a_system_and_a_function_that_makes_one_can_be_served() -> None:
    journal = MemoryJournal()
    assert system_of(an_agent, journal).journal is journal
    assert system_of(a_system, journal).journal is journal
    ready = ActorSystem(an_agent)
    assert system_of(ready, journal) is ready
    for wrong in (a_mistake, 7, "agent"):
        with pytest.raises(InvalidSetting):
            system_of(wrong, journal)


def test_what_a_module_needs_itself_is_not_taken_for_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "needy_bot.py").write_text("import surely_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="surely_not_there"):
        load(f"{tmp_path / 'needy_bot.py'}:agent")
