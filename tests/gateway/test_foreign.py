"""Providers that only any-llm knows: one gate, one client each, nothing tried again below."""

from collections.abc import AsyncGenerator

import pytest
import trio
from any_llm.types.completion import ChatCompletion, CreateEmbeddingResponse
from tests.gateway.anthropic_bodies import message, refusal
from tests.gateway.foreign_world import KEY, KEY_VARIABLE, open_foreign
from tests.gateway.wire_server import answer, wire_server

from agent_pipeline.domain.usage import Usage
from agent_pipeline.simulator import Simulator, serve


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


async def test_anthropic_answers_through_any_llm() -> None:
    async with (
        wire_server(answer(message("hello"))) as server,
        open_foreign("anthropic", server.url.removesuffix("/v1")) as world,
    ):
        said = await world.complete(max_tokens=64)

    assert isinstance(said, ChatCompletion)
    assert said.choices[0].message.content == "hello"
    (record,) = world.records
    assert record.usage == Usage(input_tokens=15, output_tokens=5, cached_input_tokens=4)
    print(server.seen[0])
