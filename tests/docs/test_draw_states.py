from __future__ import annotations

from pathlib import Path

import pytest

from wavebreak.actors.machine.state import Status
from wavebreak.actors.machine.table import TABLE
from wavebreak.docs import draw_states
from wavebreak.docs.draw_states import PAGES, name_of, redrawn
from wavebreak.messages.commands import Shutdown

pytestmark = pytest.mark.slow
"""Whichever test comes first pays for the walk: half a second on a free processor."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_what_is_drawn_in_a_page_is_what_the_code_gives(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert redrawn(text) == text, "make docs"


def test_the_readme_has_the_picture_and_the_pages_have_the_table_and_its_words() -> None:
    drawn = {
        found["name"]
        for page in PAGES
        for found in draw_states.DRAWN.finditer(page.read_text(encoding="utf-8"))
    }
    assert drawn == draw_states.DRAWINGS.keys()
    assert "<!-- drawn: diagram -->" in PAGES[0].read_text(encoding="utf-8")


def test_the_walk_comes_to_every_state_that_a_command_can_lead_to() -> None:
    beside = {after for _, after, _ in draw_states.BESIDE_THE_TABLE}
    assert {move.after for move in draw_states.moves()} == set(Status) - beside


def test_the_walk_tries_every_row_that_can_move_the_status() -> None:
    # How deliveries end is no business of the status.
    rows = {kind.__name__ for kind in TABLE} - {"DeliveryDone"}
    assert {move.row for move in draw_states.moves()} == rows


def test_the_picture_has_the_moves_that_an_interruption_makes() -> None:
    lines = draw_states.diagram().splitlines()
    told = "AfterWave, Now, Rollback, Stop, UndoTurn, TokenCancelled, TimeIsUp"
    assert f"    running --> stopping : {told}" in lines
    assert "    stopping --> running : TimeIsUp, RuntimeExit, CompensationDone" in lines
    assert "    idle --> collecting : AfterWave, Steer, Collect" in lines


def test_the_table_has_a_row_for_each_command_and_its_clauses_in_words() -> None:
    rows = draw_states.decider().splitlines()[2:]
    assert len(rows) == len(TABLE)
    assert rows[0].startswith("| `AfterWave` | `start_or_collect` | `collect` | `interrupt` |")
    words = draw_states.clauses()
    clauses = {name_of(clause) for row in TABLE.values() for clause in row}
    assert [name for name in clauses - {"stale"} if f"| `{name}` |" not in words] == []


def test_every_clause_and_command_of_the_table_says_what_it_is() -> None:
    for drawing in (draw_states.clauses(), draw_states.commands()):
        assert [row for row in drawing.splitlines() if row.endswith("|  |")] == []


def test_another_table_draws_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    closing = "    running --> closing : Shutdown"
    assert closing in draw_states.diagram().splitlines()
    before = draw_states.decider()
    monkeypatch.setitem(TABLE, Shutdown, TABLE[Shutdown]._replace(running=TABLE[Shutdown].closing))
    draw_states.moves.cache_clear()
    try:
        assert closing not in draw_states.diagram().splitlines()
        assert draw_states.decider() != before
    finally:
        draw_states.moves.cache_clear()


def test_a_page_that_differs_is_written_anew_and_with_check_only_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- drawn: commands -->\nold\n<!-- end of commands -->\nb\n", "utf-8")
    monkeypatch.setattr(draw_states, "ROOT", tmp_path)
    monkeypatch.setattr(draw_states, "PAGES", (page,))

    assert draw_states.main(["--check"]) == 1
    assert "page.md differs from the code: make docs" in capsys.readouterr().err
    assert "old" in page.read_text("utf-8")

    assert draw_states.main([]) == 0
    text = page.read_text("utf-8")
    assert text.startswith("a\n<!-- drawn: commands -->\n| command | what it is |")
    assert text.endswith("\n<!-- end of commands -->\nb\n")
    assert draw_states.main(["--check"]) == 0
