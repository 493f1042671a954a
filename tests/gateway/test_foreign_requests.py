"""A role's params under any-llm's names."""

import json

import pytest
from pydantic import BaseModel, JsonValue

from agent_pipeline.config.role_models import LLMMode, ResolvedCall
from agent_pipeline.errors import RequestRejectedError
from agent_pipeline.gateway.foreign.requests import completion_request, embedding_request
from agent_pipeline.telemetry import NO_SECRETS, SecretValues

MESSAGES = [{"role": "user", "content": "hello"}]


def _call(params: dict[str, JsonValue], *, provider: str = "anthropic") -> ResolvedCall:
    return ResolvedCall(role="r", provider=provider, model="m", mode=LLMMode.chat, params=params)


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({}, {}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_output_tokens": 5}, {"max_tokens": 5}),
        ({"temperature": 0.5, "top_p": None}, {"temperature": 0.5}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        (
            {"reasoning": {"effort": "low", "summary": "auto"}},
            {"reasoning_effort": "low", "reasoning": {"summary": "auto"}},
        ),
        ({"stream": True}, {}),
        ({"top_k": 3}, {"top_k": 3}),
    ],
)
def test_params_go_by_any_llms_names(params: dict[str, JsonValue], sent: dict[str, JsonValue]) -> None:
    """What is null counts as not set; what we do not know goes as it is."""
    request = completion_request(_call(params), MESSAGES, streamed=False, keys=NO_SECRETS)

    assert request.arguments() == {"model": "m", "messages": MESSAGES, **sent}
    assert request.content == json.dumps(request.arguments(), separators=(",", ":")).encode()


def test_stream_asks_for_its_usage_beside_what_the_role_asks() -> None:
    """Without it nobody knows what a stream cost."""
    params: dict[str, JsonValue] = {"stream_options": {"x": 1}}

    request = completion_request(_call(params), MESSAGES, streamed=True, keys=NO_SECRETS)

    assert request.kind == "stream"
    assert request.arguments()["stream"] is True
    assert request.arguments()["stream_options"] == {"x": 1, "include_usage": True}


@pytest.mark.parametrize(("params", "cap"), [({}, 0), ({"max_tokens": 7}, 7), ({"max_tokens": 7, "n": 3}, 21)])
def test_output_cap_counts_for_every_choice(params: dict[str, JsonValue], cap: int) -> None:
    """Each may be as long."""
    request = completion_request(_call(params), MESSAGES, streamed=False, keys=NO_SECRETS)

    assert request.output_tokens_cap == cap


@pytest.mark.parametrize(
    ("provider", "sent"),
    [
        ("openrouter", {"dimensions": 8}),
        ("ollama", {"dimensions": 8}),
        ("gemini", {"config": {"output_dimensionality": 8}}),
        ("mistral", {"output_dimension": 8}),
        ("voyage", {"output_dimension": 8}),
    ],
)
@pytest.mark.parametrize("written", ["dimensions", "embedding_dim"])
def test_dimensions_go_by_the_providers_name(provider: str, sent: dict[str, object], written: str) -> None:
    """any-llm passes it on as it is."""
    request = embedding_request(_call({written: 8}, provider=provider), ["a", "b"], keys=NO_SECRETS)

    assert request.arguments() == {"model": "m", "inputs": ["a", "b"], **sent}
    assert request.answers == 2


def test_each_attempt_gets_arguments_of_its_own() -> None:
    """Clients change what they are given, and the next attempt has to ask the same."""
    request = completion_request(_call({}), MESSAGES, streamed=False, keys=NO_SECRETS)

    request.arguments()["messages"][0]["content"] = "changed"

    assert request.arguments()["messages"] == MESSAGES


class Message(BaseModel):
    """As an answer has it."""

    role: str = "assistant"
    content: str = "hello"
    refusal: str | None = None
    reasoning: str | None = "hm"


def test_message_of_an_earlier_answer_may_be_sent_back() -> None:
    """Without what is not set, and without its thoughts."""
    request = completion_request(_call({}), [Message()], streamed=False, keys=NO_SECRETS)

    assert request.arguments()["messages"] == [{"role": "assistant", "content": "hello"}]


def test_what_is_no_json_is_refused() -> None:
    """Before anything is asked for."""
    with pytest.raises(RequestRejectedError, match="no JSON"):
        completion_request(_call({}), [{"role": "user", "content": object()}], streamed=False, keys=NO_SECRETS)


@pytest.mark.parametrize("name", ["model", "messages", "timeout", "api_key", "inputs"])
def test_param_cannot_stand_for_what_is_not_the_roles(name: str) -> None:
    """The gate bounds a request; the key comes from the environment."""
    with pytest.raises(RequestRejectedError, match=name):
        completion_request(_call({name: 1}), MESSAGES, streamed=False, keys=NO_SECRETS)


def test_known_key_is_taken_out() -> None:
    """Whoever put it there."""
    messages = [{"role": "user", "content": "it is abcdefgh1234"}]

    request = completion_request(_call({}), messages, streamed=False, keys=SecretValues(["abcdefgh1234"]))

    assert request.arguments()["messages"][0]["content"] == "it is [redacted]"
