"""Whole answers: their text, their structure, what they say they cost."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CompletionUsage, Model
from openai.types.chat import ChatCompletion
from openai.types.responses import ResponseUsage
from tests.simulator.asking import CHAT, LOOKUP, RESPONSES, TEXT, asking, completion_to, post, response_to, with_tools

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import Simulator, SimulatorRequest
from agent_pipeline.simulator.json_values import JsonObject

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["title", "answer"],
    "additionalProperties": False,
}


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
