"""What can become of a batch at a provider, and of the requests in it."""

from agent_pipeline.errors.before_run import LLMHubRuntimeError
from agent_pipeline.errors.model_call import LLMError
from agent_pipeline.errors.provider import ProviderError


class BatchUncertainError(ProviderError):
    """A batch was asked for and no answer came: the provider may have made it, so it is looked for, not asked again."""

    code = "batch_uncertain"


class BatchFailedError(ProviderError):
    """The provider's batch ended without an answer to this request: refused as a whole, or left out."""

    code = "batch_failed"


class BatchExpiredError(BatchFailedError):
    """The provider did not come to this request within a batch's time; it was not worked on."""

    code = "batch_expired"


class BatchRequestCancelledError(BatchFailedError):
    """The batch was cancelled before the provider came to this request; it was not worked on."""

    code = "batch_request_cancelled"


class BatchPendingError(LLMError):
    """The provider has not finished a batch in the time it was waited for; nothing is lost, it can be resumed."""

    code = "batch_pending"


class BatchJobError(LLMHubRuntimeError):
    """The directory of a batch job can't be used: there is none, it is another's, or it is damaged; it is as it was."""

    code = "batch_job_invalid"
