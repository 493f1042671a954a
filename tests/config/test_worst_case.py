"""The time a run may take at the most, computed by hand."""

import pytest

from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.worst_case import WorstCase, worst_case

OPEN = {"run": None, "document": None, "stage": None}


@pytest.mark.parametrize(
    ("limits", "documents", "expected"),
    [
        # 5 attempts of 120 s and pauses of 0.5 + 1 + 2 + 4 s, cut off by the stage's 300 s.
        ({}, 250, WorstCase(request=300, stage=300, document=600, run=1800)),
        ({"timeouts": OPEN}, 250, WorstCase(request=607.5, stage=None, document=None, run=None)),
        ({"timeouts": {**OPEN, "run": 900}}, 250, WorstCase(request=607.5, stage=900, document=900, run=900)),
        ({"timeouts": {"run": 900}}, None, WorstCase(request=300, stage=300, document=600, run=900)),
        ({}, None, WorstCase(request=300, stage=300, document=600, run=None)),
        (
            {"timeouts": {**OPEN, "attempt": None}},
            1,
            WorstCase(request=None, stage=None, document=None, run=None),
        ),
        # No pause exceeds its bound.
        (
            {"timeouts": {**OPEN, "attempt": 10, "read": 5}, "retry": {"max_attempts": 4, "max_delay": 1}},
            1,
            WorstCase(request=42.5, stage=None, document=None, run=None),
        ),
    ],
)
def test_limits_add_up(limits: dict[str, object], documents: int | None, expected: WorstCase) -> None:
    """Timeout times attempts is what a user has to wait for, and is seldom what they meant."""
    assert worst_case(LimitsConfig.model_validate(limits), documents) == expected
