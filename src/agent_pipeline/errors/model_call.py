"""Errors of one call of a model, whichever way it goes; `LLMError` is above those of providers too."""

from agent_pipeline.errors.root import AgentPipelineError


class LLMError(AgentPipelineError):
    """Base of what can go wrong when a model is called; what an adapter raises is one."""

    code = "llm_error"


class LLMConfigError(LLMError):
    """A call can't be made as it was asked for: an output cap or a key is missing, or a setting is not known there.

    Nothing was sent.
    """

    code = "call_invalid"


class LLMBudgetExceededError(LLMError):
    """The worst case of the next request does not fit into what a shared tracker has left; nothing was sent.

    Attributes:
        dimension: `tokens` or `usd`; the first of them.
        dimensions: all that were too small.
    """

    code = "llm_budget_exceeded"

    def __init__(self, message: str, *, dimension: str = "tokens", others: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.dimension = dimension
        self.dimensions = (dimension, *others)


class LLMTimeoutError(LLMError):
    """A call outlived its own timeout, waits and all attempts included.

    Attributes:
        timeout: its length in seconds.
    """

    code = "call_timeout"

    def __init__(self, message: str, *, timeout: float) -> None:
        super().__init__(message)
        self.timeout = timeout


class CommandNotFoundError(LLMError):
    """A command that asks a model is not installed, or may not be executed; nothing was sent."""

    code = "command_not_found"
    disposition = "fail_run"


class LLMRequestError(LLMError):
    """A request failed for good: it can't be retried, or was in vain as often as allowed.

    Attributes:
        status_code: of the answer, None where none came.
        reason: the code of what went wrong, such as `request_rejected`; the error itself is the cause.
    """

    code = "llm_request_failed"

    def __init__(self, error: AgentPipelineError) -> None:
        super().__init__(str(error))
        self.status_code: int | None = getattr(error, "status_code", None)
        self.reason = error.code
