"""The SDK's traces as events: whole, apart, without texts, and sent nowhere."""

import json
import threading
from contextlib import AsyncExitStack
from typing import Any

import agents as sdk
import pytest
import trio
from agents import _debug as sdk_debug
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.tracing import processors
from pydantic import BaseModel
from tests.bridge.world import make_roles, open_world
from trio.testing import MockClock

from agent_pipeline.bridge.tracing import TraceEvents, open_sdk_tracing
from agent_pipeline.config.role_models import Api
from agent_pipeline.domain.events import AgentEvent, Event, SdkTraceItem
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.testing import cancel_at_every_step

SECRET = "the text nobody may read"  # noqa: S105 - no password
ANSWER = "what the tool found out"


async def find_out() -> str:
    """Find something out."""
    await trio.sleep(1)
    return ANSWER


async def test_each_document_has_one_trace_and_its_spans_are_in_it(autojump_clock: MockClock) -> None:
    """Also when documents run at once, several agents each, and take turns inside a tool."""

    async def work(number: int) -> None:
        async with world.bridge.document(f"d{number}") as session:
            await trio.sleep(number / 10)
            await session.run_agent("writer", "Find out.", tools=[find_out])
            await session.run_agent("writer", "Hi.")

    async with open_world(latency=1) as world:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(work, number)
        lines = world.trace_lines

    traces = [line for line in lines if line["object"] == "trace"]
    assert {trace["group_id"] for trace in traces} == {f"doc-d{number}" for number in range(8)}
    assert len(traces) == 8
    for trace in traces:
        assert trace["workflow_name"] == "test"
        assert trace["metadata"] == {"run_id": "run-1", "document_id": trace["group_id"].removeprefix("doc-")}
        spans = [line for line in lines if line.get("trace_id") == trace["id"]]
        kinds = [span["span_data"]["type"] for span in spans]
        assert (kinds.count("agent"), kinds.count("response"), kinds.count("function")) == (2, 3, 1)
        ids = {span["id"] for span in spans}
        assert all(span["parent_id"] is None or span["parent_id"] in ids for span in spans)
        assert all("exported_at" in span for span in spans)


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("include_texts", [False, True])
async def test_texts_are_in_traces_only_where_asked_for(
    autojump_clock: MockClock, api: Api, *, include_texts: bool
) -> None:
    """Prompts, answers, and what tools take and give; events never have them.

    The SDK's span of a Responses call names the response, but has no text in any case.
    """
    async with open_world(api=api, include_texts=include_texts) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", f"Find out. {SECRET}", tools=[find_out])
        written = json.dumps(world.trace_lines)
        told = repr([event for event in world.events if not isinstance(event, SdkTraceItem)])

    assert (SECRET in written) == (include_texts and api == "chat")
    assert (ANSWER in written) == include_texts
    assert SECRET not in told
    assert ANSWER not in told


async def test_texts_in_errors_stay_out_too(autojump_clock: MockClock) -> None:
    """A tool's exception and an answer that does not fit often quote what they choked on."""

    class Answer(BaseModel):
        number: int

    async def fail() -> str:
        """Fail."""
        raise ValueError(SECRET)

    misfit = sdk.Agent[object](
        name="a", model=ScriptedModel([[_message(SECRET)]], emit_traces=True), output_type=Answer
    )
    async with open_world() as world:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Try.", tools=[fail])
            with pytest.raises(AgentPipelineError):
                await session.run_agent(misfit, "Try.")
        written = json.dumps(world.trace_lines)

    assert SECRET not in written


def _message(text: str) -> Any:  # noqa: ANN401 - the SDK's own type
    from agents.testing import assistant_message  # noqa: PLC0415

    return assistant_message(text)


class _Unprintable:
    def __repr__(self) -> str:
        msg = "no"
        raise RuntimeError(msg)


@pytest.mark.parametrize(
    "value", [_Unprintable(), {"a": _Unprintable()}, {(1, 2): _Unprintable()}], ids=["value", "nested", "key"]
)
async def test_item_that_can_not_be_encoded_loses_only_itself(autojump_clock: MockClock, value: object) -> None:
    """And says so: a trace with a hole nobody knows of misleads."""
    events: list[Event] = []
    async with open_sdk_tracing(events.append):
        with sdk.trace("t"):
            with sdk.custom_span("good"):
                pass
            with sdk.custom_span("bad", {"value": value}):
                pass

    kinds = [type(event) for event in events]
    assert kinds == [SdkTraceItem, SdkTraceItem, AgentEvent]
    lost = events[2]
    assert isinstance(lost, AgentEvent)
    assert lost.event == "trace_item_lost"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\x00\x1b", b"\xff", {1, 2}, object(), {3: "x"}, "é\u2028", "\ud800"]
)
async def test_every_line_is_json(autojump_clock: MockClock, value: object) -> None:
    """What JSON has no word for is written as close as can be; lines stay one line."""
    events: list[Event] = []
    async with open_sdk_tracing(events.append):
        with sdk.trace("t"), sdk.custom_span("s", {"value": value}):
            pass

    lines = [event.line for event in events if isinstance(event, SdkTraceItem)]
    assert len(lines) == 2
    for line in lines:
        assert "\n" not in line
        assert isinstance(json.loads(line, parse_constant=pytest.fail), dict)


