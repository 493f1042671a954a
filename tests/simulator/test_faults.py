"""Faults strike when the plan says so, and do what they say; a wrong plan is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipeline.errors import ConfigError
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest
from agent_pipeline.simulator.json_values import JsonObject

PATH = "/v1/responses"


def ask(simulator: Simulator, text: str = "Some text.", *, stream: bool = False, model: str = "m") -> SimulatorReply:
    body = json.dumps({"model": model, "input": text, "stream": stream}).encode()
    return simulator.respond(SimulatorRequest("POST", PATH, (), body))


def simulating(*faults: object, **more: object) -> Simulator:
    return Simulator(faults=FaultPlan.from_mapping({"faults": list(faults), **more}))


WHOLE = ask(Simulator())
STREAM = ask(Simulator(), stream=True)


def test_a_status_with_retry_after_and_a_code() -> None:
    """Seconds, raw text and other headers go out as they were written."""
    simulator = simulating(
        {"kind": "status", "status": 429, "retry_after": 1.5, "script": [1]},
        {"kind": "status", "status": 429, "retry_after": "soon", "code": "insufficient_quota", "script": [2]},
        {"kind": "status", "status": 503, "headers": {"Retry-After-Ms": "20"}, "message": "busy"},
    )

    limited, quota, busy = (ask(simulator) for _ in range(3))

    assert (limited.status, limited.header("retry-after")) == (429, "1.5")
    assert json.loads(limited.body)["error"]["type"] == "rate_limit_error"
    assert quota.header("retry-after") == "soon"
    assert json.loads(quota.body)["error"]["code"] == "insufficient_quota"
    assert (busy.status, busy.header("retry-after-ms"), busy.header("retry-after")) == (503, "20", None)
    assert json.loads(busy.body)["error"]["message"] == "busy"


@pytest.mark.parametrize(("kind", "ending"), [("reset_before_body", "reset"), ("hang", "hang")])
def test_some_replies_never_begin(kind: str, ending: str) -> None:
    """Not even a head is sent."""
    reply = ask(simulating({"kind": kind}))

    assert (reply.status, reply.headers, reply.body, reply.ending) == (None, (), b"", ending)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("kind", "ending"), [("reset_mid_body", "reset"), ("hang_mid_body", "hang")])
def test_some_replies_break_off_in_the_middle(kind: str, ending: str, *, stream: bool) -> None:
    """The head promises more than comes."""
    whole = STREAM if stream else WHOLE

    reply = ask(simulating({"kind": kind}), stream=stream)

    assert (reply.status, reply.headers, reply.ending) == (200, whole.headers, ending)
    assert 0 < len(reply.body) < len(whole.body)
    assert whole.body.startswith(reply.body)


def test_a_truncated_stream_ends_cleanly_without_its_terminal_event() -> None:
    """The trap: nothing on the wire says that the answer is not whole. Plain replies are not meant."""
    simulator = simulating({"kind": "truncate_stream"})

    stream, plain = ask(simulator, stream=True), ask(simulator)

    assert (stream.status, stream.ending) == (200, "complete")
    assert STREAM.body.startswith(stream.body)
    assert b"response.completed" not in stream.body
    assert stream.body.endswith(b"\n\n")
    assert plain.body == WHOLE.body


def test_malformed_json_in_a_body_of_the_right_length() -> None:
    """Only the JSON is broken, not the framing."""
    reply = ask(simulating({"kind": "malformed_json"}))

    assert reply.header("content-length") == str(len(reply.body))
    assert reply.header("content-type") == "application/json"
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


def test_malformed_json_in_one_event_of_a_stream() -> None:
    """All other events are whole."""
    reply = ask(simulating({"kind": "malformed_json"}), stream=True)

    broken = 0
    for step in reply.steps:
        try:
            json.loads(step.data.split(b"data: ", 1)[1])
        except json.JSONDecodeError:
            broken += 1
    assert broken == 1
    assert len(reply.steps) == len(STREAM.steps)


def test_html_and_an_empty_object_with_status_200() -> None:
    """What proxies and half-built servers answer."""
    html, empty = ask(simulating({"kind": "html_200"})), ask(simulating({"kind": "empty_object"}))

    assert (html.status, html.header("content-type")) == (200, "text/html; charset=utf-8")
    assert html.body.startswith(b"<!DOCTYPE html>")
    assert (empty.status, empty.body, empty.header("content-length")) == (200, b"{}", "2")


def test_pings_between_good_events_are_no_part_of_the_answer() -> None:
    """Comments keep a connection open; a client that takes one for an event, or for the end, is wrong."""
    reply = ask(simulating({"kind": "ping", "delay": 0.5}), stream=True)

    pings, events = reply.steps[::2], reply.steps[1::2]
    assert {(step.data, step.delay) for step in pings} == {(b": ping\n\n", 0.5)}
    assert tuple(events) == tuple(STREAM.steps)
    assert reply.ending == "complete"


@pytest.mark.parametrize("events", [0, 3])
def test_pings_without_an_event_go_on_and_on(events: int) -> None:
    """A stall that a timeout between bytes never sees."""
    reply = ask(simulating({"kind": "ping", "delay": 60, "events": events}), stream=True)

    day = 24 * 60
    assert (reply.status, reply.ending) == (200, "hang")
    assert len(reply.steps) == 2 * events + day
    assert tuple(reply.steps[: 2 * events][1::2]) == tuple(STREAM.steps[:events])
    assert {step.data for step in reply.steps[2 * events :]} == {b": ping\n\n"}


def test_pings_are_for_streams() -> None:
    """A plain reply is no place for comments."""
    reply = ask(simulating({"kind": "ping", "events": 0}))

    assert reply.body == WHOLE.body


@given(size=st.integers(1, 400), stream=st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_slow_drip_is_the_whole_reply_in_small_steps(size: int, *, stream: bool) -> None:
    """Nothing is lost; only time."""
    reply = ask(simulating({"kind": "slow_drip", "bytes": size, "delay": 0.01}), stream=stream)

    assert reply.body == (STREAM if stream else WHOLE).body
    assert {step.delay for step in reply.steps} == {0.01}
    assert max(len(step.data) for step in reply.steps) <= size
    assert len(reply.steps) == len(list(reply.steps))


def test_latency_is_added_up() -> None:
    """The plan's own, and that of a fault."""
    simulator = simulating({"kind": "latency", "delay": 2, "script": [2]}, latency=0.5, chunk_delay=0.1)

    first, second, third = ask(simulator), ask(simulator), ask(simulator, stream=True)

    assert (first.delay, second.delay) == (0.5, 2.5)
    assert [step.delay for step in third.steps][:3] == [0, 0.1, 0.1]


