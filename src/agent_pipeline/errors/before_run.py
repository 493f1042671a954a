"""Errors before a run: configuration, input, credentials."""

from agent_pipeline.errors.root import AgentPipelineError


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


class RecordingError(AgentPipelineError):
    """A recording can't be made, written, read or continued where it was asked for."""

    code = "recording_invalid"
    disposition = "fail_run"
