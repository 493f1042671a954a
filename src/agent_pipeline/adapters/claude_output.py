"""What the `claude` command prints with `--output-format json`, read strictly; its failures as errors of ours."""

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from agent_pipeline.adapters.process import Finished
from agent_pipeline.config.misfit import first_misfit
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    AgentPipelineError,
    CommandFailedError,
    CredentialsRejectedError,
    IncompleteAnswerError,
    ModelProtocolError,
    QuotaExhaustedError,
)
from agent_pipeline.gateway.failures import from_status, quoted

_Count = Annotated[int, Field(ge=0)]

_API_STATUS = re.compile(r"\bAPI Error:? \(?(\d{3})\b")
_WORDS: tuple[tuple[re.Pattern[str], type[CredentialsRejectedError | QuotaExhaustedError]], ...] = (
    (re.compile(r"invalid api key|/login|oauth token|authentication", re.IGNORECASE), CredentialsRejectedError),
    (re.compile(r"credit balance|usage limit|limit reached|hit your limit", re.IGNORECASE), QuotaExhaustedError),
)
"""What the command says itself, without a status."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class ReportedUsage(_Read):
    """Tokens of all turns; the three kinds of input do not overlap."""

    input_tokens: _Count
    output_tokens: _Count
    cache_creation_input_tokens: _Count = 0
    cache_read_input_tokens: _Count = 0


class ClaudeResult(_Read):
    """The one object the command prints."""

    type: Literal["result"]
    subtype: str
    is_error: bool
    result: str | None = None
    usage: ReportedUsage | None = None
    total_cost_usd: Annotated[float, Field(ge=0)] | None = None
    model_usage: dict[str, JsonValue] | None = Field(default=None, alias="modelUsage")

    @property
    def reported(self) -> Usage | None:
        """The tokens; None where it tells none."""
        if self.usage is None:
            return None
        cached = self.usage.cache_read_input_tokens
        fresh = self.usage.input_tokens + self.usage.cache_creation_input_tokens
        return Usage(fresh + cached, self.usage.output_tokens, cached)

    @property
    def cost_micro_usd(self) -> int | None:
        """The money, rounded up; None where it tells none."""
        if self.total_cost_usd is None:
            return None
        return int((Decimal(str(self.total_cost_usd)) * 1_000_000).to_integral_value(rounding=ROUND_CEILING))

    @property
    def models(self) -> tuple[str, ...]:
        """The models that worked."""
        return tuple(self.model_usage or ())


@dataclass(frozen=True, slots=True)
class Reading:
    """What can be made of a command's end.

    Attributes:
        result: None where it printed none.
        error: None where there is an answer.
        status_code: of the provider behind it, where it tells one.
    """

    result: ClaudeResult | None
    error: AgentPipelineError | None
    status_code: int | None = None


def read_output(finished: Finished, said: str) -> Reading:
    """Read what the command printed; `said` is the end of its standard error, without secrets."""
    try:
        result = ClaudeResult.model_validate_json(finished.stdout)
    except ValidationError as exc:
        return Reading(None, _no_result(finished, said, exc))
    if result.is_error or result.subtype != "success":
        return _failed(result, finished.exit_code)
    if result.result is None:
        return Reading(result, ModelProtocolError("claude reports success and no result"))
    if finished.exit_code:
        return Reading(result, CommandFailedError(_ended(finished, said), exit_code=finished.exit_code))
    return Reading(result, None, 200)


def _no_result(finished: Finished, said: str, exc: ValidationError) -> AgentPipelineError:
    if finished.exit_code:
        return CommandFailedError(_ended(finished, said), exit_code=finished.exit_code)
    place, why = first_misfit(exc)
    return ModelProtocolError(f"claude printed no result object: {place or 'the whole'}: {why}")


def _ended(finished: Finished, said: str) -> str:
    code = finished.exit_code
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    return f"claude ended with {how}" + (f": {quoted(said[-300:])}" if said.strip() else "")


def _failed(result: ClaudeResult, exit_code: int) -> Reading:
    words = result.result or ""
    said = f"claude reports an error ({quoted(result.subtype)})" + (f": {quoted(words)}" if words else "")
    if result.subtype == "error_max_turns":
        return Reading(result, IncompleteAnswerError(f"{said}; raise max_turns"))
    found = _API_STATUS.search(words)
    if found is not None and int(found.group(1)) >= 400:
        status = int(found.group(1))
        return Reading(result, from_status(status, {}, words.encode()), status)
    for pattern, error in _WORDS:
        if pattern.search(words):
            return Reading(result, error(said))
    return Reading(result, CommandFailedError(said, exit_code=exit_code))
