"""Who a request is made for: carried by a context variable through client libraries that know nothing of it."""

import math
from contextvars import Context, ContextVar, Token
from dataclasses import dataclass

from agent_pipeline.control.budget import Budget


@dataclass(frozen=True, slots=True)
class CallScope:
    """The document, stage and cycle that requests belong to.

    Attributes:
        deadline: on Trio's clock; the earliest of the stage's, document's and run's. Carried along because a request
            made from the document's asyncio loop runs outside the cancel scopes of its stage.
        trace_id: the document's.
        span_id: the Agents SDK's span that asks; None for plain calls.
        budget: the document's own, shared by all its stages, or a tracker its caller brought along; None where there
            is none.
    """

    document_id: str | None = None
    stage: str | None = None
    cycle: int | None = None
    deadline: float = math.inf
    trace_id: str | None = None
    span_id: str | None = None
    budget: Budget | None = None


_scope: ContextVar[CallScope] = ContextVar("call_scope", default=CallScope())  # noqa: B039  (frozen)


def current_scope() -> CallScope:
    """Return the scope of the running task."""
    return _scope.get()


def scope_in(context: Context) -> CallScope:
    """Return the scope of the task that runs in `context`; from any thread."""
    return context.get(_scope, CallScope())


def call_scope(scope: CallScope) -> "_Belonging":
    """Make requests inside the block belong to `scope`, also those made from the document's asyncio loop."""
    return _Belonging(scope)


class _Belonging:
    """The block of a scope; a generator would hold more for each request in flight."""

    __slots__ = ("_given", "_token")

    _token: Token[CallScope]

    def __init__(self, given: CallScope) -> None:
        self._given = given

    def __enter__(self) -> None:
        self._token = _scope.set(self._given)

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._token)
