"""Errors that end a document, or the run."""

from collections.abc import Mapping
from typing import Literal

from agent_pipeline.errors.root import AgentPipelineError, rungs_left


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


class ReplayMissError(AgentPipelineError):
    """A request that is replayed was never recorded, or was asked more often than it was recorded; nothing was sent.

    Attributes:
        field: dotted path of the first field that differs from the nearest recording, None where nothing is near, or
            every recording of this very request is used up.
    """

    code = "replay_miss"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ResultsError(AgentPipelineError):
    """A table of results could not be written; the run itself, and what was there under that name, is as it was."""

    code = "results_not_written"


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
        super().__init__(f"the {timeout:g} s {rung} timeout ran out{during and f' while {during}'}{rungs_left(left)}")
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
