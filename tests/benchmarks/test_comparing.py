from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wavebreak.benchmarks import suite
from wavebreak.benchmarks.comparing import environments, plots, reach, running
from wavebreak.benchmarks.comparing.cases import CASES, Case, Value
from wavebreak.benchmarks.comparing.report import (
    Machine,
    Number,
    Part,
    Report,
    number_of,
    part_of,
    versions,
)
from wavebreak.benchmarks.comparing.running import BENCHMARKS, Odd, Runs, measure, size_of
from wavebreak.benchmarks.comparing.systems import (
    CANCELLING,
    OURS,
    RAW,
    SYSTEMS,
    System,
    by_policy,
)
from wavebreak.benchmarks.comparing.tables import (
    in_markdown,
    in_terminal,
    missed,
    reach_in_markdown,
    reach_in_terminal,
)
from wavebreak.benchmarks.programs.measuring import Order
from wavebreak.benchmarks.replaying.on_wavebreak import POLICIES

COST = Value("cost", "µs", lambda figures, _: figures["cpu"])
CASE = Case("F", Order("turns", sessions=1), None, (RAW, OURS, "LangGraph"), (COST,))
MACHINE = Machine(python="3.11", system="Linux", cores=2, began="2026-01-01T00:00", load=0.1)


def number(median: float, unit: str = "") -> Number:
    return number_of([median], unit)


def report(**numbers: dict[str, float]) -> Report:
    """One of cases by name, each with the numbers of one value, "no-op turns", by system."""
    cases = {
        case: {system: Part(numbers={"no-op turns": number(n)}) for system, n in by.items()}
        for case, by in numbers.items()
    }
    return Report(form="full", machine=MACHINE, versions={}, cases=cases)


def drawn(thing: object) -> str:
    console = Console(width=200, file=StringIO())
    with console.capture() as capture:
        console.print(thing)
    return capture.get()


# --- the tables of who does what ---


def test_every_system_has_its_program_and_every_case_its_systems() -> None:
    for system in SYSTEMS.values():
        assert (BENCHMARKS / "programs" / f"{system.program}.py").is_file()
    for case in CASES:
        assert set(case.systems) <= SYSTEMS.keys()
        assert case.runs >= 5


def test_the_names_of_the_cases_are_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_bar_is_measured_by_some_case() -> None:
    cases = {
        case.name: {
            name: Part(numbers={value.name: number(1.0) for value in case.values})
            for name in case.systems
        }
        for case in CASES
    }
    played = {"tool_seconds_wasted": 1.0, "once_duplicates": 0.0}
    full = Report(
        form="full",
        machine=MACHINE,
        versions={},
        cases=cases,
        replay={by_policy(name): played for name in POLICIES} | {CANCELLING: played},
    )
    assert [one.bar.what for one in reach.judge(full) if one.measured is None] == []


def test_what_is_installed_for_the_others_is_pinned_by_name_and_version() -> None:
    lines = environments.PINS.read_text("utf-8").splitlines()
    assert [line for line in lines if line.count("==") != 1 or " " in line] == []
    assert versions()["langgraph"]


# --- running ---


def test_the_systems_run_by_turns_and_whoever_is_not_wanted_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[str] = []

    def run(system: System, order: Order) -> dict[str, float]:
        ran.append(system.name)
        return {"cpu": 1.0}

    monkeypatch.setattr(running, "run", run)
    done: list[None] = []
    runs = measure(
        CASE,
        CASE.full,
        3,
        wanted=lambda system: "not here" if system.name == "LangGraph" else "",
        after_each=lambda: done.append(None),
    )

    assert ran == [OURS, RAW, RAW, OURS, OURS, RAW]
    assert len(done) == 9
    assert runs["LangGraph"] == Runs(runs["LangGraph"].order, [], "not here")
    assert len(runs[RAW].figures) == 3


@pytest.mark.parametrize(
    "error", [Odd("one line\nand the last"), subprocess.TimeoutExpired("python", 1.0)]
)
def test_a_failure_of_another_one_is_told_and_one_of_ours_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fails = "LangGraph"

    def run(system: System, order: Order) -> dict[str, float]:
        if system.name == fails:
            raise error
        return {"cpu": 1.0}

    def measured() -> dict[str, Runs]:
        return measure(CASE, CASE.full, 2, wanted=lambda _: "", after_each=lambda: None)

    monkeypatch.setattr(running, "run", run)
    why = measured()["LangGraph"].why_not
    assert why in {"failed: and the last", "took more than 600 s"}
    fails = OURS
    with pytest.raises(type(error)):
        measured()


