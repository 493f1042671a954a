"""What a run opens it closes, and its manifest says so; a leak is named."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from tests.compose import leaking
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.simulator import Simulator, serve

LEAKING: tuple[JsonValue, ...] = (*IN_THIS_PROCESS, "tests.compose.leaking:leak")


@pytest.fixture(autouse=True)
def closed_at_last() -> Iterator[None]:
    """Close what the leaking stage left."""
    yield
    leaking.clean_up()


async def run(
    project: Project, options: RunOptions | None = None
) -> tuple[RunResult, dict[str, dict[str, int] | None]]:
    """Run offline with real sockets and threads; return the result and the manifest's pairs."""
    result = await Pipeline.from_config(project.config, options=options or RunOptions(offline=True)).run()
    manifest = json.loads((Path(result.run_dir) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["result"]["left_open"] == list(result.left_open)
    return result, manifest["resources"]


async def test_all_pairs_of_a_run_are_equal(tmp_path: Path) -> None:
    """The proof has to see what a run opens at all: none of the kinds is empty."""
    result, pairs = await run(make_project(tmp_path, prose(5), stages=IN_THIS_PROCESS))

    assert result.left_open == ()
    assert pairs["loops"] == {"opened": 5, "closed": 5}
    assert list(pairs) == ["loops", "tasks", "connections", "threads", "handlers", "file_descriptors"]
    for kind, pair in pairs.items():
        assert pair is not None
        assert pair["opened"] == pair["closed"] > 0, kind
    assert pairs["threads"] == {"opened": 2, "closed": 2}  # of the ledger and of the sinks


@pytest.mark.parametrize("strict", [False, True])
async def test_a_leak_is_named_and_fails_a_strict_run(tmp_path: Path, *, strict: bool) -> None:
    """Without the flag it is told as well: a long-lived program wants to know."""
    project = make_project(tmp_path, prose(1), stages=LEAKING)

    result, pairs = await run(project, RunOptions(offline=True, strict_shutdown=strict))

    assert sorted(result.left_open) == [
        f"file descriptor {leaking.files[0]} (/dev/null)",
        "handler NullHandler of the logger 'tests.leaking'",
        "thread 'forgotten'",
    ]
    assert (result.exit_code, result.reason) == ((1, "shutdown_leak") if strict else (0, None))
    assert result.outcome == "completed"
    for kind in ("threads", "handlers", "file_descriptors"):
        pair = pairs[kind]
        assert pair is not None
        assert pair["opened"] == pair["closed"] + 1, kind


async def test_a_leak_hides_no_worse_end(tmp_path: Path) -> None:
    """Documents that failed are the news; their exit code stays."""
    project = make_project(tmp_path, [*prose(1), {"id": "bad", "text": ["no", "text"]}], stages=LEAKING)

    result, _ = await run(project, RunOptions(offline=True, strict_shutdown=True))

    assert (result.exit_code, result.reason) == (1, "documents_failed")
    assert len(result.left_open) == 3


async def test_a_connection_that_stays_open_is_counted(tmp_path: Path) -> None:
    """A pool that forgets its connections is seen twice: as a connection, and as a descriptor of the process."""
    careless: list[ConnectionPool] = []

    class CarelessPool(ConnectionPool):
        async def aclose(self) -> None:
            careless.append(self)

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, Simulator())
        address = f"http://127.0.0.1:{port}/v1"
        project = make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS, base_url=address)

        result, pairs = await run(project, RunOptions(make_pool=CarelessPool, strict_shutdown=True))

        for pool in careless:
            await ConnectionPool.aclose(pool)
        nursery.cancel_scope.cancel()
    assert pairs["connections"] == {"opened": 1, "closed": 0}
    assert result.left_open[0] == "1 of 1 connections"
    # Our end of it, and the simulator's, which lives in this process too.
    assert [line.partition("(")[2][:6] for line in result.left_open[1:]] == ["socket", "socket"]
    assert (result.exit_code, result.reason) == (1, "shutdown_leak")


async def test_runs_that_overlap_say_nothing_of_the_process(tmp_path: Path) -> None:
    """Each would blame the other: threads, handlers and files belong to the process, not to a run."""
    projects = [make_project(tmp_path / name, prose(2), stages=IN_THIS_PROCESS) for name in ("one", "two")]
    seen: list[tuple[RunResult, dict[str, dict[str, int] | None]]] = []

    async def one(project: Project) -> None:
        seen.append(await run(project, RunOptions(offline=True, strict_shutdown=True)))

    async with trio.open_nursery() as nursery:
        for project in projects:
            nursery.start_soon(one, project)

    assert [(result.exit_code, result.left_open) for result, _ in seen] == [(0, ()), (0, ())]
    for _, pairs in seen:
        assert pairs["loops"] == {"opened": 2, "closed": 2}
        assert {kind for kind, pair in pairs.items() if pair is None} == {"threads", "handlers", "file_descriptors"}