def test_a_range_of_latency_is_drawn_for_each_request() -> None:
    """Evenly, from the seed."""
    delays = [ask(simulating(latency={"min": 1, "max": 3}, seed=seed)).delay for seed in range(200)]

    assert min(delays) >= 1
    assert max(delays) < 3
    assert 1.8 < sum(delays) / 200 < 2.2


# --- when --------------------------------------------------------------------------------------------------------


def struck(simulator: Simulator, texts: list[str]) -> dict[str, int]:
    return {text: int(ask(simulator, text).status == 500) for text in texts}


def test_a_rate_is_kept_and_does_not_depend_on_the_order_of_arrival() -> None:
    """Concurrent runs meet the same faults."""
    texts = [f"text {number}" for number in range(400)]
    fault = {"kind": "status", "status": 500, "rate": 0.25}

    forward, backward = struck(simulating(fault), texts), struck(simulating(fault), texts[::-1])

    assert forward == backward
    assert 60 < sum(forward.values()) < 140
    assert struck(simulating(fault, seed=9), texts) != forward


def test_the_same_request_again_draws_again() -> None:
    """Else a retry could never succeed."""
    simulator = simulating({"kind": "status", "status": 500, "rate": 0.5})

    assert {ask(simulator).status for _ in range(40)} == {200, 500}


