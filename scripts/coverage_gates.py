"""State the coverage gates and whether they hold: all of the rooms that guard money and truth, 95 % overall."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

GATES = {"domain": 100.0, "control": 100.0, "ledger": 100.0, "": 95.0}
"""Least percentage of lines and branches, by folder of the package; "" is all of it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Lines and branches seen out of those there are."""

    covered: int = 0
    total: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.covered + other.covered, self.total + other.total)

    def reaches(self, least: float) -> bool:
        """Tell whether the share is at least `least` percent, unrounded; a room without code reaches nothing."""
        return self.total > 0 and self.covered * 100 >= least * self.total


def tally(files: Mapping[str, Mapping[str, Mapping[str, int]]], folder: str) -> Tally:
    """Add up the files of one folder of the package from the `files` table of `coverage json`."""
    inside = f"agent_pipeline/{folder}/" if folder else "agent_pipeline/"
    summaries = [row["summary"] for name, row in files.items() if inside in name.replace("\\", "/")]
    return sum(
        (
            Tally(row["covered_lines"] + row["covered_branches"], row["num_statements"] + row["num_branches"])
            for row in summaries
        ),
        Tally(),
    )


def main(arguments: Iterable[str]) -> int:
    """Print one line per gate; 1 if one does not hold."""
    (report,) = arguments
    files = json.loads(Path(report).read_text(encoding="utf-8"))["files"]
    failed = 0
    for folder, least in GATES.items():
        found = tally(files, folder)
        held = found.reaches(least)
        failed += not held
        share = f"{100 * found.covered / found.total:6.2f} %" if found.total else "no code"
        word = "holds" if held else "FAILS"
        name = folder or "overall"
        print(f"{word}  {name:8} {share}  (gate {least:g} %; {found.covered} of {found.total} lines and branches)")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
