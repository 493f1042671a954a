"""Named points between two steps that must not come apart, where a test may kill the process or raise."""

from collections.abc import Callable
from typing import Literal, get_args

FailpointName = Literal[
    "ledger.before_commit",
    "ledger.after_commit",
    "artifact.filled",
    "artifact.linked",
    "artifact.synced",
    "document.before_row",
    "document.after_row",
    "batch.uploading",
    "batch.uploaded",
    "batch.creating",
    "batch.created",
    "batch.polled",
    "batch.collecting",
    "batch.collected",
    "batch.settled",
]

NAMES: frozenset[str] = frozenset(get_args(FailpointName))
"""Every point there is."""

_armed: dict[str, Callable[[], object]] = {}


def reach(name: FailpointName) -> None:
    """Do what the point is armed with, in the thread that got there; nothing where it is not armed."""
    action = _armed.get(name)
    if action is not None:
        action()


def arm(name: str, action: Callable[[], object]) -> None:
    """Have `action` called each time the point is reached, in place of what it was armed with before.

    Raises:
        ValueError: there is no such point; nothing is armed.
    """
    if name not in NAMES:
        msg = f"no failpoint {name!r}; there are {', '.join(sorted(NAMES))}"
        raise ValueError(msg)
    _armed[name] = action


def disarm_all() -> None:
    """Make every point do nothing again."""
    _armed.clear()
