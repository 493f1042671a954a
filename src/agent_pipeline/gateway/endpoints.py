"""Where each provider's requests go, and which keys are set: its own address and key, or the embedded simulator.

Free of the OpenAI client, whose import takes over a second.
"""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from agent_pipeline.config.base_url import is_loopback
from agent_pipeline.config.environment import IN_A_PROGRAM, environment_secrets, require_api_key, resolve_api_key
from agent_pipeline.config.key_guard import is_placeholder
from agent_pipeline.config.role_models import DEFAULT_API, KNOWN_ADDRESSES, ProviderConfig, RuntimeConfig
from agent_pipeline.gateway.endpoint import Endpoint
from agent_pipeline.gateway.recording import RecordedSecrets
from agent_pipeline.telemetry import Redactor, SecretValues


def used_providers(runtime: RuntimeConfig) -> list[str]:
    """Return the ids of the providers that roles or defaults name, in order."""
    named = [role.provider for role in runtime.roles.values()]
    if runtime.defaults is not None:
        named.append(runtime.defaults.provider)
    return list(dict.fromkeys(named))


def redactor_of(runtime: RuntimeConfig) -> Redactor:
    """Return what takes secrets out of a text that is shown or logged: keys, and what the environment calls secret."""
    return Redactor([*_keys(runtime), *environment_secrets()])


def keys_of(runtime: RuntimeConfig) -> SecretValues:
    """Return the keys of all providers, but for placeholders, which any document may hold."""
    return SecretValues(key for key in _keys(runtime) if not is_placeholder(key))


def secrets_of(runtime: RuntimeConfig) -> SecretValues:
    """Return these keys, and what else the environment calls secret."""
    return SecretValues(key for key in [*_keys(runtime), *environment_secrets()] if not is_placeholder(key))


def secrets_in_recordings(runtime: RuntimeConfig) -> RecordedSecrets:
    """Return the same for recordings, where keys of others have no place either."""
    return RecordedSecrets(key for key in [*_keys(runtime), *environment_secrets()] if not is_placeholder(key))


def _keys(runtime: RuntimeConfig) -> list[str]:
    keys = [resolve_api_key(provider) for provider in runtime.providers.values()]
    return [key.get_secret_value() for key in keys if key is not None]


def missing_keys(runtime: RuntimeConfig) -> list[str]:
    """Return the providers in use that need a key which is named, but not set."""
    return [
        one
        for one in used_providers(runtime)
        if runtime.providers[one].env_key
        and not _is_local(runtime.providers[one])
        and resolve_api_key(runtime.providers[one]) is None
    ]


KeyState = Literal["set", "missing", "none"]


def key_state(runtime: RuntimeConfig, provider_id: str) -> KeyState:
    """Say whether a provider's key is set, or is missing, or none is needed."""
    provider = runtime.providers[provider_id]
    if resolve_api_key(provider) is not None:
        return "set"
    return "missing" if provider.env_key is not None and not _is_local(provider) else "none"


def _is_local(provider: ProviderConfig) -> bool:
    """Say whether the provider is on this machine: such a one gets the key that is set, and needs none."""
    return provider.base_url is not None and is_loopback(urlsplit(provider.base_url).hostname or "")


def key_for(provider_id: str, provider: ProviderConfig, hint: str = IN_A_PROGRAM) -> SecretStr | None:
    """Return the key that goes to a provider; None where none is set and none is needed.

    Args:
        provider_id: for the message.
        provider: where it is, and the variable of its key.
        hint: as `require_api_key` takes it.

    Raises:
        EnvVarMissingError: it is not on this machine, and the key it needs is not set.
    """
    return resolve_api_key(provider) if _is_local(provider) else require_api_key(provider_id, provider, hint=hint)


def real_endpoints(runtime: RuntimeConfig, hint: str = IN_A_PROGRAM) -> Mapping[str, Endpoint]:
    """Return the endpoint of each provider in use; every one has an address of its own, or one that is known.

    Args:
        runtime: roles and providers.
        hint: as `require_api_key` takes it.

    Raises:
        EnvVarMissingError: a key is not set.
    """
    endpoints: dict[str, Endpoint] = {}
    for one in used_providers(runtime):
        provider = runtime.providers[one]
        base_url = provider.base_url or KNOWN_ADDRESSES[one]  # the config was refused where neither is there
        endpoints[one] = Endpoint(base_url, provider.api or DEFAULT_API, key_for(one, provider, hint))
    return endpoints


def endpoints_with_keys(runtime: RuntimeConfig) -> Mapping[str, Endpoint]:
    """Return the endpoints that can be asked now, for calls that belong to no run.

    Providers without an address that is known, and those whose key is not set, are left out. Chat Completions are
    spoken where a provider does not say: that is what programs that ask by roles expect of a provider.
    """
    endpoints: dict[str, Endpoint] = {}
    for one in used_providers(runtime):
        provider = runtime.providers[one]
        base_url, key = provider.base_url or KNOWN_ADDRESSES.get(one), resolve_api_key(provider)
        if base_url is not None and (key is not None or provider.env_key is None or _is_local(provider)):
            endpoints[one] = Endpoint(base_url, provider.api or "chat", key)
    return endpoints


def simulated_endpoints(runtime: RuntimeConfig, url: str) -> Mapping[str, Endpoint]:
    """Return endpoints that all lead to the simulator; no key goes there."""
    return {one: Endpoint(url, runtime.providers[one].api or DEFAULT_API, None) for one in used_providers(runtime)}


def recorded_endpoints(runtime: RuntimeConfig, base_urls: Mapping[str, str]) -> Mapping[str, Endpoint]:
    """Return endpoints as they were when a run was recorded, for its replay; no key goes there, nor anything else.

    Args:
        runtime: roles and providers.
        base_urls: as they were asked, by provider id.
    """
    endpoints: dict[str, Endpoint] = {}
    for one in used_providers(runtime):
        provider = runtime.providers[one]
        base_url = base_urls.get(one) or provider.base_url or KNOWN_ADDRESSES[one]
        endpoints[one] = Endpoint(base_url, provider.api or DEFAULT_API, None)
    return endpoints
