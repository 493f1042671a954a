"""The rungs of the deadline ladder above the attempt: stage, document, run."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import trio

from agent_pipeline.errors import DeadlineExceededError


@contextmanager
def deadline_rung(
    rung: Literal["stage", "document", "run"], timeout: float | None, *, during: str = ""
) -> Iterator[trio.CancelScope]:
    """Cancel the block after `timeout` seconds and raise an error that names the rung.

    Raises:
        DeadlineExceededError: the block was cut off by this rung, and by no outer one. A result that arrived just
            after the deadline is kept, not thrown away.
    """
    with trio.CancelScope(deadline=math.inf if timeout is None else trio.current_time() + timeout) as scope:
        yield scope
    if scope.cancelled_caught and timeout is not None:
        raise DeadlineExceededError(rung=rung, timeout=timeout, during=during)
