"""What was measured, as tables: for a terminal, and for the page that `all_of_it.py` writes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, once a round.

    Attributes:
        name: what, with its unit where the table's title has none.
        values: one a round, in the order of the rounds.
        wanted: the most that the median should be; None where nothing is wanted of it.
    """

    name: str
    values: Sequence[float]
    wanted: float | None = None

    @property
    def cells(self) -> list[str]:
        """The row: name, minimum, median, maximum, what is wanted."""
        numbers = [min(self.values), statistics.median(self.values), max(self.values)]
        wanted = "" if self.wanted is None else f"≤ {self.wanted:g}"
        return [self.name, *(f"{number:.3f}" for number in numbers), wanted]


@dataclass(frozen=True, slots=True)
class Table:
    """Figures that were taken in the same rounds."""

    title: str
    figures: Sequence[Figure]

    def as_text(self) -> str:
        """Return it for a terminal."""
        rows = [["", "min", "median", "max", "wanted"], *(figure.cells for figure in self.figures)]
        width = max(len(row[0]) for row in rows)
        lines = [f"{row[0]:{width}}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows]
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def as_markdown(self) -> str:
        """Return it for a page."""
        rows = ["| | min | median | max | wanted |", "|---|---|---|---|---|"]
        rows += [f"| {' | '.join(figure.cells)} |" for figure in self.figures]
        return "\n".join([f"## {self.title}", "", *rows])


Pair = tuple[str, str, float | None]
"""The names of two figures, the first to be divided by the second, and the most that the median should be."""


def with_ratios(figures: Sequence[Figure], pairs: Sequence[Pair]) -> list[Figure]:
    """Return the figures, and below them the ratios of these pairs, round by round."""
    values = {figure.name: figure.values for figure in figures}
    ratios = [
        Figure(f"{above} / {below}", [a / b for a, b in zip(values[above], values[below], strict=True)], wanted)
        for above, below, wanted in pairs
    ]
    return [*figures, *ratios]
