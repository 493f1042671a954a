"""The roles file as values: providers, roles, defaults, and a role resolved for one call."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, PrivateAttr, field_validator, model_validator

from agent_pipeline.config.base_url import check_base_url
from agent_pipeline.config.limits import Count, Dollars
from agent_pipeline.config.params import output_cap
from agent_pipeline.config.validation import ConfigModel, PathText

MAX_NAME = 200


def _a_name(value: str) -> str:
    if not value or value != value.strip() or not value.isprintable() or len(value) > MAX_NAME:
        raise ValueError(f"a name of 1 to {MAX_NAME} printable characters is wanted, without blanks around it")
    return value


def _a_variable(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) or len(value) > MAX_NAME:
        raise ValueError("the name of an environment variable is wanted, such as OPENAI_API_KEY")
    return value


Name = Annotated[str, AfterValidator(_a_name)]
EnvName = Annotated[str, AfterValidator(_a_variable)]


KNOWN_ADDRESSES: Mapping[str, str] = {"openai": "https://api.openai.com/v1"}
"""Where a provider is asked whose config gives no `base_url`."""


Api = Literal["responses", "chat"]
DEFAULT_API: Api = "responses"
"""Which of OpenAI's two chat APIs is spoken where a provider says nothing."""


class LLMMode(str, Enum):  # noqa: UP042 - str mixin is the documented type, and its `str()` differs from StrEnum's
    """What kind of call a role makes."""

    chat = "chat"
    embedding = "embedding"
    image = "image"
    audio = "audio"
    tool = "tool"
    other = "other"


class ProviderConfig(ConfigModel):
    """Where a provider is and which environment variable holds its key.

    Attributes:
        env_key: name of that variable; None for a provider that needs no key.
        base_url: address of its API; None for the provider's own.
        api: which of OpenAI's two chat APIs to speak; None is `DEFAULT_API`.
    """

    env_key: EnvName | None = None
    base_url: str | None = None
    api: Api | None = None

    @field_validator("base_url")
    @classmethod
    def _usable(cls, value: str | None) -> str | None:
        return value if value is None else check_base_url(value)


class RoleDefaultsConfig(ConfigModel):
    """What a role uses that the file does not name."""

    provider: Name
    model: Name
    mode: Annotated[LLMMode, Field(strict=False)] = LLMMode.chat
    params: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def output_cap(self) -> int | None:
        """Most tokens of one answer, None for uncapped."""
        return output_cap(self.params)


class RoleConfig(RoleDefaultsConfig):
    """One role: model, params, instructions and its own limits.

    `params` is to be read only; `resolve_role` hands out copies.

    Attributes:
        instructions: the system prompt; after loading also where it came from `instructions_path`.
        instructions_path: file with the instructions, relative to the roles file.
        fallback: role whose model answers where this one's can't: it is unavailable, its context is too short for
            the request, or it refuses.
        budget_tokens: tokens this role may use in one run.
        budget_usd: dollars, likewise.
    """

    instructions: str | None = None
    instructions_path: PathText | None = None
    fallback: Name | None = None
    budget_tokens: Count | None = None
    budget_usd: Dollars | None = None

    @model_validator(mode="after")
    def _one_source_of_instructions(self) -> "RoleConfig":
        if self.instructions is not None and self.instructions_path is not None:
            raise ValueError("instructions and instructions_path exclude each other")
        return self


class RuntimeConfig(ConfigModel):
    """A whole roles file. Loaded ones are cross-checked; one built by hand is checked when a role is resolved."""

    project: Name
    env: Name
    providers: dict[Name, ProviderConfig]
    roles: dict[Name, RoleConfig]
    defaults: RoleDefaultsConfig | None = None

    _on_defaults: set[str] = PrivateAttr(default_factory=set)

    def settings(self) -> list[RoleDefaultsConfig]:
        """Return all that says which provider and model to use: the roles, then the defaults."""
        return [*self.roles.values(), *([] if self.defaults is None else [self.defaults])]

    def first_time_on_defaults(self, role: str) -> bool:
        """Tell whether this role was not asked about before; the answer is True once per role."""
        if role in self._on_defaults:
            return False
        self._on_defaults.add(role)
        return True


class ResolvedCall(ConfigModel):
    """What one call of a role uses."""

    role: str
    provider: str
    model: str
    mode: Annotated[LLMMode, Field(strict=False)]
    params: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def output_cap(self) -> int | None:
        """Most tokens of the answer, None for uncapped."""
        return output_cap(self.params)
