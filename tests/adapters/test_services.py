"""OpenAI, Gemini and OpenRouter: one call, its figures, its failures, its timeout, from every flavour."""

import asyncio
import subprocess
import sys
import traceback
from collections.abc import Mapping

import pytest
import trio
from pydantic import SecretStr
from tests.adapters.flavours import FLAVOURS, Flavour, ask
from tests.adapters.services import KEY, QUICK, SERVICES, simulated

from agent_pipeline.adapters import (
    BudgetTracker,
    GeminiAdapter,
    LLMAnswer,
    LLMConfigError,
    LLMError,
    LLMTimeoutError,
    OpenAIAdapter,
    OpenRouterAdapter,
    RunConfig,
)
from agent_pipeline.adapters.chat import ChatAdapter
from agent_pipeline.config.limits import BudgetConfig, LimitsConfig
from agent_pipeline.errors import (
    AttemptTimeoutError,
    CredentialsRejectedError,
    EnvVarMissingError,
    ModelProtocolError,
    ServerError,
)
from agent_pipeline.simulator import Simulator, serve


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_call_returns_text_usage_model_and_cost(service: type[ChatAdapter], flavour: Flavour) -> None:
    adapter, real = simulated(service, model="gpt-5-mini" if service is OpenAIAdapter else "unpriced")

    with adapter:
        answer = ask(flavour, adapter, "Say: a nursery is where tasks live.")

    assert "nursery" in answer.text
    assert answer.usage is not None
    assert (answer.cost_micro_usd or 0) > 0 if service is OpenAIAdapter else answer.cost_micro_usd is None
    assert real.urls == {f"{service.service.base_url}/chat/completions"}
    assert real.simulator.statistics.requests == 1
    assert adapter.statistics().usage == answer.usage
    assert adapter.statistics().attempts == 1


def test_the_same_adapter_serves_all_flavours_one_after_the_other() -> None:
    """A connection or a lock bound to one loop would show here."""
    adapter, service = simulated()

    with adapter:
        texts = {ask(flavour, adapter, "The same prompt.").text for flavour in (*FLAVOURS, *FLAVOURS)}

    assert len(texts) == 1
    assert service.simulator.statistics.requests == 6


def test_it_is_closed_from_asyncio_too() -> None:
    adapter, _ = simulated()

    async def main() -> None:
        assert (await adapter.async_execute_prompt("A prompt.")).text
        await adapter.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await adapter.async_execute_prompt("A prompt.")

    asyncio.run(main())


async def test_under_trio_it_lives_in_the_run_that_opened_it() -> None:
    adapter, _ = simulated()

    async with adapter:
        answer = await adapter.async_execute_prompt("A prompt.")
        with pytest.raises(RuntimeError, match="await the asynchronous method"):
            adapter.execute_prompt("A prompt.")

    assert answer.text


def test_each_setting_of_a_call_reaches_the_request() -> None:
    """The adapter's are for all its calls; a call's own win."""
    adapter, service = simulated(temperature=0.1, system="Be brief.")
    own = RunConfig(model="o", max_tokens=7, temperature=0.0, system="Be long.", params={"top_p": 0.5})

    with adapter:
        ask("sync", adapter, "A prompt.")
        ask("sync", adapter, "A prompt.", own)

    prompt = {"role": "user", "content": "A prompt."}
    assert service.bodies == [
        {
            "model": "gpt-5-mini",
            "messages": [{"role": "system", "content": "Be brief."}, prompt],
            "temperature": 0.1,
            "max_completion_tokens": 40,
        },
        {
            "model": "o",
            "messages": [{"role": "system", "content": "Be long."}, prompt],
            "temperature": 0.0,
            "max_completion_tokens": 7,
            "top_p": 0.5,
        },
    ]


@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        ({"kind": "status", "status": 503, "rate": 1}, ServerError, 3),
        ({"kind": "status", "status": 401, "rate": 1}, CredentialsRejectedError, 1),
        ({"kind": "html_200", "rate": 1}, ModelProtocolError, 2),
    ],
)
def test_what_the_provider_does_wrong_is_an_llm_error(
    fault: Mapping[str, object], error: type[LLMError], requests: int
) -> None:
    adapter, service = simulated(faults={"faults": [fault]})

    with adapter, pytest.raises(error) as caught:
        ask("sync", adapter, "A prompt.")

    assert isinstance(caught.value, LLMError)
    assert service.simulator.statistics.requests == requests


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_faults_that_pass_are_retried_by_the_gate(flavour: Flavour) -> None:
    faults = [
        {"kind": "status", "status": 429, "retry_after": 0.01, "script": [1]},
        {"kind": "status", "status": 500, "script": [2]},
    ]
    adapter, service = simulated(faults={"faults": faults})

    with adapter:
        assert ask(flavour, adapter, "A prompt.").text

    assert service.simulator.statistics.requests == 3


