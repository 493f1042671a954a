"""Where each provider's requests go: its own address and key, or the embedded simulator."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from agent_pipeline import gateway as gateways  # imported at the first endpoint: asking for missing keys needs none
from agent_pipeline.config.base_url import is_loopback
from agent_pipeline.config.environment import require_api_key, resolve_api_key
from agent_pipeline.config.role_models import KNOWN_ADDRESSES, ProviderConfig, RuntimeConfig
from agent_pipeline.telemetry import Redactor


def used_providers(runtime: RuntimeConfig) -> list[str]:
    """Return the ids of the providers that roles or defaults name, in order."""
    named = [role.provider for role in runtime.roles.values()]
    if runtime.defaults is not None:
        named.append(runtime.defaults.provider)
    return list(dict.fromkeys(named))


def redactor_of(runtime: RuntimeConfig) -> Redactor:
    """Return what takes the keys of all providers out of a text."""
    keys = [resolve_api_key(provider) for provider in runtime.providers.values()]
    return Redactor([key.get_secret_value() for key in keys if key is not None])


def missing_keys(runtime: RuntimeConfig) -> list[str]:
    """Return the providers in use that need a key which is named, but not set."""
    return [
        one
        for one in used_providers(runtime)
        if runtime.providers[one].env_key
        and not _is_local(runtime.providers[one])
        and resolve_api_key(runtime.providers[one]) is None
    ]


def _is_local(provider: ProviderConfig) -> bool:
    """Say whether the provider is on this machine: such a one gets the key that is set, and needs none."""
    return provider.base_url is not None and is_loopback(urlsplit(provider.base_url).hostname or "")


def real_endpoints(runtime: RuntimeConfig) -> "Mapping[str, gateways.Endpoint]":
    """Return the endpoint of each provider in use.

    Raises:
        EnvVarMissingError: a key is not set.
    """
    endpoints: dict[str, gateways.Endpoint] = {}
    for one in used_providers(runtime):
        provider = runtime.providers[one]
        base_url = provider.base_url or KNOWN_ADDRESSES[one]  # the config was refused where neither is there
        key = resolve_api_key(provider) if _is_local(provider) else require_api_key(one, provider)
        endpoints[one] = gateways.Endpoint(base_url, provider.api or "responses", key)
    return endpoints


def simulated_endpoints(runtime: RuntimeConfig, url: str) -> "Mapping[str, gateways.Endpoint]":
    """Return endpoints that all lead to the simulator; no key goes there."""
    return {
        one: gateways.Endpoint(url, runtime.providers[one].api or "responses", None) for one in used_providers(runtime)
    }
