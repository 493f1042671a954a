"""Roles resolved to clients behind one gate, over one pool of connections."""

from collections.abc import Mapping

from agent_pipeline.config.prices import FindPrice, find_price
from agent_pipeline.config.roles import RuntimeConfig, resolve_role
from agent_pipeline.control.gate import Gate
from agent_pipeline.errors import EnvVarMissingError
from agent_pipeline.gateway.endpoint import Endpoint
from agent_pipeline.gateway.parameters import output_tokens_cap
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.gateway.roles import RoleClient
from agent_pipeline.gateway.transport import Binding, GateTransport
from agent_pipeline.telemetry import NO_SECRETS, SecretValues


class Gateway:
    """Hands out roles; resolves each once.

    Args:
        runtime: roles and providers.
        endpoints: by provider id.
        gate: every request passes it.
        pool: of connections.
        read_timeout: seconds without a byte; None is unlimited.
        connect_timeout: seconds; None is unlimited.
        keys: in no request's body, whoever put one there.
        price_of: finds what a provider's model costs.
    """

    def __init__(
        self,
        *,
        runtime: RuntimeConfig,
        endpoints: Mapping[str, Endpoint],
        gate: Gate,
        pool: ConnectionPool,
        read_timeout: float | None,
        connect_timeout: float | None,
        keys: SecretValues = NO_SECRETS,
        price_of: FindPrice = find_price,
    ) -> None:
        self._runtime = runtime
        self._endpoints = endpoints
        self.gate = gate
        self.pool = pool
        self._keys = keys
        self._price_of = price_of
        self._timeouts = {"connect": connect_timeout, "read": read_timeout, "write": read_timeout, "pool": None}
        self._roles: dict[str, RoleClient] = {}

    def role(self, name: str) -> RoleClient:
        """Return the role of that name, or what `defaults` make of it.

        Raises:
            UnknownRoleError: neither is there.
            EnvVarMissingError: its provider has no endpoint, for want of a key.
        """
        known = self._roles.get(name)
        if known is None:
            known = self._roles[name] = self._bind(name)
        return known

    def _bind(self, name: str) -> RoleClient:
        resolved = resolve_role(self._runtime, name)
        endpoint = self._endpoints.get(resolved.provider)
        if endpoint is None:
            raise EnvVarMissingError(
                f"role {name} needs provider {resolved.provider}, which has no key; set it, or run with --offline"
            )
        binding = Binding(
            role=name,
            provider=resolved.provider,
            model=resolved.model,
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            output_tokens_cap=output_tokens_cap(resolved.params),
            price=self._price_of(resolved.provider, resolved.model),
            timeouts=self._timeouts,
        )
        role = self._runtime.roles.get(name)
        return RoleClient(
            binding=binding,
            api=endpoint.api,
            official=endpoint.is_official,
            params=resolved.params,
            instructions=None if role is None else role.instructions,
            transport=GateTransport(binding, gate=self.gate, pool=self.pool, keys=self._keys),
        )
