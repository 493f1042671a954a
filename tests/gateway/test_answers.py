"""Whatever JSON a provider sends: it is a whole answer, or an error of ours, and its usage is what it reported."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from tests.gateway.bodies import APIS, CHAT_USAGE, PATHS, Api, chunk, completion, delta, dump, events, good, response

from agent_pipeline.control.call import Attempt
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import AgentPipelineError, ModelProtocolError
from agent_pipeline.gateway.answers import EVENT_STREAM, JSON, check_answer, without_done

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["message", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def check(api: Api, body: bytes, *, streamed: bool = False) -> Attempt:
    """Check an answer; return the attempt with the usage in it."""
    attempt = Attempt(number=1)
    kind = EVENT_STREAM if streamed else JSON
    check_answer(attempt, path=PATHS[api], content_type=kind, streamed=streamed, body=body)
    return attempt


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return the path of every value inside a value."""
    found = [path]
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*path, key))
    return found


def put(value: object, path: tuple[object, ...], new: object) -> object:
    """Return the value with another one at a path."""
    if not path:
        return new
    if isinstance(value, dict):
        return {key: put(inner, path[1:], new) if key == path[0] else inner for key, inner in value.items()}
    assert isinstance(value, list)
    return [put(inner, path[1:], new) if index == path[0] else inner for index, inner in enumerate(value)]


@given(data=st.data(), new=VALUES)
@pytest.mark.parametrize("api", APIS)
def test_any_value_at_any_place_is_taken_or_refused_by_an_error_of_ours(
    api: Api, data: st.DataObject, new: object
) -> None:
    """The client builds objects from anything; what passes here has to give a text when it is asked for one."""
    whole = response() if api == "responses" else completion()
    body = dump(put(whole, data.draw(st.sampled_from(places(whole))), new))

    try:
        check(api, body)
    except AgentPipelineError:
        return

    value = json.loads(body)
    if api == "responses":
        made = construct_type(type_=Response, value=value)
        assert isinstance(made, Response)
        assert isinstance(made.output_text, str)
    else:
        made = construct_type(type_=ChatCompletion, value=value)
        assert isinstance(made, ChatCompletion)
        assert isinstance(made.choices[0].message.content, str | None)


@given(data=st.data(), new=VALUES)
@pytest.mark.parametrize("api", APIS)
def test_any_value_in_any_event_is_taken_or_refused_by_an_error_of_ours(
    api: Api, data: st.DataObject, new: object
) -> None:
    """A stream is as many places where something can be odd."""
    lines = good(api, "ab", streamed=True).decode().split("\n\n")
    whole = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    changed = put(whole, data.draw(st.sampled_from(places(whole)[1:])), new)
    assert isinstance(changed, list)

    try:
        check(api, events(*changed, done=True), streamed=True)
    except AgentPipelineError:
        return


@given(body=st.binary(max_size=60), streamed=st.booleans())
@pytest.mark.parametrize("api", APIS)
def test_no_bytes_raise_anything_but_an_error_of_ours(api: Api, body: bytes, *, streamed: bool) -> None:
    """No random bytes are an answer."""
    with pytest.raises(AgentPipelineError):
        check(api, body, streamed=streamed)


@given(cut=st.integers(min_value=0, max_value=10_000))
@pytest.mark.parametrize("api", APIS)
def test_no_beginning_of_a_stream_is_a_whole_stream(api: Api, cut: int) -> None:
    """Wherever it breaks off, it is not taken for the end."""
    whole = good(api, "some words", streamed=True).rstrip(b"\n")
    part = whole[: cut % len(whole)]

    with pytest.raises(ModelProtocolError):
        check(api, part + b"\n\n", streamed=True)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
def test_usage_is_what_was_reported(api: Api, *, streamed: bool) -> None:
    """Both APIs count the same under other names."""
    attempt = check(api, good(api, streamed=streamed), streamed=streamed)

    assert attempt.usage == Usage(7, 3, cached_input_tokens=2, reasoning_tokens=1)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("bad", [None, {}, "7", [], {"total_tokens": 10}, 7])
def test_no_usable_report_is_no_usage(api: Api, bad: object) -> None:
    """Then the reservation stays charged: never an answer for nothing."""
    body = dump(response(usage=bad) if api == "responses" else completion(usage=bad))

    assert check(api, body).usage is None


