"""Any request whatever: the same again is told apart, a bad one is refused in the API's words, all are counted."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulator.asking import CHAT, RESPONSES, asking, post

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorRequest
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.wire import MAX_BODY_BYTES


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
def test_nothing_a_client_sends_raises(path: str, body: JsonObject, tools: list[JsonValue], *, stream: bool) -> None:
    """Odd shapes are answered or refused; the server behind stays up, and every reply can be sent."""
    reply = post(
        path, {"input": "x", "messages": [{"role": "user"}], "tools": tools, **body, "model": "m", "stream": stream}
    )

    assert reply.status in {200, 400}
    assert reply.body.isascii()


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
