"""Which failures say that no model worked, so that nothing is billed; see decision 0007."""

from agent_pipeline.errors import ProviderError

_GATEWAY_TIMEOUTS = frozenset({408, 504, 524})  # somebody else gave up waiting: the model may have worked


def may_have_worked(error: ProviderError) -> bool:
    """Tell whether a model may have worked, and been billed, before this error; a redirect never reached one."""
    status = error.status_code
    return status is None or status < 300 or status in _GATEWAY_TIMEOUTS
