"""Streamed answers: the legal sequence of events, whose pieces make up the whole."""

import json

import pytest
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.simulator.asking import (
    CHAT,
    LOOKUP,
    RESPONSES,
    TEXT,
    asking,
    completion_to,
    events_of,
    post,
    response_to,
    with_tools,
)

from agent_pipeline.domain.document import JsonValue

stream_events: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def test_a_streamed_response_is_the_legal_sequence_of_events() -> None:
    """From created to completed with usage; the pieces make up the text."""
    long = " ".join(f"word{number}" for number in range(40))
    reply = post(RESPONSES, asking(RESPONSES, long, stream=True))

    events = [stream_events.validate_json(data, strict=True) for data in events_of(reply)]
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert len(deltas) > 1
    last = events[-1]
    assert last.type == "response.completed"
    assert "".join(deltas) == last.response.output_text
    whole = response_to(asking(RESPONSES, long))
    assert last.response.usage == whole.usage
    assert last.response.output_text == whole.output_text


def test_a_streamed_tool_call_is_the_legal_sequence_of_events() -> None:
    """The arguments come in pieces and then as a whole."""
    reply = post(RESPONSES, with_tools(RESPONSES, LOOKUP, stream=True))

    events = [stream_events.validate_json(data, strict=True) for data in events_of(reply)]
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    assert kinds[:3] == ["created", "in_progress", "output_item.added"]
    assert kinds[-3:] == ["function_call_arguments.done", "output_item.done", "completed"]
    assert "".join(deltas) == done.arguments
    assert json.loads(done.arguments) == {"text": TEXT}


def test_a_cut_stream_ends_with_incomplete() -> None:
    """The terminal event of a stream says it too."""
    reply = post(RESPONSES, asking(RESPONSES, stream=True, max_output_tokens=2))

    assert json.loads(events_of(reply)[-1])["type"] == "response.incomplete"


@pytest.mark.parametrize("with_usage", [True, False])
def test_a_streamed_completion_ends_with_done(*, with_usage: bool) -> None:
    """Usage comes in a chunk of its own, only when asked for."""
    options: dict[str, JsonValue] = {"stream_options": {"include_usage": True}} if with_usage else {}
    reply = post(CHAT, asking(CHAT, stream=True, **options))

    *data, done = events_of(reply)
    chunks = [ChatCompletionChunk.model_validate_json(part, strict=True) for part in data]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    whole = completion_to(asking(CHAT))
    assert done == "[DONE]"
    assert said == whole.choices[0].message.content
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert [chunk.usage for chunk in chunks if chunk.usage] == ([whole.usage] if with_usage else [])
    assert bool(chunks[-1].choices) is not with_usage


def test_a_streamed_completion_calls_a_tool_in_pieces() -> None:
    """Name first, then the arguments."""
    reply = post(CHAT, with_tools(CHAT, LOOKUP, stream=True))

    chunks = [ChatCompletionChunk.model_validate_json(part, strict=True) for part in events_of(reply)[:-1]]
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert calls[0].function is not None
    assert calls[0].function.name == "lookup"
    assert json.loads(arguments) == {"text": TEXT}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
