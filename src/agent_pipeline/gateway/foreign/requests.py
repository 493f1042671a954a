"""What any-llm is asked: a role's params under any-llm's names, as JSON, and what that may cost."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticSerializationError, to_json

from agent_pipeline.config.params import EMBEDDING_ONLY, OUTPUT_CAPS, output_cap
from agent_pipeline.config.role_models import ResolvedCall
from agent_pipeline.errors import RequestRejectedError
from agent_pipeline.telemetry import SecretValues

Kind = Literal["completion", "stream", "embedding"]

_OURS = frozenset({"model", "messages", "inputs", "input", "timeout", "api_key", "api_base", "stream"})
"""What a request has from elsewhere; the gate alone bounds it in time."""

_AS_CONFIG: Callable[[int], dict[str, Any]] = lambda count: {"config": {"output_dimensionality": count}}  # noqa: E731
_SINGULAR: Callable[[int], dict[str, Any]] = lambda count: {"output_dimension": count}  # noqa: E731
_DIMENSIONS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    **dict.fromkeys(("gemini", "vertexai"), _AS_CONFIG),
    **dict.fromkeys(("cohere", "mistral", "voyage"), _SINGULAR),
}
"""How many numbers a vector has, where a provider does not call it `dimensions`."""


@dataclass(frozen=True, slots=True)
class ForeignRequest:
    """One request, however many attempts it takes.

    Attributes:
        content: what any-llm's method is called with, as JSON.
        output_tokens_cap: the answer may not have more; 0 where the role sets no cap.
        answers: how many values an embedding has to have, None where that is not known.
    """

    kind: Kind
    content: bytes
    output_tokens_cap: int = 0
    answers: int | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments anew for each attempt, since a client may change what it is given."""
        arguments: dict[str, Any] = json.loads(self.content)
        return arguments


def completion_request(
    call: ResolvedCall, messages: Iterable[object], *, streamed: bool, keys: SecretValues
) -> ForeignRequest:
    """Return the request for a chat completion.

    Args:
        call: whose params are used.
        messages: mappings as OpenAI has them, or models of such.
        streamed: whether the answer comes in chunks, the last of them with the usage.
        keys: these are in no request, whoever put them there.

    Raises:
        RequestRejectedError: a message is no JSON, or a param can't be sent.
    """
    params = _params(call)
    for name in OUTPUT_CAPS:
        if name in params:
            params["max_tokens"] = params.pop(name)
    reasoning = params.pop("reasoning", None)
    rest = dict(reasoning) if isinstance(reasoning, dict) else {}
    if rest.get("effort") is not None:
        params["reasoning_effort"] = rest.pop("effort")
    if rest:
        params["reasoning"] = rest
    fields: dict[str, Any] = {"model": call.model, "messages": [_plain(message) for message in messages], **params}
    if streamed:
        given = params.get("stream_options")
        options = given if isinstance(given, dict) else {}
        fields |= {"stream": True, "stream_options": {**options, "include_usage": True}}
    choices = params.get("n")
    count = choices if isinstance(choices, int) and choices > 0 else 1
    cap = (output_cap(call.params) or 0) * count
    return ForeignRequest("stream" if streamed else "completion", _as_json(fields, keys), cap)


def embedding_request(call: ResolvedCall, inputs: object, *, keys: SecretValues) -> ForeignRequest:
    """Return the request for vectors of one text or several; arguments and errors as `completion_request`."""
    params = _params(call)
    given = [params.pop(name) for name in EMBEDDING_ONLY if name in params]
    for count in given[:1]:
        if isinstance(count, int):
            named = _DIMENSIONS.get(call.provider)
            params |= {"dimensions": count} if named is None else named(count)
    fields = {"model": call.model, "inputs": inputs, **params}
    is_list = isinstance(inputs, list) and all(isinstance(text, str) for text in inputs)
    answers = len(inputs) if is_list and isinstance(inputs, list) else 1 if isinstance(inputs, str) else None
    return ForeignRequest("embedding", _as_json(fields, keys), answers=answers)


def _params(call: ResolvedCall) -> dict[str, JsonValue]:
    params: dict[str, JsonValue] = {}
    params |= {name: value for name, value in call.params.items() if value is not None and name != "stream"}
    wrong = sorted(_OURS & params.keys())
    if wrong:
        raise RequestRejectedError(f"the role {call.role} can't set the param {wrong[0]}; nothing was sent")
    return params


def _plain(message: object) -> object:
    if isinstance(message, BaseModel):  # an earlier answer's message; its thoughts are no part of what OpenAI takes
        return message.model_dump(mode="json", exclude_none=True, exclude={"reasoning"})
    return message


def _as_json(fields: Mapping[str, object], keys: SecretValues) -> bytes:
    try:
        content = to_json(fields)
    except (PydanticSerializationError, ValueError) as exc:
        raise RequestRejectedError(f"the request is no JSON, nothing was sent: {exc}") from exc
    return keys.text(content.decode()).encode()
