"""The role runtime under its public names: roles from a file, resolved to provider, model and params."""

from agent_pipeline.config.roles import (
    LLMMode,
    ProviderConfig,
    ResolvedCall,
    RoleConfig,
    RoleDefaultsConfig,
    RuntimeConfig,
    load_runtime_config,
    parse_runtime_config,
    resolve_role,
)
from agent_pipeline.errors import (
    ConfigError,
    EnvVarMissingError,
    LLMHubRuntimeError,
    UnknownProviderError,
    UnknownRoleError,
)

__all__ = [
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
