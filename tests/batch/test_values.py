"""Items, configs and mock agents refuse what makes no sense, at once and in words."""

import random
from collections.abc import Mapping

import pytest
from tests.batch.flavours import Flavour, both, run

from agent_pipeline.batch import LLMWorkItem, MockAgent, ProcessorConfig
from agent_pipeline.batch.mock import MockProviderError
from agent_pipeline.batch.usage_reading import read_usage
from agent_pipeline.domain.usage import Usage


async def call(attempt: int, timeout: float) -> tuple[str, Mapping[str, int]]:
    return "done", {}


@pytest.mark.parametrize("item_id", ["", "  ", None, 7])
def test_an_item_needs_an_id(item_id: object) -> None:
    with pytest.raises(ValueError, match="item_id is a text"):
        LLMWorkItem(item_id=item_id, agent=MockAgent())  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


def test_an_item_has_exactly_one_way_to_be_worked_on() -> None:
    def factory(_attempt: int) -> MockAgent:
        return MockAgent()

    with pytest.raises(ValueError, match=r"not none of them$"):
        LLMWorkItem("a")
    with pytest.raises(ValueError, match=r"not agent and direct_call$"):
        LLMWorkItem("a", agent=MockAgent(), direct_call=call)
    with pytest.raises(ValueError, match=r"not agent and direct_call and agent_factory$"):
        LLMWorkItem("a", agent=MockAgent(), direct_call=call, agent_factory=factory)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_workers": 0}, "max_workers is a whole number from 1, not 0"),
        ({"max_workers": 2.5}, "max_workers"),
        ({"max_workers": True}, "max_workers"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"timeout_per_item": 0}, "timeout_per_item is a positive number of seconds"),
        ({"batch_timeout": float("nan")}, "batch_timeout"),
        ({"attempt_timeout": 120.0}, r"attempt_timeout \(120 s\) has to be shorter than timeout_per_item \(120 s\)"),
        ({"batch_timeout": 60.0}, r"timeout_per_item \(120 s\) has to be shorter than batch_timeout \(60 s\)"),
        ({"attempt_timeout": 9.0, "timeout_per_item": None, "batch_timeout": 9.0}, "attempt_timeout"),
        ({"initial_wait": -1}, "initial_wait"),
        ({"max_wait": float("inf")}, "max_wait"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"budget_tokens": 100}, "budget_tokens needs tokens_per_attempt"),
        ({"abort_on": "server_error"}, "abort_on is a tuple"),
        ({"abort_on": ("server_eror",)}, "'server_eror' is none; did you mean 'server_error'?"),
        ({"abort_on": (429,)}, "429 is none; they are those of agent_pipeline.errors"),
        ({"abort_on": 429}, "abort_on is a tuple of error codes, not 429"),
        ({"abort_mode": "stop"}, "abort_mode is 'drain' or 'cancel'"),
        ({"abort_mode": ["drain"]}, "abort_mode is 'drain' or 'cancel', not list"),
        ({"timeout_per_item": "3"}, "timeout_per_item is a positive number of seconds, or None, not '3'"),
        ({"initial_wait": "1"}, "initial_wait is a number of seconds from 0, not '1'"),
        ({"max_wait": None}, "max_wait is a number of seconds from 0, not None"),
        ({"max_workers": "5"}, "max_workers is a whole number from 1, not '5'"),
        ({"preserve_order": "no"}, "preserve_order is True or False, not 'no'"),
        ({"order_window": 0}, "order_window"),
        ({"max_queue_size": None}, "max_queue_size"),
    ],
)
def test_a_config_says_what_is_wrong(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ProcessorConfig(**given)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


def test_a_config_without_timeouts_is_one() -> None:
    codes = ["call_failed", "server_error"]
    assert ProcessorConfig(timeout_per_item=None, abort_on=codes).abort_on == tuple(codes)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


@both
def test_a_mock_agent_fails_as_it_is_told(flavour: Flavour) -> None:
    agent = MockAgent(rate_limit_on_call=2, retry_after=7, tokens_per_call=4, respond=str.upper)

    async def scenario() -> tuple[str, Usage, MockProviderError]:
        reply = await agent.run("hi")
        with pytest.raises(MockProviderError) as caught:
            await agent.run("hi")
        return reply.output, reply.usage(), caught.value

    output, usage, error = run(flavour, scenario)
    assert (output, usage, agent.calls) == ("HI", Usage(4, 4), 2)
    assert (error.status_code, error.retry_after, error.usage) == (429, 7, None)


def test_a_mock_agents_faults_come_from_its_seed() -> None:
    async def faults(seed: int) -> list[bool]:
        agent, failed = MockAgent(failure_rate=0.3, seed=seed), []
        for _ in range(200):
            try:
                await agent.run("x")
            except MockProviderError:
                failed.append(True)
            else:
                failed.append(False)
        return failed

    first = run("trio", lambda: faults(1))
    assert first == run("trio", lambda: faults(1))
    assert first != run("trio", lambda: faults(2))
    assert first == [random_draw < 0.3 for random_draw in draws(1, 200)]


def draws(seed: int, count: int) -> list[float]:
    rng = random.Random(seed)
    return [rng.random() for _ in range(count)]


@pytest.mark.parametrize("given", [{"latency": -1.0}, {"failure_rate": 1.5}, {"tokens_per_call": -1}])
def test_a_mock_agent_refuses_nonsense(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="numbers from 0"):
        MockAgent(**given)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


class Details:
    cached_tokens = 6


class OpenAIUsage:
    prompt_tokens = 9
    completion_tokens = 2
    prompt_tokens_details = Details()


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"input_tokens": 3}, Usage(3)),
        ({"request_tokens": 3, "response_tokens": 2}, Usage(3, 2)),
        (OpenAIUsage(), Usage(9, 2, 6)),
        ({"input_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}, Usage(5, 0, 0, 2)),
        ({"input_tokens": -1}, None),
        ({"input_tokens": True}, None),
        ({"input_tokens": "3"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_usage_is_read_whatever_its_names(reported: object, usage: Usage | None) -> None:
    assert read_usage(reported) == usage
