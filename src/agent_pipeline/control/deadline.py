"""The rungs of the deadline ladder above the attempt: stage, document, run."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import trio

from agent_pipeline.errors import DeadlineExceededError


@contextmanager
def deadline_rung(
    rung: Literal["stage", "document", "run"], timeout: float | None, *, during: str = ""
) -> Generator[None]:
    """Cancel the block after `timeout` seconds and raise an error that names the rung; None never does.

    Raises:
        DeadlineExceededError: the block was cut off by this rung, and by no outer one. A result that arrived just
            after the deadline is kept, not thrown away.
    """
    if timeout is None:
        yield
        return
    with trio.move_on_after(timeout) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineExceededError(rung=rung, timeout=timeout, during=during)
