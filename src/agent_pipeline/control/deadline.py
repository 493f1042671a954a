"""The rungs of the deadline ladder above the attempt: stage, document, run; which one fired, what others had left."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import trio

from agent_pipeline.errors import DeadlineExceededError

RungName = Literal["stage", "document", "run"]


@dataclass(frozen=True, slots=True)
class _Rung:
    name: RungName
    timeout: float
    deadline: float


_rungs: ContextVar[tuple[_Rung, ...]] = ContextVar("deadline_rungs", default=())


def time_left() -> dict[str, float]:
    """Return the seconds left on each rung around this task, from the innermost; also in its asyncio loop's requests.

    Under Trio; a rung without a limit is not there.
    """
    now = trio.current_time()
    return {rung.name: max(0.0, rung.deadline - now) for rung in reversed(_rungs.get())}


def run_timeout_passed() -> DeadlineExceededError | None:
    """Return the error of the run's own timeout where that is over, for whoever was cancelled; else None."""
    for rung in _rungs.get():
        if rung.name == "run" and rung.deadline <= trio.current_time():
            return DeadlineExceededError(rung=rung.name, timeout=rung.timeout)
    return None


@contextmanager
def on_ladder(rung: RungName, timeout: float | None, *, deadline: float) -> Generator[None]:
    """Let the block and its child tasks know of a rung that somebody else cuts off at `deadline`."""
    if timeout is None:
        yield
        return
    token = _rungs.set((*_rungs.get(), _Rung(rung, timeout, deadline)))
    try:
        yield
    finally:
        _rungs.reset(token)


def deadline_rung(rung: RungName, timeout: float | None, *, during: str = "") -> "_CutOff":
    """Cancel the block after `timeout` seconds and raise an error that names the rung; None never does.

    Raises:
        DeadlineExceededError: the block was cut off by this rung, and by no outer one. A result that arrived just
            after the deadline is kept, not thrown away.
    """
    return _CutOff(rung, timeout, during)


class _CutOff:
    """The block of a rung. Each document in flight is inside two, and a generator would hold three times as much."""

    __slots__ = ("_during", "_rung", "_scope", "_timeout", "_token")

    _scope: trio.CancelScope
    _token: Token[tuple[_Rung, ...]]

    def __init__(self, rung: RungName, timeout: float | None, during: str) -> None:
        self._rung: RungName = rung
        self._timeout = timeout
        self._during = during

    def __enter__(self) -> None:
        if self._timeout is not None:
            self._scope = trio.move_on_after(self._timeout)
            self._scope.__enter__()
            self._token = _rungs.set((*_rungs.get(), _Rung(self._rung, self._timeout, self._scope.deadline)))

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._timeout is None:
            return False
        _rungs.reset(self._token)
        swallowed = bool(self._scope.__exit__(kind, exc, traceback))
        if self._scope.cancelled_caught:
            raise DeadlineExceededError(rung=self._rung, timeout=self._timeout, during=self._during, left=time_left())
        return swallowed
