"""Roles that stand in for one another: where one can't answer a request, its fallback is asked, through the same gate.

This happens below the OpenAI client, so plain calls and agents alike see an answer and no error, and what would end
the run ends it only where no role of the chain is left.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

from agent_pipeline.config.params import OUTPUT_CAPS
from agent_pipeline.config.role_models import Api
from agent_pipeline.control.scope import current_scope
from agent_pipeline.domain.limit_events import FallbackUsed
from agent_pipeline.domain.ports import Emit
from agent_pipeline.errors import (
    AgentPipelineError,
    IncompleteAnswerError,
    PoisonedError,
    ProviderError,
    RequestRejectedError,
    WaitTooLongError,
)
from agent_pipeline.gateway.binding import Binding
from agent_pipeline.gateway.parameters import body_params
from agent_pipeline.gateway.transport import GateTransport

Reason = Literal["unavailable", "context_length", "refused"]


def reason_to_fall_back(error: AgentPipelineError) -> Reason | None:
    """Return why another role may be asked after this error, None where that would not help or not be right.

    A budget that is used up, this machine's own troubles, and a request that is wrong for everybody, have no fallback;
    nor has an answer that ran into the output cap, which was paid for and belongs to the config.
    """
    if isinstance(error, RequestRejectedError | IncompleteAnswerError):
        return error.unsuited
    if isinstance(error, WaitTooLongError | PoisonedError):
        return "unavailable"
    gone = isinstance(error, ProviderError) and error.disposition in {"retry", "fail_run"}
    return "unavailable" if gone else None


@dataclass(frozen=True, slots=True)
class Link:
    """One role of a chain.

    Attributes:
        params: the role's, as its config writes them.
        official: whether OpenAI itself is asked.
    """

    binding: Binding
    api: Api
    official: bool
    params: Mapping[str, Any]
    transport: GateTransport

    @property
    def fields(self) -> dict[str, Any]:
        """What the role itself brings into a request's body."""
        return {**body_params(self.api, self.params, official=self.official), "model": self.binding.model}


class FallbackTransport(httpx2.AsyncBaseTransport):
    """Sends a role's requests; one that it can't answer goes to the next role of the chain, and so on.

    Args:
        chain: the role that is asked, then its fallbacks in order; all speak one API.
        emit: takes an event for each step down the chain; None takes none.
    """

    def __init__(self, chain: Sequence[Link], emit: Emit | None) -> None:
        self._chain = chain
        self._emit = emit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the first answer there is.

        Raises:
            AgentPipelineError: the last role's, unless it would end the run and another's would not: while some role
                may still answer other documents, they go on. Whatever no fallback helps against goes out at once.
        """
        first = self._chain[0]
        body = _read_object(await request.aread())
        chain = self._chain if body is not None else self._chain[:1]
        failures: list[AgentPipelineError] = []
        for place, link in enumerate(chain):
            asked = request if place == 0 else _rewritten(request, body or {}, first, link)
            try:
                return await link.transport.handle_async_request(asked)
            except AgentPipelineError as exc:
                reason = reason_to_fall_back(exc)
                if reason is None:
                    raise
                failures.append(exc)
            if place + 1 < len(chain):
                self._tell(link, chain[place + 1], reason, failures[-1])
        bearable = [error for error in failures if error.disposition != "fail_run"]
        raise bearable[-1] if bearable else failures[0]

    def _tell(self, link: Link, following: Link, reason: Reason, error: AgentPipelineError) -> None:
        scope, role, fallback = current_scope(), link.binding.role, following.binding.role
        if self._emit is not None:
            self._emit(FallbackUsed(scope.document_id, scope.stage, role, fallback, reason, error.code))


def _rewritten(request: httpx2.Request, body: Mapping[str, Any], first: Link, other: Link) -> httpx2.Request:
    """Return the request as `other` would have been asked: its model, params and address; the rest is the caller's."""
    base = httpx2.URL(first.binding.base_url).path.rstrip("/")
    url = other.binding.base_url.rstrip("/") + request.url.path.removeprefix(base)
    headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_FIRST}
    content = json.dumps(rewrite_body(body, first, other)).encode()
    return httpx2.Request(request.method, url, headers=headers, content=content, extensions=request.extensions)


_OF_THE_FIRST = frozenset({"host", "content-length"})


def rewrite_body(body: Mapping[str, Any], first: Link, other: Link) -> dict[str, Any]:
    """Return the body with what `first` brought into it replaced by what `other` brings.

    What the caller set (an agent's own settings, the output's schema, the instructions) stays; its output cap too,
    where it is lower than that of `other`.
    """
    rest, theirs, ours = dict(body), first.fields, other.fields
    asked, first_cap, other_cap = (_take_caps(fields) for fields in (rest, theirs, ours))
    changed = _with(_without(rest, theirs), ours)
    lowered = [cap for cap in asked.values() if cap not in first_cap.values()]
    cap = min([*lowered, *other_cap.values()], default=None)
    if cap is not None:
        names = list(other_cap) or list(body_params(other.api, {"max_tokens": cap}, official=other.official))
        changed[names[0]] = cap
    if first.binding.provider != other.binding.provider and isinstance(changed.get("input"), list):
        changed["input"] = [_portable(item) for item in changed["input"] if not _is_reasoning(item)]
    return changed


def _take_caps(fields: dict[str, Any]) -> dict[str, int]:
    """Remove the output caps from a body's fields; return them by name."""
    return {name: fields.pop(name) for name in OUTPUT_CAPS if isinstance(fields.get(name), int)}


def _without(fields: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without those that are as `own` has them, inside mappings too."""
    rest: dict[str, Any] = {}
    for name, value in fields.items():
        other = own.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            inner = _without(value, other)
            if inner:
                rest[name] = inner
        elif name not in own or value != other:
            rest[name] = value
    return rest


def _with(fields: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields and what `own` adds to them, inside mappings too."""
    whole = {**own, **fields}
    for name in own.keys() & fields.keys():
        if isinstance(own[name], dict) and isinstance(fields[name], dict):
            whole[name] = _with(fields[name], own[name])
    return whole


def _is_reasoning(item: object) -> bool:
    """Tell whether an input item is a model's own thoughts, which only its provider can read."""
    return isinstance(item, dict) and item.get("type") == "reasoning"


def _portable(item: object) -> object:
    """Return an input item without the name that one provider's store knows it by; `call_id` is the request's own."""
    return {name: value for name, value in item.items() if name != "id"} if isinstance(item, dict) else item


def _read_object(content: bytes) -> dict[str, Any] | None:
    try:
        value: object = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
