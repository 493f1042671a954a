"""Which failures say that no model worked, so that nothing is billed; see decision 0007."""

from agent_pipeline.errors import AttemptTimeoutError, ProviderError, ProviderUnreachableError, RequestRejectedError

_GATEWAY_TIMEOUTS = frozenset({408, 504, 524})  # somebody else gave up waiting: the model may have worked


def may_have_worked(error: ProviderError) -> bool:
    """Tell whether a model may have worked, and been billed, before this error; a redirect never reached one."""
    status = error.status_code
    if status is None and _never_left(error):
        return False
    return status is None or status < 300 or status in _GATEWAY_TIMEOUTS


def _never_left(error: ProviderError) -> bool:
    """Tell whether nothing was sent after all, by a sender that can't watch its bytes and says `dispatch` early."""
    if isinstance(error, AttemptTimeoutError):
        return error.rung == "connect"
    return isinstance(error, ProviderUnreachableError | RequestRejectedError)
