"""What a call is told and what it returns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType

from pydantic import JsonValue

from agent_pipeline.control.tracker import BudgetTracker
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import LLMConfigError

_KINDS: Mapping[str, tuple[type | UnionType, str]] = {
    "budget_tracker": (BudgetTracker, "a BudgetTracker, such as BudgetTracker(100_000)"),
    "model": (str, "a text"),
    "temperature": (int | float, "a number"),
    "timeout": (int | float, "a number of seconds"),
    "system": (str, "a text"),
    "params": (Mapping, "a mapping"),
}
"""What a config's values are, for Python and in words."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How one call is to be made; what is None is as the adapter has it.

    Attributes:
        budget_tracker: counts tokens; may be shared by any adapters. None enforces nothing.
        model: as the provider calls it.
        max_tokens: the output cap.
        temperature: as the provider understands it.
        timeout: seconds for the whole call, its waits and all its attempts included.
        system: the system prompt.
        params: more fields of the request, by the provider's names.

    Raises:
        LLMConfigError: a value that no call can have.
    """

    budget_tracker: BudgetTracker | None = None
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout: float | None = None
    system: str | None = None
    params: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (kind, wanted) in _KINDS.items():
            value: object = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                raise LLMConfigError(f"{name} is {wanted}, not {value!r}")
        if self.max_tokens is not None and (type(self.max_tokens) is not int or self.max_tokens < 1):
            raise LLMConfigError(f"max_tokens is a positive whole number, not {self.max_tokens!r}")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise LLMConfigError(f"timeout is a positive number of seconds, not {self.timeout}")
        if self.temperature is not None and not 0 <= self.temperature < math.inf:
            raise LLMConfigError(f"temperature is not negative, as {self.temperature} is")
        if self.model is not None and not self.model.strip():
            raise LLMConfigError("model is a name, or None for the adapter's own")


@dataclass(frozen=True, slots=True)
class LLMAnswer:
    """What a model answered.

    Attributes:
        text: the answer.
        usage: tokens this adapter's own call used, failed attempts left out; None where nobody tells.
        model: that answered, as the provider reports it.
        cost_micro_usd: of this call in millionths of a dollar; None where the price is unknown.
        raw: the provider's own object, for what is not here.
        charged_to: the trackers that have counted it. An adapter that returns another's answer is not charged again.
    """

    text: str
    usage: Usage | None = None
    model: str = ""
    cost_micro_usd: int | None = None
    raw: object = field(default=None, repr=False, compare=False)
    charged_to: tuple[BudgetTracker, ...] = field(default=(), repr=False, compare=False)


def checked_config(who: str, prompt: object, config: object) -> RunConfig:
    """Return the config of a call, the usual one for None.

    Raises:
        LLMConfigError: a call can't be made of these.
    """
    if not isinstance(prompt, str):
        raise LLMConfigError(f"{who}: a prompt is a text, not {type(prompt).__name__}")
    if config is None:
        return RunConfig()
    if not isinstance(config, RunConfig):
        raise LLMConfigError(f"{who}: config is a RunConfig, not {type(config).__name__}; RunConfig(max_tokens=...)")
    return config
