from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wavebreak.benchmarks import replay
from wavebreak.benchmarks.replaying.audit import Report
from wavebreak.benchmarks.replaying.on_wavebreak import POLICIES
from wavebreak.benchmarks.replaying.pace import Pace
from wavebreak.benchmarks.replaying.recorded import Conversation, Exchange, ServiceCall
from wavebreak.benchmarks.replaying.replay import (
    Played,
    Settings,
    replay_on_wavebreak,
    write_scripts,
)

if TYPE_CHECKING:
    from wavebreak.benchmarks.replaying.on_wavebreak import PolicyName

DATA = Path(replay.__file__).resolve().parents[2] / "shared" / "data"
RECORDED, TIMING = DATA / "sgd_dev_a.jsonl.gz", DATA / "slack_timing_a.csv.gz"
needs_data = pytest.mark.skipif(
    not RECORDED.exists(), reason=f"the recorded conversations are not there: {RECORDED}"
)

SEARCH = ServiceCall("Hotels", "SearchHotel", {"where": "Oslo"}, ({"name": "Inn"},))
BOOK = ServiceCall("Hotels", "ReserveHotel", {"name": "Inn"}, ({"code": "1"},))


def played(tmp_path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    file = tmp_path / "replay.json"
    status = replay.main([*options, "--virtual", "--json", str(file)])
    found: dict[str, Any] = json.loads(file.read_text())
    return status, found


def quietly() -> None:
    """Show no progress."""


def talk(*exchanges: Exchange) -> Conversation:
    return Conversation("talk", exchanges)


def on_wavebreak(conversation: Conversation, gaps: tuple[float, ...], policy: PolicyName) -> Report:
    settings = Settings(speed=1.0, seed=1, policy=policy, virtual=True)
    scripts = write_scripts([conversation], Pace([gaps], seed=1))
    done = replay_on_wavebreak(scripts, settings=settings, progress=quietly)
    assert done.problems == []
    return done.report


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_recorded_conversations_lose_nothing_and_do_nothing_twice(
    tmp_path: Path, policy: str
) -> None:
    status, found = played(
        tmp_path, str(RECORDED), "--timing", str(TIMING), "--sessions", "60", "--policy", policy
    )

    ours, plain = found["wavebreak"], found["cancel_and_restart"]
    assert status == 0
    assert list(ours) == list(plain) == list(Report._fields)
    assert ours["messages_answered"] == ours["messages_sent"] > 300
    assert 0.05 < found["run"]["share_landed"]["wavebreak"] < 0.4
    # The plain pattern shows that there was something to lose.
    assert plain["calls_rerun"] > 0
    assert plain["once_duplicates"] > 0
    interrupted = policy not in {"enqueue", "steer"}
    assert (ours["turns_interrupted"] > 0) is interrupted
    assert (ours["calls_carried"] > 0) is interrupted


@needs_data
@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    options = [str(RECORDED), "--timing", str(TIMING), "--sessions", "20", "--seed", "7"]

    first, second = (played(tmp_path, *options)[1] for _ in range(2))

    assert first["wavebreak"] == second["wavebreak"]
    assert first["cancel_and_restart"] == second["cancel_and_restart"]


def test_a_message_during_the_search_keeps_what_was_understood_and_found() -> None:
    conversation = talk(Exchange("Oslo?", (SEARCH,), "The Inn"), Exchange("Soon", (), "Fine"))

    figures = on_wavebreak(conversation, (1.6,), "after_wave")

    assert (figures.turns_interrupted, figures.turns_finished) == (1, 1)
    assert figures.calls_carried == 2
    assert figures.tool_seconds_wasted == 0.0


def test_a_booking_that_was_interrupted_is_not_made_twice() -> None:
    conversation = talk(Exchange("Book", (BOOK,), "Done"), Exchange("Soon", (), "Fine"))

    policies: tuple[PolicyName, ...] = ("after_wave", "now")
    for policy in policies:
        figures = on_wavebreak(conversation, (1.6,), policy)
        assert figures.turns_interrupted == 1
        assert figures.once_duplicates == 0


def test_a_message_that_waits_gets_a_turn_of_its_own() -> None:
    conversation = talk(Exchange("Oslo?", (SEARCH,), "The Inn"), Exchange("Soon", (), "Fine"))

    figures = on_wavebreak(conversation, (1.6,), "enqueue")

    assert (figures.turns_interrupted, figures.turns_finished) == (0, 2)


def test_by_wave_a_message_interrupts_the_search_and_lets_the_reply_out() -> None:
    conversation = talk(Exchange("Oslo?", (SEARCH,), "The Inn"), Exchange("Soon", (), "Fine"))

    searching = on_wavebreak(conversation, (1.6,), "by_wave")
    composing = on_wavebreak(conversation, (2.6,), "by_wave")
    thrown_away = on_wavebreak(conversation, (2.6,), "after_wave")

    assert (searching.turns_interrupted, searching.replies, searching.replies_behind) == (1, 1, 0)
    assert (composing.turns_interrupted, composing.replies, composing.replies_behind) == (0, 2, 1)
    assert searching.tool_seconds_wasted == composing.tool_seconds_wasted == 0.0
    assert thrown_away.tool_seconds_wasted > 0.0
    assert composing.answered_mean_s is not None
    assert thrown_away.answered_mean_s is not None
    assert composing.answered_mean_s < thrown_away.answered_mean_s


def test_what_is_steered_in_before_the_reply_is_composed_is_answered_by_it() -> None:
    conversation = talk(Exchange("Oslo?", (SEARCH,), "The Inn"), Exchange("Soon", (), "Fine"))

    figures = on_wavebreak(conversation, (1.6,), "steer")

    assert (figures.turns_interrupted, figures.replies, figures.replies_behind) == (0, 1, 0)
    assert figures.tool_seconds_wasted == 0.0


def test_each_policy_that_is_asked_for_is_played(tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    turns = [{"speaker": "USER", "utterance": "Hi"}, {"speaker": "SYSTEM", "utterance": "Hi"}]
    file.write_text(json.dumps({"dialogue_id": "a", "turns": turns}))

    _, found = played(tmp_path, str(file), "--policy", "now", "--policy", "by_wave")

    assert list(found) == ["wavebreak", "wavebreak, by_wave", "cancel_and_restart", "run"]
    assert found["run"]["policies"] == {"wavebreak": "now", "wavebreak, by_wave": "by_wave"}


def test_more_sessions_than_conversations_begin_the_recording_again() -> None:
    conversations = [Conversation(name, (Exchange("Hi", (), "Hi"),)) for name in ("a", "b")]

    scripts = write_scripts(conversations, Pace([(1.0,)], seed=1), sessions=5)

    assert [script.session_id for script in scripts] == ["a", "b", "a/2", "b/2", "a/3"]


def test_a_file_that_is_no_recording_ends_with_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay.main([str(tmp_path / "none.jsonl")]) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--speed", "0"], ["--speed", "nan"], ["--sessions", "0"], ["--policy", "maybe"]]
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay.main(["file", *options]) == 2
    assert options[0] in capsys.readouterr().err


def test_what_is_wrong_on_wavebreak_ends_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "talk.jsonl"
    turns = [{"speaker": "USER", "utterance": "Hi"}, {"speaker": "SYSTEM", "utterance": "Hi"}]
    file.write_text(json.dumps({"dialogue_id": "a", "turns": turns}))

    def spoilt(*args: Any, **how: Any) -> Played:
        return replay_on_wavebreak(*args, **how)._replace(problems=["session a: lost its way"])

    monkeypatch.setattr(replay, "replay_on_wavebreak", spoilt)

    assert played(tmp_path, str(file))[0] == 1
    assert "session a: lost its way" in capsys.readouterr().err
