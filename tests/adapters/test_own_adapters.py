"""Adapters that users write: sync-only ones are asynchronous too, and a tracker is enforced around every call."""

import functools
import threading
from collections.abc import Callable

import pytest
from tests.adapters.flavours import FLAVOURS, Flavour, ask, ask_all
from tests.adapters.own import USED, Delegating, NativeAsync, SyncOnly

from agent_pipeline.adapters import (
    BudgetTracker,
    LLMAdapter,
    LLMAnswer,
    LLMBudgetExceededError,
    LLMConfigError,
    RunConfig,
)
from agent_pipeline.control.budget import BudgetStatistics
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    CommandNotFoundError,
    ConnectionLostError,
    LLMError,
    ProviderUnreachableError,
    RateLimitedError,
    ServerError,
)

Call = Callable[..., LLMAnswer]
WORST = 5 + 16 + 30
"""Of the prompt `hello`."""


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [SyncOnly, NativeAsync])
def test_a_call_is_reserved_before_and_charged_after(make: type[SyncOnly], flavour: Flavour) -> None:
    tracker = BudgetTracker(total=WORST)

    answer = ask(flavour, make(), "hello", RunConfig(budget_tracker=tracker))

    assert answer.text == "HELLO"
    assert answer.charged_to == (tracker,)
    assert tracker.statistics() == BudgetStatistics(total=WORST, spent=10, reserved=0, unknown=0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_worst_case_is_held_while_the_call_goes_on(flavour: Flavour) -> None:
    tracker = BudgetTracker(total=1000)
    seen: list[BudgetStatistics] = []
    adapter = SyncOnly(work=lambda: seen.append(tracker.statistics()))

    ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker))

    assert seen == [BudgetStatistics(total=1000, spent=0, reserved=WORST, unknown=0)]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [SyncOnly, NativeAsync])
def test_what_can_not_fit_is_refused_and_not_made(make: type[SyncOnly], flavour: Flavour) -> None:
    tracker = BudgetTracker(total=100, spent=100 - WORST + 1)
    adapter = make()

    with pytest.raises(LLMBudgetExceededError, match=f"budget of 100 tokens has 50 left, .* may use {WORST}") as caught:
        ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker))

    assert isinstance(caught.value, LLMError)
    assert adapter.configs == []
    assert tracker.statistics() == BudgetStatistics(total=100, spent=50, reserved=0, unknown=0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_a_tracker_nothing_is_enforced(flavour: Flavour) -> None:
    """Not even an output cap is wanted."""
    adapter = SyncOnly(max_tokens=None)

    assert ask(flavour, adapter, "hello").charged_to == ()
    assert ask(flavour, adapter, "hello", RunConfig(max_tokens=3)).text == "HELLO"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_tracker_wants_an_output_cap(flavour: Flavour) -> None:
    adapter = SyncOnly(max_tokens=None)
    tracker = BudgetTracker(1000)

    with pytest.raises(LLMConfigError, match=r"SyncOnly: .* needs an output cap"):
        ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker))
    assert ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker, max_tokens=3)).text == "HELLO"


ENDS: dict[str, tuple[BaseException, bool]] = {
    "lost": (ConnectionLostError("gone"), True),
    "of another library": (ValueError("no"), True),
    "an error inside a 200": (ServerError("no", status_code=200), True),
    "a 504": (ServerError("no", status_code=504), True),
    "a 503": (ServerError("no", status_code=503), False),
    "a 429": (RateLimitedError("no"), False),
    "never connected": (ProviderUnreachableError("no"), False),
    "not installed": (CommandNotFoundError("no"), False),
}


@pytest.mark.parametrize(("error", "charged"), ENDS.values(), ids=ENDS)
def test_a_call_that_fails_is_charged_in_full_unless_no_model_can_have_worked(
    error: BaseException, *, charged: bool
) -> None:
    tracker = BudgetTracker(total=100)

    with pytest.raises(type(error)):
        SyncOnly(error=error).execute_prompt("hello", RunConfig(budget_tracker=tracker))

    spent = WORST if charged else 0
    assert tracker.statistics() == BudgetStatistics(total=100, spent=spent, reserved=0, unknown=spent)


