"""Agents of the real SDK, through the real gate, to the simulated provider, in virtual time."""

import gc
import weakref
from collections.abc import Mapping
from typing import Annotated, Any

import agents as sdk
import pytest
import trio
from pydantic import BaseModel, Field, create_model
from tests.bridge.world import make_roles, open_world
from trio.testing import MockClock

from agent_pipeline.bridge.agents import MOST_KEPT
from agent_pipeline.config.role_models import Api
from agent_pipeline.control.scope import CallScope, call_scope
from agent_pipeline.errors import AgentRunError, BudgetExceededError, UnknownRoleError

DOCUMENT = "Tidy this.\n<document>\n# Tides\n\nThe moon pulls the sea.\n</document>"

both_apis = pytest.mark.parametrize("api", ["responses", "chat"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True])


class Verdict(BaseModel):
    """A structured answer."""

    title: str
    approved: bool


@both_apis
@streamed_or_not
async def test_role_by_name_answers_text(autojump_clock: MockClock, api: Api, *, stream: bool) -> None:
    """A role's name is all a stage needs; YAML says which API, and whether it streams."""
    async with open_world(api=api, roles=make_roles({"stream": stream}), latency=2) as world:
        async with world.bridge.document("1") as session:
            text = await session.run_agent("writer", DOCUMENT)

        assert "The moon pulls the sea." in text
        assert trio.current_time() == 2
        (body,) = world.simulator.bodies
        assert (body["model"], bool(body.get("stream"))) == ("sim", stream)
        assert "You write." in str(body)
        assert [record.outcome for record in world.records] == ["succeeded"]
        assert world.gate.statistics().usage.output_tokens > 0
        world.assert_idle()


@both_apis
@streamed_or_not
async def test_structured_output_is_a_value_of_its_type(autojump_clock: MockClock, api: Api, *, stream: bool) -> None:
    """Stages work with values; the schema goes along in each API's own way."""
    async with open_world(api=api, roles=make_roles({"stream": stream})) as world:
        async with world.bridge.document("1") as session:
            verdict = await session.run_agent("writer", DOCUMENT, output_type=Verdict)

        assert verdict == Verdict(title="Tides", approved=True)


@pytest.mark.parametrize("output_type", [int, list[str], Annotated[int, Field(ge=0)]])
async def test_output_type_may_be_anything_pydantic_validates(
    autojump_clock: MockClock, output_type: type[object]
) -> None:
    """Also types that can't be hashed: agents made from roles are kept by their output type."""
    async with open_world() as world, world.bridge.document("1") as session:
        first = await session.run_agent("writer", DOCUMENT, output_type=output_type)
        second = await session.run_agent("writer", DOCUMENT, output_type=output_type)

    assert isinstance(first, int | list)
    assert first == second


@both_apis
@streamed_or_not
async def test_async_tool_runs_under_trio(autojump_clock: MockClock, api: Api, *, stream: bool) -> None:
    """A stage's tools are Trio functions; the way back from the agent's loop is ours."""

    async def wait_for_tide(harbour: str) -> str:
        """Wait until high water."""
        await trio.sleep(60)
        return f"high water in {harbour[:0]}Dover"

    async with open_world(api=api, roles=make_roles({"stream": stream}), latency=1) as world:
        async with world.bridge.document("1") as session:
            text = await session.run_agent("writer", "When is high water?", tools=[wait_for_tide])

        assert "high water in Dover" in text
        assert trio.current_time() == 62
        assert len(world.records) == 2
        told = [event for event, _ in world.steps]
        assert told.index("tool_start") < told.index("tool_end") < told.index("agent_end")


async def test_method_and_sdk_tool_are_tools_too(autojump_clock: MockClock) -> None:
    """Whatever the SDK itself takes as a tool stays what it is; bound methods count as functions."""

    class Almanac:
        async def tide(self) -> str:
            """Say when."""
            return "at noon"

    @sdk.function_tool
    async def moon() -> str:
        """Say which."""
        return "a full moon"

    async with open_world() as world, world.bridge.document("1") as session:
        by_method = await session.run_agent("writer", "When?", tools=[Almanac().tide])
        by_sdk = await session.run_agent("writer", "Which?", tools=[moon])

    assert "at noon" in by_method
    assert "a full moon" in by_sdk


async def test_sync_tool_runs_in_a_thread() -> None:
    """The SDK runs plain functions in threads, so a slow one does not stop the loop; on the real clock, then."""

    def tide() -> str:
        """Say when."""
        return "at noon"

    async with open_world() as world, world.bridge.document("1") as session:
        text = await session.run_agent("writer", "When?", tools=[tide])

    assert "at noon" in text


