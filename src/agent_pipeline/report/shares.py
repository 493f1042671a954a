"""Parts of a whole, changes, and places in an order."""

from collections.abc import Sequence
from math import ceil


def share(part: float, whole: float) -> str:
    """Return a part in percent, never 0 for what is there or 100 for what is not all.

    >>> [share(*pair) for pair in ((0, 0), (1, 3), (1, 9999), (9998, 9999), (3, 3))]
    ['-', '33 %', '<1 %', '>99 %', '100 %']
    """
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1 %"
    return ">99 %" if 99 < percent < 100 else f"{percent:.0f} %"


def change(before: float | None, after: float | None) -> str:
    """Return by how much a figure changed, with its sign.

    >>> [change(*pair) for pair in ((None, 1), (0, 0), (0, 3), (4, 4), (4, 5), (4, 1))]
    ['-', '=', 'new', '=', '+25 %', '-75 %']
    """
    if before is None or after is None:
        return "-"
    if before == after:
        return "="
    if not before:
        return "new"
    percent = 100 * (after - before) / before
    sign = "+" if percent > 0 else "-"
    return f"{sign}{abs(percent):.0f} %" if abs(percent) >= 1 else f"{sign}{abs(percent):.1f} %"


def quantile(ordered: Sequence[float], part: float) -> float | None:
    """Return the value below which a part of sorted values lies (nearest rank), None of none.

    >>> [quantile([1, 2, 3, 4], part) for part in (0.5, 0.95)], quantile([], 0.5)
    ([2, 4], None)
    """
    if not ordered:
        return None
    return ordered[max(ceil(part * len(ordered) - 1e-9) - 1, 0)]
