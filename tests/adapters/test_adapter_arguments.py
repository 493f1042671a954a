"""What adapters do not take is refused, by every way of calling; nothing is sent."""

from typing import Any

import pytest
from tests.adapters.flavours import FLAVOURS, Flavour, ask
from tests.adapters.own import NativeAsync, SyncOnly
from tests.adapters.services import simulated

from agent_pipeline.adapters import BudgetTracker, LLMAdapter, LLMAnswer, LLMConfigError, OpenAIAdapter, RunConfig
from agent_pipeline.errors import EnvVarMissingError


class Careless(LLMAdapter):
    """Returns a text."""

    def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:  # noqa: ARG002
        """Answer, after a fashion."""
        return prompt  # type: ignore[return-value]  # ty: ignore[invalid-explicit-return]


class CarelessAsync(Careless):
    """Likewise, in its own way of waiting."""

    async def async_execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:  # noqa: ARG002
        """Answer, after a fashion."""
        return prompt  # type: ignore[return-value]  # ty: ignore[invalid-explicit-return]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_tokens": "100"}, "max_tokens is a positive whole number, not '100'"),
        ({"timeout": "30"}, "timeout is a number of seconds, not '30'"),
        ({"timeout": True}, "timeout is a number of seconds, not True"),
        ({"temperature": "0"}, "temperature is a number, not '0'"),
        ({"model": 4}, "model is a text, not 4"),
        ({"system": b"be brief"}, "system is a text"),
        ({"params": [("top_p", 1)]}, "params is a mapping"),
        ({"budget_tracker": 1000}, "budget_tracker is a BudgetTracker, .*not 1000"),
    ],
)
def test_a_config_of_other_types_is_refused_when_it_is_made(given: dict[str, Any], words: str) -> None:
    with pytest.raises(LLMConfigError, match=words):
        RunConfig(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": 4}, "model"),
        ({"system": 3}, "system is a text, not 3"),
        ({"params": "top_p"}, "params is a mapping"),
        ({"limits": 3}, "limits is a mapping"),
        ({"api_key": 5}, "api_key: a text is wanted"),
    ],
)
def test_settings_of_other_types_are_refused_when_the_adapter_is_made(given: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"model": "m", "api_key": "k", **given}

    with pytest.raises(LLMConfigError, match=words):
        OpenAIAdapter(**settings)


@pytest.mark.parametrize("total", ["100", True])
def test_a_cap_is_a_number(total: Any) -> None:  # noqa: ANN401 - whatever somebody gives
    with pytest.raises(TypeError, match="total is a number, or None for no cap"):
        BudgetTracker(total)
    with pytest.raises(TypeError, match="total is a number"):
        BudgetTracker(100).set_total(total)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [SyncOnly, NativeAsync, lambda: simulated()[0]])
def test_a_prompt_is_a_text_and_a_config_a_run_config(make: Any, flavour: Flavour) -> None:  # noqa: ANN401
    adapter = make()
    who = type(adapter).__name__
    prompts: Any = ["hello"]
    config: Any = {"max_tokens": 5}

    with pytest.raises(LLMConfigError, match=f"^{who}: a prompt is a text, not list"):
        ask(flavour, adapter, prompts)
    with pytest.raises(LLMConfigError, match=f"^{who}: config is a RunConfig, not dict"):
        ask(flavour, adapter, "hello", config)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [Careless, CarelessAsync])
def test_what_is_no_answer_is_refused_without_a_tracker_too(make: type[Careless], flavour: Flavour) -> None:
    """It went out as it was, and broke wherever its text was wanted."""
    with pytest.raises(TypeError, match="an adapter returns an LLMAnswer, not str"):
        ask(flavour, make(), "hello")


def test_a_closed_adapter_says_so_by_its_name() -> None:
    adapter, real = simulated()
    adapter.close()

    with pytest.raises(RuntimeError, match=r"^this OpenAIAdapter is closed; make a new one$"):
        adapter.execute_prompt("hello")
    with pytest.raises(RuntimeError, match=r"^this OpenAIAdapter is closed; make a new one$"), adapter:
        pass
    assert real.simulator.statistics.requests == 0


def test_a_missing_key_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(EnvVarMissingError) as caught:
        OpenAIAdapter("m")

    assert str(caught.value).endswith(
        "Set it in the environment (export OPENAI_API_KEY=<the key>), or give api_key=..."
    )