def test_a_script_counts_the_requests_it_is_meant_for() -> None:
    """From 1, as they arrive; others do not move it."""
    simulator = simulating({"kind": "status", "status": 500, "script": [2, 3], "match": {"model": "a"}})

    statuses = [ask(simulator, model=model).status for model in "abababa"]

    assert statuses == [200, 200, 500, 200, 500, 200, 200]


@pytest.mark.parametrize(
    ("match", "is_meant"),
    [
        ({}, True),
        ({"path": PATH}, True),
        ({"path": "/v1/chat/completions"}, False),
        ({"model": "m"}, True),
        ({"model": "other"}, False),
        ({"contains": "Sömé \n text"}, True),
        ({"contains": "absent"}, False),
        ({"model": "m", "contains": "absent"}, False),
    ],
)
def test_a_match_must_hold_as_a_whole(match: JsonObject, *, is_meant: bool) -> None:
    """Words are looked for in the messages, not in their JSON encoding."""
    simulator = simulating({"kind": "hang", "match": match})

    assert (ask(simulator, "Sömé \n text").status is None) is is_meant


def test_the_first_fault_that_strikes_is_the_one() -> None:
    """And later scripts keep in step."""
    first, second = (
        {"kind": "status", "status": 500, "script": [1]},
        {"kind": "status", "status": 502, "script": [1, 2]},
    )

    simulator = simulating(first, second)

    assert [ask(simulator).status for _ in range(3)] == [500, 502, 200]


# --- the file ----------------------------------------------------------------------------------------------------


