"""Tools and handoffs: which is called, when, and what becomes of its output."""

import json

from tests.simulator.asking import (
    LOOKUP,
    RESPONSES,
    TEXT,
    both_apis,
    called,
    completion_to,
    post,
    response_to,
    with_tools,
)

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.json_values import JsonObject, as_list, as_object


@both_apis
def test_an_offered_tool_is_called_once_and_its_output_used(path: str) -> None:
    """The shape of every agent loop: call, output, answer."""
    first = with_tools(path, LOOKUP)
    assert called(path, first) == "lookup"
    question: JsonObject = {"role": "user", "content": TEXT}
    if path == RESPONSES:
        call = as_object(as_list(json.loads(post(path, first).body)["output"])[0])
        output: JsonObject = {"type": "function_call_output", "call_id": call["call_id"], "output": "high at noon"}
        response = response_to({**first, "input": [question, call, output]})
        answer: str | None = response.output_text
    else:
        message = json.loads(post(path, first).body)["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "high at noon"}
        answer = completion_to({**first, "messages": [question, message, result]}).choices[0].message.content

    assert answer is not None
    assert "According to lookup: high at noon" in answer


@both_apis
def test_the_tool_that_the_input_speaks_of_is_called(path: str) -> None:
    """Several tools, one call: the fitting one."""
    other: JsonObject = {"name": "send_mail", "description": "Send a mail.", "parameters": {"type": "object"}}

    assert called(path, with_tools(path, LOOKUP, other, text="Please send a mail to them.")) == "send_mail"
    assert called(path, with_tools(path, LOOKUP, other, text="Hello.")) == "lookup"


@both_apis
def test_tool_choice_is_obeyed(path: str) -> None:
    """None forbids, a name forces."""
    other: JsonObject = {"name": "send_mail", "parameters": {"type": "object"}}
    forced: JsonObject = {"name": "send_mail"} if path == RESPONSES else {"function": {"name": "send_mail"}}

    assert called(path, with_tools(path, LOOKUP, other, tool_choice="none")) is None
    assert called(path, with_tools(path, LOOKUP, other, tool_choice={"type": "function", **forced})) == "send_mail"


def test_a_required_call_goes_to_a_tool_that_was_not_called_yet() -> None:
    """A caller that keeps on requiring calls gets all its tools called."""
    other: JsonObject = {"name": "send_mail", "parameters": {"type": "object"}}
    history: list[JsonValue] = [
        {"role": "user", "content": "Look up the place."},
        {"type": "function_call", "call_id": "1", "name": "lookup", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "found"},
    ]
    body = {**with_tools(RESPONSES, LOOKUP, other), "input": history}

    assert called(RESPONSES, {**body, "tool_choice": "required"}) == "send_mail"
    assert called(RESPONSES, body) is None


@both_apis
def test_a_tool_that_is_forced_but_not_offered_is_a_bad_request(path: str) -> None:
    """As the API does."""
    name: JsonObject = {"name": "nothing"} if path == RESPONSES else {"function": {"name": "nothing"}}

    assert post(path, with_tools(path, LOOKUP, tool_choice={"type": "function", **name})).status == 400


@both_apis
def test_a_handoff_happens_only_when_the_agent_is_named(path: str) -> None:
    """Else every agent with handoffs would hand off at once."""
    handoff: JsonObject = {"name": "transfer_to_map_expert", "parameters": {"type": "object", "properties": {}}}

    assert called(path, with_tools(path, handoff, text="What is the tide?")) is None
    assert called(path, with_tools(path, handoff, LOOKUP, text="What is the tide?")) == "lookup"
    assert called(path, with_tools(path, LOOKUP, handoff, text="Ask the map expert.")) == "transfer_to_map_expert"


def test_after_a_handoff_the_next_agent_calls_its_own_tool() -> None:
    """The output of a handoff is not the output of a tool."""
    transfer: JsonObject = {
        "type": "function_call",
        "call_id": "1",
        "name": "transfer_to_map_expert",
        "arguments": "{}",
    }
    history: list[JsonValue] = [
        {"role": "user", "content": "Ask the map expert."},
        transfer,
        {"type": "function_call_output", "call_id": "1", "output": '{"assistant": "map expert"}'},
    ]

    assert called(RESPONSES, {**with_tools(RESPONSES, LOOKUP), "input": history}) == "lookup"
