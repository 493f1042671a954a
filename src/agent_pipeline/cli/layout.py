"""Tables, trees and paragraphs as plain text: alike on every terminal, nothing cut where a program reads."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.cells import cell_len, set_cell_size

from agent_pipeline.cli.output import out

_GAP = "  "
_NARROWEST = 12
_WIDEST_PARAGRAPH = 100
_PLAIN = str.maketrans({"├": "|", "│": "|", "└": "`", "─": "-", "…": "~", "→": ">"})
"""For an output that has no such characters."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        side: where its cells stand.
        yields: it may be shortened where a terminal is too narrow for all of it.
    """

    title: str
    side: Literal["left", "right"] = "left"
    yields: bool = False


@dataclass(slots=True)
class Branch:
    """A line of a tree, and what hangs below it."""

    text: str
    below: list["Branch"] = field(default_factory=list)


def terminal_width() -> int | None:
    """Return how many characters fit on a line; None where no terminal reads."""
    return shutil.get_terminal_size().columns if out().isatty() else None


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return a table with its titles, as wide as it has to be; in a narrow terminal some columns yield.

    >>> table([Column("ID"), Column("TOKENS", "right")], [["a", "12"], ["bcd", "1,000"]], None)
    ['ID   TOKENS', 'a        12', 'bcd   1,000']
    """
    titles = [column.title for column in columns]
    widths = [max(cell_len(cell) for cell in cells) for cells in zip(titles, *rows, strict=True)]
    if width is not None:
        _shrink(widths, columns, width)
    return [_row(columns, cells, widths) for cells in (titles, *rows)]


def tree(branches: Iterable[Branch], width: int | None) -> list[str]:
    """Return a tree; lines too long for a terminal go on below their beginning.

    >>> print(*tree([Branch("a", [Branch("b", [Branch("c")]), Branch("d")])], None), sep=chr(10))
    a
    ├─ b
    │  └─ c
    └─ d
    """
    lines: list[str] = []
    for branch in branches:
        lines += _wrapped(branch.text, "", "", width)
        lines += _hanging(branch.below, "", width)
    return lines


def paragraph(text: str, width: int | None, indent: str = "") -> list[str]:
    """Return a text broken into lines for a terminal, as one line for a program."""
    if width is None:
        return [f"{indent}{text}"]
    return _broken(text, min(width, _WIDEST_PARAGRAPH), indent, indent)


def labelled(label: str, lines: Iterable[str]) -> list[str]:
    """Return lines behind a label.

    >>> labelled("next:", ["a", "b"])
    ['next:      a', '           b']
    """
    return [f"{label if position == 0 else '':<11}{line}" for position, line in enumerate(lines)]


def print_lines(lines: Iterable[str]) -> None:
    """Write lines on stdout, in characters that it has."""
    channel = out()
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    try:
        "├│└─…→".encode(channel.encoding)
    except (UnicodeEncodeError, LookupError):
        text = text.translate(_PLAIN)
    channel.write(text)
    channel.flush()


def _shrink(widths: list[int], columns: Sequence[Column], width: int) -> None:
    """Take what is too much from the columns that yield, the widest first; never below what can be recognised."""
    too_much = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while too_much > 0:
        yielding = [n for n, column in enumerate(columns) if column.yields and widths[n] > _NARROWEST]
        if not yielding:
            return
        widest = max(yielding, key=lambda n: widths[n])
        widths[widest] -= 1
        too_much -= 1


def _row(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    fitted = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        if cell_len(cell) > width:
            cell = f"{set_cell_size(cell, width - 1).rstrip()}…"  # noqa: PLW2901 - the same cell, shorter
        blanks = " " * (width - cell_len(cell))
        fitted.append(f"{blanks}{cell}" if column.side == "right" else f"{cell}{blanks}")
    return _GAP.join(fitted).rstrip()


def _hanging(branches: Sequence[Branch], indent: str, width: int | None) -> list[str]:
    lines: list[str] = []
    for place, branch in enumerate(branches, start=1):
        is_last = place == len(branches)
        further = f"{indent}{'   ' if is_last else '│  '}"
        own = f"{further}{'│  ' if branch.below else '   '}"
        lines += _wrapped(branch.text, f"{indent}{'└─ ' if is_last else '├─ '}", own, width)
        lines += _hanging(branch.below, further, width)
    return lines


def _wrapped(text: str, first: str, others: str, width: int | None) -> list[str]:
    return [f"{first}{text}"] if width is None else _broken(text, max(width, len(others) + 20), first, others)


def _broken(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    ) or [first]
