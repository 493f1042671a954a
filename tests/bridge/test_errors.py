"""Whatever goes wrong around an agent leaves `run_agent` as an error of ours."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import agents as sdk
import pytest
import trio
from agents.testing import ScriptedModel, assistant_message, function_call
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseOutputMessage, ResponseOutputRefusal
from pydantic import BaseModel
from tests.bridge.world import make_roles, open_world
from trio.testing import MockClock

from agent_pipeline.bridge.failures import own_errors
from agent_pipeline.config.role_models import Api
from agent_pipeline.domain.own_error import own_error_in
from agent_pipeline.errors import (
    AgentPipelineError,
    AgentRunError,
    BudgetExceededError,
    ConnectionLostError,
    CredentialsRejectedError,
    IncompleteAnswerError,
    ModelProtocolError,
    OutputInvalidError,
    RequestRejectedError,
    ServerError,
    StreamTruncatedError,
)

OURS = BudgetExceededError("spent", dimension="tokens")
REJECTED = RequestRejectedError("no")


def _chained(outer: BaseException, cause: BaseException) -> BaseException:
    outer.__cause__ = cause
    return outer


def _circle() -> BaseException:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


# Each with the type that is to come out.
RAISED: dict[str, tuple[Callable[[], BaseException], type[AgentPipelineError]]] = {
    "value": (lambda: ValueError("x"), AgentRunError),
    "os": (lambda: OSError(24, "Too many open files"), AgentRunError),
    "recursion": (RecursionError, AgentRunError),
    "memory": (MemoryError, AgentRunError),
    "stop": (lambda: StopAsyncIteration("x"), AgentRunError),
    "timeout": (TimeoutError, AgentRunError),
    "invalid state": (lambda: asyncio.InvalidStateError("x"), AgentRunError),
    "exit": (lambda: SystemExit(3), AgentRunError),
    "busy": (lambda: trio.BusyResourceError("x"), AgentRunError),
    "group": (lambda: ExceptionGroup("g", [ExceptionGroup("h", [ValueError("x")])]), AgentRunError),
    "group with exit": (lambda: BaseExceptionGroup("g", [SystemExit(3), ValueError("x")]), AgentRunError),
    "circle": (_circle, AgentRunError),
    "sdk": (lambda: sdk.UserError("x"), AgentRunError),
    "turns": (lambda: sdk.MaxTurnsExceeded("x"), AgentRunError),
    "behavior": (lambda: sdk.ModelBehaviorError("no such tool"), ModelProtocolError),
    "not json": (lambda: sdk.ModelBehaviorError("Invalid JSON when parsing"), OutputInvalidError),
    "refusal": (lambda: sdk.ModelRefusalError("won't"), IncompleteAnswerError),
    "ours": (lambda: OURS, BudgetExceededError),
    "ours as a cause": (lambda: _chained(sdk.UserError("x"), OURS), BudgetExceededError),
    "ours in groups": (lambda: ExceptionGroup("g", [OSError(), ExceptionGroup("h", [OURS])]), BudgetExceededError),
    "the worst of ours": (lambda: ExceptionGroup("g", [REJECTED, OURS]), BudgetExceededError),
}
whatever_is_raised = pytest.mark.parametrize(("make", "expected"), RAISED.values(), ids=RAISED)


class FailingModel(ScriptedModel):
    """Raises what it is told, also what is no Exception."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def get_response(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, ARG002 - the SDK's interface
        """Raise."""
        raise self.error


