"""What a hub is made of, and what it refuses before anything is sent."""

from collections.abc import Generator
from typing import Any

import pytest
from tests.llmhub.test_hub import ASKED, config_at

from agent_pipeline.llmhub import (
    CallContext,
    ConfigError,
    EnvVarMissingError,
    LLMHub,
    LLMHubRuntimeError,
    parse_runtime_config,
)
from agent_pipeline.testing import SimulatorThread


@pytest.fixture
def simulator() -> Generator[SimulatorThread]:
    with SimulatorThread() as running:
        yield running


def test_exactly_one_source_is_wanted(simulator: SimulatorThread) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        LLMHub()
    with pytest.raises(ValueError, match="exactly one"):
        LLMHub(config_path="llmhub.yaml", config_obj=config_at(simulator.base_url))
    with pytest.raises(ConfigError):
        LLMHub(config_path="there-is-no-such.yaml")


@pytest.mark.parametrize("value", [None, "", "  "])
def test_strict_env_wants_every_key_at_once_and_an_empty_one_is_none(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_runtime_config(
        {
            "project": "p",
            "env": "e",
            "providers": {"openai": {"env_key": "TESTS_KEY"}},
            "roles": {"r": {"provider": "openai", "model": "m"}},
        }
    )
    monkeypatch.delenv("TESTS_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TESTS_KEY", value)

    with pytest.raises(EnvVarMissingError, match="TESTS_KEY"):
        LLMHub(config_obj=config, strict_env=True)
    hub = LLMHub(config_obj=config)
    with pytest.raises(EnvVarMissingError, match="TESTS_KEY"):
        hub.completion("r", ASKED)
    hub.close()


def test_a_role_is_asked_only_for_what_it_is_for(simulator: SimulatorThread) -> None:
    hub = LLMHub(config_obj=config_at(simulator.base_url, painter={"provider": "lake", "model": "i", "mode": "image"}))

    with pytest.raises(LLMHubRuntimeError, match="ask it for an embedding"):
        hub.completion("llm.embedding", ASKED)
    with pytest.raises(LLMHubRuntimeError, match="ask it for a completion"):
        hub.embedding("llm.inference", "one")
    with pytest.raises(LLMHubRuntimeError, match="no such calls"):
        hub.stream_completion("painter", ASKED)
    hub.close()
    assert simulator.statistics.requests == 0


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"requests_in_flight": 0}, "requests_in_flight"),
        ({"requests_in_fligth": 3}, "requests_in_fligth"),
        ({"budget": {"tokens": 100}}, "output cap"),
    ],
)
def test_limits_are_checked_when_the_hub_is_made(
    limits: dict[str, Any], words: str, simulator: SimulatorThread
) -> None:
    with pytest.raises(ConfigError, match=words):
        LLMHub(config_obj=config_at(simulator.base_url), limits=limits)


def test_a_hook_that_would_have_to_be_awaited_is_refused(simulator: SimulatorThread) -> None:
    async def hook(_told: object) -> None:
        """Never called."""

    with pytest.raises(TypeError, match="plain function"):
        LLMHub(config_obj=config_at(simulator.base_url), on_after_call=hook)

    class Hook:
        async def __call__(self, _told: object) -> None:
            """Never called."""

    with pytest.raises(TypeError, match="plain function"):
        LLMHub(config_obj=config_at(simulator.base_url), on_before_call=Hook())


def test_a_hook_that_changes_what_it_is_told_changes_no_call(simulator: SimulatorThread) -> None:
    def meddle(context: CallContext) -> None:
        context.params["max_tokens"] = 1  # type: ignore[index]  # ty: ignore[invalid-assignment]

    with LLMHub(config_obj=config_at(simulator.base_url), on_before_call=meddle) as hub:
        assert hub.completion("llm.inference", ASKED).choices[0].finish_reason == "stop"
