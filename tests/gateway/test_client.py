"""The short way of a role's client sends and answers what the client's own way does."""

import json
from typing import Any

import httpx2
import pytest
from openai import Omit, omit
from openai.types.responses import Response
from openai.types.shared import Reasoning

from agent_pipeline.gateway.client import GatedClient, make_client

RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000000,
    "status": "completed",
    "model": "m",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Yes.", "annotations": []}],
        },
        {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": "{}"},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4, "something_new": {"a": 1}},
}
COMPLETION = {
    "id": "chat_1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
KEPT = ("accept", "content-type", "user-agent", "openai-beta", "idempotency-key")


class Echo(httpx2.AsyncBaseTransport):
    """Keeps what it is sent, and answers."""

    def __init__(self, response: object = RESPONSE) -> None:
        self.seen: list[tuple[str, dict[str, str], object]] = []
        self._response = response

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer for the API that is asked."""
        headers = {name: value for name, value in request.headers.items() if name in KEPT}
        self.seen.append((str(request.url), headers, json.loads(await request.aread())))
        answer = self._response if request.url.path.endswith("/responses") else COMPLETION
        return httpx2.Response(200, json=answer, headers={"x-request-id": "req_1"}, request=request)


def both_ways(base_url: str = "http://127.0.0.1:1/v1", response: object = RESPONSE) -> tuple[Echo, list[GatedClient]]:
    """Return a client that takes the short way, and a copy of it that does not."""
    transport = Echo(response)
    client = make_client(base_url, transport)
    return transport, [client, client.copy()]


@pytest.mark.parametrize(
    "asked",
    [
        {"input": "Is it so?"},
        {"input": [{"role": "user", "content": "Ist es so? 🙂"}], "tools": [], "include": [], "store": None},
        {"input": "x", "reasoning": Reasoning(effort="low"), "temperature": omit, "instructions": "Be brief."},
        {"input": "x", "extra_body": {"top_k": 3, "model": "other"}, "extra_query": None},
        {"input": "x", "extra_headers": {"User-Agent": "Agents/Python", "OpenAI-Beta": "b", "X-Gone": Omit()}},
        {"input": "x", "extra_query": {"trial": "1"}},
        {"input": "x", "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}},
    ],
)
async def test_responses_are_asked_alike(asked: dict[str, Any]) -> None:
    """What the Agents SDK gives: models of pydantic, fields left out, extras."""
    transport, clients = both_ways()

    answers = [await client.responses.create(model="m", **asked) for client in clients]

    assert transport.seen[0] == transport.seen[1]
    assert answers[0] == answers[1]
    assert [type(item) for item in answers[0].output] == [type(item) for item in answers[1].output]
    assert [answer._request_id for answer in answers] == ["req_1", "req_1"]


MESSAGE: dict[str, Any] = RESPONSE["output"][0]  # type: ignore[index]
WHOLE = {
    **RESPONSE,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "usage": {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 4,
    },
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"created_at": 1700000000.5, "completed_at": 1700000001, "something_new": {"a": [1]}},
        {"created_at": "1700000000", "parallel_tool_calls": 1, "temperature": "1.0"},
        {"status": "of a later year", "tool_choice": None, "text": {"format": {"type": "text"}}},
        {"output": None},
        {"output": [MESSAGE, {"type": "of_a_later_year", "id": "x"}]},
        {"output": [{**MESSAGE, "content": [{"type": "output_text", "text": 5}]}]},
        {"output": [{**MESSAGE, "status": 7, "phase": None}, {"type": "reasoning", "id": "r", "summary": []}]},
        {"output": [{"type": "function_call", "call_id": "c", "name": "look", "arguments": {}}]},
        {"usage": {"input_tokens": "3", "output_tokens": True}},
        {"usage": {**WHOLE["usage"], "input_tokens": 3.0}},  # type: ignore[dict-item]
        {"error": {"code": "server_error", "message": "m"}, "incomplete_details": {"reason": "of a later year"}},
        {"metadata": {"a": 1}, "tools": [{"type": "function", "name": "f", "parameters": None, "strict": True}]},
    ],
)
async def test_answers_are_built_alike(changes: dict[str, Any]) -> None:
    """Whole or not: what another server leaves out, adds or writes otherwise is what the client makes of it."""
    _, clients = both_ways(response={**WHOLE, **changes})

    short, long = [await client.responses.create(model="m", input="x") for client in clients]

    assert short == long
    assert repr(short) == repr(long)
    assert short.model_dump_json(exclude_unset=True, warnings=False) == long.model_dump_json(
        exclude_unset=True, warnings=False
    )
    assert [type(item) for item in short.output or []] == [type(item) for item in long.output or []]


async def test_chat_is_asked_alike() -> None:
    """Whatever its base address ends with."""
    for base_url in ("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/", "http://127.0.0.1:1"):
        transport, clients = both_ways(base_url)
        messages: Any = [{"role": "user", "content": "Is it so?"}]

        answers = [
            await client.chat.completions.create(model="m", messages=messages, max_tokens=5, n=omit)
            for client in clients
        ]

        assert transport.seen[0] == transport.seen[1]
        assert answers[0] == answers[1]
        assert answers[0].choices[0].message.content == "Yes."


async def test_raw_answers_take_the_clients_own_way() -> None:
    """Whoever wants headers gets what the client gives."""
    _, (client, _) = both_ways()

    raw = await client.responses.with_raw_response.create(model="m", input="x")
    answer: Any = raw.parse()

    assert raw.headers["x-request-id"] == "req_1"
    assert answer.output_text == "Yes."


async def test_what_json_cannot_hold_is_an_error_of_either_way() -> None:
    """Nothing is sent."""
    transport, clients = both_ways()
    nonsense: Any = object()

    for client in clients:
        with pytest.raises(TypeError, match="not JSON serializable"):
            await client.responses.create(model="m", input=nonsense)

    assert transport.seen == []


async def test_an_address_of_any_form_is_asked_by_both_calls() -> None:
    """`ask` of a copy goes the long way."""
    transport, clients = both_ways("http://127.0.0.1:1/v1/")

    answers = [await client.ask("/responses", {"model": "m", "input": "x"}, Response) for client in clients]

    assert transport.seen[0] == transport.seen[1]
    assert answers[0] == answers[1]