def test_an_answer_without_usage_is_charged_in_full() -> None:
    tracker = BudgetTracker(total=100)

    SyncOnly(usage=None).execute_prompt("hello", RunConfig(budget_tracker=tracker))

    assert tracker.statistics() == BudgetStatistics(total=100, spent=WORST, reserved=0, unknown=WORST)


def test_something_else_than_an_answer_is_an_error_and_charged() -> None:
    class Careless(LLMAdapter):
        max_tokens = 30

        def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:  # noqa: ARG002
            return prompt  # type: ignore[return-value]  # ty: ignore[invalid-explicit-return]

    tracker = BudgetTracker(total=100)

    with pytest.raises(TypeError, match="an LLMAnswer, not str"):
        Careless().execute_prompt("hello", RunConfig(budget_tracker=tracker))

    assert tracker.statistics().unknown == WORST


def test_more_than_was_reserved_is_charged_as_it_is_reported() -> None:
    """Whoever reports it knows better; the next call is refused."""
    tracker = BudgetTracker(total=100)
    adapter = SyncOnly(usage=Usage(90, 20))

    adapter.execute_prompt("hello", RunConfig(budget_tracker=tracker))

    assert tracker.spent == 110
    with pytest.raises(LLMBudgetExceededError, match="has 0 left"):
        adapter.execute_prompt("hello", RunConfig(budget_tracker=tracker))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_chain_of_three_shares_one_cap(flavour: Flavour) -> None:
    """A > B > C: each link's own call is charged once, however often its answer is handed on."""
    tracker = BudgetTracker(total=10 + 10 + WORST)
    own = [SyncOnly() for _ in range(4)]
    chain: LLMAdapter | None = None
    for link in reversed(own[:3]):
        chain = Delegating(link, chain)
    assert chain is not None

    answer = ask(flavour, chain, "hello", RunConfig(budget_tracker=tracker))

    assert answer.text == "HELLO"
    assert [len(one.prompts) for one in own] == [1, 1, 1, 0]
    assert tracker.statistics() == BudgetStatistics(total=71, spent=30, reserved=0, unknown=0)
    with pytest.raises(LLMBudgetExceededError):
        ask(flavour, chain, "hello", RunConfig(budget_tracker=tracker))
    assert tracker.spent == 30
    assert [len(one.prompts) for one in own] == [1, 1, 1, 0]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_chain_whose_last_link_does_not_fit_says_so(flavour: Flavour) -> None:
    """What the others used stays used."""
    tracker = BudgetTracker(total=10 + 10 + WORST - 1)
    own = [SyncOnly() for _ in range(3)]
    chain = Delegating(own[0], Delegating(own[1], Delegating(own[2], None)))

    with pytest.raises(LLMBudgetExceededError):
        ask(flavour, chain, "hello", RunConfig(budget_tracker=tracker))

    assert tracker.statistics() == BudgetStatistics(total=70, spent=20, reserved=0, unknown=0)


