"""The rules without any I/O: a request in, a reply out."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CompletionUsage, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent, ResponseUsage
from pydantic import TypeAdapter

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest
from agent_pipeline.simulator.json_values import JsonObject, as_list, as_object
from agent_pipeline.simulator.wire import MAX_BODY_BYTES

RESPONSES = "/v1/responses"
CHAT = "/v1/chat/completions"
TEXT = "# Tides\n\nThe moon pulls the sea. The sun helps. Wind does the rest.\n"
LOOKUP: JsonObject = {
    "name": "lookup",
    "description": "Look up a place on the map.",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["title", "answer"],
    "additionalProperties": False,
}

stream_events: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def post(path: str, body: JsonObject, simulator: Simulator | None = None) -> SimulatorReply:
    request = SimulatorRequest("POST", path, (), json.dumps(body).encode())
    return (simulator or Simulator()).respond(request)


def asking(path: str, text: str = TEXT, /, **more: JsonValue) -> JsonObject:
    said: JsonObject = {"input": text} if path == RESPONSES else {"messages": [{"role": "user", "content": text}]}
    return {"model": "small", **said, **more}


def response_to(body: JsonObject) -> Response:
    reply = post(RESPONSES, body)
    assert reply.status == 200, reply.body
    return Response.model_validate_json(reply.body, strict=True)


def completion_to(body: JsonObject) -> ChatCompletion:
    reply = post(CHAT, body)
    assert reply.status == 200, reply.body
    return ChatCompletion.model_validate_json(reply.body, strict=True)


def events_of(reply: SimulatorReply) -> list[str]:
    """Return the data of each event; an event of two steps or two events in a step would not pass."""
    blocks = [step.data.decode() for step in reply.steps]
    assert all(block.endswith("\n\n") and block.count("\n\n") == 1 for block in blocks)
    return [block.split("data: ", 1)[1].rstrip("\n") for block in blocks]


# --- whole answers -----------------------------------------------------------------------------------------------


def test_a_plain_prompt_gets_the_first_sentences() -> None:
    """An extract: never a claim that is not in the input."""
    response = response_to(asking(RESPONSES))
    completion = completion_to(asking(CHAT))

    assert response.output_text == "The moon pulls the sea. The sun helps."
    assert response.status == "completed"
    assert completion.choices[0].message.content == response.output_text
    assert completion.choices[0].finish_reason == "stop"


def test_a_rewriting_prompt_gets_the_whole_document() -> None:
    """A plain-text transform must not lose the text."""
    prompt = f"Tidy this text.\n<document>\n{TEXT}   \n\n\n</document>"

    assert response_to(asking(RESPONSES, prompt)).output_text == TEXT


def test_a_simulator_says_that_it_is_one() -> None:
    """It never claims to be a model."""
    simulator = Simulator()
    reply = post(CHAT, asking(CHAT), simulator)
    listed = simulator.respond(SimulatorRequest("GET", "/v1/models"))

    completion = ChatCompletion.model_validate_json(reply.body)
    assert reply.header("x-simulator") == "agent-pipeline"
    assert (completion.model, completion.system_fingerprint) == ("small-simulator", "fp_agent_pipeline_simulator")
    assert response_to(asking(RESPONSES)).model == "small-simulator"
    models = [Model.model_validate(model) for model in json.loads(listed.body)["data"]]
    assert [(model.id, model.owned_by) for model in models] == [("simulator", "agent-pipeline-simulator")]


def test_the_parameters_of_a_request_are_echoed() -> None:
    """The Response object reports what it was asked with, reasoning models' parameters included."""
    tool: JsonObject = {"type": "function", "strict": False, **LOOKUP}
    more: dict[str, JsonValue] = {
        "instructions": "Be brief.",
        "reasoning": {"effort": "minimal"},
        "text": {"verbosity": "low"},
        "metadata": {"document": "7"},
        "tools": [tool],
        "tool_choice": "none",
    }

    response = response_to(asking(RESPONSES, **more))

    assert response.instructions == "Be brief."
    assert response.reasoning is not None
    assert response.reasoning.effort == "minimal"
    assert response.text is not None
    assert response.text.verbosity == "low"
    assert response.metadata == {"document": "7"}
    assert response.tools[0].type == "function"
    assert response.tool_choice == "none"


