"""A little of each storm of ``benchmarks/http_storms.py``, and of what is compared over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from wavebreak.benchmarks import http_service
from wavebreak.benchmarks.http_storms import main
from wavebreak.benchmarks.storming.connections import huge_bodies, reconnects, slow_clients
from wavebreak.benchmarks.storming.messages import kills, overload

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real_time, pytest.mark.slow]


async def test_streams_that_break_off_and_come_again_are_whole_and_leave_nobody() -> None:
    figures = await reconnects(60, readers=6)
    for none in ("read twice", "gaps", "missing", "different", "subscribers left"):
        assert figures[none] == 0, figures
    assert figures["events"] > 0


async def test_slow_clients_stop_nobody() -> None:
    figures = await slow_clients(40, seconds=0.3)
    assert figures["answered beside them"] > 0


async def test_a_huge_body_is_refused_after_little_of_it() -> None:
    figures = await huge_bodies(1 << 26)
    assert figures["with a length"].startswith("413 ")
    assert figures["in chunks"].startswith("413 ")
    assert figures["as a stranger"].startswith("401 ")
    assert figures["more memory MB"] < 40


async def test_of_more_than_can_be_carried_nothing_is_lost_that_was_accepted() -> None:
    figures = await overload(0.3, clients=30)
    assert figures["accepted"] > 0
    assert figures["accepted and lost"] == figures["refused and answered"] == 0, figures
    assert set(figures["refused"]) <= {"429", "503"}


async def test_of_a_service_that_is_killed_under_load_every_message_is_answered_once() -> None:
    figures = await kills(1, sessions=3, every=0.4)
    assert figures["messages"] == figures["answered once"] > 0, figures
    for none in ("answered twice", "events missing", "gaps", "different when read again"):
        assert figures[none] == 0, figures


def test_the_storms_are_told_in_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def calm(count: float) -> dict[str, float]:
        return {"bytes": count}

    monkeypatch.setattr(
        "wavebreak.benchmarks.http_storms.STORMS", {"huge bodies": (calm, 1 << 30, 1)}
    )
    file = tmp_path / "figures.json"
    assert main(["--quick", "--json", str(file)]) == 0
    assert json.loads(file.read_text("utf-8")) == {"huge bodies": {"bytes": 1}}
    assert "huge bodies" in capsys.readouterr().out


def test_a_message_over_http_is_compared_with_a_bare_handler() -> None:
    figures = http_service.compare(clients=4, requests=100, runs=1)
    assert figures["cpu_ratio"] > 0
    assert figures["wavebreak"]["rate"] > 0
