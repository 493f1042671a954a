"""What a stage is: an async Trio function from document to document, with a name and maybe a role."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction, isfunction
from typing import overload

from agent_pipeline.domain.document import Document, JsonValue
from agent_pipeline.pipeline.context import StageContext

StageFunction = Callable[[Document, StageContext], Awaitable[Document]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A named step; made by the `stage` decorator.

    Attributes:
        name: shown in logs and kept in the ledger.
        role: what `context.ask` uses where it is told none.
        roles: all roles the stage may use, that one included: missing ones are found before a run begins, and what
            they are is part of what a result was made by.
    """

    name: str
    function: StageFunction
    role: str | None = None
    roles: tuple[str, ...] = ()

    async def __call__(self, document: Document, context: StageContext) -> Document:
        """Run the stage as a plain function, for tests."""
        return await self.function(document, context)


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage at its place in a pipeline.

    Attributes:
        rework_to: the earlier stage a document goes back to when this one does not approve it.
        max_reworks: how often; then the document is rejected.
        options: all other options of the config file.
    """

    stage: Stage
    rework_to: str | None = None
    max_reworks: int = 0
    options: Mapping[str, JsonValue] = field(default_factory=dict)


@overload
def stage(function: StageFunction, /) -> Stage: ...
@overload
def stage(
    *, role: str | None = None, roles: Iterable[str] = (), name: str | None = None
) -> Callable[[StageFunction], Stage]: ...
def stage(
    function: StageFunction | None = None,
    /,
    *,
    role: str | None = None,
    roles: Iterable[str] = (),
    name: str | None = None,
) -> Stage | Callable[[StageFunction], Stage]:
    """Make a stage of an async function from document to document.

    Args:
        function: when used without parentheses.
        role: the role its calls use by default.
        roles: the other roles it may use.
        name: instead of the function's own.

    Raises:
        TypeError: what is decorated is no function, as in `@stage("writer")`, or none that is async.
    """

    def make(one: StageFunction) -> Stage:
        given: object = one
        if not callable(given):
            msg = f"@stage is for async functions and takes keywords only, as in @stage(role=...); not {given!r}"
            raise TypeError(msg)
        if _is_plain(one):
            msg = f"a stage is an async function; write `async def {getattr(given, '__name__', 'stage')}`"
            raise TypeError(msg)
        used = tuple(dict.fromkeys([*([] if role is None else [role]), *roles]))
        return Stage(name or str(getattr(one, "__name__", "stage")), one, role, used)

    return make if function is None else make(function)


def _is_plain(given: object) -> bool:
    """Tell whether it is a function, and surely not an async one; other callables may be."""
    return isfunction(given) and not iscoroutinefunction(given)
