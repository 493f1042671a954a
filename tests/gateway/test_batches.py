"""A provider's files and batches over sockets: what leaves, and what of all that may come back is taken."""

import gzip
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.gateway.wire_server import Play, WireServer, answer, drip, http, say, wire_server
from tests.gateway.world import KEY, World, open_world

from agent_pipeline.control.budget import BudgetStatistics
from agent_pipeline.errors import (
    AgentPipelineError,
    AnswerTooLargeError,
    BatchUncertainError,
    ConnectionLostError,
    CredentialsRejectedError,
    ModelProtocolError,
    RequestRejectedError,
)
from agent_pipeline.gateway.batches import BatchEndpoint

FILE = json.dumps({"id": "file_1", "object": "file", "filename": "in.jsonl", "bytes": 3, "purpose": "batch"}).encode()
BATCH = json.dumps({"id": "batch_1", "object": "batch", "status": "validating", "metadata": {"a": "b"}}).encode()
LINES = b'{"custom_id": "a"}\n{"custom_id": "b"}\n'


@asynccontextmanager
async def playing(*plays: Play, max_attempts: int = 1) -> AsyncGenerator[tuple[WireServer, World, BatchEndpoint]]:
    """Open the endpoint of a provider that plays this."""
    async with wire_server(*plays) as server, open_world(server.url, max_attempts=max_attempts) as world:
        yield server, world, world.gateway.batches("writer")


async def test_a_file_goes_as_a_form_with_its_length(tmp_path: Path) -> None:
    """Larger than one piece; the key goes along, and nothing is reserved."""
    path = tmp_path / "in.jsonl"
    content = b'{"custom_id": "a"}\n' * 40_000
    path.write_bytes(content)

    async with playing(answer(FILE)) as (server, world, endpoint):
        file = await endpoint.upload(path, "in.jsonl")

    (seen,) = server.seen
    assert file.id == "file_1"
    assert content in seen.body
    assert seen.header("authorization") == f"Bearer {KEY}"
    assert int(seen.header("content-length") or 0) == len(seen.body)
    assert seen.header("transfer-encoding") is None
    assert [(one.reserved_tokens, one.cost_micro_usd, one.model) for one in world.records] == [(0, 0, "batches")]
    assert world.budget.tokens.statistics() == BudgetStatistics(None, 0, 0, 0)


async def test_a_file_of_results_is_no_chat_answer(tmp_path: Path) -> None:
    """Lines of JSON, taken as they come, over what was there."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"x" * 1000)

    async with playing(answer(LINES, content_type="application/octet-stream")) as (server, _, endpoint):
        size_bytes = await endpoint.download("file/../1", path)

    assert (path.read_bytes(), size_bytes) == (LINES, len(LINES))
    assert server.seen[0].target == "/v1/files/file%2F..%2F1/content"


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (answer(b"<html>sign in</html>", content_type="text/html; charset=utf-8"), ModelProtocolError),
        (
            answer(gzip.compress(LINES), content_type="application/jsonl", headers=["content-encoding: gzip"]),
            ModelProtocolError,
        ),
        (say(http(LINES, content_type="application/jsonl")[:-5], hang_up=True), ConnectionLostError),
        (answer(b'{"error": {"message": "No such File object"}}', status=404), RequestRejectedError),
        (answer(f'{{"error": {{"message": "bad key {KEY}"}}}}'.encode(), status=401), CredentialsRejectedError),
    ],
)
async def test_what_is_no_file_of_results_is_refused(
    tmp_path: Path, play: Play, error: type[AgentPipelineError]
) -> None:
    """By the error any answer of the kind gets; the key is in none."""
    async with playing(play) as (_, __, endpoint):
        with pytest.raises(error) as caught:
            await endpoint.download("file_1", tmp_path / "out.jsonl")

    assert KEY not in str(caught.value)


async def test_a_file_of_results_has_an_end(tmp_path: Path) -> None:
    """The rest is not read."""
    async with playing(answer(b"x" * 1_000_000, content_type="application/jsonl")) as (_, __, endpoint):
        endpoint.most_file_bytes = 100_000
        with pytest.raises(AnswerTooLargeError):
            await endpoint.download("file_1", tmp_path / "out.jsonl")

    assert (tmp_path / "out.jsonl").stat().st_size <= 100_000


async def test_a_download_that_breaks_is_begun_again(tmp_path: Path) -> None:
    """Nothing of the first part is left."""
    broken = say(http(LINES, content_type="application/jsonl")[:-5], hang_up=True)
    whole = answer(LINES[20:], content_type="application/jsonl")
    async with playing(broken, whole, max_attempts=2) as (_, world, endpoint):
        await endpoint.download("file_1", tmp_path / "out.jsonl")

    assert (tmp_path / "out.jsonl").read_bytes() == LINES[20:]
    assert world.errors == ["connection_lost", None]


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (answer(b"{}"), BatchUncertainError),
        (answer(b"<html>", content_type="text/html"), BatchUncertainError),
        (answer(b'{"error": {}}', status=503), BatchUncertainError),
        (answer(b'{"error": {"message": "no such file"}}', status=400), RequestRejectedError),
    ],
)
async def test_a_batch_is_asked_for_once(play: Play, error: type[AgentPipelineError]) -> None:
    """Whatever comes: five attempts would make five batches."""
    async with playing(play, answer(BATCH), max_attempts=5) as (server, _, endpoint):
        with pytest.raises(error):
            await endpoint.create("file_1", {"a": "b"})

    assert len(server.seen) == 1
    assert json.loads(server.seen[0].body) == {
        "input_file_id": "file_1",
        "endpoint": "/v1/responses",
        "completion_window": "24h",
        "metadata": {"a": "b"},
    }


async def test_a_batch_that_is_over_can_not_be_cancelled_and_need_not() -> None:
    """A conflict is no failure of the provider, to be tried again."""
    async with playing(answer(b'{"error": {}}', status=409), max_attempts=5) as (server, world, endpoint):
        await endpoint.cancel("batch_1")

    assert len(server.seen) == 1
    assert world.errors == [None]


async def test_a_transfer_has_a_timeout_of_its_own(tmp_path: Path) -> None:
    """Two hundred megabytes take longer than an answer may."""
    slow = drip(http(LINES, content_type="application/jsonl"), 0.002)
    async with playing(slow, slow) as (_, world, endpoint):
        world.gateway.gate.set_attempt_timeout(0.1)
        await endpoint.download("file_1", tmp_path / "out.jsonl")
        endpoint.transfer_timeout = 0.05
        with trio.fail_after(5), pytest.raises(AgentPipelineError):
            await endpoint.download("file_1", tmp_path / "out.jsonl")


async def test_an_upload_that_is_cut_off_leaves_nothing_open(tmp_path: Path) -> None:
    """Nobody reads the other end; socket, file and place in the pool are given back, or `open_world` complains."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"x" * 20_000_000)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with open_world(f"http://127.0.0.1:{port}/v1") as world:
        with trio.move_on_after(0.2) as scope:
            await world.gateway.batches("writer").upload(path, "in.jsonl")
        assert scope.cancelled_caught
    for listener in listeners:
        await listener.aclose()

    assert [(one.outcome, one.sent, one.charged_tokens) for one in world.records] == [("cancelled", True, 0)]
