"""The lines of a batch: a request as a role would make it, and what became of it, judged as any other answer is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_pipeline.config.params import ParamError, check_params
from agent_pipeline.control.call import Attempt
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    AgentPipelineError,
    BatchExpiredError,
    BatchFailedError,
    BatchRequestCancelledError,
    ConfigError,
    ModelProtocolError,
)
from agent_pipeline.gateway.answers import JSON, check_answer
from agent_pipeline.gateway.batches import BatchEndpoint
from agent_pipeline.gateway.failures import from_status, quoted
from agent_pipeline.gateway.outputs import OutputSchema
from agent_pipeline.gateway.parameters import body_params, embedding_params, read_asked
from agent_pipeline.gateway.shapes import Shape, read_shape

Messages = Sequence[Mapping[str, Any]]

EMBEDDINGS = "/v1/embeddings"

_NEVER_RUN: Mapping[str, type[BatchFailedError]] = {
    "batch_expired": BatchExpiredError,
    "batch_cancelled": BatchRequestCancelledError,
}
"""Codes of requests that no model saw."""

_MAYBE_RUN = frozenset({0, 408, 504, 524})
"""Statuses of requests that a model may have worked on; 0 stands for none, and has been seen."""


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request of a batch.

    Attributes:
        content: the line, with its end.
        input_tokens_bound: it makes no more.
        output_tokens_cap: nor does its answer; 0 where nothing caps it.
    """

    content: bytes
    input_tokens_bound: int
    output_tokens_cap: int


def make_line(
    endpoint: BatchEndpoint,
    item_id: str,
    request: str | Messages,
    params: Mapping[str, Any],
    schema: OutputSchema[Any] | None,
) -> RequestLine:
    """Write one request as the role makes it: its params (those given here win), instructions and model.

    Args:
        endpoint: of the role.
        item_id: by which the answer is known again.
        request: a prompt, or messages as the API takes them.
        params: in the place of the role's, key by key.
        schema: what the answer has to fit; None for text.

    Raises:
        ConfigError: the params make no sense.
        ValueError: the id or the request can't be written as JSON in UTF-8.
    """
    merged: dict[str, Any] = {**endpoint.params, **params}
    embeds = endpoint.endpoint == EMBEDDINGS
    try:
        check_params(merged, mode="embedding" if embeds else "chat")
    except ParamError as exc:
        raise ConfigError(exc.problem, key=".".join(("params", *exc.key))) from None
    named = embedding_params(merged) if embeds else body_params(endpoint.api, merged, official=endpoint.official)
    body = {**named, "model": endpoint.binding.model}
    _FILL[endpoint.endpoint](body, endpoint.instructions, request, schema)
    content = endpoint.keys.text(_written(body)).encode()
    head = json.dumps({"custom_id": item_id, "method": "POST", "url": endpoint.endpoint}, ensure_ascii=False)
    line = head[:-1].encode() + b', "body": ' + content + b"}\n"
    return RequestLine(line, len(content), read_asked(content).output_tokens_bound(0))


