"""Texts of a pipeline file and its roles file that are right, to be made wrong, and ways to load them."""

from collections.abc import Callable

import pytest

from agent_pipeline.config.pipeline import Overrides, PipelineConfig
from agent_pipeline.errors import ConfigError

ROLES = """\
project: x
env: y
providers: {openai: {env_key: OPENAI_API_KEY}}
roles:
  capped:
    provider: openai
    model: gpt-5-nano
    params: {max_tokens: 100}
"""


HEAD = """\
name: demo
roles: roles.yaml
source: {path: in.json}
artifacts: ../out
logs: logs
stages: [route]
"""


Load = Callable[..., PipelineConfig]


def refusal(load: Load, text: str, *, roles: str = ROLES, overrides: Overrides | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(text, roles=roles, overrides=overrides)
    return caught.value


def limits(text: str) -> str:
    """A pipeline whose line 8 is this entry of `limits`."""
    return f"{HEAD}limits:\n  {text}\n"
