"""One id joins everything: each attempt names the span that asked, and that span is in its document's trace."""

from typing import Any

import pytest
import trio
from tests.bridge.world import World, make_roles, open_world
from trio.testing import MockClock

from agent_pipeline.config.role_models import Api
from agent_pipeline.control.scope import CallScope, call_scope
from agent_pipeline.gateway import ConnectionPool, open_pool
from agent_pipeline.simulator import FaultPlan, Simulator, serve

DOCUMENTS = 6


def trace_id(document_id: str) -> str:
    """Return a document's trace id, in the form the SDK wants."""
    return f"trace_{int(document_id):032x}"


async def find_out() -> str:
    """Find something out."""
    await trio.sleep(0.001)
    return "found"


async def work(world: World, document_id: str) -> None:
    """Ask once plainly, run an agent with a tool, and two agents at once."""
    scope = CallScope(document_id, "write", 1, trace_id=trace_id(document_id))
    with call_scope(scope):
        async with world.bridge.document(document_id, trace_id=trace_id(document_id)) as session:
            await world.bridge.find_role("writer").ask("Plainly.")
            await session.run_agent("writer", "Find out.", tools=[find_out])
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(session.run_agent, "writer", "Hi.")


async def work_on_all(world: World) -> None:
    """Work on all documents at once."""
    async with trio.open_nursery() as nursery:
        for number in range(DOCUMENTS):
            nursery.start_soon(work, world, str(number))


def check_ids(world: World) -> None:
    """Attempts and spans of model calls belong together, document by document."""
    lines = world.trace_lines
    traces = {line["id"]: line["group_id"] for line in lines if line["object"] == "trace"}
    spans: dict[str, Any] = {line["id"]: line for line in lines if line["object"] == "trace.span"}
    for number in range(DOCUMENTS):
        document_id, trace = str(number), trace_id(str(number))
        assert traces[trace] == f"doc-{document_id}"
        ours = [record for record in world.records if record.document_id == document_id]
        assert {record.trace_id for record in ours} == {trace}
        calls: dict[str, set[str | None]] = {}
        for record in ours:
            calls.setdefault(record.call_id, set()).add(record.span_id)
        assert all(len(asked_by) == 1 for asked_by in calls.values())
        asking = [next(iter(asked_by)) for asked_by in calls.values()]
        assert asking.count(None) == 1  # the plain call
        agents = [span for span in asking if span is not None]
        assert len(set(agents)) == len(agents) == 4
        for span in agents:
            assert spans[span]["trace_id"] == trace
            assert spans[span]["span_data"]["type"] in {"response", "generation"}
    assert sorted((one.attempt_id, str(one.span_id)) for one in world.dispatches) == sorted(
        (one.attempt_id, str(one.span_id)) for one in world.records
    )


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("stream", [False, True])
async def test_each_attempt_names_its_span_in_virtual_time(
    autojump_clock: MockClock, api: Api, *, stream: bool
) -> None:
    """Documents at once, with answers that have to be asked for again."""
    faults = [{"kind": "status", "status": 503, "rate": 0.3}]
    roles = make_roles({"stream": stream})
    async with open_world(api=api, roles=roles, faults=faults, latency=1, max_attempts=20) as world:
        await work_on_all(world)

    check_ids(world)
    assert len(world.records) > 5 * DOCUMENTS


@pytest.mark.parametrize("stream", [False, True])
async def test_each_attempt_names_its_span_over_sockets(*, stream: bool) -> None:
    """The same with the pool and connections of a real run."""
    resets = [3, 7, 12, 18, 25, 33, 42, 52]  # ever further apart: no request meets so many that it counts as poisoned
    simulator = Simulator(faults=FaultPlan.from_mapping({"faults": [{"kind": "reset_before_body", "script": resets}]}))
    async with trio.open_nursery() as outer:
        port = await outer.start(serve, simulator)
        url, roles = f"http://127.0.0.1:{port}/v1", make_roles({"stream": stream})
        async with (
            open_pool(ConnectionPool) as pool,
            open_world(base_url=url, pool=pool, roles=roles, max_attempts=20, initial_delay=0) as world,
        ):
            await work_on_all(world)
        outer.cancel_scope.cancel()

    check_ids(world)


async def test_without_tracing_there_is_no_span(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's stand-in for a span is in no dump, so nothing may point to it."""
    async with open_world() as world:
        monkeypatch.setattr(world.bridge.run_config, "tracing_disabled", True)
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Hi.")

    assert [record.span_id for record in world.records] == [None]


async def test_trace_without_an_id_gets_one_of_the_sdk(autojump_clock: MockClock) -> None:
    """A host program may leave it out."""
    async with open_world() as world:
        for document_id in ("1", "2"):
            async with world.bridge.document(document_id) as session:
                await session.run_agent("writer", "Hi.")

    traces = [line["id"] for line in world.trace_lines if line["object"] == "trace"]
    assert len(set(traces)) == 2
