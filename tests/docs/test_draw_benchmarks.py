from __future__ import annotations

from pathlib import Path

import pytest

from wavebreak.benchmarks.comparing.report import Machine, Part, Report, number_of
from wavebreak.docs import draw_benchmarks
from wavebreak.docs.draw_benchmarks import PAGES, growth, redrawn, summary, times

MACHINE = Machine(python="3.11", system="Linux", cores=2, began="2026-01-01T00:00", load=0.1)


def report(cases: dict[str, dict[str, Part]]) -> Report:
    return Report(form="full", machine=MACHINE, versions={}, cases=cases)


def part(name: str, median: float, *, more_is_better: bool = False) -> Part:
    return Part(numbers={name: number_of([median], "µs", more_is_better=more_is_better)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_what_a_page_says_was_measured_is_in_the_figures(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert redrawn(text) == text, "make docs"


def test_everything_that_can_be_drawn_is_in_a_page_and_the_plots_are_there() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    named = {m["name"] for text in texts for m in draw_benchmarks.MEASURED.finditer(text)}
    assert named == draw_benchmarks.drawings().keys()
    assert "<!-- measured: summary -->" in texts[0]
    assert len(list(draw_benchmarks.PLOTS.glob("*.svg"))) == 4


def test_the_short_table_tells_how_many_times_as_fast_whatever_way_a_number_goes() -> None:
    found = report(
        {
            "F": {
                "raw": part("no-op turns", 100.0, more_is_better=True),
                "wavebreak": part("no-op turns", 50.0, more_is_better=True),
                "LangGraph": Part(why_not="not here"),
            },
            "D after_wave, 100": {
                "raw": part("CPU a call", 10.0),
                "wavebreak": part("CPU a call", 40.0),
            },
        }
    )
    assert summary(found).splitlines()[2:] == [
        "| wavebreak | 0.5 | 0.25 | – | – | – | – |",
        "| raw | 1 | 1 | – | – | – | – |",
    ]


def test_growth_is_one_table_for_each_thing_that_grows() -> None:
    found = report(
        {
            "H sessions, 10": {
                "raw": part("CPU a turn", 1.0),
                "wavebreak": part("CPU a turn", 3.0),
            },
            "H sessions, 1,000": {"raw": Part(why_not="no"), "wavebreak": part("CPU a turn", 4.0)},
            "H events, 10": {"wavebreak": part("CPU a turn", 5.0)},
        }
    )
    assert growth(found).splitlines() == [
        "| sessions | raw: CPU a turn, µs | wavebreak: CPU a turn, µs |",
        "| --- | ---: | ---: |",
        "| 10 | 1 | 3 |",
        "| 1,000 | – | 4 |",
        "",
        "| events | wavebreak: CPU a turn, µs |",
        "| --- | ---: |",
        "| 10 | 5 |",
    ]


def test_modules_are_told_by_their_share() -> None:
    found = times({"how": "py-spy", "case": "F", "modules": {"actors/turn.py": 0.25}})
    assert found.splitlines()[2] == "| `actors/turn.py` | 25.0% |"


def test_a_page_that_differs_is_told_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- measured: machine -->\nold\n<!-- end of machine -->\n", "utf-8")
    monkeypatch.setattr(draw_benchmarks, "PAGES", (page,))
    monkeypatch.setattr(draw_benchmarks, "ROOT", tmp_path)
    assert draw_benchmarks.main(["--check"]) == 1
    assert "page.md differs from the figures: make docs" in capsys.readouterr().err
    assert "old" in page.read_text("utf-8")
    assert draw_benchmarks.main([]) == 0
    assert "Measured 20" in page.read_text("utf-8")
    assert draw_benchmarks.main(["--check"]) == 0
