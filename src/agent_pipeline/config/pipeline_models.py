"""A pipeline file as values: what runs on which documents, where results go, within which limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, model_validator

from agent_pipeline.config.base_url import check_otlp_endpoint
from agent_pipeline.config.engine import EngineConfig, EngineKind
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.price_table import PriceTable
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.config.stage_list import StageConfig
from agent_pipeline.config.validation import ConfigModel, PathText

MAX_NAME = 64
STDIN = "-"


def _a_file_name(value: str) -> str:
    # The name becomes part of file names, so it is kept to what every file system takes.
    plain = value.isascii() and value.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not plain or not value[0].isalnum() or value[-1] == "." or len(value) > MAX_NAME:
        raise ValueError(
            f"a name of 1 to {MAX_NAME} letters, digits, '-', '_' and '.' is wanted, beginning with a letter"
        )
    return value


class SourceText(ConfigModel):
    """`source:` as it is written."""

    path: PathText | None = None
    glob: PathText | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "SourceText":
        if (self.path is None) == (self.glob is None):
            raise ValueError("exactly one of path and glob is wanted")
        return self


class TelemetryConfig(ConfigModel):
    """Where a run tells of itself, beyond its own directory.

    Attributes:
        otlp_endpoint: base address of an OpenTelemetry collector; the environment may name another.
    """

    otlp_endpoint: Annotated[str, AfterValidator(check_otlp_endpoint)] | None = None


class PipelineText(ConfigModel):
    """A pipeline file as it is written; `PipelineConfig` is what becomes of it."""

    name: Annotated[str, AfterValidator(_a_file_name)]
    roles: PathText
    source: SourceText
    artifacts: PathText
    logs: PathText
    live: PathText | None = None
    results: list[PathText] = Field(default_factory=list)
    stages: list[JsonValue]
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    prices: PriceTable = Field(default_factory=dict)
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)


class SourceConfig(ConfigModel):
    """Where documents come from: exactly one of a path, a pattern, or standard input.

    Attributes:
        path: absolute path of a file or folder, None for the other two.
        glob: pattern as it is written, relative to `directory`.
        stdin: documents come as JSON Lines on standard input.
        directory: folder of the pipeline file.
    """

    path: Path | None
    glob: str | None
    stdin: bool
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOverrides:
    """What the command line changes of `engine:`; None changes nothing. No run keeps it: it may go on elsewhere."""

    kind: EngineKind | None = None
    address: str | None = None
    workers: int | None = None
    worker_concurrency: int | None = None
    shard_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line changes; None and empty change nothing.

    Attributes:
        budget_tokens: in place of `limits.budget.tokens`.
        budget_usd: in place of `limits.budget.usd`.
        documents_in_flight: in place of `limits.documents_in_flight`.
        run_timeout: in place of `limits.timeouts.run`, in seconds; may be shorter than the timeouts inside it.
        role_models: role to model.
        base_urls: provider to address.
        engine: of `engine`, key by key.
    """

    budget_tokens: int | None = None
    budget_usd: Decimal | None = None
    documents_in_flight: int | None = None
    run_timeout: float | None = None
    role_models: Mapping[str, str] = field(default_factory=dict)
    base_urls: Mapping[str, str] = field(default_factory=dict)
    engine: EngineOverrides = field(default_factory=EngineOverrides)


class PipelineConfig(ConfigModel):
    """A checked pipeline file together with its roles file; all paths are absolute but `path` and `roles`.

    Attributes:
        path: the pipeline file as it was named.
        text: its exact text.
        roles: path of the roles file.
        roles_text: its exact text.
        runtime: its content, with the overrides of the command line.
        overrides: what those were.
        live: file with values that may change while the run goes on; it need not be there.
        results: tables that are written as a session ends.
    """

    name: str
    path: Path
    text: str = Field(repr=False)
    roles: Path
    roles_text: str = Field(repr=False)
    runtime: RuntimeConfig
    source: SourceConfig
    artifacts: Path
    logs: Path
    live: Path | None = None
    results: tuple[Path, ...] = ()
    stages: tuple[StageConfig, ...]
    limits: LimitsConfig
    prices: PriceTable = Field(default_factory=dict)
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    overrides: Overrides = Field(default_factory=Overrides)
