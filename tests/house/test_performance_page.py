"""What `docs/performance.md` says of figures: what is compared, what was reached, and what stands in the way."""

import importlib
from types import ModuleType
from typing import Any

import pytest
from tests.house.tracked import ROOT

REASON = "the record costs a tenth."


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the module by the name that the benchmarks have for it: they are no package."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("figures")


def tables(figures: ModuleType, *wanted: float | None) -> list[Any]:
    """Return a table for each wish, of a ratio of 0.75, 2.25 and 1."""
    rows = [figures.Figure("ours", [3.0, 9.0, 4.0]), figures.Figure("bare", [4.0, 4.0, 4.0])]
    return [
        figures.Table(
            f"table {number}",
            figures.with_ratios(rows, [("ours", "bare", most)]),
            about="Both do the same.",
            in_the_way={"ours / bare": REASON},
        )
        for number, most in enumerate(wanted, start=1)
    ]


def test_the_median_decides_and_not_the_worst_round(figures: ModuleType) -> None:
    """One disturbed round of five says nothing about the program."""
    (table,) = tables(figures, 1.0)

    assert table.as_markdown().splitlines()[-1] == "| ours / bare | 0.750 | 1.000 | 2.250 | ≤ 1 | yes |"


def test_what_stands_in_the_way_is_told_where_a_figure_is_not_reached_and_only_there(figures: ModuleType) -> None:
    """A reason beside a figure that is reached would be an excuse for nothing."""
    missed, reached, free = (table.as_markdown() for table in tables(figures, 0.9, 1.0, None))

    assert missed.splitlines()[-3:] == [
        "| ours / bare | 0.750 | 1.000 | 2.250 | ≤ 0.9 | **no** |",
        "",
        f"Not reached, *ours / bare*: {REASON}",
    ]
    assert REASON not in reached
    assert REASON not in free


def test_the_page_begins_with_what_was_not_reached(figures: ModuleType) -> None:
    """Who looks for it should not have to read every table."""
    told = figures.standing(tables(figures, 1.0, 0.9, None))

    assert told == "1 of 2 figures are what is wanted. These are not:\n\n- ours / bare (table 2)"


def test_a_page_of_which_all_is_reached_says_so(figures: ModuleType) -> None:
    """A list of nothing would look as if something were missing."""
    assert figures.standing(tables(figures, 1.0, None)) == "1 of 1 figures are what is wanted."


def test_what_two_tables_in_a_row_are_about_is_said_once(figures: ModuleType) -> None:
    """The second is the same program with other numbers."""
    first, second, last = tables(figures, 1.0, 1.0, 1.0)
    other = figures.Table("start", [], about="How long a user waits.")

    sections = figures.sections([first, second, other, last])

    assert [section.count("Both do the same.") for section in sections] == [1, 0, 0, 1]


def test_what_a_table_is_about_is_its_programs_docstring_without_the_command(figures: ModuleType) -> None:
    """Told in one place, the two can't differ."""
    program = "Calls.\n\nBare is one client.\nLitellm is another.\n\n    uv run python it.py\n"

    assert figures.about(program) == "Calls.\n\nBare is one client.\nLitellm is another."
