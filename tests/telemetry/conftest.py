"""Events and sinks that the telemetry tests share."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from tests.telemetry.attempts import ATTEMPT, MOMENT

from agent_pipeline.domain.usage import AttemptRecord

AttemptFactory = Callable[..., AttemptRecord]


@pytest.fixture
def at() -> datetime:
    """The moment of an event."""
    return MOMENT


@pytest.fixture
def make_attempt() -> AttemptFactory:
    """Build an attempt that went well; keyword arguments change its fields."""

    def make(**changes: object) -> AttemptRecord:
        return replace(ATTEMPT, **changes)  # type: ignore[arg-type]  # names are checked by replace itself

    return make
