"""What an error of an item's code means: by what it carries, as for any foreign client, and last by its name."""

from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.gateway.failures import failure_of, quoted
from agent_pipeline.gateway.foreign.errors import classify as classify_by_what_it_carries

_STATUS_OF_NAME: tuple[tuple[str, int], ...] = (
    ("ratelimit", 429),
    ("toomanyrequests", 429),
    ("resourceexhausted", 429),
    ("throttl", 429),
    ("quota", 402),
    ("authenticationerror", 401),
    ("unauthorized", 401),
    ("unauthenticated", 401),
    ("permissiondenied", 403),
    ("badrequest", 400),
    ("invalidargument", 400),
    ("overloaded", 503),
    ("serviceunavailable", 503),
    ("internalserver", 500),
    ("servererror", 500),
    ("timeout", 504),
)
"""Parts of names of exception classes, in lower case: all that an error of no library at all may have."""


def classify(error: Exception, attempt: int, *, timeout: float) -> AgentPipelineError | None:
    """Return the error of ours that a foreign one stands for; None where it is no provider's, but the code's own.

    Args:
        error: what an item's code raised; one of ours is returned as it is.
        attempt: its number.
        timeout: seconds after which it came, if it is a timeout.
    """
    leaf = _leaf(error)
    if not isinstance(leaf, Exception) or isinstance(leaf, ExceptionGroup):
        return None
    ours = classify_by_what_it_carries(leaf, attempt=attempt, place="the provider", elapsed=timeout) or _by_name(leaf)
    if ours is not None and ours is not leaf:
        ours.__cause__ = error
    return ours


def _leaf(error: BaseException) -> BaseException:
    """Return the one error in groups that hold one; where they hold several, none speaks for all."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _by_name(error: Exception) -> AgentPipelineError | None:
    names = [kind.__name__.lower() for kind in type(error).__mro__ if kind not in {Exception, BaseException, object}]
    status = next((status for part, status in _STATUS_OF_NAME if any(part in name for name in names)), None)
    if status is None:
        return None
    said = f"{type(error).__name__}: {quoted(error)}".removesuffix(": ").removesuffix(".")
    return failure_of(status, frozenset(), said, retry_after=None, answered=status)