def _written(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _fill_responses(
    body: dict[str, Any], instructions: str | None, request: str | Messages, schema: OutputSchema[Any] | None
) -> None:
    body["input"] = request if isinstance(request, str) else list(request)
    if instructions is not None:
        body["instructions"] = instructions
    if schema is not None:
        body["text"] = {**body.get("text", {}), "format": {"type": "json_schema", **schema.form}}


def _fill_chat(
    body: dict[str, Any], instructions: str | None, request: str | Messages, schema: OutputSchema[Any] | None
) -> None:
    system = [] if instructions is None else [{"role": "system", "content": instructions}]
    asked = [{"role": "user", "content": request}] if isinstance(request, str) else list(request)
    body["messages"] = [*system, *asked]
    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": schema.form}


def _fill_embeddings(
    body: dict[str, Any], _instructions: str | None, request: str | Messages, schema: OutputSchema[Any] | None
) -> None:
    if not isinstance(request, str) or schema is not None:
        raise ConfigError("an embedding is of a prompt, and of no output type")
    body["input"] = request


_FILL = {"/v1/responses": _fill_responses, "/v1/chat/completions": _fill_chat, EMBEDDINGS: _fill_embeddings}


# --- what became of it -----------------------------------------------------------------------------------------------


class _Response(Shape):
    """What a request was answered."""

    status_code: int = 0
    body: object = None


class _Error(Shape):
    """Why it was not."""

    code: str | None = None
    message: str | None = None


class _Result(Shape):
    """One line of a batch's files of results."""

    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


@dataclass(frozen=True, slots=True)
class LineResult:
    """What became of one request.

    Attributes:
        item_id: of the request.
        body: of the answer, None where there is none that counts.
        usage: as the answer reports it, also where `error` is set.
        error: why the answer does not count; None where it does.
        may_be_billed: whether a model may have worked on it, though nobody says how much.
    """

    item_id: str
    body: Mapping[str, Any] | None
    usage: Usage | None
    error: AgentPipelineError | None
    may_be_billed: bool


def read_result(line: bytes, endpoint: BatchEndpoint) -> LineResult:
    """Judge one line of a file of results by the rules for any answer.

    Raises:
        ModelProtocolError: it is no such line.
    """
    result = read_shape(_Result, line)
    response = result.response
    if response is None:
        code = quoted(result.error and result.error.code)
        message = quoted(endpoint.binding.hide(result.error.message or "")) if result.error else ""
        error = _NEVER_RUN.get(code, BatchFailedError)(
            f"the batch has no answer ({code}): {message or 'it does not say why'}"
        )
        return LineResult(result.custom_id, None, None, error, may_be_billed=code not in _NEVER_RUN)
    shown = endpoint.binding.hide(json.dumps(response.body)).encode()
    if not 200 <= response.status_code < 300:
        failure = from_status(response.status_code, {}, shown) if response.status_code >= 300 else None
        failure = failure or BatchFailedError("the batch has an answer without a status")
        maybe_run = response.status_code in _MAYBE_RUN
        return LineResult(result.custom_id, None, None, failure, may_be_billed=maybe_run)
    attempt = Attempt(1)
    try:
        check_answer(attempt, path=endpoint.endpoint, content_type=JSON, streamed=False, body=shown)
    except AgentPipelineError as exc:
        return LineResult(result.custom_id, None, attempt.usage, exc, may_be_billed=attempt.usage is None)
    body = response.body if isinstance(response.body, dict) else {}
    return LineResult(result.custom_id, body, attempt.usage, None, may_be_billed=attempt.usage is None)


def content_of(body: Mapping[str, Any], endpoint: str) -> object:
    """Return what a checked answer says: its text; of embeddings, the vector, or the vectors where there are several.

    Raises:
        ModelProtocolError: an answer to embeddings without any.
    """
    if endpoint == "/v1/responses":
        items = [item for item in body["output"] if item["type"] == "message"]
        return "".join(part["text"] for item in items for part in item["content"] if part["type"] == "output_text")
    if endpoint != EMBEDDINGS:
        return body["choices"][0]["message"].get("content") or ""
    data = body.get("data")
    vectors = [one.get("embedding") for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    if not vectors or None in vectors:
        raise ModelProtocolError("the answer has no embedding")
    return vectors[0] if len(vectors) == 1 else vectors


class Named(Shape):
    """A line's id, and nothing else of it."""

    custom_id: str


class AskedLine(Named):
    """One request of a batch, read back."""

    body: dict[str, Any]

    def worst_case(self) -> tuple[int, int]:
        """Return the most tokens it makes, and the most its answer has; as `make_line` counted them."""
        content = _written(self.body).encode()
        return len(content), read_asked(content).output_tokens_bound(0)