def test_who_cannot_do_as_many_does_fewer_and_the_table_says_how_many() -> None:
    pykka = SYSTEMS["Pykka"]
    asked = Order("spawn", count=10_000)
    order = size_of(asked, pykka, "C actors, 10,000")
    assert order.count == 1_000
    case = replace(CASE, values=(COST,))
    part = part_of(case, Runs(order, [{"cpu": 1.0}]), asked)
    assert part.count == 1_000
    assert "Pykka (1,000)" in in_markdown({"Pykka": part})
    assert part_of(case, Runs(asked, [{"cpu": 1.0}]), asked).count is None


@pytest.mark.slow
def test_a_program_that_fails_or_leaves_a_message_unanswered_is_odd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Odd, match=r"on_raw\.py failed with status 1"):
        running.run(SYSTEMS[RAW], Order("no such case"))

    def start(*_: Any) -> str:
        return '{"replies": 1, "calls": 10}'

    monkeypatch.setattr(running, "start", start)
    with pytest.raises(Odd, match="was to answer 2 times"):
        running.run(SYSTEMS[RAW], Order("turns", sessions=2))


def test_an_environment_that_cannot_be_made_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    system = replace(SYSTEMS["xoscar"], python=(3, 99))
    assert environments.install(system, tmp_path) == "needs Python 3.99, and there is none"

    def fail(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "much\nno such package\n")

    monkeypatch.setattr(subprocess, "run", fail)
    why = environments.install(SYSTEMS["xoscar"], tmp_path)
    assert why == "cannot be installed: no such package"


