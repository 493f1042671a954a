"""Every error the package raises: one base, a stable code for ledger and report, what the run should do about it."""

from collections.abc import Mapping
from typing import ClassVar, Literal

Unsuited = Literal["context_length", "refused"]
"""Why a model can't answer a request that another one might: it is too long for it, or a filter is against it."""

Disposition = Literal["retry", "fail_document", "fail_run"]
"""What the run does: try the attempt again, give this document up, or stop admitting work and end the run."""


class AgentPipelineError(Exception):
    """Base of all errors of this package; `code` is stable, the message says what happened, where and what to do."""

    code: ClassVar[str] = "error"
    disposition: ClassVar[Disposition] = "fail_document"


# --- before a run: configuration, input, credentials -------------------------------------------------------------


class LLMHubRuntimeError(AgentPipelineError):
    """Base of what can be wrong with roles and providers."""

    code = "role_runtime"
    disposition = "fail_run"


class ConfigError(LLMHubRuntimeError):
    """A config file can't be read, parsed or validated.

    Attributes:
        place: `file:line:column`, or the file alone where no line is known.
        key: dotted key path inside the file, `""` for the file as a whole.
    """

    code = "config_invalid"

    def __init__(self, problem: str, *, place: str = "", key: str = "") -> None:
        super().__init__(": ".join(part for part in (place, key, problem) if part))
        self.problem = problem
        self.place = place
        self.key = key


class UnknownRoleError(LLMHubRuntimeError):
    """A role is neither defined nor covered by `defaults`."""

    code = "unknown_role"


class UnknownProviderError(LLMHubRuntimeError):
    """A role names a provider the config does not define."""

    code = "unknown_provider"


class EnvVarMissingError(LLMHubRuntimeError):
    """A provider's key variable is unset or empty."""

    code = "credentials_missing"


class InputError(AgentPipelineError):
    """The source as a whole can't be used: missing, of no known format, or with unusable ids."""

    code = "input_invalid"
    disposition = "fail_run"


class DuplicateDocumentError(InputError):
    """Two documents of one run have the same id, so neither could be told from the other."""

    code = "duplicate_id"


class DocumentInvalidError(AgentPipelineError):
    """One document can't be used (too large, not UTF-8, not a regular file, malformed); the others go on."""

    code = "document_invalid"


class RunDirectoryError(AgentPipelineError):
    """A run directory can't be used (missing, foreign, of a newer version, damaged); it is as it was."""

    code = "run_invalid"
    disposition = "fail_run"


class RunInUseError(AgentPipelineError):
    """Another process works on this run."""

    code = "run_in_use"
    disposition = "fail_run"


# --- providers: one attempt went wrong ---------------------------------------------------------------------------


class ProviderError(AgentPipelineError):
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
        super().__init__(f"attempt {attempt} exceeded its {timeout:g} s {rung} timeout{_left(left)}")
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
    """The same request keeps failing while others pass: something in the document, not the provider."""

    code = "poisoned"


class ModelProtocolError(ProviderError):
    """The answer is not what the API promises: HTML, broken JSON, no output."""

    code = "bad_answer"
    disposition = "retry"


class StreamTruncatedError(ModelProtocolError):
    """A streamed answer ended without its terminal event."""

    code = "stream_truncated"


class AnswerTooLargeError(ProviderError):
    """The decoded answer passed the byte cap."""

    code = "answer_too_large"


class BatchUncertainError(ProviderError):
    """A batch was asked for and no answer came: the provider may have made it, so it is looked for, not asked again."""

    code = "batch_uncertain"


class BatchFailedError(ProviderError):
    """The provider's batch ended without an answer to this request: expired, cancelled, refused, or left out."""

    code = "batch_failed"


class BatchPendingError(AgentPipelineError):
    """The provider has not finished a batch in the time it was waited for; nothing is lost, it can be resumed."""

    code = "batch_pending"


class IncompleteAnswerError(ProviderError):
    """The model stopped before its answer was whole (output cap, content filter) or refused.

    Attributes:
        unsuited: why another model might answer, None where this one merely ran out of room.
    """

    code = "incomplete_answer"

    def __init__(self, message: str, *, unsuited: Unsuited | None = None) -> None:
        super().__init__(message)
        self.unsuited = unsuited


# --- a document ended badly --------------------------------------------------------------------------------------


class OutputInvalidError(AgentPipelineError):
    """The model's answer does not fit the output type that was asked for."""

    code = "output_invalid"


class AgentRunError(AgentPipelineError):
    """The Agents SDK ended a run in its own way: too many turns, a guardrail, a tool that failed."""

    code = "agent_failed"


class StageError(AgentPipelineError):
    """A stage raised something that is not ours."""

    code = "stage_failed"


class DocumentRejectedError(AgentPipelineError):
    """The reviewer never approved the document; its last text is kept."""

    code = "rejected"


class ArtifactError(AgentPipelineError):
    """The artifact could not be written."""

    code = "artifact_not_written"


class DiskFullError(ArtifactError):
    """There is no room for artifacts, or none may be written any more; every other document would meet the same."""

    code = "disk_full"
    disposition = "fail_run"


class DeadlineExceededError(AgentPipelineError):
    """A rung of the deadline ladder above the attempt ran out.

    Attributes:
        rung: `stage`, `document` or `run`.
        timeout: its length in seconds.
        left: seconds that were left on the rungs above, by name.
    """

    code = "deadline_exceeded"

    def __init__(
        self,
        *,
        rung: Literal["stage", "document", "run"],
        timeout: float,
        during: str = "",
        left: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(f"the {timeout:g} s {rung} timeout ran out{during and f' while {during}'}{_left(left)}")
        self.rung = rung
        self.timeout = timeout
        self.left = dict(left or {})


class DocumentBudgetExceededError(AgentPipelineError):
    """The next request's worst case does not fit into what one document's budget has left; the others go on.

    Attributes:
        dimension: `tokens` or `usd`; the first of them.
        dimensions: all that were too small.
    """

    code = "document_budget_exceeded"

    def __init__(self, message: str, *, dimension: str, others: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.dimension = dimension
        self.dimensions = (dimension, *others)


class WaitTooLongError(AgentPipelineError):
    """A pause the provider asked for would outlast the deadline of this stage, document or run."""

    code = "wait_beyond_deadline"


# --- the run ends ------------------------------------------------------------------------------------------------


class BudgetExceededError(AgentPipelineError):
    """The next request's worst case does not fit into what the budget of the run, or of a role, has left.

    Attributes:
        dimension: `tokens`, `usd`, `role:<name>:tokens` or `role:<name>:usd`; the first of them.
        dimensions: all that were too small.
    """

    code = "budget_exceeded"
    disposition = "fail_run"

    def __init__(self, message: str, *, dimension: str, others: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.dimension = dimension
        self.dimensions = (dimension, *others)


class LedgerError(AgentPipelineError):
    """The ledger can't be written or read; nothing more may be called done."""

    code = "ledger_failed"
    disposition = "fail_run"


def _left(left: Mapping[str, float] | None) -> str:
    """Return what a report of a timeout says of the other rungs."""
    told = ", ".join(f"{seconds:.1f} s of the {name} timeout" for name, seconds in (left or {}).items())
    return f" ({told} left)" if told else ""
