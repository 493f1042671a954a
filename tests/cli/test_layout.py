"""Tables, trees and paragraphs: alike everywhere, whole where a program reads, fitting where a person does."""

import io
import sys

import pytest

from agent_pipeline.cli.layout import Branch, Column, labelled, paragraph, print_lines, table, tree

COLUMNS = (Column("ID"), Column("TEXT", yields=True), Column("N", "right"))
ROWS = [["a-long-identifier-that-is-typed-again", "words " * 20, "1"], ["b", "few", "1,000"]]


def test_nothing_is_cut_where_a_program_reads() -> None:
    """What is cut can't be searched for."""
    lines = table(COLUMNS, ROWS, None)

    assert ROWS[0][0] in lines[1]
    assert ROWS[0][1].strip() in lines[1]
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_in_a_terminal_only_what_may_yields(width: int) -> None:
    """An id that is cut can't be typed."""
    lines = table(COLUMNS, ROWS, width)

    assert max(map(len, lines)) <= width
    assert ROWS[0][0] in lines[1]
    assert "…" in lines[1]
    assert lines[1].endswith(" 1")


def test_a_terminal_too_narrow_for_the_ids_gets_them_whole() -> None:
    """It breaks the line itself; that can be read."""
    lines = table(COLUMNS, ROWS, 20)

    assert ROWS[0][0] in lines[1]


def test_wide_characters_take_two_places() -> None:
    """Else the columns behind them would be out of line."""
    lines = table((Column("ID"), Column("N", "right")), [["日本", "1"], ["abcd", "22"]], None)

    assert lines == ["ID     N", "日本   1", "abcd  22"]


def test_a_tree_goes_on_below_its_beginning() -> None:
    """So that one sees what a line belongs to."""
    lines = tree([Branch("root", [Branch("one two three four five six seven", [Branch("leaf")]), Branch("last")])], 26)

    assert lines == ["root", "├─ one two three four five", "│  │  six seven", "│  └─ leaf", "└─ last"]


def test_paragraphs_are_one_line_for_programs() -> None:
    """A sentence that is broken can't be searched for."""
    text = "word " * 60

    assert paragraph(text, None) == [text]
    assert max(map(len, paragraph(text, 300))) <= 100
    assert labelled("a:", ["b"]) == ["a:         b"]


def test_characters_that_the_output_lacks_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of escapes could not be read."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

    print_lines(["a", "└─ b…", "ü"])

    assert raw.getvalue() == b"a\n`- b~\n\\xfc\n"