@streamed_or_not
async def test_error_of_ours_in_a_tool_ends_the_run(autojump_clock: MockClock, *, stream: bool) -> None:
    """A model can't mend a spent budget or a broken ledger, so it is not asked to."""
    error = BudgetExceededError("spent", dimension="tokens")

    async def spend() -> str:
        """Spend."""
        raise error

    async with open_world(roles=make_roles({"stream": stream})) as world, world.bridge.document("1") as session:
        with pytest.raises(BudgetExceededError) as caught:
            await session.run_agent("writer", "Spend.", tools=[spend])

        assert caught.value is error
        assert len(world.records) == 1


@pytest.mark.parametrize("raised", [ValueError("no such harbour"), KeyError("x"), ExceptionGroup("g", [OSError()])])
async def test_foreign_error_in_a_tool_is_told_to_the_model(autojump_clock: MockClock, raised: Exception) -> None:
    """As the SDK does it: the model may try something else."""

    async def fail() -> str:
        """Fail."""
        raise raised

    async with open_world() as world:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Try.", tools=[fail])

        told = str(world.simulator.bodies[1])
        assert "The tool failed" in told
        assert type(raised).__name__ in told


async def test_handoff_runs_under_the_second_role(autojump_clock: MockClock) -> None:
    """Each agent of a run asks through its own role, with its own model and records."""
    roles = make_roles(editor={"model": "sim-2", "instructions": "You edit."})
    editor = sdk.Agent[object](name="editor", model="editor", instructions="You edit.")
    front = sdk.Agent[object](name="front", model="writer", handoffs=[editor])

    async with open_world(roles=roles) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent(front, "Hand this to the editor.")

        assert [record.role for record in world.records] == ["writer", "editor"]
        assert [body["model"] for body in world.simulator.bodies] == ["sim", "sim-2"]
        assert ("handoff", None) in world.steps


async def test_each_role_of_a_handoff_streams_as_its_params_say(autojump_clock: MockClock) -> None:
    """Streaming is a role's param, not the run's: some providers answer one way only."""
    roles = make_roles({"stream": False}, editor={"params": {"stream": True}})
    editor = sdk.Agent[object](name="editor", model="editor")
    front = sdk.Agent[object](name="front", model="writer", handoffs=[editor])

    async with open_world(roles=roles) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent(front, "Hand this to the editor.")

        assert [bool(body.get("stream")) for body in world.simulator.bodies] == [False, True]


async def test_agent_as_tool_passes_the_gate(autojump_clock: MockClock) -> None:
    """An agent inside a tool resolves its role like any other, instead of the SDK's own provider and key."""
    roles = make_roles(expert={"model": "sim-2"})
    expert = sdk.Agent[object](name="expert", model="expert")
    tool = expert.as_tool("ask_expert", "Asks the expert.")

    async with open_world(roles=roles) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Ask the expert.", tools=[tool])

        assert [record.role for record in world.records] == ["writer", "expert", "writer"]


async def test_an_agent_with_a_client_of_its_own_is_refused(autojump_clock: MockClock) -> None:
    """Its requests would pass the gate by: no budget, no limits, no record."""
    async with open_world() as world, world.bridge.document("1") as session:
        role = world.bridge.find_role("writer")
        model = sdk.OpenAIResponsesModel(model="gpt-5-mini", openai_client=role.client)
        agent = sdk.Agent[object](name="loner", model=model)

        with pytest.raises(AgentRunError, match="name a role"):
            await session.run_agent(agent, "Which?")


async def test_the_schema_of_a_type_is_built_once(autojump_clock: MockClock) -> None:
    """The SDK would build it at every turn: half a millisecond of CPU each time."""
    async with open_world() as world:
        first = world.bridge.agent("writer", Verdict, ()).output_type
        again = world.bridge.agent(sdk.Agent[object](name="b", model="writer"), Verdict, ()).output_type

    assert first is again


async def test_agents_own_type_and_tools_are_kept(autojump_clock: MockClock) -> None:
    """What a stage adds goes on top of an Agent object; the object itself is not changed."""

    async def tide() -> str:
        """Say when."""
        return "at noon"

    @sdk.function_tool
    async def moon() -> str:
        """Say which."""
        return "full"

    agent = sdk.Agent[object](name="a", model="writer", tools=[moon])
    async with open_world() as world, world.bridge.document("1") as session:
        plain = world.bridge.agent(agent, None, ())
        richer = world.bridge.agent(agent, Verdict, [tide])
        await session.run_agent(agent, "Which?")

    assert plain is agent
    assert (agent.output_type, agent.tools) == (None, [moon])
    assert isinstance(richer.output_type, sdk.AgentOutputSchema)
    assert richer.output_type.output_type is Verdict
    assert [tool.name for tool in richer.tools] == ["moon", "tide"]


