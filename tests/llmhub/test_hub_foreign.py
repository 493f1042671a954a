"""Roles of a provider that only any-llm knows: the same hub, the same flavours."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from any_llm.types.completion import ChatCompletion, ChatCompletionChunk, CreateEmbeddingResponse
from tests.llmhub.flavours import FLAVOURS, Asker

from agent_pipeline import CredentialsRejectedError, StreamBrokenError
from agent_pipeline.llmhub import CallResult, ConfigError, LLMHub, parse_runtime_config
from agent_pipeline.testing import SimulatorThread

ASKED = [{"role": "user", "content": "The lake is deep. Say that again."}]
LIMITS = {"retry": {"initial_delay": 0.01, "max_delay": 0.02}}
CONFIG = {
    "project": "tests",
    "env": "test",
    "providers": {"openrouter": {"env_key": "LAKE_KEY"}, "nowhere": {}},
    "roles": {
        "writer": {"provider": "openrouter", "model": "m-1", "params": {"max_tokens": 500}},
        "seeker": {"provider": "openrouter", "model": "e-1", "mode": "embedding", "params": {"embedding_dim": 8}},
        "lost": {"provider": "nowhere", "model": "m-1"},
    },
}


def _hub(after: list[CallResult] | None = None) -> LLMHub:
    take = None if after is None else after.append
    return LLMHub(config_obj=parse_runtime_config(CONFIG), limits=LIMITS, on_after_call=take)


@pytest.fixture(params=FLAVOURS)
def asker(request: pytest.FixtureRequest) -> Asker:
    return Asker(request.param)


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorThread]:
    """The simulator in the place of the provider, where any-llm's own variable says it is."""
    faults: list[dict[str, object]] = [
        {"kind": "status", "status": 503, "match": {"contains": "busy"}, "script": [1]},
        {"kind": "status", "status": 401, "match": {"contains": "who"}},
        {"kind": "truncate_stream", "match": {"contains": "half"}},
    ]
    with SimulatorThread(
        faults=[{"rate": 1.0, **fault} if "script" not in fault else fault for fault in faults]
    ) as one:
        monkeypatch.setenv("OPENROUTER_API_BASE", one.base_url)
        monkeypatch.setenv("LAKE_KEY", "sk-lake-0123456789abcdef")
        yield one


def test_hub_asks_it_in_every_flavour(asker: Asker, simulator: SimulatorThread) -> None:
    """Whole answers, vectors and streams are any-llm's own objects."""
    with closing(_hub()) as hub:
        said = asker.completion(hub, "writer", ASKED)
    with closing(_hub()) as hub:
        vectors = asker.embedding(hub, "seeker", ["a", "b"])
    with closing(_hub()) as hub:
        chunks = asker.stream(hub, "writer", ASKED)

    assert isinstance(said, ChatCompletion)
    assert isinstance(vectors, CreateEmbeddingResponse)
    assert [len(one.embedding) for one in vectors.data] == [8, 8]
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert chunks[-1].usage is not None
    assert simulator.statistics.requests == 3


def test_faults_and_hooks_are_as_elsewhere(asker: Asker, simulator: SimulatorThread) -> None:
    """The hub can't be told apart by who is behind it."""
    after: list[CallResult] = []

    with closing(_hub(after)) as hub:
        asker.completion(hub, "writer", [{"role": "user", "content": "busy"}])
    with closing(_hub(after)) as hub, pytest.raises(CredentialsRejectedError) as caught:
        asker.completion(hub, "writer", [{"role": "user", "content": "who"}])
    with closing(_hub(after)) as hub, pytest.raises(StreamBrokenError):
        asker.stream(hub, "writer", [{"role": "user", "content": "one half of it"}])

    assert [one.success for one in after] == [True, False, False]
    assert after[1].error is caught.value
    assert simulator.statistics.requests == 4


def test_provider_nobody_knows_is_a_mistake_of_the_config(simulator: SimulatorThread) -> None:
    """It has no address, and any-llm has none for it."""
    with closing(_hub()) as hub, pytest.raises(ConfigError, match="nowhere"):
        hub.completion("lost", ASKED)


def test_hub_that_was_closed_leaves_no_thread(simulator: SimulatorThread) -> None:
    """Neither Trio's nor the clients'."""
    before = set(threading.enumerate())
    with closing(_hub()) as hub:
        hub.completion("writer", ASKED)
        assert {one.name for one in set(threading.enumerate()) - before} >= {"agent-pipeline", "agent-pipeline-asyncio"}

    assert {one for one in threading.enumerate() if one.name.startswith("agent-pipeline")} <= before


LEFT_OPEN = f"""
from agent_pipeline.llmhub import LLMHub, parse_runtime_config
hub = LLMHub(config_obj=parse_runtime_config({CONFIG!r}))
print(hub.completion("writer", {ASKED!r}).choices[0].finish_reason)
"""


def test_program_that_leaves_its_hub_open_ends_in_silence(simulator: SimulatorThread) -> None:
    """Its threads end with it, in whichever order."""
    program = [sys.executable, "-c", LEFT_OPEN]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "stop\n", "")