def test_a_file_holds_the_plan(tmp_path: Path) -> None:
    """YAML, with the words of the documentation."""
    path = tmp_path / "faults.yaml"
    path.write_text(
        "seed: 7\nlatency: {min: 0.1, max: 1}\nchunk_delay: 0\n"
        "faults:\n  - {kind: status, status: 429, retry_after: 2, rate: 0.5, match: {path: /v1/responses}}\n"
        "  - {kind: hang, script: [3]}\n"
    )

    plan = FaultPlan.load(path)

    assert plan == FaultPlan.from_mapping(
        {
            "seed": 7,
            "latency": {"min": 0.1, "max": 1},
            "faults": [
                {"kind": "status", "status": 429, "retry_after": 2, "rate": 0.5, "match": {"path": PATH}},
                {"kind": "hang", "script": [3]},
            ],
        }
    )


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"sede": 1}, "sede"),
        ({"seed": "1"}, "seed"),
        ({"latency": -1}, "latency"),
        ({"latency": {"min": 2, "max": 1}}, "latency"),
        ({"latency": {"min": 2}}, "latency.max"),
        ({"faults": {"kind": "hang"}}, "faults"),
        ({"faults": [{"kind": "explode"}]}, "faults.0"),
        ({"faults": [{"rate": 1}]}, "faults.0"),
        ({"faults": [{"kind": "hang", "rate": 1.5}]}, "faults.0.rate"),
        ({"faults": [{"kind": "hang", "rate": True}]}, "faults.0.rate"),
        ({"faults": [{"kind": "hang", "rate": float("nan")}]}, "faults.0.rate"),
        ({"faults": [{"kind": "hang", "script": [0]}]}, "faults.0.script.0"),
        ({"faults": [{"kind": "hang", "rate": 1, "script": [1]}]}, "faults.0"),
        ({"faults": [{"kind": "hang", "status": 500}]}, "faults.0.status"),
        ({"faults": [{"kind": "status"}]}, "faults.0.status"),
        ({"faults": [{"kind": "status", "status": 200}]}, "faults.0.status"),
        ({"faults": [{"kind": "status", "status": 429, "retry_after": "a\r\nb: c"}]}, "faults.0.retry_after"),
        ({"faults": [{"kind": "status", "status": 429, "headers": {"Content-Length": "1"}}]}, "faults.0"),
        ({"faults": [{"kind": "slow_drip", "bytes": 0}]}, "faults.0.bytes"),
        ({"faults": [{"kind": "hang", "match": {"paht": "/"}}]}, "faults.0.match.paht"),
        ({"faults": [{"kind": "rate_limit"}]}, "faults.0"),
        ({"faults": [{"kind": "rate_limit", "requests_per_minute": 0}]}, "faults.0.requests_per_minute"),
        ({"faults": [{"kind": "rate_limit", "requests_per_minute": True}]}, "faults.0.requests_per_minute"),
        ({"faults": [{"kind": "rate_limit", "tokens_per_minute": -1}]}, "faults.0.tokens_per_minute"),
        ({"faults": [{"kind": "rate_limit", "tokens_per_minute": float("inf")}]}, "faults.0.tokens_per_minute"),
        ({"faults": [{"kind": "rate_limit", "tokens_per_minute": 1, "rate": 1}]}, "faults.0.rate"),
        ({"faults": [{"kind": "rate_limit", "tokens_per_minute": 1, "headers": "no"}]}, "faults.0.headers"),
        ({"faults": [{"kind": "rate_limit", "tokens_per_minute": 1, "retry_after": -1}]}, "faults.0.retry_after"),
        ({"faults": [{"kind": "rate_limit", "tokens_per_minute": 1, "retry_after": "1"}]}, "faults.0.retry_after"),
        ({"faults": [{"kind": "capacity"}]}, "faults.0"),
        ({"faults": [{"kind": "capacity", "requests_in_flight": 0}]}, "faults.0.requests_in_flight"),
        ({"faults": [{"kind": "capacity", "requests_per_second": 0.5}]}, "faults.0.requests_per_second"),
        ({"faults": [{"kind": "capacity", "requests_per_second": 1, "headers": True}]}, "faults.0.headers"),
        ({"faults": [{"kind": "ping", "delay": 0}]}, "faults.0.delay"),
        ({"faults": [{"kind": "ping", "events": -1}]}, "faults.0.events"),
    ],
)
def test_a_wrong_plan_is_refused_by_key(data: JsonObject, key: str) -> None:
    """A typo must not mean that nothing goes wrong."""
    with pytest.raises(ConfigError) as caught:
        FaultPlan.from_mapping(data, place="faults.yaml")

    assert caught.value.key == key
    assert str(caught.value).startswith(f"faults.yaml: {key}: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\nseed: 2\n", ":2:1: "),
        ("seed: [\n", ":2:1: "),
        ("- 1\n", "must hold keys"),
        ("seed: !!python/object:os.system {}\n", ":1:7: "),
        ("[" * 5000, ":1:33: "),
        ("\x00", ":1:1: "),
        ("seed: &a 1\n", ":1:7: "),
        ("faults:\n  - kind: status\n    status: 200\n", ":3:5: faults.0.status: "),
        ("faults:\n  - {kind: hang, rtae: 1}\n", ":2:18: faults.0.rtae: "),
        ("faults:\n  - {kind: rate_limit, requests_per_minute: 0}\n", ":2:24: faults.0.requests_per_minute: "),
        ("faults:\n  - {kind: statsu}\n", ":2:5: faults.0: there is no 'kind' 'statsu'; did you mean 'status'?"),
        ("faults:\n  - {kind: odd}\n", ":2:5: faults.0: there is no 'kind' 'odd'; known are capacity, empty_object, "),
        ("faults:\n  - {rate: 1}\n", ":2:5: faults.0: the key 'kind' is missing"),
        ("seed: 1\nfaults:\n  - kind: capacity\n", ":3:5: faults.0: give requests_in_flight"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_by_place(tmp_path: Path, text: str, words: str) -> None:
    """Whatever the file holds, the answer is a ConfigError with its place."""
    path = tmp_path / "faults.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        FaultPlan.load(path)

    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ConfigError, match="no such file"):
        FaultPlan.load(tmp_path / "absent.yaml")


def test_a_plan_with_no_faults_is_the_default() -> None:
    """Nothing goes wrong unless it is asked for."""
    assert FaultPlan() == FaultPlan.from_mapping({})
