"""Errors of the engines that spread a run over workers."""

from agent_pipeline.errors.root import AgentPipelineError


class EngineError(AgentPipelineError):
    """No worker can be brought to work, so the documents have nobody to work on them; the run can be gone on with."""

    code = "engine_failed"
    disposition = "fail_run"


class WorkerMismatchError(EngineError):
    """A worker would not make of the documents what this process would: another version, other stages, other code."""

    code = "worker_mismatch"
