"""What has to be there before any-llm's providers are asked, what is refused then, and what is left at the end."""

import sys
from functools import partial

import pytest
from tests.gateway.anthropic_bodies import message
from tests.gateway.foreign_world import KEY, KEY_VARIABLE, open_foreign
from tests.gateway.wire_server import WireServer, answer, wait_until, wire_server

from agent_pipeline.errors import ConfigError, EnvVarMissingError, RequestRejectedError

OPEN = partial(open_foreign, "anthropic")
WELL = answer(message("hello"))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def _at(server: WireServer) -> str:
    return server.url.removesuffix("/v1")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"no_such_param": 1}, "no_such_param"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"prompt_cache_key": "k"}, "prompt_cache_key"),
        ({"temperature": 1.0, "top_logprobs": "many"}, "top_logprobs"),
        ({"timeout": 3}, "timeout"),
    ],
)
async def test_param_that_a_provider_does_not_have_is_refused_before_anything_leaves(
    params: dict[str, object], words: str
) -> None:
    """Once, and for nothing."""
    async with wire_server(WELL) as server, OPEN(_at(server), max_attempts=3, budget_tokens=10_000) as world:
        with pytest.raises(RequestRejectedError, match=words):
            await world.complete(max_tokens=64, **params)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]

        assert server.seen == []
        assert len(world.records) <= 1
        assert world.budget.tokens.statistics().spent == 0


async def test_embeddings_are_refused_where_there_are_none() -> None:
    """Anthropic has none."""
    async with wire_server(WELL) as server, OPEN(_at(server)) as world:
        with pytest.raises(RequestRejectedError, match=r"does not support embeddings|doesn't support embedding"):
            await world.embed("a text")

        assert server.seen == []


async def test_no_key_of_the_config_is_in_a_request() -> None:
    """A document, or a tool, may have come upon one."""
    async with wire_server(WELL) as server, OPEN(_at(server)) as world:
        await world.complete([{"role": "user", "content": f"What is {KEY} for?"}], max_tokens=64)

    assert KEY.encode() not in server.seen[0].body
    assert b"[redacted]" in server.seen[0].body


async def test_missing_key_is_named_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of the config, not the one any-llm would look at."""
    monkeypatch.delenv(KEY_VARIABLE)
    async with wire_server(WELL) as server, OPEN(_at(server)) as world:
        with pytest.raises(EnvVarMissingError, match=KEY_VARIABLE):
            await world.complete(max_tokens=64)

        assert (server.seen, world.made) == ([], [])


async def test_provider_whose_usual_key_is_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """A config may leave the variable to any-llm."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    async with wire_server(WELL) as server, OPEN(_at(server), env_key=None) as world:
        with pytest.raises(EnvVarMissingError, match="ANTHROPIC_API_KEY"):
            await world.complete(max_tokens=64)

        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-another-0123456789")
        await world.complete(max_tokens=64)  # a client that could not be made is not remembered
        assert server.seen[0].header("x-api-key") == "sk-another-0123456789"


async def test_library_of_a_provider_that_is_missing_is_named() -> None:
    """any-llm brings few of them along."""
    async with open_foreign("mistral", "http://127.0.0.1:1") as world:
        with pytest.raises(ConfigError, match=r"pip install 'any-llm-sdk\[mistral\]'"):
            await world.complete()


async def test_only_providers_without_an_address_are_any_llms() -> None:
    """One that has an address is asked there, by ourselves."""
    async with OPEN("http://127.0.0.1:1") as world:
        assert world.foreign.serves("anthropic")
        assert not world.foreign.serves("mistral"), "not in the config"
    async with open_foreign("openai", "http://127.0.0.1:1") as world:
        assert not world.foreign.serves("openai"), "its address is known"
    async with open_foreign("anthropicc", "http://127.0.0.1:1") as world:
        assert not world.foreign.serves("anthropicc"), "any-llm does not know it either"


async def test_closed_providers_keep_no_connection_and_take_no_call() -> None:
    """Their loop is about to end."""
    async with wire_server(WELL) as server, OPEN(_at(server)) as world:
        await world.complete(max_tokens=64)
        assert server.open_connections == 1
        await world.foreign.aclose()
        await wait_until(lambda: server.open_connections == 0)

        with pytest.raises(RuntimeError, match="closed"):
            await world.complete(max_tokens=64)


async def test_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the package needs it until such a provider is asked."""
    async with OPEN("http://127.0.0.1:1") as world:
        monkeypatch.setitem(sys.modules, "any_llm", None)

        with pytest.raises(ConfigError, match=r": install agent-pipeline\[providers\] from where"):
            world.foreign.serves("anthropic")
        with pytest.raises(ConfigError, match=r": install agent-pipeline\[providers\] from where"):
            await world.complete()
