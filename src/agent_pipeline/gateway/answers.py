"""Judges a provider's answer before anybody parses it: usage first, then whether it is whole and what the API promises.

Without this an HTML page becomes a `str`, `{}` an object of Nones, and a stream that breaks off a shorter text.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from agent_pipeline.control.gate import Attempt
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    AgentPipelineError,
    AnswerTooLargeError,
    IncompleteAnswerError,
    ModelProtocolError,
    ServerError,
    StreamTruncatedError,
)

DECODED_BYTES_CAP = 16 * 1024 * 1024
"""Longest answer taken, after decompression."""

_SNIPPET = 120


class BodyDecoder:
    """Collects a body up to the cap, unpacking gzip in bounded steps so that a bomb never unfolds."""

    def __init__(self, encoding: str | None) -> None:
        if encoding not in {None, "", "identity", "gzip", "deflate"}:
            msg = f"the answer has content-encoding {encoding!r}, which was not asked for"
            raise ModelProtocolError(msg)
        packed = encoding in {"gzip", "deflate"}
        self._unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if packed else None
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next raw bytes.

        Raises:
            AnswerTooLargeError: the body passed the cap.
            ModelProtocolError: the body is not what its content-encoding says.
        """
        if self._unpack is not None:
            try:
                data = self._unpack.decompress(data, DECODED_BYTES_CAP - self._size_bytes + 1)
            except zlib.error as exc:
                msg = f"the answer can't be decompressed: {exc}"
                raise ModelProtocolError(msg) from exc
        self._size_bytes += len(data)
        if self._size_bytes > DECODED_BYTES_CAP:
            msg = f"the answer is longer than {DECODED_BYTES_CAP} bytes"
            raise AnswerTooLargeError(msg)
        self._parts.append(data)

    def body(self) -> bytes:
        """Return the whole body."""
        if self._unpack is not None and not self._unpack.eof and self._size_bytes:
            msg = "the compressed answer ends too early"
            raise ModelProtocolError(msg)
        return b"".join(self._parts)


def check_answer(attempt: Attempt, *, path: str, content_type: str, streamed: bool, body: bytes) -> None:
    """Set `attempt.usage` from the answer, then raise if it is not a whole answer of this endpoint.

    Raises:
        ModelProtocolError: not JSON, not the API's shape, or nothing in it.
        StreamTruncatedError: a stream without its terminal event.
        IncompleteAnswerError: the model was cut off, refused, or was filtered.
        ServerError: the provider reports its own failure inside a 200.
    """
    kind = content_type.partition(";")[0].strip().lower()
    wanted = "text/event-stream" if streamed else "application/json"
    if kind != wanted:
        msg = f"the answer is {kind or 'of no content type'}, not {wanted}: {_snippet(body)}"
        raise ModelProtocolError(msg, status_code=attempt.status_code)
    if path.endswith("/responses"):
        response = _last_response(body) if streamed else _parse(body)
        attempt.usage = _usage(response.get("usage"), "input_tokens", "output_tokens")
        _check_response(response)
    elif path.endswith("/chat/completions"):
        chunks = _events(body) if streamed else [_parse(body)]
        for chunk in chunks:
            attempt.usage = _usage(chunk.get("usage"), "prompt_tokens", "completion_tokens") or attempt.usage
        _check_stream(body, chunks) if streamed else _check_completion(chunks[0])
    else:
        answer = _parse(body)
        attempt.usage = _usage(answer.get("usage"), "prompt_tokens", "completion_tokens")


def _snippet(body: bytes) -> str:
    return repr(body[:_SNIPPET].decode("utf-8", "replace"))