class FailingHooks(sdk.AgentHooks[Any]):
    """Raises at the start of an agent."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def on_start(self, context: Any, agent: Any) -> None:  # noqa: ANN401, ARG002 - the SDK's interface
        """Raise."""
        raise self.error


async def _fails(agent: object, *, tools: tuple[object, ...] = (), max_turns: int = 10) -> AgentPipelineError:
    """Run an agent that fails, see that all is closed and the loop still serves, return the error."""
    async with open_world() as world:
        async with world.bridge.document("1") as session:
            with pytest.raises(AgentPipelineError) as caught:
                await session.run_agent(agent, "Hi.", tools=tools, max_turns=max_turns)
            assert "It works." in await session.run_agent("writer", "It works.")
        world.assert_idle()
    return caught.value


@whatever_is_raised
async def test_error_in_the_model(
    autojump_clock: MockClock, make: Callable[[], BaseException], expected: type[AgentPipelineError]
) -> None:
    """A model of a user's own, or a bug in the SDK's."""
    error = await _fails(sdk.Agent[object](name="a", model=FailingModel(make())))

    assert type(error) is expected
    assert own_error_in(make()) in {error, None}


@whatever_is_raised
async def test_error_in_a_hook(
    autojump_clock: MockClock, make: Callable[[], BaseException], expected: type[AgentPipelineError]
) -> None:
    """An agent's hooks are a user's code too."""
    error = await _fails(sdk.Agent[object](name="a", model="writer", hooks=FailingHooks(make())))

    assert type(error) is expected


@whatever_is_raised
async def test_error_in_instructions(
    autojump_clock: MockClock, make: Callable[[], BaseException], expected: type[AgentPipelineError]
) -> None:
    """And so are instructions that are computed."""

    async def instruct(context: Any, agent: Any) -> str:  # noqa: ANN401 - the SDK's interface
        raise make()

    error = await _fails(sdk.Agent[object](name="a", model="writer", instructions=instruct))

    assert type(error) is expected


@pytest.mark.parametrize("name", ["exit", "ours", "ours as a cause", "ours in groups", "the worst of ours"])
async def test_what_ends_the_run_when_a_tool_raises_it(autojump_clock: MockClock, name: str) -> None:
    """Errors of ours, however wrapped, and exits; everything else is told to the model."""
    make, expected = RAISED[name]

    async def fail() -> str:
        """Fail."""
        raise make()

    error = await _fails("writer", tools=(fail,))

    assert type(error) is expected


async def test_exit_in_a_sync_tool_ends_neither_loop_nor_process() -> None:
    """A library that calls sys.exit in a tool's thread must not take a hundred documents along."""

    def leave() -> str:
        """Leave."""
        raise SystemExit(3)

    error = await _fails("writer", tools=(leave,))

    assert isinstance(error, AgentRunError)
    assert "sys.exit(3)" in str(error)


@pytest.mark.parametrize("raised", [asyncio.CancelledError, ValueError])
async def test_foreign_cancellation_in_a_tool_hangs_nobody(
    autojump_clock: MockClock, raised: type[BaseException]
) -> None:
    """Asyncio's CancelledError raised by a tool itself is one failure among others, not a cancellation of ours."""

    async def fail() -> str:
        """Fail."""
        raise raised

    async with open_world() as world:
        async with world.bridge.document("1") as session:
            with trio.move_on_after(60) as scope:
                with suppress(AgentPipelineError):
                    await session.run_agent("writer", "Hi.", tools=[fail])

        assert not scope.cancelled_caught
        world.assert_idle()


async def test_agent_that_cancels_itself_is_an_error(autojump_clock: MockClock) -> None:
    """Nobody of ours cancelled it, so nothing may look as if somebody did."""
    error = await _fails(sdk.Agent[object](name="a", model=FailingModel(asyncio.CancelledError())))

    assert type(error) is AgentRunError


async def test_too_many_turns(autojump_clock: MockClock) -> None:
    """A model that calls tools for ever is stopped."""

    async def again() -> str:
        """Do it again."""
        return "again"

    steps = [[function_call("again", "{}", call_id=f"c{number}")] for number in range(5)]
    error = await _fails(sdk.Agent[object](name="a", model=ScriptedModel(steps)), tools=(again,), max_turns=3)

    assert isinstance(error, AgentRunError)
    assert "MaxTurnsExceeded" in str(error)


@pytest.mark.parametrize("where", ["input", "output"])
async def test_guardrails(autojump_clock: MockClock, where: str) -> None:
    """A tripped guardrail is the agent's failure."""

    def trip(*_: object) -> sdk.GuardrailFunctionOutput:
        return sdk.GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    agent = sdk.Agent[object](name="a", model="writer")
    if where == "input":
        agent.input_guardrails = [sdk.InputGuardrail(guardrail_function=trip)]
    else:
        agent.output_guardrails = [sdk.OutputGuardrail(guardrail_function=trip)]
    error = await _fails(agent)

    assert isinstance(error, AgentRunError)
    assert "Guardrail" in str(error)


async def test_refusal_and_unknown_tool(autojump_clock: MockClock) -> None:
    """What the model does wrong has the code of what the model did wrong."""

    class Answer(BaseModel):
        text: str

    refusal = ResponseOutputMessage(
        id="m",
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputRefusal(type="refusal", refusal="won't")],
    )
    refused = await _fails(sdk.Agent[object](name="a", model=ScriptedModel([[refusal]]), output_type=Answer))
    unknown = await _fails(
        sdk.Agent[object](name="a", model=ScriptedModel([[function_call("nope", "{}", call_id="c")]]))
    )

    assert type(refused) is IncompleteAnswerError
    assert "won't" not in str(refused)
    assert type(unknown) is ModelProtocolError


