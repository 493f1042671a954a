"""OpenAI-compatible providers of any-llm against the simulator, by real sockets."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
from any_llm.types.completion import ChatCompletion, ChatCompletionChunk, CreateEmbeddingResponse
from tests.gateway.foreign_world import KEY, KEY_VARIABLE, ForeignWorld, open_foreign

from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import ProviderError, StreamBrokenError
from agent_pipeline.simulator import FaultPlan, Simulator, serve

PROVIDERS = ["openrouter", "llamacpp", "llamafile", "vllm"]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@asynccontextmanager
async def _simulated(
    provider: str = "openrouter", *faults: Mapping[str, object], max_attempts: int = 1, attempt_timeout: float = 10.0
) -> AsyncGenerator[tuple[ForeignWorld, Simulator]]:
    simulator = Simulator(faults=FaultPlan.from_mapping({"faults": list(faults)}))
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, simulator)
        async with open_foreign(
            provider, f"http://127.0.0.1:{port}/v1", max_attempts=max_attempts, attempt_timeout=attempt_timeout
        ) as world:
            yield world, simulator
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_completion_is_charged_as_the_provider_counted(provider: str) -> None:
    """One connection and one client for all of them."""
    async with _simulated(provider) as (world, simulator):
        for _ in range(5):
            said = await world.complete(max_tokens=64, temperature=0.0)
            assert isinstance(said, ChatCompletion)
            assert said.choices[0].message.content

        seen = simulator.statistics.models["m"]
        assert (seen.requests, simulator.statistics.connections_opened, len(world.made)) == (5, 1, 1)
    assert sum(record.charged_tokens for record in world.records) == seen.input_tokens + seen.output_tokens
    assert all(record.usage is not None for record in world.records)


async def test_vectors_have_as_many_numbers_as_the_role_says() -> None:
    """`embedding_dim` is what the provider calls `dimensions`."""
    async with _simulated() as (world, _):
        said = await world.embed(["one", "two", "three"], embedding_dim=8)

    assert isinstance(said, CreateEmbeddingResponse)
    assert [len(one.embedding) for one in said.data] == [8, 8, 8]
    (record,) = world.records
    assert record.usage == Usage(input_tokens=said.usage.prompt_tokens)
    assert record.path == "any-llm/embedding"


async def test_stream_reports_its_usage_unasked() -> None:
    """OpenAI's API wants to be asked for it, and a stream without it would be charged in full."""
    chunks: list[object] = []
    async with _simulated() as (world, simulator):
        await world.stream(chunks.append, max_tokens=64)

        seen = simulator.statistics.models["m"]
    words = [
        choice.delta.content for chunk in chunks if isinstance(chunk, ChatCompletionChunk) for choice in chunk.choices
    ]
    assert "".join(word or "" for word in words)
    assert world.records[0].charged_tokens == seen.input_tokens + seen.output_tokens


async def test_truncated_stream_is_broken() -> None:
    """The client below takes the end of the connection for the end of the answer."""
    chunks: list[object] = []
    async with _simulated("openrouter", {"kind": "truncate_stream", "rate": 1.0}, max_attempts=3) as (world, simulator):
        with pytest.raises(StreamBrokenError):
            await world.stream(chunks.append, max_tokens=64)

        assert simulator.statistics.models["m"].requests == 1
    assert chunks


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "status", "status": 429, "retry_after": 0.05}, "rate_limited"),
        ({"kind": "status", "status": 500}, "server_error"),
        ({"kind": "status", "status": 503}, "server_error"),
        ({"kind": "reset_before_body"}, "connection_lost"),
        ({"kind": "reset_mid_body"}, "connection_lost"),
        ({"kind": "malformed_json"}, "bad_answer"),
        ({"kind": "html_200"}, "bad_answer"),
        ({"kind": "empty_object"}, "bad_answer"),
        ({"kind": "hang"}, "attempt_timeout"),
        ({"kind": "hang_mid_body"}, "attempt_timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value['kind']} {value.get('status', '')}",
)
async def test_fault_is_seen_once_and_cured_by_the_gate(fault: dict[str, object], code: str) -> None:
    """Two attempts are two requests: the client below tries nothing again."""
    async with _simulated("openrouter", {**fault, "script": [1]}, max_attempts=2, attempt_timeout=0.5) as (
        world,
        simulator,
    ):
        said = await world.complete(max_tokens=64)

        assert simulator.statistics.models["m"].requests == 2
    assert isinstance(said, ChatCompletion)
    assert world.errors == [code, None]


async def test_insufficient_quota_is_no_rate_limit() -> None:
    """OpenAI says 429 for both."""
    fault = {"kind": "status", "status": 429, "code": "insufficient_quota", "rate": 1.0}
    async with _simulated("openrouter", fault, max_attempts=3) as (world, simulator):
        with pytest.raises(ProviderError):
            await world.complete(max_tokens=64)

        assert simulator.statistics.models["m"].requests == 1
    assert world.errors == ["quota_exhausted"]
