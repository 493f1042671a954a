"""Errors of providers and of the way to them: one attempt, or all of them, went wrong."""

from collections.abc import Mapping
from typing import Literal

from agent_pipeline.errors.model_call import LLMError
from agent_pipeline.errors.root import AgentPipelineError, Unsuited, rungs_left


class ProviderError(LLMError):
    """Base of what a provider, or the way to it, can do wrong.

    Attributes:
        status_code: HTTP status, None where no answer came.
    """

    code = "provider_error"

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class ProviderUnreachableError(ProviderError):
    """No connection: refused, no such host, TLS failure, connect timeout. Nothing was sent."""

    code = "provider_unreachable"
    disposition = "retry"


class CertificateError(ProviderError):
    """The provider's TLS certificate is not trusted; trying again can't help."""

    code = "certificate_rejected"
    disposition = "fail_run"


class LocalResourceError(AgentPipelineError):
    """This machine ran out of something (file descriptors, memory); not the network's fault."""

    code = "local_resource"
    disposition = "fail_run"


class ConnectionLostError(ProviderError):
    """The connection broke after the request was sent, before the answer was whole."""

    code = "connection_lost"
    disposition = "retry"


class AttemptTimeoutError(ProviderError):
    """One attempt outlived one of its own timeouts; there may be another.

    Attributes:
        rung: `attempt`, `read` or `connect`.
        timeout: its length in seconds.
        left: seconds that were left on the rungs above, by name.
    """

    code = "attempt_timeout"
    disposition = "retry"

    def __init__(
        self,
        *,
        attempt: int,
        rung: Literal["attempt", "read", "connect"],
        timeout: float,
        left: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(f"attempt {attempt} exceeded its {timeout:g} s {rung} timeout{rungs_left(left)}")
        self.rung = rung
        self.timeout = timeout
        self.left = dict(left or {})


class RateLimitedError(ProviderError):
    """The provider asked for a pause (429). Not an attempt used up.

    Attributes:
        retry_after: seconds the provider asked for, None if it did not say.
    """

    code = "rate_limited"
    disposition = "retry"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, status_code=429)
        self.retry_after = retry_after


class ServerError(ProviderError):
    """The provider failed (5xx, 408, 409, 425).

    Attributes:
        retry_after: seconds the provider asked for, None if it did not say.
    """

    code = "server_error"
    disposition = "retry"

    def __init__(self, message: str, *, status_code: int, retry_after: float | None = None) -> None:
        super().__init__(message, status_code=status_code)
        self.retry_after = retry_after


class RequestRejectedError(ProviderError):
    """The provider refuses this very request (400, 404, 413, 422); sending it again can't help.

    Attributes:
        unsuited: why another model might take it, None where nothing says so.
    """

    code = "request_rejected"

    def __init__(self, message: str, *, status_code: int | None = None, unsuited: Unsuited | None = None) -> None:
        super().__init__(message, status_code=status_code)
        self.unsuited = unsuited


class CredentialsRejectedError(ProviderError):
    """The provider refuses the key (401, 403)."""

    code = "credentials_rejected"
    disposition = "fail_run"


class ModelNotFoundError(ProviderError):
    """The provider does not know the role's model."""

    code = "model_not_found"
    disposition = "fail_run"


class QuotaExhaustedError(ProviderError):
    """The account has nothing left to spend (402, `insufficient_quota`)."""

    code = "quota_exhausted"
    disposition = "fail_run"


class ProviderDownError(ProviderError):
    """The provider fails for all: many requests of several documents in a row, and the probes after them.

    No document is to blame; `resume` works on all of them.
    """

    code = "provider_down"
    disposition = "fail_run"


class PoisonedError(ProviderError):
    """Something in the document: its request keeps failing while others pass, or whoever works on it is lost."""

    code = "poisoned"


class ModelProtocolError(ProviderError):
    """The answer is not what the API promises: HTML, broken JSON, no output."""

    code = "bad_answer"
    disposition = "retry"


class StreamTruncatedError(ModelProtocolError):
    """A streamed answer ended without its terminal event."""

    code = "stream_truncated"


class StreamBrokenError(ProviderError):
    """A stream that was handed on as it came went wrong after its first part; what was read of it stands alone."""

    code = "stream_broken"


class AnswerTooLargeError(ProviderError):
    """The decoded answer passed the byte cap."""

    code = "answer_too_large"


class IncompleteAnswerError(ProviderError):
    """The model stopped before its answer was whole (output cap, content filter) or refused.

    Attributes:
        unsuited: why another model might answer, None where this one merely ran out of room.
    """

    code = "incomplete_answer"

    def __init__(self, message: str, *, unsuited: Unsuited | None = None) -> None:
        super().__init__(message)
        self.unsuited = unsuited


class CommandFailedError(ProviderError):
    """A command that asks a model ended without an answer.

    Attributes:
        exit_code: its exit status, minus the signal that ended it.
    """

    code = "command_failed"

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