async def test_sdks_own_exporter_never_starts(autojump_clock: MockClock) -> None:
    """It would post to OpenAI with the environment's key, from a thread, wherever base_url points."""
    before = set(threading.enumerate())
    async with open_world() as world, world.bridge.document("1") as session:
        await session.run_agent("writer", "Hi.")
        inside = {thread.name for thread in set(threading.enumerate()) - before}
    with sdk.trace("after the run"), sdk.custom_span("s"):
        pass

    assert not {name for name in inside if "trio" not in name.lower()}
    assert processors.default_processor()._worker_thread is None


async def test_runs_at_once_keep_their_traces_apart(autojump_clock: MockClock) -> None:
    """Two pipelines in one process: each log has its own run, also after the other one has ended."""
    one: list[Event] = []
    other: list[Event] = []
    async with open_sdk_tracing(one.append, run_id="1"):
        async with open_sdk_tracing(other.append, run_id="2"):
            for run_id in ("1", "2"):
                with sdk.trace("t", metadata={"run_id": run_id}), sdk.custom_span(f"span-{run_id}"):
                    pass
        with sdk.trace("t", metadata={"run_id": "1"}), sdk.custom_span("later-1"):
            pass
        with sdk.trace("a stage's own"), sdk.custom_span("anybody's"):
            pass

    def spans(events: list[Event]) -> list[str]:
        lines = [json.loads(event.line) for event in events if isinstance(event, SdkTraceItem)]
        return [line["span_data"]["name"] for line in lines if line["object"] == "trace.span"]

    assert spans(one) == ["span-1", "later-1", "anybody's"]
    assert spans(other) == ["span-2"]


async def test_nothing_is_written_after_the_block(autojump_clock: MockClock) -> None:
    """The sinks are closed by then."""
    events: list[Event] = []
    async with open_sdk_tracing(events.append):
        pass
    with sdk.trace("late"):
        pass

    assert events == []


async def test_cancelled_document_has_its_trace(autojump_clock: MockClock) -> None:
    """What happened up to then is what one looks for."""
    async with open_world(latency=100) as world:
        with trio.move_on_after(1):
            async with world.bridge.document("1") as session:
                await session.run_agent("writer", "Hi.")
        assert [line["object"] for line in world.trace_lines].count("trace") == 1
        assert any(line["object"] == "trace.span" for line in world.trace_lines)


def test_stage_cancelled_while_the_loop_opens_leaves_one_trace() -> None:
    """The next stage goes on with the trace that was begun, and the loop if there is one."""

    async def work(scope: trio.CancelScope) -> None:
        async with open_world() as world:
            async with world.bridge.document("1") as session:
                with scope:
                    await session.run_agent("writer", "Hi.")
                await session.run_agent("writer", "Hi.")

            lines = world.trace_lines
            (trace,) = [line for line in lines if line["object"] == "trace"]
            assert {line["trace_id"] for line in lines if line["object"] == "trace.span"} == {trace["id"]}
            world.assert_idle()

    assert cancel_at_every_step(work) > 5


def test_processor_has_nothing_to_flush() -> None:
    """The SDK calls these at exit; the sinks have owners of their own."""
    events: list[Event] = []
    processor = TraceEvents(events.append)
    processor.force_flush()
    processor.shutdown()

    assert events == []


async def test_role_that_streams_reports_its_usage_in_traces(autojump_clock: MockClock) -> None:
    """Tokens are what one reads traces for."""
    async with open_world(roles=make_roles({"stream": True})) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Hi.")
        spent = world.gate.statistics().usage
        usages = [line["span_data"].get("usage") for line in world.trace_lines if line["object"] == "trace.span"]

    assert any(usage and usage.get("output_tokens") == spent.output_tokens for usage in usages)


class Wanted(BaseModel):
    """What is asked for, and not given."""

    number: int


@pytest.mark.parametrize("include_texts", [False, True])
async def test_environment_alone_lets_no_text_into_errors_and_log(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    include_texts: bool,
) -> None:
    """A variable set for debugging something else, long ago; a run that wants texts says so itself."""
    monkeypatch.setattr(sdk_debug, "DONT_LOG_MODEL_DATA", False)
    monkeypatch.setattr(sdk_debug, "DONT_LOG_TOOL_DATA", False)
    caplog.set_level("DEBUG", "openai.agents")
    model = ScriptedModel(
        [
            [function_call("find_out", f'{{"broken": "{SECRET}', call_id="c")],
            [assistant_message(f'{{"number": "{SECRET}"}}')],
        ]
    )
    agent = sdk.Agent[object](name="a", model=model, output_type=Wanted)

    async with open_world(include_texts=include_texts) as world, world.bridge.document("1") as session:
        with pytest.raises(AgentPipelineError) as caught:
            await session.run_agent(agent, "Hi.", tools=[find_out])

    assert "JSON" in str(caught.value)
    assert (SECRET in str(caught.value)) == include_texts
    assert (SECRET in caplog.text) == include_texts
    assert (sdk_debug.DONT_LOG_MODEL_DATA, sdk_debug.DONT_LOG_TOOL_DATA) == (False, False)


async def test_quiet_run_keeps_texts_out_as_long_as_it_is_open(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's switches are the whole process's, and runs need not end in the order in which they began."""
    monkeypatch.setattr(sdk_debug, "DONT_LOG_MODEL_DATA", False)
    seen: list[bool] = []

    async with AsyncExitStack() as first:
        await first.enter_async_context(open_sdk_tracing(lambda _: None))
        async with open_sdk_tracing(lambda _: None):
            await first.aclose()
            seen.append(sdk_debug.DONT_LOG_MODEL_DATA)
        seen.append(sdk_debug.DONT_LOG_MODEL_DATA)

    assert seen == [True, False]