def test_an_adapter_outlives_a_refused_key() -> None:
    """A run ends there; a notebook whose key is put right, or whose account was topped up, goes on."""
    adapter, _ = simulated(faults={"faults": [{"kind": "status", "status": 401, "script": [1]}]})

    with adapter:
        with pytest.raises(CredentialsRejectedError):
            ask("sync", adapter, "A prompt.")
        assert ask("sync", adapter, "A prompt.").text


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_calls_timeout_covers_all_its_attempts_and_is_charged(flavour: Flavour) -> None:
    adapter, _ = simulated(faults={"latency": 30})
    tracker = BudgetTracker(total=1000)

    with adapter, pytest.raises(LLMTimeoutError, match=r"OpenAIAdapter: the 0.05 s timeout") as caught:
        ask(flavour, adapter, "A prompt.", RunConfig(timeout=0.05, budget_tracker=tracker))

    assert caught.value.timeout == 0.05
    assert tracker.statistics().unknown == tracker.spent > 0
    assert tracker.statistics().reserved == 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_attempts_timeout_is_a_limit_of_the_adapter(flavour: Flavour) -> None:
    limits = {"retry": {"max_attempts": 1}, "timeouts": {"attempt": 0.05}}
    adapter, _ = simulated(faults={"latency": 30}, limits=limits)

    with adapter, pytest.raises(AttemptTimeoutError):
        ask(flavour, adapter, "A prompt.")


def test_a_pause_that_outlasts_the_timeout_ends_the_call_at_once() -> None:
    adapter, _ = simulated(faults={"faults": [{"kind": "status", "status": 429, "retry_after": 3600, "rate": 1}]})

    with adapter, pytest.raises(LLMTimeoutError, match="the next request may go in 3"):
        ask("sync", adapter, "A prompt.", RunConfig(timeout=5))


def test_a_key_is_found_in_the_environment_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in (
        ("OPENAI_API_KEY", OpenAIAdapter),
        ("GEMINI_API_KEY", GeminiAdapter),
        ("OPENROUTER_API_KEY", OpenRouterAdapter),
    ):
        monkeypatch.delenv(name, raising=False)
        with pytest.raises(EnvVarMissingError, match=name):
            service("m")
        monkeypatch.setenv(name, KEY)
        service("m")
    monkeypatch.setenv("MY_KEY", KEY)
    OpenRouterAdapter("m", env_key="MY_KEY")


def test_a_server_on_this_machine_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    OpenAIAdapter("m", base_url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_url": "http://example.org/v1"}, "https"),
        ({"base_url": "https://user:word@example.org/v1"}, "no user or password"),
        ({"model": ""}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"params": {"stream": True}}, "stream"),
        ({"limits": {"retry": {"max_attempts": 0}}}, "limits.retry.max_attempts"),
        ({"limits": {"requests": 3}}, "limits.requests"),
        ({"limits": {"budget": {"tokens": 100}}}, "BudgetTracker"),
        ({"limits": LimitsConfig(budget_per_document=BudgetConfig(tokens=1))}, "BudgetTracker"),
        ({"model": "m" * 201}, "model"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_when_the_adapter_is_made(settings: dict[str, object], words: str) -> None:
    given: dict[str, object] = {"model": "m", "api_key": SecretStr(KEY), **settings}

    with pytest.raises(LLMConfigError, match=words):
        OpenAIAdapter(**given)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"model": " "}, "model"),
    ],
)
def test_a_config_that_can_not_be_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(LLMConfigError, match=words):
        RunConfig(**settings)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


def test_the_key_shows_nowhere() -> None:
    adapter, _ = simulated(faults={"faults": [{"kind": "status", "status": 401, "rate": 1}]})

    with adapter, pytest.raises(CredentialsRejectedError) as caught:
        ask("sync", adapter, f"My key is {KEY}.")

    assert KEY not in str(caught.value)
    assert KEY not in repr(adapter) + repr(vars(adapter)) + repr(vars(adapter._hosted))


async def test_over_real_sockets() -> None:
    """Twenty calls at once use twenty connections at most, and the next ones none of their own."""
    simulator = Simulator()
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve, simulator)
        url = f"http://127.0.0.1:{port}/v1"
        async with OpenAIAdapter("gpt-5-mini", base_url=url, max_tokens=40, limits=QUICK) as adapter:
            answers: list[LLMAnswer] = []

            async def one(number: int) -> None:
                answers.append(await adapter.async_execute_prompt(f"Prompt {number}."))

            for _ in range(2):
                async with trio.open_nursery() as callers:
                    for number in range(20):
                        callers.start_soon(one, number)
        nursery.cancel_scope.cancel()

    assert len(answers) == 40
    assert simulator.statistics.connections_opened <= 20


def test_importing_the_names_takes_neither_client_nor_asyncio() -> None:
    """`from agent_pipeline.adapters import RunConfig, LLMAdapter, ClaudeCodeAdapter` stays quick."""
    code = (
        "import sys; from agent_pipeline.adapters import ClaudeCodeAdapter, LLMError, RunConfig; "
        "print([name for name in ('openai', 'agents', 'trio_asyncio') if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("key", ["sk-t-0123\n456789", "sk-t-0123456789\u00e9", "sk-t-0123456789\0"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    """Libraries below quote it in their errors, beside which tracebacks show it."""
    with pytest.raises(LLMConfigError, match="characters that no key has") as caught:
        OpenAIAdapter("m", base_url="http://127.0.0.1:9/v1", api_key=key)

    assert "0123" not in "".join(traceback.format_exception(caught.value))