@pytest.mark.parametrize("count", [-1, 10**30, 1.5, True, "7", None])
def test_count_that_is_none_is_no_count(count: object) -> None:
    """A number no database holds would end the run; half a report is none."""
    for usage in ({"input_tokens": count, "output_tokens": 3}, {"input_tokens": 7, "output_tokens": count}):
        assert check("responses", dump(response(usage=usage))).usage is None


def test_part_is_never_more_than_the_whole() -> None:
    """Cached input is cheaper, and reasoning is output: a provider that miscounts makes no negative tokens."""
    usage = {
        "input_tokens": 7,
        "output_tokens": 3,
        "input_tokens_details": {"cached_tokens": 9},
        "output_tokens_details": {"reasoning_tokens": 9},
    }

    assert check("responses", dump(response(usage=usage))).usage == Usage(7, 3, 7, 3)


def test_usage_of_a_stream_is_found_in_any_chunk() -> None:
    """Some send it with the last words, some after them, some with every chunk."""
    body = events(delta(content="a"), delta("stop") | {"usage": CHAT_USAGE}, chunk(usage=None), done=True)

    assert check("chat", body, streamed=True).usage == Usage(7, 3, 2, 1)


def test_usage_is_read_before_the_answer_is_refused() -> None:
    """What was cut off is paid for all the same."""
    attempt = Attempt(number=1)
    body = dump(completion(finish="length"))

    with pytest.raises(AgentPipelineError, match="raise the role's max_tokens"):
        check_answer(attempt, path="/v1/chat/completions", content_type=JSON, streamed=False, body=body)

    assert attempt.usage == Usage(7, 3, cached_input_tokens=2, reasoning_tokens=1)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 5, "total_tokens": 5}])
def test_other_endpoints_report_input_alone(usage: object) -> None:
    """Embeddings have no output."""
    attempt = Attempt(number=1)
    body = dump({"data": [], "usage": usage})

    check_answer(attempt, path="/v1/embeddings", content_type="application/json", streamed=False, body=body)

    assert attempt.usage == Usage(5, 0)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
        {"type": "web_search_call", "id": "w"},
    ],
)
def test_call_of_a_tool_is_an_answer(item: object) -> None:
    """An agent's turn may have no text."""
    check("responses", dump(response(output=[{"type": "reasoning", "summary": []}, item])))


def test_reasoning_alone_is_no_answer() -> None:
    """Thoughts without a word cost tokens and give an empty text."""
    with pytest.raises(ModelProtocolError, match="no output"):
        check("responses", dump(response(output=[{"type": "reasoning", "summary": []}])))


@pytest.mark.parametrize(
    ("call", "is_whole"),
    [
        ({"function": {"name": "f", "arguments": "{}"}}, True),
        ({"function": {"name": None, "arguments": "{}"}}, False),
        ({"function": {"name": "f"}}, False),
        ({"custom": {}}, True),
        ("f()", False),
    ],
)
def test_called_function_needs_its_name_and_arguments(call: object, *, is_whole: bool) -> None:
    """The Agents SDK looks it up without looking whether it is there."""
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = dump(completion(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}]))

    if is_whole:
        check("chat", body)
    else:
        with pytest.raises(ModelProtocolError):
            check("chat", body)


def test_lone_surrogate_is_refused() -> None:
    """Neither a file nor the ledger can hold it: it would fail the document only after it was paid for thrice."""
    with pytest.raises(ModelProtocolError):
        check("chat", dump(completion("\ud800")))


def test_done_and_what_follows_is_cut_off() -> None:
    """Text that only looks like it stays."""
    kept = events({"text": "data: [DONE]"}) + b'data: {"a":\ndata:  1}\n\n'

    assert without_done(kept + b"data: [DONE]\n\n: bye\n\n") == kept
    assert without_done(kept + b"data:[DONE]") == kept
    assert without_done(kept) == kept
    assert without_done(b"data: [DONE]\r\r") == b""


def test_message_shows_no_more_than_a_snippet_without_control_characters() -> None:
    """It goes to a terminal and into logs."""
    with pytest.raises(ModelProtocolError) as caught:
        check("chat", b"\x1b[31m" + b"x" * 10_000)

    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)
