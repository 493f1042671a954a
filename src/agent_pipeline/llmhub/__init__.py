"""The role runtime under its public names: roles from a file, resolved to provider, model and params, and called.

Names are imported at their first use.
"""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.config.roles import LLMMode as LLMMode
    from agent_pipeline.config.roles import ProviderConfig as ProviderConfig
    from agent_pipeline.config.roles import ResolvedCall as ResolvedCall
    from agent_pipeline.config.roles import RoleConfig as RoleConfig
    from agent_pipeline.config.roles import RoleDefaultsConfig as RoleDefaultsConfig
    from agent_pipeline.config.roles import RuntimeConfig as RuntimeConfig
    from agent_pipeline.config.roles import load_runtime_config as load_runtime_config
    from agent_pipeline.config.roles import parse_runtime_config as parse_runtime_config
    from agent_pipeline.config.roles import resolve_role as resolve_role
    from agent_pipeline.errors import ConfigError as ConfigError
    from agent_pipeline.errors import EnvVarMissingError as EnvVarMissingError
    from agent_pipeline.errors import LLMHubRuntimeError as LLMHubRuntimeError
    from agent_pipeline.errors import UnknownProviderError as UnknownProviderError
    from agent_pipeline.errors import UnknownRoleError as UnknownRoleError
    from agent_pipeline.llmhub.calls import CallContext as CallContext
    from agent_pipeline.llmhub.calls import CallResult as CallResult
    from agent_pipeline.llmhub.hub import LLMHub as LLMHub

__all__ = [
    # calls
    "CallContext",
    "CallResult",
    "LLMHub",
    # configuration
    "LLMMode",
    "ProviderConfig",
    "ResolvedCall",
    "RoleConfig",
    "RoleDefaultsConfig",
    "RuntimeConfig",
    "load_runtime_config",
    "parse_runtime_config",
    "resolve_role",
    # errors
    "ConfigError",
    "EnvVarMissingError",
    "LLMHubRuntimeError",
    "UnknownProviderError",
    "UnknownRoleError",
]

_CONFIG = "agent_pipeline.config.roles"
_ERRORS = "agent_pipeline.errors"

__getattr__ = lazy_exports(
    __name__,
    {
        "CallContext": "agent_pipeline.llmhub.calls",
        "CallResult": "agent_pipeline.llmhub.calls",
        "LLMHub": "agent_pipeline.llmhub.hub",
        **dict.fromkeys(__all__[3:12], _CONFIG),
        **dict.fromkeys(__all__[12:], _ERRORS),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
