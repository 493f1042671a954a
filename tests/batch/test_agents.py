"""Agents of the libraries people use, from Trio and asyncio, with their tokens; nobody's retries but the gate's."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import agents as sdk
import pydantic_ai
import pytest
import trio
from agents.testing import ScriptedModel
from openai.types.responses import ResponseOutputMessage, ResponseOutputText
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from tests.batch.flavours import QUICK, Flavour, both

from agent_pipeline.batch import BatchResult, LLMWorkItem, MockAgent, ParallelBatchProcessor
from agent_pipeline.bridge.guests import guest_kind


@pytest.fixture(autouse=True)
def no_traces() -> Iterator[None]:
    """The SDK would post them to its maker."""
    sdk.set_trace_processors([])
    sdk.set_tracing_disabled(True)
    yield
    sdk.set_tracing_disabled(False)


def run_items(flavour: Flavour, *items: LLMWorkItem[None, str, None]) -> BatchResult[str, None]:
    """Work on items in real time; guests have threads, which virtual time would outrun."""

    async def scenario() -> BatchResult[str, None]:
        processor = ParallelBatchProcessor[None, str, None](replace(QUICK, timeout_per_item=20.0))
        for one in items:
            await processor.add_work(one)
        return await processor.process_all()

    return asyncio.run(scenario()) if flavour == "asyncio" else trio.run(scenario)


def text_step(text: str) -> sdk.ModelResponse:
    message = ResponseOutputMessage(
        id="m",
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputText(type="output_text", text=text, annotations=[])],
    )
    usage = sdk.Usage(requests=1, input_tokens=11, output_tokens=4, total_tokens=15)
    return sdk.ModelResponse(output=[message], usage=usage, response_id=None)


@both
def test_an_agent_of_the_agents_sdk(flavour: Flavour) -> None:
    agent = sdk.Agent(name="writer", model=ScriptedModel([text_step("one"), text_step("two")]))

    result = run_items(flavour, *(LLMWorkItem(f"i{n}", agent=agent, prompt="write") for n in range(2)))

    assert sorted(str(one.output) for one in result.results) == ["one", "two"]
    assert (result.total_input_tokens, result.total_output_tokens) == (22, 8)


@both
def test_the_agents_sdk_does_not_try_again_by_itself(flavour: Flavour) -> None:
    """Its failure is the gate's to heal: a second attempt, and the whole run anew."""

    class Down(Exception):  # noqa: N818
        status_code = 503

    agent = sdk.Agent(name="writer", model=ScriptedModel([Down("busy"), text_step("after all")]))

    result = run_items(flavour, LLMWorkItem("a", agent=agent, prompt="write"))

    assert (result.results[0].output, result.results[0].attempts) == ("after all", 2)


@both
def test_what_an_agent_of_the_sdk_used_before_it_failed_is_counted(flavour: Flavour) -> None:
    """Its answer is there and paid for; a guardrail refuses it."""

    @sdk.output_guardrail
    async def never(*_: object) -> sdk.GuardrailFunctionOutput:
        return sdk.GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    agent = sdk.Agent(name="writer", model=ScriptedModel([text_step("one")]), output_guardrails=[never])

    one = run_items(flavour, LLMWorkItem("a", agent=agent, prompt="write")).results[0]

    assert (one.success, one.error_code, one.attempts) == (False, "call_failed", 1)
    assert (one.token_usage["input_tokens"], one.token_usage["output_tokens"]) == (11, 4)


@both
def test_a_pydantic_ai_agent(flavour: Flavour) -> None:
    agent = pydantic_ai.Agent(TestModel(custom_output_text="tidy"))

    result = run_items(flavour, *(LLMWorkItem(f"i{n}", agent=agent, prompt="tidy up") for n in range(3)))

    assert [one.output for one in result.results] == ["tidy"] * 3
    assert result.total_input_tokens > 0
    assert result.total_output_tokens > 0