def _parse(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        msg = f"the answer is not JSON ({exc}): {_snippet(body)}"
        raise ModelProtocolError(msg) from exc
    if not isinstance(value, dict):
        msg = f"the answer is not a JSON object: {_snippet(body)}"
        raise ModelProtocolError(msg)
    return value


def _usage(reported: object, input_name: str, output_name: str) -> Usage | None:
    if not isinstance(reported, Mapping):
        return None
    tokens_in, tokens_out = _count(reported, input_name), _count(reported, output_name)
    if tokens_in is None:
        return None
    in_details = reported.get("input_tokens_details", reported.get("prompt_tokens_details"))
    out_details = reported.get("output_tokens_details", reported.get("completion_tokens_details"))
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out or 0,
        cached_input_tokens=min(_count(in_details, "cached_tokens") or 0, tokens_in),
        reasoning_tokens=_count(out_details, "reasoning_tokens") or 0,
    )


def _count(values: object, name: str) -> int | None:
    value = values.get(name) if isinstance(values, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


# --- Responses API -----------------------------------------------------------------------------------------------

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


def _last_response(body: bytes) -> dict[str, Any]:
    events = _events(body)
    last = events[-1] if events else {}
    if last.get("type") not in _TERMINAL:
        msg = f"the stream ended after {len(events)} events without its terminal event"
        raise StreamTruncatedError(msg)
    response = last.get("response", last)
    return response if isinstance(response, dict) else {}


def _check_response(response: dict[str, Any]) -> None:
    error = response.get("error")
    if error:
        raise _reported(error)
    status = response.get("status")
    output = response.get("output")
    if status == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        raise _incomplete(reason)
    if status not in {"completed", None} or not isinstance(output, list):
        msg = f"the answer is no response object (status {status!r})"
        raise ModelProtocolError(msg)
    if not any(isinstance(item, dict) and item.get("type") != "reasoning" for item in output):
        msg = "the answer has no output"
        raise ModelProtocolError(msg)
    for item in output:
        for part in item.get("content") or () if isinstance(item, dict) else ():
            if isinstance(part, dict) and part.get("type") == "refusal":
                raise _refused(part.get("refusal"))


# --- Chat Completions API ----------------------------------------------------------------------------------------


def _check_completion(answer: dict[str, Any]) -> None:
    if answer.get("error"):
        raise _reported(answer["error"])
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        msg = "the answer has no choices"
        raise ModelProtocolError(msg)
    _check_finish(first.get("finish_reason"))
    if message.get("refusal"):
        raise _refused(message["refusal"])
    if not message.get("content") and not message.get("tool_calls"):
        msg = "the answer is empty"
        raise ModelProtocolError(msg)


def _check_stream(body: bytes, chunks: list[dict[str, Any]]) -> None:
    finish: object = None
    for chunk in chunks:
        if chunk.get("error"):
            raise _reported(chunk["error"])
        for choice in chunk.get("choices") or ():
            finish = choice.get("finish_reason") or finish
    if finish is None or b"[DONE]" not in body[-64:]:
        msg = f"the stream ended after {len(chunks)} chunks without its terminal event"
        raise StreamTruncatedError(msg)
    _check_finish(finish)


def _check_finish(reason: object) -> None:
    if reason in {"length", "content_filter"}:
        raise _incomplete(reason)


# --- both --------------------------------------------------------------------------------------------------------


def _events(body: bytes) -> list[dict[str, Any]]:
    """Parse the data lines of an event stream; a torn last event counts as missing."""
    events: list[dict[str, Any]] = []
    for line in body.splitlines():
        if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
            continue
        try:
            event = json.loads(line[5:])
        except ValueError:
            break
        if isinstance(event, dict):
            events.append(event)
    return events


def _incomplete(reason: object) -> IncompleteAnswerError:
    hint = "; raise the role's max_tokens" if reason in {"length", "max_output_tokens"} else ""
    return IncompleteAnswerError(f"the model stopped early ({reason}){hint}")


def _refused(words: object) -> IncompleteAnswerError:
    return IncompleteAnswerError(f"the model refused: {str(words)[:_SNIPPET]}")


def _reported(error: object) -> AgentPipelineError:
    message = error.get("message") if isinstance(error, dict) else error
    return ServerError(f"the provider reports an error inside its answer: {str(message)[:_SNIPPET]}", status_code=200)
