"""What was measured, as tables: for a terminal, and for the page that `all_of_it.py` writes."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace


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
    def reached(self) -> bool | None:
        """Is the median what is wanted? None where nothing is."""
        return None if self.wanted is None else statistics.median(self.values) <= self.wanted

    @property
    def cells(self) -> list[str]:
        """The row: name, minimum, median, maximum, what is wanted."""
        numbers = [min(self.values), statistics.median(self.values), max(self.values)]
        wanted = "" if self.wanted is None else f"≤ {self.wanted:g}"
        return [self.name, *(f"{number:.3f}" for number in numbers), wanted]


@dataclass(frozen=True, slots=True)
class Table:
    """Figures that were taken in the same rounds.

    Attributes:
        title: what was measured, and how much of it.
        figures: the rows.
        about: what is compared, as Markdown.
        in_the_way: what keeps a figure from what is wanted, by its name; told only where it is not reached.
    """

    title: str
    figures: Sequence[Figure]
    about: str = ""
    in_the_way: Mapping[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> list[str]:
        """The names of the figures that are not what is wanted."""
        return [figure.name for figure in self.figures if figure.reached is False]

    def as_text(self) -> str:
        """Return it for a terminal."""
        rows = [["", "min", "median", "max", "wanted"], *(figure.cells for figure in self.figures)]
        width = max(len(row[0]) for row in rows)
        lines = [f"{row[0]:{width}}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows]
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def as_markdown(self) -> str:
        """Return it for a page."""
        rows = ["| | min | median | max | wanted | reached |", "|---|---|---|---|---|---|"]
        answers = {None: "", True: "yes", False: "**no**"}
        rows += [f"| {' | '.join([*figure.cells, answers[figure.reached]])} |" for figure in self.figures]
        remarks = [f"Not reached, *{name}*: {self.in_the_way[name]}" for name in self.missed if name in self.in_the_way]
        return "\n\n".join(filter(None, [f"## {self.title}", self.about, "\n".join(rows), *remarks]))


Pair = tuple[str, str, float | None]
"""The names of two figures, the first to be divided by the second, and the most that the median should be."""


def about(program: str) -> str:
    """Return what the docstring of a benchmark says about it: all but how it is started, which is indented."""
    return "\n\n".join(part for part in program.strip().split("\n\n") if not part.startswith(" "))


def with_ratios(figures: Sequence[Figure], pairs: Sequence[Pair]) -> list[Figure]:
    """Return the figures, and below them the ratios of these pairs, round by round."""
    values = {figure.name: figure.values for figure in figures}
    ratios = [
        Figure(f"{above} / {below}", [a / b for a, b in zip(values[above], values[below], strict=True)], wanted)
        for above, below, wanted in pairs
    ]
    return [*figures, *ratios]


def standing(tables: Sequence[Table]) -> str:
    """Return how many figures are what is wanted, and which are not."""
    missed = [f"- {name} ({table.title})" for table in tables for name in table.missed]
    wanted = sum(figure.wanted is not None for table in tables for figure in table.figures)
    end = ". These are not:\n" if missed else "."
    return "\n".join([f"{wanted - len(missed)} of {wanted} figures are what is wanted{end}", *missed])


def sections(tables: Sequence[Table]) -> Iterator[str]:
    """Yield each table; what two in a row are about is said once."""
    said = ""
    for table in tables:
        yield (replace(table, about="") if table.about == said else table).as_markdown()
        said = table.about
