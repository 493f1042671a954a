"""Roles resolved to clients behind one gate, over one pool of connections."""

import copy
from collections.abc import Mapping

from agent_pipeline.config.environment import require_api_key
from agent_pipeline.config.prices import FindPrice, find_price
from agent_pipeline.config.roles import RuntimeConfig, fallbacks_of, resolve_role
from agent_pipeline.control.gate import Gate
from agent_pipeline.domain.ports import Emit
from agent_pipeline.errors import EnvVarMissingError
from agent_pipeline.gateway.batches import BatchEndpoint
from agent_pipeline.gateway.binding import Binding
from agent_pipeline.gateway.endpoint import Endpoint
from agent_pipeline.gateway.fallback import FallbackTransport, Link
from agent_pipeline.gateway.parameters import output_tokens_cap
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.gateway.roles import RoleClient
from agent_pipeline.gateway.transport import GateTransport
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
        emit: takes an event wherever a fallback is asked.
        takes_incomplete: whether answers count that a model cut short, or a refusal, where no fallback helps.
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
        emit: Emit | None = None,
        takes_incomplete: bool = False,
    ) -> None:
        self._runtime = runtime
        self._endpoints = endpoints
        self.gate = gate
        self.pool = pool
        self._keys = keys
        self._price_of = price_of
        self._emit = emit
        self._takes_incomplete = takes_incomplete
        self._timeouts = {"connect": connect_timeout, "read": read_timeout, "write": read_timeout, "pool": None}
        self._roles: dict[str, RoleClient] = {}

    def revised(self, runtime: RuntimeConfig) -> "Gateway":
        """Return a gateway with other roles, through the same gate and pool; this one stays as it is."""
        other = copy.copy(self)
        other._runtime = runtime  # noqa: SLF001 - its own
        other._roles = {}  # noqa: SLF001
        return other

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
        fallbacks = fallbacks_of(self._runtime, name)
        link = self.link(name, is_last=not fallbacks)
        role = self._runtime.roles.get(name)
        chain = [link, *(self.link(one, is_last=one == fallbacks[-1]) for one in fallbacks)]
        return RoleClient(
            binding=link.binding,
            api=link.api,
            official=link.official,
            params=link.params,
            instructions=None if role is None else role.instructions,
            transport=link.transport if len(chain) == 1 else FallbackTransport(chain, self._emit),
        )

    def batches(self, name: str) -> BatchEndpoint:
        """Return the files and batches of that role's provider, without its fallbacks; errors as `role` has them."""
        link, role = self.link(name), self._runtime.roles.get(name)
        return BatchEndpoint(
            link.binding,
            api=link.api,
            mode=resolve_role(self._runtime, name).mode,
            params=link.params,
            official=link.official,
            instructions=None if role is None else role.instructions,
            gate=self.gate,
            pool=self.pool,
            keys=self._keys,
        )

    def link(self, name: str, *, is_last: bool = True) -> Link:
        """Return the role of that name by itself, without its fallbacks; errors as `role` has them."""
        resolved = resolve_role(self._runtime, name)
        endpoint = self._endpoints.get(resolved.provider)
        if endpoint is None:
            require_api_key(resolved.provider, self._runtime.providers[resolved.provider])
            raise EnvVarMissingError(f"role {name} needs the provider {resolved.provider}, which has no endpoint here")
        binding = Binding(
            role=name,
            provider=resolved.provider,
            model=resolved.model,
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            output_tokens_cap=output_tokens_cap(resolved.params),
            price=self._price_of(resolved.provider, resolved.model),
            timeouts=self._timeouts,
            takes_incomplete=self._takes_incomplete and is_last,
        )
        transport = GateTransport(binding, gate=self.gate, pool=self.pool, keys=self._keys)
        return Link(binding, endpoint.api, endpoint.is_official, resolved.params, transport)