def test_a_name_on_the_path_behind_which_there_is_no_python_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    minor = sys.version_info.minor + 1
    shim = tmp_path / f"python3.{minor}"
    shim.write_text("#!/bin/sh\necho 'pyenv: exists in these versions' >&2\nexit 127\n", "utf-8")
    shim.chmod(0o755)
    real = tmp_path / ".pyenv/versions" / f"3.{minor}.7/bin" / shim.name
    real.parent.mkdir(parents=True)
    real.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    steps: list[Any] = []
    run: Any = subprocess.run

    def work(step: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        if step[1] == "-c":
            tried: subprocess.CompletedProcess[str] = run(step, **options)
            return tried
        steps.append(step)
        (tmp_path / "xoscar").mkdir(exist_ok=True)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", work)
    system = replace(SYSTEMS["xoscar"], python=(3, minor))
    assert environments.install(system, tmp_path) == ""
    assert steps[0][0] == str(real)


def test_an_environment_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps: list[Any] = []

    def work(step: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        steps.append(step)
        (tmp_path / "xoscar").mkdir(exist_ok=True)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", work)
    for _ in range(2):
        assert environments.install(SYSTEMS["xoscar"], tmp_path) == ""
    assert len(steps) == 2
    assert environments.PINS in steps[1]


# --- what is told ---


def test_a_number_is_the_median_with_the_median_deviation() -> None:
    found = number_of([1.0, 2.0, 30.0])
    assert (found.median, found.mad, found.noise) == (2.0, 1.0, 0.5)
    assert number_of([0.0, 0.0]).noise == 0.0


def test_tables_show_ratios_to_the_first_system_the_noise_and_who_is_left_out() -> None:
    parts = {
        RAW: Part(numbers={"cost": number_of([9.0, 10.0, 11.0], "µs")}),
        OURS: Part(numbers={"cost": number_of([20.0], "µs")}),
        "LangGraph": Part(why_not="not here"),
    }

    assert in_markdown(parts).splitlines() == [
        "|  | cost, µs | × |",
        "| --- | ---: | ---: |",
        "| raw | 10 ±10% | 1.00 |",
        "| wavebreak | 20 | 2.00 |",
        "",
        "- LangGraph: – (not here)",
    ]
    text = drawn(in_terminal("F", parts))
    assert "10 ±10%" in text
    assert "LangGraph: not here" in text


def test_bars_are_told_as_reached_or_not() -> None:
    found = report(F={RAW: 100.0, OURS: 96.0, "LangGraph": 10.0})
    rows = {one.bar.what: one for one in reach.judge(found)}
    assert rows["no-op turns × raw"][1:] == (0.96, True, False)
    assert rows["no-op turns × LangGraph"].at_least is False
    assert rows["on uvloop × raw"].measured is None
    assert [one.bar.what for one in missed(found)] == ["no-op turns × LangGraph"]
    text = reach_in_markdown(found)
    assert "| F | no-op turns × raw | 0.96 | ≥ 0.95 reached | ≥ 1.3 not reached |" in text
    assert "≥ 28 not reached" in drawn(reach_in_terminal(found))


def test_what_is_wasted_is_told_of_each_policy_by_itself() -> None:
    wasted = {"after_wave": 68.0, "by_wave": 2.0, "enqueue": 0.0}
    replay = {
        by_policy(name): {"tool_seconds_wasted": seconds, "once_duplicates": 0.0}
        for name, seconds in wasted.items()
    }
    replay[CANCELLING] = {"tool_seconds_wasted": 100.0, "once_duplicates": 9.0}
    found = [one for one in reach.judge(report().with_replay(replay)) if one.bar.case == "G"]
    assert [one[1:] for one in found] == [(0, True, None), (0.68, False, False), (0.02, True, True)]
    replay[by_policy("enqueue")]["once_duplicates"] = 1.0
    assert reach.judge(report().with_replay(replay)) != found


def test_growth_is_the_dearest_as_a_multiple_of_the_smallest() -> None:
    sizes = {"H sessions, 10": 10.0, "H sessions, 100": 12.0, "H sessions, 1,000": 11.0}
    cases = {
        case: {OURS: Part(numbers={"CPU a turn": number(cost)})} for case, cost in sizes.items()
    }
    found = Report(form="full", machine=MACHINE, versions={}, cases=cases)
    grown = next(one for one in reach.judge(found) if "fewest sessions" in one.bar.what)
    assert grown[1:3] == (1.2, True)


def test_growth_of_durable_turns_is_the_highest_of_those_that_were_measured_side_by_side() -> None:
    sizes = {"H durable events, 10": 1.02, "H durable events, 100": 1.4, "H durable events, 1": 1.1}
    cases = {
        case: {OURS: Part(numbers={"beside a short one": number(ratio)})}
        for case, ratio in sizes.items()
    }
    found = Report(form="full", machine=MACHINE, versions={}, cases=cases)
    grown = next(one for one in reach.judge(found) if one.bar.what.startswith("durable: dearest"))
    assert grown[1:3] == (1.4, False)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = report(F={RAW: 100.0})
    found.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == found


def test_cases_that_are_measured_again_take_the_place_of_earlier_ones() -> None:
    before, now = report(F={RAW: 1.0}, B={RAW: 2.0}), report(F={RAW: 3.0})
    merged = now.over(before)
    assert list(merged.cases) == ["B", "F"]
    assert merged.number("F", "no-op turns", RAW) == 3.0


@pytest.mark.slow
def test_the_same_report_gives_the_same_plots(tmp_path: Path) -> None:
    cases = {
        "F": {n: Part(numbers={"no-op turns": number(1.0)}) for n in (RAW, OURS)},
        "H sessions, 10": {OURS: Part(numbers={"CPU a turn": number(1.0)})},
        "H sessions, 10,000": {OURS: Part(numbers={"CPU a turn": number(1.0)})},
    }
    found = Report(form="full", machine=MACHINE, versions={}, cases=cases)
    (tmp_path / "again").mkdir()
    first, again = plots.draw(found, tmp_path), plots.draw(found, tmp_path / "again")
    assert [path.name for path in first] == ["no-op-turns.svg", "growth.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


# --- the command line ---


@pytest.mark.slow
def test_the_suite_measures_tells_and_keeps_what_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = replace(CASE, name="F", quick=Order("turns", sessions=2), values=CASES[-1].values)
    monkeypatch.setattr(suite, "CASES", (tiny,))
    file = tmp_path / "figures.json"

    status = suite.main(
        [
            "--case",
            "F",
            "--runs",
            "1",
            "--json",
            str(file),
            "--check",
            "--system",
            OURS,
            "--system",
            RAW,
        ]
    )

    assert status == 0
    found = Report.read(file)
    assert found.form == "quick"
    assert found.number("F", "CPU a turn", OURS)
    assert found.cases["F"]["LangGraph"].why_not == "not asked for"
    assert "what is to be reached" in capsys.readouterr().out


def test_a_run_that_is_odd_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> dict[str, Runs]:
        raise Odd("nothing works")

    monkeypatch.setattr(suite, "measure", fail)
    assert suite.main(["--case", "F"]) == 2
    assert "nothing works" in capsys.readouterr().err
