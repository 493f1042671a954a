"""What Ray says of a lost worker, in one sentence: its own messages are a page each."""

import re

_DEAD_BECAUSE = re.compile(r"The actor is dead because (.+?)(?:\.\s|\.$|\n|$)")
_UNAVAILABLE = re.compile(r"The actor \w+ is unavailable: .*?\b(RPC error: .+?)(?: rpc_code|\.\s|\.$|\n|$)")
_TAKEN_BACK = "all references to the actor were removed"
"""What Ray says although they are there: a head that sends no token can't ask a driver that wants one."""

_EXIT_DETAIL = re.compile(r"Worker exit detail: (.+?)(?:\.\s|\.$|\n|$)")


def in_words(error: BaseException) -> str:
    """Return what an error of Ray's means, without ids, advice and tracebacks.

    >>> in_words(RuntimeError("The actor is dead because its node has died. Node Id: 5f Reason: ..."))
    'its node has died'
    >>> in_words(
    ...     RuntimeError("The actor 5f is unavailable: RpcError: RPC error: Connection reset rpc_code: 14. The ...")
    ... )
    'it can not be reached (RPC error: Connection reset)'
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):  # what our own code raised in the actor
        return _first_line(cause)
    text = str(error)
    dead = _DEAD_BECAUSE.search(text)
    if dead is None and (unavailable := _UNAVAILABLE.search(text)) is not None:
        return f"it can not be reached ({unavailable[1]})"
    if dead is None:
        return f"{type(error).__name__}: {_first_line(error)}"
    if dead[1].startswith(_TAKEN_BACK):
        return "Ray took it back: see that RAY_AUTH_MODE is the same here as where the cluster was started"
    detail = _EXIT_DETAIL.search(text)
    return dead[1] if detail is None else f"{dead[1]} ({detail[1]})"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
