"""Run staged LLM agents over many documents.

Names are imported at their first use; importing the package itself reads and writes nothing.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.compose.pipeline import Pipeline as Pipeline
    from agent_pipeline.domain.document import Artifact as Artifact
    from agent_pipeline.domain.document import Document as Document
    from agent_pipeline.domain.result import RunResult as RunResult
    from agent_pipeline.domain.usage import Usage as Usage
    from agent_pipeline.errors import AgentPipelineError as AgentPipelineError
    from agent_pipeline.errors import AgentRunError as AgentRunError
    from agent_pipeline.errors import AnswerTooLargeError as AnswerTooLargeError
    from agent_pipeline.errors import ArtifactError as ArtifactError
    from agent_pipeline.errors import AttemptTimeoutError as AttemptTimeoutError
    from agent_pipeline.errors import BatchAbortedError as BatchAbortedError
    from agent_pipeline.errors import BatchCancelledError as BatchCancelledError
    from agent_pipeline.errors import BatchClosedError as BatchClosedError
    from agent_pipeline.errors import BatchDeadlineError as BatchDeadlineError
    from agent_pipeline.errors import BatchExpiredError as BatchExpiredError
    from agent_pipeline.errors import BatchFailedError as BatchFailedError
    from agent_pipeline.errors import BatchJobError as BatchJobError
    from agent_pipeline.errors import BatchPendingError as BatchPendingError
    from agent_pipeline.errors import BatchRequestCancelledError as BatchRequestCancelledError
    from agent_pipeline.errors import BatchUncertainError as BatchUncertainError
    from agent_pipeline.errors import BudgetExceededError as BudgetExceededError
    from agent_pipeline.errors import CallFailedError as CallFailedError
    from agent_pipeline.errors import CertificateError as CertificateError
    from agent_pipeline.errors import CommandFailedError as CommandFailedError
    from agent_pipeline.errors import CommandNotFoundError as CommandNotFoundError
    from agent_pipeline.errors import ConfigError as ConfigError
    from agent_pipeline.errors import ConnectionLostError as ConnectionLostError
    from agent_pipeline.errors import CredentialsRejectedError as CredentialsRejectedError
    from agent_pipeline.errors import DeadlineExceededError as DeadlineExceededError
    from agent_pipeline.errors import DiskFullError as DiskFullError
    from agent_pipeline.errors import DocumentBudgetExceededError as DocumentBudgetExceededError
    from agent_pipeline.errors import DocumentInvalidError as DocumentInvalidError
    from agent_pipeline.errors import DocumentRejectedError as DocumentRejectedError
    from agent_pipeline.errors import DuplicateDocumentError as DuplicateDocumentError
    from agent_pipeline.errors import DuplicateItemError as DuplicateItemError
    from agent_pipeline.errors import EngineError as EngineError
    from agent_pipeline.errors import EnvVarMissingError as EnvVarMissingError
    from agent_pipeline.errors import IncompleteAnswerError as IncompleteAnswerError
    from agent_pipeline.errors import InputError as InputError
    from agent_pipeline.errors import ItemDeadlineError as ItemDeadlineError
    from agent_pipeline.errors import LedgerError as LedgerError
    from agent_pipeline.errors import LLMBudgetExceededError as LLMBudgetExceededError
    from agent_pipeline.errors import LLMConfigError as LLMConfigError
    from agent_pipeline.errors import LLMError as LLMError
    from agent_pipeline.errors import LLMHubRuntimeError as LLMHubRuntimeError
    from agent_pipeline.errors import LLMRequestError as LLMRequestError
    from agent_pipeline.errors import LLMTimeoutError as LLMTimeoutError
    from agent_pipeline.errors import LocalResourceError as LocalResourceError
    from agent_pipeline.errors import MiddlewareError as MiddlewareError
    from agent_pipeline.errors import ModelNotFoundError as ModelNotFoundError
    from agent_pipeline.errors import ModelProtocolError as ModelProtocolError
    from agent_pipeline.errors import OutputInvalidError as OutputInvalidError
    from agent_pipeline.errors import PoisonedError as PoisonedError
    from agent_pipeline.errors import ProviderDownError as ProviderDownError
    from agent_pipeline.errors import ProviderError as ProviderError
    from agent_pipeline.errors import ProviderUnreachableError as ProviderUnreachableError
    from agent_pipeline.errors import QueueFullError as QueueFullError
    from agent_pipeline.errors import QuotaExhaustedError as QuotaExhaustedError
    from agent_pipeline.errors import RateLimitedError as RateLimitedError
    from agent_pipeline.errors import RecordingError as RecordingError
    from agent_pipeline.errors import ReplayMissError as ReplayMissError
    from agent_pipeline.errors import RequestRejectedError as RequestRejectedError
    from agent_pipeline.errors import ResultsError as ResultsError
    from agent_pipeline.errors import RunDirectoryError as RunDirectoryError
    from agent_pipeline.errors import RunInUseError as RunInUseError
    from agent_pipeline.errors import ServerError as ServerError
    from agent_pipeline.errors import SkippedByMiddlewareError as SkippedByMiddlewareError
    from agent_pipeline.errors import StageError as StageError
    from agent_pipeline.errors import StreamBrokenError as StreamBrokenError
    from agent_pipeline.errors import StreamTruncatedError as StreamTruncatedError
    from agent_pipeline.errors import UnknownProviderError as UnknownProviderError
    from agent_pipeline.errors import UnknownRoleError as UnknownRoleError
    from agent_pipeline.errors import WaitTooLongError as WaitTooLongError
    from agent_pipeline.errors import WorkerMismatchError as WorkerMismatchError
    from agent_pipeline.pipeline.context import StageContext as StageContext
    from agent_pipeline.pipeline.stage import stage as stage

__all__ = [
    # a pipeline and its result
    "Pipeline",
    "RunResult",
    "Usage",
    # what stages are made of
    "Artifact",
    "Document",
    "StageContext",
    "stage",
    # errors: their base
    "AgentPipelineError",
    # errors: before a run: configuration, input, credentials
    "LLMHubRuntimeError",
    "ConfigError",
    "UnknownRoleError",
    "UnknownProviderError",
    "EnvVarMissingError",
    "InputError",
    "DuplicateDocumentError",
    "DocumentInvalidError",
    "RunDirectoryError",
    "RunInUseError",
    "RecordingError",
    # errors: providers: one attempt went wrong
    "ProviderError",
    "ProviderUnreachableError",
    "CertificateError",
    "LocalResourceError",
    "ConnectionLostError",
    "AttemptTimeoutError",
    "RateLimitedError",
    "ServerError",
    "RequestRejectedError",
    "CredentialsRejectedError",
    "ModelNotFoundError",
    "QuotaExhaustedError",
    "ProviderDownError",
    "PoisonedError",
    "ModelProtocolError",
    "StreamBrokenError",
    "StreamTruncatedError",
    "AnswerTooLargeError",
    "IncompleteAnswerError",
    # errors: one call of a model, by adapter, pool or command
    "CommandNotFoundError",
    "LLMBudgetExceededError",
    "LLMConfigError",
    "LLMError",
    "LLMRequestError",
    "LLMTimeoutError",
    "CommandFailedError",
    # errors: an item of a batch, or the batch itself
    "BatchExpiredError",
    "BatchFailedError",
    "BatchJobError",
    "BatchPendingError",
    "BatchRequestCancelledError",
    "BatchUncertainError",
    "BatchAbortedError",
    "BatchCancelledError",
    "BatchClosedError",
    "BatchDeadlineError",
    "CallFailedError",
    "DuplicateItemError",
    "ItemDeadlineError",
    "MiddlewareError",
    "QueueFullError",
    "SkippedByMiddlewareError",
    # errors: a document ended badly
    "OutputInvalidError",
    "AgentRunError",
    "StageError",
    "DocumentRejectedError",
    "DocumentBudgetExceededError",
    "ArtifactError",
    "DiskFullError",
    "ResultsError",
    "DeadlineExceededError",
    "WaitTooLongError",
    "ReplayMissError",
    # errors: the run ends
    "BudgetExceededError",
    "LedgerError",
    "EngineError",
    "WorkerMismatchError",
]

_ERRORS = "agent_pipeline.errors"

__getattr__ = lazy_exports(
    __name__,
    dict.fromkeys(__all__, _ERRORS)
    | {
        "Artifact": "agent_pipeline.domain.document",
        "Document": "agent_pipeline.domain.document",
        "Pipeline": "agent_pipeline.compose.pipeline",
        "RunResult": "agent_pipeline.domain.result",
        "StageContext": "agent_pipeline.pipeline.context",
        "Usage": "agent_pipeline.domain.usage",
        "stage": "agent_pipeline.pipeline.stage",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