def test_structured_output_satisfies_its_schema_in_both_apis() -> None:
    """The two APIs name the schema in different places."""
    in_responses: JsonObject = {"format": {"type": "json_schema", "name": "out", "strict": True, "schema": SCHEMA}}
    in_chat: JsonObject = {"type": "json_schema", "json_schema": {"name": "out", "strict": True, "schema": SCHEMA}}

    response = response_to(asking(RESPONSES, text=in_responses))
    completion = completion_to(asking(CHAT, response_format=in_chat))

    assert json.loads(response.output_text) == {"title": "Tides", "answer": TEXT}
    assert completion.choices[0].message.content == response.output_text


def test_json_mode_gets_a_json_object() -> None:
    """The older way to ask for JSON."""
    completion = completion_to(asking(CHAT, response_format={"type": "json_object"}))

    assert isinstance(json.loads(completion.choices[0].message.content or ""), dict)


# --- tools -------------------------------------------------------------------------------------------------------


def with_tools(path: str, *tools: JsonObject, text: str = TEXT, **more: JsonValue) -> JsonObject:
    wrapped: list[JsonValue] = [
        {"type": "function", **tool} if path == RESPONSES else {"type": "function", "function": tool} for tool in tools
    ]
    return asking(path, text, tools=wrapped, **more)


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


both_apis = pytest.mark.parametrize("path", [RESPONSES, CHAT])


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


# --- usage -------------------------------------------------------------------------------------------------------


def responses_usage(body: JsonObject) -> tuple[int, int, int]:
    usage = response_to(body).usage
    assert isinstance(usage, ResponseUsage)
    return usage.input_tokens, usage.output_tokens, usage.total_tokens


def chat_usage(body: JsonObject) -> tuple[int, int, int]:
    usage = completion_to(body).usage
    assert isinstance(usage, CompletionUsage)
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


@pytest.mark.parametrize(("path", "usage"), [(RESPONSES, responses_usage), (CHAT, chat_usage)])
def test_usage_counts_the_bytes_by_four(path: str, usage: Callable[[JsonObject], tuple[int, int, int]]) -> None:
    """Known figures: 13 letters are 4 tokens, and so is their echo."""
    assert usage(asking(path, "Tides turn it")) == (4, 4, 8)


