"""One tracker for several adapters, each behind a gate of its own: the cap holds, and nobody waits for ever."""

import json
import sys
from pathlib import Path

import pytest
import trio
from tests.adapters.flavours import FLAVOURS, Flavour, Request, ask, ask_all
from tests.adapters.own import NativeAsync, Sampler, SyncOnly
from tests.adapters.services import SERVICES, simulated

from agent_pipeline.adapters import (
    BudgetTracker,
    ClaudeCodeAdapter,
    GeminiAdapter,
    LLMAdapter,
    LLMAnswer,
    LLMBudgetExceededError,
    LLMConfigError,
    OpenAIAdapter,
    RunConfig,
)
from agent_pipeline.adapters.chat import ChatAdapter
from agent_pipeline.control.budget import BudgetStatistics
from agent_pipeline.domain.usage import Usage

FAKE_CLAUDE = (sys.executable, str(Path(__file__).with_name("fake_claude.py")))


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_services_call_is_reserved_and_charged(service: type[ChatAdapter], flavour: Flavour) -> None:
    adapter, _ = simulated(service)
    tracker = BudgetTracker(total=1000)

    with adapter:
        answer = ask(flavour, adapter, "A prompt.", RunConfig(budget_tracker=tracker))

    assert answer.usage is not None
    assert answer.charged_to == (tracker,)
    spent = answer.usage.total_tokens
    assert tracker.statistics() == BudgetStatistics(total=1000, spent=spent, reserved=0, unknown=0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_services_call_that_does_not_fit_is_refused_and_not_sent(flavour: Flavour) -> None:
    adapter, service = simulated()
    tracker = BudgetTracker(total=100)

    with adapter, pytest.raises(LLMBudgetExceededError, match="the shared budget of 100 tokens has 100 left") as caught:
        ask(flavour, adapter, "A prompt.", RunConfig(budget_tracker=tracker))

    assert caught.value.dimensions == ("tokens",)
    assert service.bodies == []
    assert tracker.statistics() == BudgetStatistics(total=100, spent=0, reserved=0, unknown=0)


def test_a_services_call_with_a_tracker_wants_an_output_cap() -> None:
    adapter, service = simulated(max_tokens=None)

    with adapter, pytest.raises(LLMConfigError, match=r"OpenAIAdapter: .* output cap"):
        ask("sync", adapter, "A prompt.", RunConfig(budget_tracker=BudgetTracker(1000)))

    assert service.bodies == []


def test_the_worst_case_is_reserved_anew_for_each_attempt() -> None:
    """The first attempt is lost and stays charged in full, so that a second does not fit any more."""
    faults = {"faults": [{"kind": "reset_mid_body", "script": [1]}]}
    adapter, service = simulated(faults=faults)
    tracker = BudgetTracker(total=180)

    with adapter, pytest.raises(LLMBudgetExceededError):
        ask("sync", adapter, "A prompt.", RunConfig(budget_tracker=tracker))

    assert len(service.bodies) == 1
    worst = len(json.dumps(service.bodies[0], separators=(",", ":"))) + 40
    assert tracker.statistics() == BudgetStatistics(total=180, spent=worst, reserved=0, unknown=worst)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_chain_of_three_services_shares_one_cap(flavour: Flavour) -> None:
    """A's answer is B's prompt, B's is C's; the second time around the budget ends on the way."""
    tracker = BudgetTracker(total=700)
    links = [simulated(service) for service in SERVICES]
    config = RunConfig(budget_tracker=tracker)
    used: list[int] = []

    def go_round(*adapters: ChatAdapter, times: int) -> None:
        for _ in range(times):
            text = "Tell me about nurseries."
            for adapter in adapters:
                answer = ask(flavour, adapter, text, config)
                assert answer.usage is not None
                used.append(answer.usage.total_tokens)
                text = answer.text

    with links[0][0] as first, links[1][0] as second, links[2][0] as third:
        go_round(first, second, third, times=1)
        with pytest.raises(LLMBudgetExceededError):
            go_round(first, second, third, times=20)

    assert len(used) > 3
    assert tracker.statistics() == BudgetStatistics(total=700, spent=sum(used), reserved=0, unknown=0)
    assert sum(len(link[1].bodies) for link in links) == len(used)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_four_adapters_at_once(flavour: Flavour) -> None:
    """Of four kinds: two services, a command, and one of the user's own."""
    tracker = BudgetTracker(total=10_000)
    openai, gemini = simulated(OpenAIAdapter)[0], simulated(GeminiAdapter)[0]
    claude = ClaudeCodeAdapter(command=FAKE_CLAUDE, tokens_per_call=500)
    config = RunConfig(budget_tracker=tracker)

    with openai, gemini, claude, Sampler(tracker) as sampler:
        adapters: list[LLMAdapter] = [openai, gemini, claude, SyncOnly()]
        outcomes = ask_all(flavour, [(adapter, "A prompt.", config) for adapter in adapters])

    answers = [one for one in outcomes if isinstance(one, LLMAnswer)]
    assert len(answers) == 4
    assert tracker.spent == sum(one.usage.total_tokens for one in answers if one.usage is not None)
    assert sampler.most <= 10_000
    assert tracker.statistics().reserved == 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_thousand_callers_and_a_cap_for_thirty_seven(flavour: Flavour) -> None:
    """Each uses all that it reserves: so exactly 37 answers, at no instant more, and 963 clear refusals."""
    worst = 6 + 16 + 30
    tracker = BudgetTracker(total=37 * worst + worst - 1)
    exact = Usage(worst - 30, 30)
    adapters = [SyncOnly(usage=exact), NativeAsync(usage=exact, delay=0.001), SyncOnly(usage=exact)]
    config = RunConfig(budget_tracker=tracker)
    requests: list[Request] = [(adapters[number % 3], f"p{number:05}", config) for number in range(1000)]

    with Sampler(tracker) as sampler:
        outcomes = ask_all(flavour, requests)

    assert sum(isinstance(one, LLMAnswer) for one in outcomes) == 37
    assert sum(isinstance(one, LLMBudgetExceededError) for one in outcomes) == 963
    assert sampler.most == 37 * worst
    assert tracker.statistics() == BudgetStatistics(tracker.total, spent=37 * worst, reserved=0, unknown=0)
    assert not tracker._bells


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_hundreds_of_callers_of_several_gates_never_pass_the_cap(flavour: Flavour) -> None:
    """They use less than they reserve, so that more and more fit, until not even one call would."""
    tracker = BudgetTracker(total=1600)
    config = RunConfig(budget_tracker=tracker)
    pairs = [simulated(service) for service in SERVICES]
    with pairs[0][0] as first, pairs[1][0] as second, pairs[2][0] as third, Sampler(tracker) as sampler:
        adapters = [first, second, third, NativeAsync(delay=0.001)]
        outcomes = ask_all(flavour, [(adapters[number % 4], f"p{number:05}", config) for number in range(400)])

    answers = [one for one in outcomes if isinstance(one, LLMAnswer)]
    refused = [one for one in outcomes if isinstance(one, LLMBudgetExceededError)]
    assert len(answers) + len(refused) == 400
    assert sum(len(pair[1].bodies) for pair in pairs) <= len(answers)
    assert sampler.samples > 5
    assert sampler.most <= 1600
    now = tracker.statistics()
    assert now.spent == sum(one.usage.total_tokens for one in answers if one.usage is not None)
    assert (now.reserved, now.unknown) == (0, 0)
    assert now.spent + 200 > 1600  # the services' calls reserve less
    assert not tracker._bells


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_room_that_one_adapter_gives_back_wakes_who_waits_in_another(flavour: Flavour) -> None:
    """Of 60 calls fewer and fewer fit beside each other, at last one: each waits for others, in other threads."""
    first, second = simulated(OpenAIAdapter)[0], simulated(GeminiAdapter)[0]
    with first, second:
        alone = ask(flavour, first, "p").usage
        assert alone is not None
        tracker = BudgetTracker(total=30 * alone.total_tokens + 200)
        config = RunConfig(budget_tracker=tracker)
        adapters = [first, second, SyncOnly(usage=Usage()), NativeAsync(usage=Usage(), delay=0.001)]
        outcomes = ask_all(flavour, [(adapters[number % 4], "p", config) for number in range(60)])

    assert [one for one in outcomes if not isinstance(one, LLMAnswer)] == []
    assert tracker.statistics() == BudgetStatistics(tracker.total, spent=30 * alone.total_tokens, reserved=0, unknown=0)
    assert not tracker._bells


async def test_a_tracker_is_nobodys_but_the_calls_own() -> None:
    """Two calls of one adapter may have two, or none."""
    adapter, _ = simulated()
    small, large = BudgetTracker(total=10), BudgetTracker(total=1000)

    async with adapter, trio.open_nursery() as nursery:
        nursery.start_soon(adapter.async_execute_prompt, "A prompt.", RunConfig(budget_tracker=large))
        nursery.start_soon(adapter.async_execute_prompt, "A prompt.")
        with pytest.raises(LLMBudgetExceededError):
            await adapter.async_execute_prompt("A prompt.", RunConfig(budget_tracker=small))

    assert (small.spent, large.spent > 0) == (0, True)


async def test_a_blocking_call_in_a_loop_does_not_wait_for_that_loops_own_tasks() -> None:
    """Its thread is blocked, so that they could never give their room back."""
    adapter, service = simulated()
    tracker = BudgetTracker(total=1000)
    held = tracker.reserve_nowait(950)
    assert held is not None

    with adapter, pytest.raises(LLMBudgetExceededError, match="950 of them held"):
        adapter.execute_prompt("A prompt.", RunConfig(budget_tracker=tracker))

    assert service.bodies == []
