"""One call as hooks see it, before and after; what a hook raises changes nothing."""

import copy
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from agent_pipeline.config.role_models import LLMMode, ResolvedCall

T = TypeVar("T")

logger = logging.getLogger("agent_pipeline.llmhub")


@dataclass(frozen=True, slots=True)
class CallContext:
    """A call that is about to be made.

    Attributes:
        role: as it was asked for, also where the defaults cover it.
        params: the role's and, above them, the call's own.
        messages: of a completion, else None.
        input: of an embedding, else None.
    """

    role: str
    provider: str
    model: str
    mode: LLMMode
    params: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]] | None = None
    input: str | Sequence[Any] | None = None


@dataclass(frozen=True, slots=True)
class CallResult:
    """A call that has ended, well or not; one that was cancelled too.

    Attributes:
        duration_ms: milliseconds from asking to the answer's end, waits and all attempts included.
        error: what was raised, None on success.
        response: the provider's answer, None on failure and for streams.
    """

    role: str
    provider: str
    model: str
    mode: LLMMode
    duration_ms: float
    success: bool
    error: BaseException | None
    response: object | None


BeforeCall = Callable[[CallContext], object]
AfterCall = Callable[[CallResult], object]


class Pending:
    """A call going on: `answered` takes what it answered."""

    def __init__(self) -> None:
        self.response: object | None = None

    def answered(self, response: T) -> T:
        """Keep the answer for the hook after the call; return it."""
        self.response = response
        return response


class Hooks:
    """The two hooks of a hub, called where the hub is called.

    Attributes:
        errors: how often one of them raised.
    """

    def __init__(self, before: BeforeCall | None, after: AfterCall | None) -> None:
        hooks: dict[str, object] = {"on_before_call": before, "on_after_call": after}
        for name, hook in hooks.items():
            if hook is not None and not callable(hook):
                msg = f"{name} is a function, not {hook!r}"
                raise TypeError(msg)
            if hook is not None and any(map(iscoroutinefunction, (hook, type(hook).__call__))):
                msg = "a hook is a plain function: it is called between the steps of synchronous calls too"
                raise TypeError(msg)
        self.errors = 0
        self._before = before
        self._after = after

    @contextmanager
    def around(self, context: CallContext) -> Generator[Pending]:
        """Tell both hooks of the call made inside the block, whichever way the block is left."""
        self._call(self._before, context)
        pending, begun = Pending(), time.monotonic()
        error: BaseException | None = None
        try:
            yield pending
        except BaseException as exc:
            error = exc
            raise
        finally:
            self._call(
                self._after,
                CallResult(
                    role=context.role,
                    provider=context.provider,
                    model=context.model,
                    mode=context.mode,
                    duration_ms=(time.monotonic() - begun) * 1000,
                    success=error is None,
                    error=error,
                    response=pending.response if error is None else None,
                ),
            )

    def _call(self, hook: Callable[[Any], object] | None, told: CallContext | CallResult) -> None:
        if hook is None:
            return
        try:
            hook(told)
        except Exception:
            self.errors += 1
            logger.exception("a hook of role %s failed; the call is as it was", told.role)


def context_of(
    call: ResolvedCall,
    *,
    messages: Sequence[Mapping[str, Any]] | None = None,
    inputs: str | Sequence[Any] | None = None,
) -> CallContext:
    """Return a resolved call as hooks see it."""
    # A copy: hooks change nothing.
    params = copy.deepcopy(dict(call.params))
    return CallContext(call.role, call.provider, call.model, call.mode, params, messages, inputs)
