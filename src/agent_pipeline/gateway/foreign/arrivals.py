"""Brings the chunks of a streamed answer from the asyncio loop to Trio: in order, all of them, each as it comes."""

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self

import trio

from agent_pipeline.control.call import Attempt
from agent_pipeline.gateway.foreign.answers import finish_of, usage_of
from agent_pipeline.gateway.foreign.requests import ForeignRequest


class Arrivals:
    """The chunks of one attempt; a context manager around it, under Trio.

    The block ends early where `take` raises, with what it raised. After the block nothing more is handed on.

    Args:
        take: called under Trio with each chunk; must not block.
        request: what was asked.
        attempt: told the usage, and that a part of the answer was handed on.

    Attributes:
        is_whole: whether the model has said that it is done.
        count: of chunks that were handed on.
    """

    def __init__(self, take: Callable[[object], None], request: ForeignRequest, attempt: Attempt) -> None:
        self.is_whole = False
        self.count = 0
        self._take = take
        self._request = request
        self._attempt = attempt
        self._waiting: deque[object] = deque()
        self._context = copy_context()
        self._scope = trio.CancelScope()
        self._token = trio.lowlevel.current_trio_token()
        self._error: BaseException | None = None
        self._is_open = True

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.hand_on()  # what came before the end, a failure or a cancellation, came
        self._is_open = False
        handled = self._scope.__exit__(kind, error, trace)
        if self._error is not None and (error is None or handled):
            raise self._error
        return handled

    def put(self, chunk: object) -> None:
        """Take a chunk; from any thread."""
        self._waiting.append(chunk)
        try:
            self._token.run_sync_soon(self.hand_on, idempotent=True)
        except trio.RunFinishedError:  # nobody waits there any more
            return

    def hand_on(self) -> None:
        """Hand on what has come; under Trio."""
        while self._waiting and self._is_open and self._error is None:
            chunk = self._waiting.popleft()
            self._attempt.usage = usage_of(chunk, self._request) or self._attempt.usage
            self.is_whole = self.is_whole or finish_of(chunk) is not None
            self.count += 1
            self._attempt.handed_on = True
            try:
                self._context.run(self._take, chunk)
            except BaseException as exc:  # noqa: BLE001 - leaves with the block; Trio itself would not survive it here
                self._error = exc
                self._scope.cancel()