@both
def test_what_a_pydantic_ai_agent_used_before_it_failed_is_counted(flavour: Flavour) -> None:
    """Its first answer calls a tool that does not exist, its next request is refused."""
    calls = 0

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ModelHTTPError(400, "tiny", {"error": "no"})
        return ModelResponse(parts=[pydantic_ai.messages.ToolCallPart("missing", {})])

    agent = pydantic_ai.Agent(FunctionModel(respond))
    result = run_items(flavour, LLMWorkItem("a", agent=agent, prompt="a prompt of some words"))

    one = result.results[0]
    assert (one.success, one.error_code, one.attempts) == (False, "request_rejected", 1)
    assert one.token_usage["input_tokens"] > 0


@both
def test_a_status_of_pydantic_ai_is_understood(flavour: Flavour) -> None:
    calls = 0

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ModelHTTPError(429 if calls == 1 else 500, "tiny", None)
        return ModelResponse(parts=[TextPart("at last")])

    result = run_items(flavour, LLMWorkItem("a", agent=pydantic_ai.Agent(FunctionModel(respond)), prompt="x"))

    one = result.results[0]
    assert (one.output, one.attempts, one.rate_limits) == ("at last", 2, 1)


def test_guests_share_one_loop_for_a_caller_under_trio() -> None:
    """Their clients' connections belong to the loop they were opened in; and the thread ends with the batch."""
    loops: set[asyncio.AbstractEventLoop] = set()

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        loops.add(asyncio.get_running_loop())
        return ModelResponse(parts=[TextPart("done")])

    agent = pydantic_ai.Agent(FunctionModel(respond))
    result = run_items("trio", *(LLMWorkItem(f"i{n}", agent=agent, prompt="x") for n in range(5)))

    assert (result.succeeded, len(loops)) == (5, 1)
    assert all(loop.is_closed() for loop in loops)
    assert not [thread for thread in threading.enumerate() if thread.name == "agent-pipeline-asyncio"]


def test_under_asyncio_agents_run_in_the_callers_loop() -> None:
    loops: set[asyncio.AbstractEventLoop] = set()

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        loops.add(asyncio.get_running_loop())
        return ModelResponse(parts=[TextPart("done")])

    async def scenario() -> asyncio.AbstractEventLoop:
        processor = ParallelBatchProcessor[None, str, None](QUICK)
        await processor.add_work(
            LLMWorkItem("a", agent_factory=lambda _: pydantic_ai.Agent(FunctionModel(respond)), prompt="x")
        )
        assert (await processor.process_all()).succeeded == 1
        return asyncio.get_running_loop()

    assert {asyncio.run(scenario())} == loops


@both
def test_an_agent_without_an_output_is_told_so(flavour: Flavour) -> None:
    class Odd:
        async def run(self, _prompt: str) -> int:
            return 7

    result = run_items(flavour, LLMWorkItem("a", agent=Odd()))

    assert result.results[0].error == "TypeError: an agent's result has an output, and a int has none"


def test_agents_are_told_by_what_they_are() -> None:
    assert guest_kind(sdk.Agent(name="a")) == "agents"
    assert guest_kind(pydantic_ai.Agent(TestModel())) == "pydantic_ai"
    assert guest_kind(MockAgent()) is None
    assert guest_kind(None) is None


@both
def test_items_with_agents_of_different_models_have_lanes_of_their_own(flavour: Flavour) -> None:
    """A pause of one model is not the other's."""

    class Named(MockAgent):
        model = "large"

    limited = Named(rate_limit_on_call=1, retry_after=0.2)
    result = run_items(
        flavour, LLMWorkItem("limited", agent=limited, prompt="x"), LLMWorkItem("other", agent=MockAgent(), prompt="x")
    )

    assert [one.success for one in result.results] == [True, True]
    assert result.results[0].timing.cooldown > 0.15
    assert result.results[1].timing.cooldown == 0
