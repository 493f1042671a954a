"""Requests to the rules without any I/O, and the replies as the OpenAI client's own types."""

import json

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import Simulator, SimulatorReply, SimulatorRequest
from agent_pipeline.simulator.json_values import JsonObject

RESPONSES = "/v1/responses"


CHAT = "/v1/chat/completions"


TEXT = "# Tides\n\nThe moon pulls the sea. The sun helps. Wind does the rest.\n"


LOOKUP: JsonObject = {
    "name": "lookup",
    "description": "Look up a place on the map.",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


both_apis = pytest.mark.parametrize("path", [RESPONSES, CHAT])


def post(path: str, body: JsonObject, simulator: Simulator | None = None) -> SimulatorReply:
    request = SimulatorRequest("POST", path, (), json.dumps(body).encode())
    return (simulator or Simulator()).respond(request)


def asking(path: str, text: str = TEXT, /, **more: JsonValue) -> JsonObject:
    said: JsonObject = {"input": text} if path == RESPONSES else {"messages": [{"role": "user", "content": text}]}
    return {"model": "small", **said, **more}


def with_tools(path: str, *tools: JsonObject, text: str = TEXT, **more: JsonValue) -> JsonObject:
    wrapped: list[JsonValue] = [
        {"type": "function", **tool} if path == RESPONSES else {"type": "function", "function": tool} for tool in tools
    ]
    return asking(path, text, tools=wrapped, **more)


def response_to(body: JsonObject) -> Response:
    reply = post(RESPONSES, body)
    assert reply.status == 200, reply.body
    return Response.model_validate_json(reply.body, strict=True)


def completion_to(body: JsonObject) -> ChatCompletion:
    reply = post(CHAT, body)
    assert reply.status == 200, reply.body
    return ChatCompletion.model_validate_json(reply.body, strict=True)


def called(path: str, body: JsonObject) -> str | None:
    """Return the name of the tool the answer calls, None for a message; the arguments must be valid JSON."""
    if path == RESPONSES:
        item = response_to(body).output[0]
        if item.type != "function_call":
            return None
        json.loads(item.arguments)
        return item.name
    choice = completion_to(body).choices[0]
    if not choice.message.tool_calls:
        return None
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    json.loads(call.function.arguments)
    return call.function.name


def events_of(reply: SimulatorReply) -> list[str]:
    """Return the data of each event; an event of two steps or two events in a step would not pass."""
    blocks = [step.data.decode() for step in reply.steps]
    assert all(block.endswith("\n\n") and block.count("\n\n") == 1 for block in blocks)
    return [block.split("data: ", 1)[1].rstrip("\n") for block in blocks]
