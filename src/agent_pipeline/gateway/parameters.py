"""A role's params under the names each API wants, and read back from a request."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from agent_pipeline.config.params import OUTPUT_CAPS, output_cap
from agent_pipeline.config.role_models import Api

_OURS = frozenset({"stream"})


def output_tokens_cap(params: Mapping[str, Any]) -> int:
    """Return the most tokens a role's answer may have, 0 where it sets no cap."""
    return output_cap(params) or 0


def body_params(api: Api, params: Mapping[str, Any], *, official: bool) -> dict[str, Any]:
    """Return the role's params as fields of a request body; null counts as not set.

    Args:
        api: which API the body is for.
        params: the role's; the output cap, `reasoning`, `reasoning_effort` and `verbosity` go by the API's own names,
            all others as they are.
        official: whether OpenAI itself is asked; its chat models want `max_completion_tokens`, which other servers
            may not know. Whoever writes that name gets it.
    """
    body = {name: value for name, value in params.items() if name not in _OURS and value is not None}
    for name in OUTPUT_CAPS:
        if name in body:
            body[_cap_name(api, name, official=official)] = body.pop(name)
    return _chat_names(body) if api == "chat" else _responses_names(body)


def embedding_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a role's params as fields of a request for embeddings; null counts as not set.

    `embedding_dim` is `dimensions` there. An output cap has no meaning for it and stays here.
    """
    body = {name: value for name, value in params.items() if name not in {*_OURS, *OUTPUT_CAPS} and value is not None}
    if "embedding_dim" in body:
        body["dimensions"] = body.pop("embedding_dim")
    return body


def _cap_name(api: Api, written: str, *, official: bool) -> str:
    if api == "responses":
        return "max_output_tokens"
    return "max_completion_tokens" if official or written == "max_completion_tokens" else "max_tokens"


def _chat_names(body: dict[str, Any]) -> dict[str, Any]:
    reasoning = dict(body.pop("reasoning", {}))
    effort = reasoning.pop("effort", None)
    if effort is not None:
        body["reasoning_effort"] = effort
    return {**body, "reasoning": reasoning} if reasoning else body


def _responses_names(body: dict[str, Any]) -> dict[str, Any]:
    if "reasoning_effort" in body:
        body["reasoning"] = {**body.get("reasoning", {}), "effort": body.pop("reasoning_effort")}
    if "verbosity" in body:
        body["text"] = {**body.get("text", {}), "verbosity": body.pop("verbosity")}
    return body


class Asked(BaseModel):
    """What a request says about its answer, whoever wrote it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stream: bool | None = None
    n: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    max_tokens: PositiveInt | None = None

    def output_tokens_bound(self, role_cap: int) -> int:
        """Return the most output tokens that may be billed; `role_cap` is for requests that set none.

        Where a request has several caps, the largest counts: nobody knows which of them the server reads.
        """
        caps = (self.max_output_tokens, self.max_completion_tokens, self.max_tokens)
        return max((cap for cap in caps if cap is not None), default=role_cap) * (self.n or 1)


def read_asked(body: bytes) -> Asked:
    """Read a request's body; one that is no JSON object asks for nothing in particular."""
    try:
        return Asked.model_validate_json(body)
    except ValidationError:
        return Asked()
