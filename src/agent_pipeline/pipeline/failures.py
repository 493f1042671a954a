"""What a stage raises, turned into an error of ours; cancellation and Ctrl-C are nobody's error."""

import traceback

import trio

from agent_pipeline.domain.own_error import own_error_in
from agent_pipeline.errors import AgentPipelineError, StageError

_PASSING = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)


def passing_part(exc: BaseException) -> BaseException | None:
    """Return what of `exc` has to go on to whoever cancelled or interrupted; None where all of it may end here.

    A group can hold both: a stage's nursery in which something fails while it is being cancelled.
    """
    if isinstance(exc, BaseExceptionGroup):
        return exc.subgroup(_PASSING)
    return exc if isinstance(exc, _PASSING) else None


def as_own_error(exc: BaseException, stage: str | None) -> AgentPipelineError:
    """Return the error of ours inside `exc`, or say which stage raised a foreign one and where it came from."""
    own = own_error_in(exc)
    if own is not None:
        return own
    if isinstance(exc, BaseExceptionGroup):
        foreign = [one for one in exc.exceptions if passing_part(one) is not one]
        return as_own_error(foreign[0] if foreign else exc.exceptions[0], stage)
    last = traceback.extract_tb(exc.__traceback__)[-1:]
    where = f" ({last[0].filename.rpartition('/')[2]}:{last[0].lineno})" if last else ""
    error = StageError(f"stage {stage} raised {type(exc).__name__}: {_words(exc)}{where}")
    error.__cause__ = exc
    return error


def _words(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as problem:  # noqa: BLE001 - a user's own exception may fail even at this
        return f"(no message: {type(problem).__name__} in its __str__)"
