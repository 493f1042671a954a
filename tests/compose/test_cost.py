"""What one document costs, without a clock: calls of Python functions, which are the same on every machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.tracked import ROOT

RECORDED = {"ask": 2299.0, "agent": 7209.0}
"""Under Python 3.11 with the pinned libraries. Counts with other hash seeds were within 0.1 %."""

SHARE = 1.0 if sys.version_info < (3, 12) else 0.963
"""What this Python calls of it: from 3.12 on comprehensions are no calls. 0.958 to 0.966 under 3.12 and 3.13."""

TOLERANCE = 0.02
"""A document that costs 2 % more has got something that somebody should have meant."""


@pytest.fixture(scope="module")
def counted() -> dict[str, float]:
    """Count once for all tests, in a process of its own."""
    program = Path(__file__).with_name("counted_calls.py")
    command = [sys.executable, str(program)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("stage", RECORDED)
def test_a_document_costs_no_more_than_recorded(counted: dict[str, float], stage: str) -> None:
    """Cost that comes unseen, a little with each change, is never looked for."""
    assert counted[stage] <= RECORDED[stage] * SHARE * (1 + TOLERANCE)


@pytest.mark.parametrize("stage", RECORDED)
def test_what_is_recorded_is_lowered_with_the_cost(counted: dict[str, float], stage: str) -> None:
    """A gain that is not recorded can be lost again unseen."""
    assert counted[stage] >= RECORDED[stage] * SHARE * (1 - TOLERANCE), f"cheaper: record {counted[stage] / SHARE:.0f}"
