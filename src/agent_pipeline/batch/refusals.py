"""Refused keys, empty accounts, unknown models: one item's own mistake, or what every item would meet."""

IN_A_ROW = 3
"""Refusals without an answer between them after which nobody of a lane is sent any more.

In a pipeline one is enough, since there a role has one key. Items of a batch may each have a client of their own, so
one that is refused says little about the others.
"""


class Refusals:
    """Counts refusals in a row, per lane."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = {}

    def answered(self, lane: str) -> None:
        """Take an answer: the lane is not refused as a whole."""
        self._in_a_row.pop(lane, None)

    def concern_all(self, lane: str) -> bool:
        """Count a refusal; tell whether the whole lane is refused."""
        count = self._in_a_row[lane] = self._in_a_row.get(lane, 0) + 1
        return count >= IN_A_ROW
