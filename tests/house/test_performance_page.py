"""What `docs/performance.md` says of figures: what is compared, what was reached, and what stands in the way."""

import importlib
from typing import Any

import pytest
from tests.house.tracked import ROOT

IN_THE_WAY = {"ours / bare": "the record costs a tenth."}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the module by the name that the benchmarks have for it: they are no package."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("figures")


def table(figures: Any, wanted: float | None, title: str = "CPU") -> Any:
    """Return a table with a ratio of 0.75, 2.25 and 1."""
    rows = [figures.Figure("ours", [3.0, 9.0, 4.0]), figures.Figure("bare", [4.0, 4.0, 4.0])]
    ratios = figures.with_ratios(rows, [("ours", "bare", wanted)])
    return figures.Table(title, ratios, "Both do the same.", IN_THE_WAY)


def test_the_median_decides_and_not_the_worst_round(figures: Any) -> None:
    """One disturbed round of five says nothing about the program."""
    text = table(figures, 1.0).as_markdown()

    assert text.splitlines()[-1] == "| ours / bare | 0.750 | 1.000 | 2.250 | ≤ 1 | yes |"


def test_what_stands_in_the_way_is_told_where_a_figure_is_not_reached_and_only_there(figures: Any) -> None:
    """A reason beside a figure that is reached would be an excuse for nothing."""
    missed = table(figures, 0.9).as_markdown().splitlines()

    assert missed[-3:] == [
        "| ours / bare | 0.750 | 1.000 | 2.250 | ≤ 0.9 | **no** |",
        "",
        "Not reached, *ours / bare*: the record costs a tenth.",
    ]
    assert IN_THE_WAY["ours / bare"] not in table(figures, 1.0).as_markdown()
    assert IN_THE_WAY["ours / bare"] not in table(figures, None).as_markdown()


def test_the_page_begins_with_what_was_not_reached(figures: Any) -> None:
    """Who looks for it should not have to read every table."""
    assert figures.standing([table(figures, 1.0), table(figures, 0.9, "memory")]) == (
        "1 of 2 figures are what is wanted. These are not:\n\n- ours / bare (memory)"
    )
    assert figures.standing([table(figures, 1.0), table(figures, None)]) == "1 of 1 figures are what is wanted."


def test_what_two_tables_in_a_row_are_about_is_said_once(figures: Any) -> None:
    """The second is the same program with other numbers."""
    other = figures.Table("start", [figures.Figure("bare", [4.0])], "How long a user waits.")

    said = [
        section.count("Both do the same.")
        for section in figures.sections([table(figures, 1.0), table(figures, 1.0), other, table(figures, 1.0)])
    ]

    assert said == [1, 0, 0, 1]


def test_what_a_table_is_about_is_its_programs_docstring_without_the_command(figures: Any) -> None:
    """So the two can't differ."""
    program = "Calls.\n\nBare is one client.\nLitellm is another.\n\n    uv run python it.py\n"

    assert figures.about(program) == "Calls.\n\nBare is one client.\nLitellm is another."
