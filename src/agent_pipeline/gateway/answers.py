"""Judges a provider's answer before anybody parses it: usage first, then whether it is whole and what the API promises.

Without this an HTML page becomes a `str`, `{}` an object of Nones, and a stream that breaks off a shorter text.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from openai._streaming import SSEDecoder

from agent_pipeline.control.call import Attempt
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import IncompleteAnswerError, ModelProtocolError, StreamTruncatedError, Unsuited
from agent_pipeline.gateway.failures import from_report, quoted
from agent_pipeline.gateway.shapes import (
    ChatMessage,
    Completion,
    Counted,
    ResponseEvent,
    ResponseShape,
    read_shape,
    snippet,
)

EVENT_STREAM = "text/event-stream"
JSON = "application/json"

_MOST_TOKENS = 10**9
"""A count above this is no count."""

EventT = TypeVar("EventT", ResponseEvent, Completion)


def check_answer(attempt: Attempt, *, path: str, content_type: str, streamed: bool, body: bytes) -> None:
    """Set `attempt.usage` from the answer, then raise if it is not a whole answer of this endpoint.

    Raises:
        ModelProtocolError: not JSON, not the API's shape, or nothing in it.
        StreamTruncatedError: a stream without its terminal event.
        IncompleteAnswerError: the model was cut off, refused, or was filtered.
        ProviderError: the provider reports a failure inside a 200, by what it says.
    """
    kind = content_type.partition(";")[0].strip().lower()
    wanted = EVENT_STREAM if streamed else JSON
    if kind != wanted:
        raise ModelProtocolError(f"the answer is {quoted(kind) or 'of no content type'}, not {wanted}: {snippet(body)}")
    if path.endswith("/responses"):
        _check_response(attempt, _last_response(body) if streamed else read_shape(ResponseShape, body))
    elif path.endswith("/chat/completions"):
        _check_stream(attempt, body) if streamed else _check_completion(attempt, read_shape(Completion, body))
    elif not streamed:
        attempt.usage = read_usage(read_shape(Counted, body).usage, "prompt_tokens", None)


# --- usage -------------------------------------------------------------------------------------------------------


def read_usage(reported: object, input_name: str, output_name: str | None) -> Usage | None:
    """Return what was reported, None where that is no usable report of both sides."""
    tokens_in = _count(reported, input_name)
    tokens_out = 0 if output_name is None else _count(reported, output_name)
    if not isinstance(reported, Mapping) or tokens_in is None or tokens_out is None:
        return None
    in_details = reported.get("input_tokens_details", reported.get("prompt_tokens_details"))
    out_details = reported.get("output_tokens_details", reported.get("completion_tokens_details"))
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cached_input_tokens=min(_count(in_details, "cached_tokens") or 0, tokens_in),
        reasoning_tokens=min(_count(out_details, "reasoning_tokens") or 0, tokens_out),
    )


def _count(values: object, name: str) -> int | None:
    value = values.get(name) if isinstance(values, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None


# --- Responses API -----------------------------------------------------------------------------------------------

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


def _last_response(body: bytes) -> ResponseShape:
    events, _ = _read_events(ResponseEvent, body)
    for event in events:
        if event.type == "error" or event.error:
            raise from_report(event.error or {"code": event.code, "message": event.message})
    last = next((event for event in events if event.type in _TERMINAL), None)
    if last is None:
        raise StreamTruncatedError(f"the stream ended after {len(events)} events without its terminal event")
    if last.response is None:
        raise ModelProtocolError(f"the event {last.type} has no response")
    return last.response


def _check_response(attempt: Attempt, response: ResponseShape) -> None:
    attempt.usage = read_usage(response.usage, "input_tokens", "output_tokens")
    if response.error:
        raise from_report(response.error)
    if response.status == "incomplete":
        details = response.incomplete_details
        raise _incomplete(None if details is None else details.reason)
    if response.status not in {"completed", None} or response.output is None:
        raise ModelProtocolError(f"the answer is no finished response (status {quoted(response.status)})")
    for item in response.output:
        for part in item.content or ():
            if part.type == "refusal":
                raise _refused(part.refusal)
    if not any(item.says_something for item in response.output):
        raise ModelProtocolError("the answer has no output")


# --- Chat Completions API ----------------------------------------------------------------------------------------


def _check_completion(attempt: Attempt, answer: Completion) -> None:
    attempt.usage = read_usage(answer.usage, "prompt_tokens", "completion_tokens")
    if answer.error:
        raise from_report(answer.error)
    first = answer.choices[0] if answer.choices else None
    if first is None or first.message is None:
        raise ModelProtocolError("the answer has no choices")
    _check_finish(first.finish_reason)
    _check_words([first.message])
    if not first.message.calls_are_whole:
        raise ModelProtocolError("the answer calls a function without its name or arguments")


def _check_stream(attempt: Attempt, body: bytes) -> None:
    chunks, done = _read_events(Completion, body)
    for chunk in chunks:
        attempt.usage = read_usage(chunk.usage, "prompt_tokens", "completion_tokens") or attempt.usage
    for chunk in chunks:
        if chunk.error:
            raise from_report(chunk.error)
    choices = [choice for chunk in chunks for choice in chunk.choices or ()]
    finish = next((choice.finish_reason for choice in reversed(choices) if choice.finish_reason), None)
    if finish is None or not done:
        raise StreamTruncatedError(f"the stream ended after {len(chunks)} chunks without its terminal event")
    _check_finish(finish)
    if any(choice.delta is None for choice in choices):
        raise ModelProtocolError("a choice of the stream has no delta")
    _check_words([choice.delta for choice in choices if choice.delta is not None])


def _check_finish(reason: str | None) -> None:
    if reason in {"length", "content_filter"}:
        raise _incomplete(reason)
    if reason == "error":
        raise from_report({"message": "the model's provider failed"})


def _check_words(messages: list[ChatMessage]) -> None:
    refusal = "".join(message.refusal or "" for message in messages)
    if refusal:
        raise _refused(refusal)
    if not any(message.says_something for message in messages):
        raise ModelProtocolError("the answer is empty")


# --- both --------------------------------------------------------------------------------------------------------


def _read_events(shape: type[EventT], body: bytes) -> tuple[list[EventT], bool]:
    """Read an event stream as the OpenAI client does; return its events and whether `[DONE]` ended it.

    Raises:
        StreamTruncatedError: the last event is torn.
        ModelProtocolError: an event is not of this shape.
    """
    try:
        texts = [event.data for event in SSEDecoder().iter_bytes(iter([body]))]
    except UnicodeDecodeError:
        raise ModelProtocolError(f"the stream is not UTF-8: {snippet(body)}") from None
    events: list[EventT] = []
    for position, text in enumerate(texts, 1):
        if text.startswith("[DONE]"):
            return events, True
        try:
            events.append(read_shape(shape, text))
        except ModelProtocolError:
            if position == len(texts) and not text.endswith("}"):
                raise StreamTruncatedError(f"the stream broke off in event {position}") from None
            raise
    return events, False


_DONE = re.compile(rb"(?:\A|(?<=[\r\n]))data: ?\[DONE\]")


def without_done(body: bytes) -> bytes:
    """Return a checked stream without `[DONE]` and what follows: all of it is events, so it is read to its end.

    At `[DONE]` the OpenAI client would leave its generators to the garbage collector, which Trio warns of.
    """
    return _DONE.split(body, maxsplit=1)[0]


def _incomplete(reason: str | None) -> IncompleteAnswerError:
    hint = "; raise the role's max_tokens" if reason in {"length", "max_output_tokens"} else ""
    unsuited: Unsuited | None = "refused" if reason == "content_filter" else None
    return IncompleteAnswerError(f"the model stopped early ({quoted(reason)}){hint}", unsuited=unsuited)


def _refused(words: str | None) -> IncompleteAnswerError:
    return IncompleteAnswerError(f"the model refused: {quoted(words)}", unsuited="refused")
