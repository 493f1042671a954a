"""Failpoints do nothing until a test arms them, and a point that is not there can't be armed."""

import re
from collections.abc import Iterator

import pytest

from agent_pipeline import failpoints


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Leave no point armed for the tests that follow."""
    yield
    failpoints.disarm_all()


def test_a_point_does_what_it_is_armed_with_each_time() -> None:
    """And only that point, until all are disarmed."""
    reached: list[str] = []
    failpoints.reach("artifact.linked")
    failpoints.arm("artifact.linked", lambda: reached.append("here"))

    failpoints.reach("artifact.synced")
    failpoints.reach("artifact.linked")
    failpoints.reach("artifact.linked")
    failpoints.disarm_all()
    failpoints.reach("artifact.linked")

    assert reached == ["here", "here"]


def test_what_a_point_raises_arrives_where_it_is_reached() -> None:
    """A step may be made to fail there, not only to stop."""

    def fail() -> None:
        raise OSError("the disk is gone")

    failpoints.arm("document.before_row", fail)

    with pytest.raises(OSError, match="the disk is gone"):
        failpoints.reach("document.before_row")


def test_an_unknown_point_is_refused() -> None:
    """A misspelt one would never be reached, and its test would prove nothing."""
    with pytest.raises(ValueError, match=re.escape("no failpoint 'artifact.lost'; there are artifact.filled,")):
        failpoints.arm("artifact.lost", print)
