"""Limits the simulated provider keeps: the judge of a client's own limiter, so exact to the moment."""

import json

import pytest
import trio
from tests.simulator.asking import CHAT, RESPONSES, TEXT, both_apis, post
from tests.simulator.limiting import ask, limiting
from trio.testing import MockClock

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.limits import duration
from agent_pipeline.simulator.per_model import MOST_MODELS, OTHERS, PerModel


def limits_told(reply: SimulatorReply, unit: str) -> tuple[str | None, ...]:
    """Return limit, what remains, and when all of it is back."""
    return tuple(reply.header(f"x-ratelimit-{what}-{unit}") for what in ("limit", "remaining", "reset"))


# --- requests per minute -----------------------------------------------------------------------------------------


async def test_any_minute_holds_no_more_requests_than_the_limit(autojump_clock: MockClock) -> None:
    """Sliding, not by the minute of a clock: the place of a request is free again when its own 60 s have passed."""
    simulator = limiting("rate_limit", requests_per_minute=3)
    seen = []

    for pause in (0, 20, 20, 19.5, 0.5, 0, 20, 20):
        await trio.sleep(pause)
        seen.append((trio.current_time(), ask(simulator).status))

    assert seen == [(0, 200), (20, 200), (40, 200), (59.5, 429), (60, 200), (60, 429), (80, 200), (100, 200)]


async def test_what_is_refused_does_not_count(autojump_clock: MockClock) -> None:
    """Else who asks too often would never be answered again."""
    simulator = limiting("rate_limit", requests_per_minute=1)
    ask(simulator)

    for _ in range(59):
        await trio.sleep(1)
        assert ask(simulator).status == 429
    await trio.sleep(1)

    assert ask(simulator).status == 200


async def test_each_model_has_the_limit_by_itself(autojump_clock: MockClock) -> None:
    """As providers count; over all paths."""
    simulator = limiting("rate_limit", requests_per_minute=1)

    asked = [("a", RESPONSES), ("b", RESPONSES), ("a", CHAT), ("b", CHAT)]
    statuses = [ask(simulator, model=model, path=path).status for model, path in asked]

    assert statuses == [200, 200, 429, 429]


async def test_only_what_matches_is_limited(autojump_clock: MockClock) -> None:
    """A second provider, by its model, is to take over."""
    simulator = limiting("rate_limit", requests_per_minute=1, match={"model": "first"})

    assert [ask(simulator, model=model).status for model in ("first", "first", "second", "second")] == [
        *(200, 429),
        *(200, 200),
    ]