async def test_answer_that_does_not_fit_says_so_without_the_text(autojump_clock: MockClock) -> None:
    """The ledger and the logs keep this message, and texts do not belong there."""

    class Answer(BaseModel):
        text: str

    said = "the secret text of the document"
    agent = sdk.Agent[object](name="a", model=ScriptedModel([[assistant_message(said)]]), output_type=Answer)
    error = await _fails(agent)

    assert type(error) is OutputInvalidError
    assert said not in str(error)


FAULTS: list[tuple[dict[str, object], type[AgentPipelineError]]] = [
    ({"kind": "status", "status": 400}, RequestRejectedError),
    ({"kind": "status", "status": 401}, CredentialsRejectedError),
    ({"kind": "status", "status": 500}, ServerError),
    ({"kind": "reset_before_body"}, ConnectionLostError),
    ({"kind": "reset_mid_body"}, ConnectionLostError),
    ({"kind": "html_200"}, ModelProtocolError),
    ({"kind": "malformed_json"}, ModelProtocolError),
    ({"kind": "empty_object"}, ModelProtocolError),
]


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=[str(list(fault.values())) for fault, _ in FAULTS])
async def test_faults_of_the_provider_come_out_as_they_are(
    autojump_clock: MockClock, api: Api, fault: dict[str, object], expected: type[AgentPipelineError]
) -> None:
    """The gate's error crosses the OpenAI client and the SDK unchanged, so that retries and reports agree."""
    faults = [{**fault, "match": {"contains": "Break."}}]
    async with open_world(api=api, faults=faults) as world:
        async with world.bridge.document("1") as session:
            with pytest.raises(expected) as caught:
                await session.run_agent("writer", "Break.")
            if expected.disposition != "fail_run":  # after such a one the gate lets nothing go to that provider
                assert await session.run_agent("writer", "Go on.")

        assert type(caught.value) is expected
        assert world.records[0].error_code == expected.code
        world.assert_idle()


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_stream_that_breaks_off_never_becomes_an_answer(autojump_clock: MockClock, api: Api) -> None:
    """A shorter text would look like success."""
    roles = make_roles({"stream": True})
    faults = [{"kind": "truncate_stream"}]
    async with open_world(api=api, roles=roles, faults=faults) as world, world.bridge.document("1") as session:
        with pytest.raises(StreamTruncatedError):
            await session.run_agent("writer", "Hi.")


@pytest.mark.parametrize(
    "output_type", [dict[str, int], "no type", Callable[[int], int], 7, type("NotHashable", (), {"__hash__": None})]
)
async def test_output_type_that_is_none_is_our_error(autojump_clock: MockClock, output_type: Any) -> None:  # noqa: ANN401
    """A stage's author gets one kind of error, wherever the mistake is noticed."""
    async with open_world() as world, world.bridge.document("1") as session:
        with pytest.raises(AgentPipelineError):
            await session.run_agent("writer", "Hi.", output_type=output_type)


# --- the search for an error of ours -----------------------------------------------------------------------------

errors = st.sampled_from([OURS, REJECTED, ValueError("x"), SystemExit(1)])
nested = st.recursive(
    errors.map(lambda error: error),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda members: BaseExceptionGroup("g", members)),
    max_leaves=6,
)


@given(error=nested)
def test_only_ours_get_out(error: BaseException) -> None:
    """Any nesting of groups: out comes one of ours, the one that ends the run where there is one."""
    leaves = _leaves(error)

    with pytest.raises(AgentPipelineError) as caught, own_errors("a"):
        raise error

    if OURS in leaves:
        assert caught.value is OURS
    elif REJECTED in leaves:
        assert caught.value is REJECTED
    else:
        assert type(caught.value) is AgentRunError


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for member in error.exceptions for leaf in _leaves(member)]


@pytest.mark.parametrize("passing", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_cancellation_passes(passing: type[BaseException]) -> None:
    """It belongs to whoever cancelled."""
    with pytest.raises(passing), own_errors("a"):
        raise passing


def test_error_found_in_a_chain_makes_no_circle() -> None:
    """Whoever walks the causes of an error must arrive."""
    cause = OSError("below")
    ours = RequestRejectedError("no")
    ours.__cause__ = cause

    with pytest.raises(RequestRejectedError) as caught, own_errors("a"):
        raise sdk.UserError("above") from ours

    assert caught.value is ours
    assert ours.__cause__ is cause