async def test_agents_made_from_roles_are_built_once_and_shared_by_no_runs(autojump_clock: MockClock) -> None:
    """Building one per document would cost more than a document; of a shared one the SDK watches all its runs."""
    async with open_world() as world:
        known, again = (world.bridge.agent("writer", Verdict, ()) for _ in range(2))
        other = world.bridge.agent("writer", None, ())

        assert again is not known
        assert again == known
        assert again.output_type is known.output_type
        assert again.model_settings is known.model_settings
        assert other != known


async def test_types_made_for_each_document_are_let_go(autojump_clock: MockClock) -> None:
    """A stage that builds its type from the document would otherwise fill the memory of a long run."""
    types = []
    async with open_world() as world:
        for number in range(MOST_KEPT + 40):
            agent = world.bridge.agent("writer", create_model(f"Own{number}", number=(int, ...)), ())
            assert isinstance(agent.output_type, sdk.AgentOutputSchema)
            types.append(weakref.ref(agent.output_type.output_type))
        gc.collect()

        assert sum(one() is not None for one in types) == MOST_KEPT


async def test_agent_without_model_uses_the_default_role(autojump_clock: MockClock) -> None:
    """An Agent that names no role runs on what `defaults` say, streamed where they say so."""
    roles: dict[str, Any] = make_roles()
    roles["defaults"] = {"provider": "openai", "model": "fallback", "params": {"stream": True}}

    async with open_world(roles=roles) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent(sdk.Agent[object](name="a"), DOCUMENT)

        (body,) = world.simulator.bodies
        assert (body["model"], body.get("stream")) == ("fallback", True)


async def test_unknown_role_is_our_error(autojump_clock: MockClock) -> None:
    """By name and inside an Agent alike."""
    async with open_world() as world, world.bridge.document("1") as session:
        with pytest.raises(UnknownRoleError, match="writre"):
            await session.run_agent("writre", "Hi.")
        with pytest.raises(UnknownRoleError, match="nobody"):
            await session.run_agent(sdk.Agent[object](name="a", model="nobody"), "Hi.")


@pytest.mark.parametrize("what", [None, 1, object, {"name": "writer"}])
async def test_neither_agent_nor_role_is_refused(autojump_clock: MockClock, what: object) -> None:
    """The message says what was given."""
    async with open_world() as world, world.bridge.document("1") as session:
        with pytest.raises(AgentRunError, match="wants an Agent or a role's name"):
            await session.run_agent(what, "Hi.")
        with pytest.raises(AgentRunError):
            await session.run_agent("writer", "Hi.", tools=[42])

        assert not world.records


async def test_events_carry_the_scope_they_were_told_in(autojump_clock: MockClock) -> None:
    """Concurrent documents share the hooks; the context variable tells them apart, in events and records."""

    async def work(document_id: str, delay: float) -> None:
        async with world.bridge.document(document_id) as session:
            await trio.sleep(delay)
            with call_scope(CallScope(document_id, "write", 1)):
                await session.run_agent("writer", DOCUMENT, tools=[pause])

    async def pause() -> str:
        """Let the others in."""
        await trio.sleep(1)
        return "done"

    async with open_world(latency=1) as world:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(work, f"d{number}", number / 10)

        for number in range(8):
            steps = [event for event, document_id in world.steps if document_id == f"d{number}"]
            assert steps[0] == "agent_start"
            assert steps.count("llm_start") == 2
            assert [r.stage for r in world.records if r.document_id == f"d{number}"] == ["write", "write"]
        assert len(world.records) == 16
        world.assert_idle()


@pytest.mark.parametrize("extra", [{}, {"latency": 3}])
async def test_agents_of_one_document_may_run_at_once(autojump_clock: MockClock, extra: Mapping[str, float]) -> None:
    """A stage may start several agents in a nursery of its own; they share the document's one loop and trace."""
    async with open_world(latency=extra.get("latency", 0)) as world:
        async with world.bridge.document("1") as session, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(session.run_agent, "writer", DOCUMENT)

        assert world.bridge.loops_opened == 1
        assert len({line["trace_id"] for line in world.trace_lines if line["object"] == "trace.span"}) == 1
        assert sum(line["object"] == "trace" for line in world.trace_lines) == 1
        world.assert_idle()