async def test_replies_say_what_is_left_in_openais_words(autojump_clock: MockClock) -> None:
    """Clients feed their own limiters from these headers."""
    simulator = limiting("rate_limit", requests_per_minute=2)

    first = ask(simulator)
    await trio.sleep(1.5)
    second = ask(simulator)
    refused = ask(simulator)

    assert limits_told(first, "requests") == ("2", "1", "1m0s")
    assert limits_told(second, "requests") == ("2", "0", "1m0s")
    assert limits_told(refused, "requests") == ("2", "0", "1m0s")
    assert limits_told(first, "tokens") == (None, None, None)
    assert (refused.status, refused.header("retry-after"), refused.header("retry-after-ms")) == (429, "59", "58500")
    error = json.loads(refused.body)["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert "Limit 2, Used 2, Requested 1. Please try again in 58.5s." in error["message"]


@pytest.mark.parametrize(
    ("retry_after", "told"), [(True, ("60", "60000")), (False, (None, None)), (2.5, ("2.5", None))]
)
async def test_when_to_come_back_is_told_as_the_plan_says(
    autojump_clock: MockClock, retry_after: JsonValue, told: tuple[str | None, str | None]
) -> None:
    """Exactly, not at all, or wrongly: providers do all three."""
    simulator = limiting("rate_limit", requests_per_minute=1, retry_after=retry_after, headers=False)
    ask(simulator)

    refused = ask(simulator)

    assert (refused.header("retry-after"), refused.header("retry-after-ms")) == told
    assert not [name for name, _ in refused.headers if name.startswith("x-ratelimit")]


async def test_a_client_that_comes_back_when_it_is_told_is_let_in(autojump_clock: MockClock) -> None:
    """Not a moment before."""
    simulator = limiting("rate_limit", requests_per_minute=2, tokens_per_minute=1000)
    for pause in (0.3, 7.1):
        await trio.sleep(pause)
        ask(simulator)
    await trio.sleep(11.13)

    refused = ask(simulator)
    wait = int(refused.header("retry-after-ms") or 0) / 1000

    await trio.sleep(wait - 0.002)
    assert ask(simulator).status == 429
    await trio.sleep(0.002)
    assert ask(simulator).status == 200


# --- tokens per minute -------------------------------------------------------------------------------------------


@both_apis
async def test_input_decides_and_the_whole_usage_counts(autojump_clock: MockClock, path: str) -> None:
    """What an answer costs is known only afterwards: as with real providers it counts all the same."""
    usage = json.loads(ask(Simulator(), path=path).body)["usage"]
    tokens_in = usage.get("input_tokens", usage.get("prompt_tokens"))
    total = usage["total_tokens"]
    simulator = limiting("rate_limit", tokens_per_minute=total + tokens_in)

    first, second, third = (ask(simulator, path=path) for _ in range(3))

    assert [reply.status for reply in (first, second, third)] == [200, 200, 429]
    assert limits_told(first, "tokens") == (str(total + tokens_in), str(tokens_in), "1m0s")
    assert limits_told(second, "tokens")[1] == "0"
    assert f"Used {2 * total}, Requested {tokens_in}." in json.loads(third.body)["error"]["message"]


async def test_a_request_that_never_fits_is_refused_for_ever(autojump_clock: MockClock) -> None:
    """A client has to notice; no pause helps."""
    simulator = limiting("rate_limit", tokens_per_minute=2)

    refused = ask(simulator)
    await trio.sleep(60)

    assert (refused.status, refused.header("retry-after")) == (429, "60")
    assert limits_told(refused, "tokens") == ("2", "2", "0s")
    assert ask(simulator).status == 429


async def test_of_two_limits_the_one_that_takes_longer_is_named(autojump_clock: MockClock) -> None:
    """Coming back for the shorter one would be refused again."""
    simulator = limiting("rate_limit", requests_per_minute=2, tokens_per_minute=200)
    ask(simulator, text="a")
    await trio.sleep(30)
    ask(simulator, text="b")

    shorter, refused = ask(simulator, text="c"), ask(simulator, text="word " * 200)

    assert (shorter.header("retry-after"), "RPM" in shorter.body.decode()) == ("30", True)
    assert (refused.header("retry-after"), "TPM" in refused.body.decode()) == ("60", True)


async def test_what_another_fault_strikes_has_come_all_the_same(autojump_clock: MockClock) -> None:
    """A server error is no refusal: the request took its place, with its input."""
    broken: JsonObject = {"kind": "status", "status": 500, "script": [1]}
    simulator = limiting("rate_limit", broken, requests_per_minute=1, tokens_per_minute=100)

    failed, refused = ask(simulator), ask(simulator)

    assert (failed.status, refused.status) == (500, 429)
    assert limits_told(failed, "requests")[1] == "0"
    assert limits_told(failed, "tokens")[1] == str(100 - -(-len(TEXT) // 4))


async def test_what_one_limit_refuses_takes_no_place_in_another(autojump_clock: MockClock) -> None:
    """It was never let in."""
    wide: JsonObject = {"kind": "rate_limit", "requests_per_minute": 3}
    simulator = limiting("rate_limit", wide, requests_per_minute=1, match={"contains": "narrow"})

    statuses = [ask(simulator, text=text).status for text in ("narrow", "narrow", "narrow", "else", "else", "else")]

    assert statuses == [200, 429, 429, 200, 200, 429]


async def test_of_two_limits_on_one_thing_the_first_speaks(autojump_clock: MockClock) -> None:
    """As everywhere in a plan; a header can't say two things."""
    first: JsonObject = {"kind": "rate_limit", "requests_per_minute": 1, "retry_after": 7}
    simulator = Simulator(faults=FaultPlan.from_mapping({"faults": [first, {**first, "retry_after": 9}]}))
    twice = limiting("rate_limit", {"kind": "rate_limit", "requests_per_minute": 9}, requests_per_minute=5)
    ask(simulator)

    assert ask(simulator).header("retry-after") == "7"
    assert limits_told(ask(twice), "requests")[0] == "5"


async def test_a_fault_that_comes_first_in_the_plan_is_the_one_also_above_a_limit(autojump_clock: MockClock) -> None:
    """The order of the plan decides, whatever the kind."""
    down: JsonObject = {"kind": "status", "status": 503, "script": [2]}
    limit: JsonObject = {"kind": "rate_limit", "requests_per_minute": 1}
    simulator = Simulator(faults=FaultPlan.from_mapping({"faults": [down, limit]}))

    assert [ask(simulator).status for _ in range(3)] == [200, 503, 429]
    assert simulator.statistics.faults == {"status": 1, "rate_limit": 1}


async def test_what_is_not_understood_is_not_held_against_a_limit(autojump_clock: MockClock) -> None:
    """It has no model to count for."""
    simulator = limiting("rate_limit", requests_per_minute=1)

    wrong = [post(RESPONSES, {"model": "small"}, simulator).status for _ in range(3)]

    assert wrong == [400, 400, 400]
    assert ask(simulator).status == 200


# --- words and names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9991, "1m0s"),
        (72.5, "1m12.5s"),
        (360, "6m0s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    """Rounded up: who comes back then is not too early."""
    assert duration(seconds) == text


def test_models_that_are_kept_apart_have_an_end() -> None:
    """Names come from outside; a simulator that runs for weeks must not grow with them."""
    models: PerModel[list[str]] = PerModel(list)

    for number in range(MOST_MODELS + 5):
        models.of(f"model {number}").append("asked")
    models.of("x" * 1000)

    assert len(models.values) == MOST_MODELS + 1
    assert len(models.values[OTHERS]) == 5
    assert models.of("model 0") == ["asked"]
