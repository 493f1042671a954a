"""A role's params under the names each API wants."""

from collections.abc import Mapping
from typing import Any, Literal

Api = Literal["responses", "chat"]

_OURS = frozenset({"stream"})


def output_tokens_cap(params: Mapping[str, Any]) -> int:
    """Return the most tokens a role's answer may have, 0 where it sets no cap."""
    return int(params.get("max_tokens") or 0)


def body_params(api: Api, params: Mapping[str, Any], *, official: bool) -> dict[str, Any]:
    """Return the role's params as fields of a request body.

    Args:
        api: which API the body is for.
        params: the role's; `max_tokens`, `reasoning_effort` and `verbosity` go by the API's own names, all others as
            they are.
        official: whether OpenAI itself is asked; its chat models want `max_completion_tokens`, which other servers
            don't know.
    """
    body = {name: value for name, value in params.items() if name not in _OURS}
    if api == "chat":
        if official and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        if "reasoning" in body:
            body["reasoning_effort"] = body.pop("reasoning").get("effort")
        return body
    if "max_tokens" in body:
        body["max_output_tokens"] = body.pop("max_tokens")
    if "reasoning_effort" in body:
        body["reasoning"] = {"effort": body.pop("reasoning_effort")}
    if "verbosity" in body:
        body["text"] = {"verbosity": body.pop("verbosity")}
    return body