@given(text=st.text(min_size=1, max_size=60), cap=st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_the_output_cap_holds_and_cutting_is_reported(text: str, cap: int) -> None:
    """What is cut is never called complete, in any script."""
    response = response_to(asking(RESPONSES, text, max_output_tokens=cap))

    free = responses_usage(asking(RESPONSES, text))
    assert response.usage is not None
    assert response.usage.output_tokens <= cap
    assert len(response.output_text.encode()) <= 4 * cap
    assert response.usage.input_tokens <= len(text.encode("utf-8", "replace"))
    assert (response.status == "incomplete") is (free[1] > cap)
    reason = response.incomplete_details.reason if response.incomplete_details else None
    assert reason == ("max_output_tokens" if free[1] > cap else None)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_cut_completion_ends_by_length(name: str) -> None:
    """Both names of the cap."""
    completion = completion_to({**asking(CHAT), name: 2})

    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == "The moon"


def test_a_cut_tool_call_is_incomplete() -> None:
    """Half of its arguments must not look like a call."""
    response = response_to(with_tools(RESPONSES, LOOKUP, max_output_tokens=3))

    assert response.status == "incomplete"
    assert response.output[0].type == "function_call"
    assert response.output[0].status == "incomplete"


# --- streams -----------------------------------------------------------------------------------------------------


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
def test_a_streamed_completion_ends_with_done(with_usage: bool) -> None:
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


# --- determinism -------------------------------------------------------------------------------------------------


def test_replies_depend_on_seed_and_request_not_on_order() -> None:
    """Two runs can be compared byte by byte, however their requests interleave."""
    bodies = [asking(RESPONSES, f"Text {number}.") for number in range(4)]
    forward, backward, other = Simulator(seed=1), Simulator(seed=1), Simulator(seed=2)

    first = [post(RESPONSES, body, forward) for body in bodies]
    second = [post(RESPONSES, body, backward) for body in reversed(bodies)]
    third = [post(RESPONSES, body, other) for body in bodies]

    assert first == second[::-1]
    assert all(one != two for one, two in zip(first, third, strict=True))


def test_each_request_has_its_own_request_id() -> None:
    """Also the same request again: the ledger joins on it."""
    simulator = Simulator()
    replies = [post(RESPONSES, asking(RESPONSES, text), simulator) for text in ("a", "a", "b")]

    assert len({reply.header("x-request-id") for reply in replies}) == 3


# --- bad requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", RESPONSES, b"{", 400),
        ("POST", RESPONSES, b"[]", 400),
        ("POST", RESPONSES, b"\xff\xfe", 400),
        ("POST", RESPONSES, b'{"model":"m","input":NaN}', 400),
        ("POST", RESPONSES, b'{"model":"m","input":"x","temperature":1e400}', 400),
        ("POST", RESPONSES, b"[" * 200_000, 400),
        ("POST", RESPONSES, b'{"input":"x"}', 400),
        ("POST", RESPONSES, b'{"model":"m"}', 400),
        ("POST", RESPONSES, b'{"model":7,"input":"x"}', 400),
        ("POST", RESPONSES, b'{"model":"m","input":"x","max_output_tokens":0}', 400),
        ("POST", RESPONSES, b'{"model":"m","input":"x","stream":"yes"}', 400),
        ("POST", CHAT, b'{"model":"m","messages":[]}', 400),
        ("POST", CHAT, b'{"model":"m","messages":[{"role":"user","content":"x"}],"n":2}', 400),
        ("POST", "/v1/nothing", b"{}", 404),
        ("GET", RESPONSES, b"", 405),
        ("DELETE", "/v1/models", b"", 405),
        ("POST", RESPONSES, b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)
def test_a_bad_request_gets_an_error_as_the_api_words_it(method: str, path: str, body: bytes, status: int) -> None:
    """One shape for all refusals; nothing a client sends may raise."""
    simulator = Simulator()

    reply = simulator.respond(SimulatorRequest(method, path, (), body))

    error = json.loads(reply.body)["error"]
    assert reply.status == status
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert reply.header("x-request-id")
    assert (reply.header("allow") is not None) is (status == 405)
    assert simulator.statistics.requests == 1


def test_an_unusable_schema_is_a_bad_request() -> None:
    """Not an answer that fails to validate."""
    wanted: JsonObject = {"format": {"type": "json_schema", "name": "out", "schema": {"not": {}}}}

    reply = post(RESPONSES, asking(RESPONSES, text=wanted))

    assert reply.status == 400
    assert json.loads(reply.body)["error"]["code"] == "invalid_json_schema"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=5), st.just("\ud800")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "input",
        "messages",
        "tools",
        "tool_choice",
        "text",
        "response_format",
        "instructions",
        "metadata",
        "stream_options",
    ]
)
odd_tools = st.lists(
    st.fixed_dictionaries({"type": st.just("function"), "name": st.text(max_size=3), "parameters": json_values}),
    max_size=2,
)


@given(
    path=st.sampled_from([RESPONSES, CHAT]),
    body=st.dictionaries(fields, json_values),
    tools=odd_tools,
    stream=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_nothing_a_client_sends_raises(path: str, body: JsonObject, tools: list[JsonValue], stream: bool) -> None:
    """Odd shapes are answered or refused; the server behind stays up, and every reply can be sent."""
    reply = post(
        path, {"input": "x", "messages": [{"role": "user"}], "tools": tools, **body, "model": "m", "stream": stream}
    )

    assert reply.status in {200, 400}
    assert reply.body.isascii()


# --- statistics --------------------------------------------------------------------------------------------------


def test_statistics_count_requests_by_path_and_end() -> None:
    """What an outside process compares its own records with; asking for them counts nothing."""
    plan = FaultPlan.from_mapping({"faults": [{"kind": "reset_before_body", "script": [2]}]})
    simulator = Simulator(faults=plan)
    for text in ("a", "b", "c"):
        post(RESPONSES, asking(RESPONSES, text), simulator)
    simulator.respond(SimulatorRequest("GET", "/v1/nonsense"))

    reply = simulator.respond(SimulatorRequest("GET", "/simulator/statistics"))

    seen = json.loads(reply.body)
    assert seen["requests"] == 4
    assert seen["requests_by_path"] == {RESPONSES: {"200": 2, "reset": 1}, "(unknown)": {"404": 1}}
    assert seen["faults"] == {"reset_before_body": 1}
    assert (seen["input_tokens"], seen["output_tokens"]) == (2, 2)