def test_a_link_that_makes_a_call_of_its_own_and_returns_anothers_is_charged_for_neither_twice() -> None:
    """The call inside is charged; what the outer one reserved is given back."""

    class Forwarding(LLMAdapter):
        max_tokens = 30

        def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
            return inner.execute_prompt(prompt, config)

    inner, tracker = SyncOnly(), BudgetTracker(total=2 * WORST)

    Forwarding().execute_prompt("hello", RunConfig(budget_tracker=tracker))

    assert tracker.statistics() == BudgetStatistics(total=2 * WORST, spent=10, reserved=0, unknown=0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_calls_inside_calls_refuse_rather_than_wait_for_each_other(flavour: Flavour) -> None:
    """Two outer calls fill the cap. If the inner ones waited for room, they would wait for ever."""
    both = threading.Barrier(2)

    class Forwarding(LLMAdapter):
        max_tokens = 30

        def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
            both.wait(timeout=10)
            try:
                return inner.execute_prompt(prompt, config)
            finally:
                both.wait(timeout=10)

    inner, outer, tracker = SyncOnly(), Forwarding(), BudgetTracker(total=2 * WORST + WORST - 1)
    config = RunConfig(budget_tracker=tracker)

    outcomes = ask_all(flavour, [(outer, "hello", config)] * 2)

    assert [type(one) for one in outcomes] == [LLMBudgetExceededError] * 2
    assert "held by calls under way" in str(outcomes[0])
    assert tracker.statistics().reserved == 0


def test_a_subclass_that_calls_super_is_charged_once() -> None:
    class Logging(SyncOnly):
        def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
            return super().execute_prompt(prompt + "!", config)

    class Shouting(Logging):
        def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
            return super().execute_prompt(prompt + "!", config)

    tracker = BudgetTracker(total=WORST)

    assert Shouting().execute_prompt("hello", RunConfig(budget_tracker=tracker)).text == "HELLO!!"
    assert tracker.spent == 10


@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
def test_a_native_call_that_calls_super_is_charged_once(flavour: Flavour) -> None:
    class Logging(NativeAsync):
        async def async_execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
            return await super().async_execute_prompt(prompt + "!", config)

    tracker = BudgetTracker(total=WORST)

    assert ask(flavour, Logging(), "hello", RunConfig(budget_tracker=tracker)).text == "HELLO!"
    assert tracker.spent == 10


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_decorated_call_is_enforced_too(flavour: Flavour) -> None:
    """Decorators copy the attributes of what they wrap, so that none of those can say what is enforced."""

    def decorated(call: Call) -> Call:
        @functools.wraps(call)
        def execute_prompt(self: object, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
            return call(self, prompt + "!", config)

        return execute_prompt

    class Retrying(SyncOnly):
        @decorated
        def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
            return super().execute_prompt(prompt, config)

    class Reusing(SyncOnly):
        execute_prompt = decorated(SyncOnly.execute_prompt)

    for adapter in (Retrying(), Reusing()):
        tracker = BudgetTracker(total=WORST)

        assert ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker)).text == "HELLO!"
        assert tracker.spent == 10


def test_a_call_that_a_mixin_brings_is_enforced_too() -> None:
    class Mixin:
        def execute_prompt(self, prompt: str, config: RunConfig | None = None) -> LLMAnswer:  # noqa: ARG002
            return LLMAnswer(prompt, USED)

    class Mixed(Mixin, LLMAdapter):
        max_tokens = 30

    tracker = BudgetTracker(total=WORST)
    adapter: LLMAdapter = Mixed()

    adapter.execute_prompt("hello", RunConfig(budget_tracker=tracker))

    assert tracker.spent == 10


def test_an_adapter_without_the_one_method_can_not_be_made() -> None:
    class Nothing(LLMAdapter):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]  # ty: ignore[abstract-class-instantiation]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("usage", [{"input_tokens": 1}, 7, Usage(-5, 0), Usage(1, float("nan"))])  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
def test_usage_that_is_none_is_refused_and_the_call_charged_in_full(usage: object, flavour: Flavour) -> None:
    """Its room stayed held for ever."""
    tracker = BudgetTracker(total=1000)
    adapter = SyncOnly(usage=usage)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]

    with pytest.raises(TypeError, match="usage"):
        ask(flavour, adapter, "hello", RunConfig(budget_tracker=tracker))

    assert tracker.statistics() == BudgetStatistics(total=1000, spent=WORST, reserved=0, unknown=WORST)


@pytest.mark.parametrize("cap", [float("nan"), 1.5, True, "5", 0])
def test_an_output_cap_is_a_whole_number(cap: object) -> None:
    with pytest.raises(LLMConfigError, match="max_tokens"):
        RunConfig(max_tokens=cap)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
