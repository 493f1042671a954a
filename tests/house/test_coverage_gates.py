"""The coverage gates say what they measured and fail when they should."""

import json
from pathlib import Path

import pytest

from scripts.coverage_gates import main

Summary = dict[str, int]


def summary(*, lines: tuple[int, int], branches: tuple[int, int] = (0, 0)) -> dict[str, Summary]:
    """Build one file of `coverage json`: (covered, all) of lines and branches."""
    return {
        "summary": {
            "covered_lines": lines[0],
            "num_statements": lines[1],
            "covered_branches": branches[0],
            "num_branches": branches[1],
        }
    }


def gates(tmp_path: Path, **rooms: dict[str, Summary]) -> int:
    """Run the gates on one file per room."""
    whole = dict.fromkeys(("domain", "control", "ledger"), summary(lines=(10, 10))) | rooms
    report = tmp_path / "coverage.json"
    files = {f"src/agent_pipeline/{room}/x.py": found for room, found in whole.items()}
    report.write_text(json.dumps({"files": files}), encoding="utf-8")
    return main([str(report)])


def test_gates_hold_at_their_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """95 % overall is enough, and the figures are stated."""
    assert gates(tmp_path, pipeline=summary(lines=(65, 70))) == 0

    assert "holds  overall   95.00 %  (gate 95 %; 95 of 100 lines and branches)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "rooms",
    [
        {"pipeline": summary(lines=(6499, 7000))},
        {"domain": summary(lines=(10, 10), branches=(19999, 20000))},
        {"control": summary(lines=(9, 10)), "pipeline": summary(lines=(1000, 1000))},
        {"ledger": summary(lines=(0, 0))},
    ],
)
def test_a_gate_fails_when_missed_by_one(tmp_path: Path, rooms: dict[str, dict[str, Summary]]) -> None:
    """A share that rounds up to the gate has not reached it, and a room without code was renamed, not covered."""
    assert gates(tmp_path, **rooms) == 1
