"""Many requests to one model, over real sockets, under Trio and asyncio."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
import trio
from trio.testing import MockClock

from agent_pipeline import ConfigError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator
from agent_pipeline.testing import SimulatorThread
from agent_pipeline.utils import LLMPool, LLMPoolStatistics, LLMRequestError, LLMResponse

ASKED = [{"role": "user", "content": "The lake is deep. Say that again."}]
FAST = {"retry": {"initial_delay": 0.01, "max_delay": 0.02}}

Run = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture(params=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    flavour: Literal["trio", "asyncio"] = request.param

    def run_main(main: Callable[[], Awaitable[Any]]) -> object:
        async def coroutine() -> object:
            return await main()

        return trio.run(main) if flavour == "trio" else asyncio.run(coroutine())

    return run_main


async def ask_together(pool: LLMPool, count: int) -> list[LLMResponse]:
    """Ask in tasks of whatever library runs this."""
    answers: list[LLMResponse] = []

    async def ask() -> None:
        answers.append(await pool.request(messages=ASKED, temperature=0.2, max_tokens=100))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(ask)
    else:
        await asyncio.gather(*(ask() for _ in range(count)))
    return answers


def test_a_request_is_answered_with_content_and_tokens(run: Run) -> None:
    with SimulatorThread() as simulator:

        async def main() -> tuple[LLMResponse, LLMPoolStatistics]:
            async with LLMPool(base_url=simulator.base_url, api_key="dummy", model="gpt-oss") as pool:
                return await pool.request(messages=ASKED, temperature=0, max_tokens=100), pool.statistics()

        answer, totals = run(main)

    assert "lake" in answer.content
    assert answer.finish_reason == "stop"
    assert answer.prompt_tokens > 0
    assert totals == LLMPoolStatistics(1, 1, 0, 1, answer.prompt_tokens, answer.completion_tokens)


def test_never_more_than_allowed_are_on_the_wire_and_connections_are_shared(run: Run) -> None:
    with SimulatorThread(latency=0.01) as simulator:

        async def main() -> list[LLMResponse]:
            async with LLMPool(base_url=simulator.base_url, api_key="k", model="m", max_inflight=7) as pool:
                return await ask_together(pool, 80)

        answers = run(main)
        seen = simulator.statistics

    assert len(answers) == seen.requests == 80
    assert seen.max_requests_in_flight == 7
    assert seen.connections_opened <= 7


def test_what_may_pass_is_tried_again(run: Run) -> None:
    faults: list[dict[str, object]] = [
        {"kind": "status", "status": 503, "script": [1]},
        {"kind": "reset_before_body", "script": [2]},
        {"kind": "status", "status": 429, "retry_after": 0.01, "script": [3]},
    ]
    with SimulatorThread(faults=faults) as simulator:

        async def main() -> LLMPoolStatistics:
            async with LLMPool(base_url=simulator.base_url, api_key="k", model="m", limits=FAST) as pool:
                await pool.request(messages=ASKED)
                return pool.statistics()

        totals = run(main)

    assert (totals.requests, totals.succeeded, totals.failed, totals.attempts) == (1, 1, 0, 4)


def test_what_can_not_be_retried_is_an_error_of_the_pools(run: Run) -> None:
    with SimulatorThread(faults=[{"kind": "status", "status": 400, "rate": 1.0}]) as simulator:

        async def main() -> LLMPoolStatistics:
            async with LLMPool(base_url=simulator.base_url, api_key="k", model="m", limits=FAST) as pool:
                with pytest.raises(LLMRequestError) as caught:
                    await pool.request(messages=ASKED)
                assert (caught.value.status_code, caught.value.reason) == (400, "request_rejected")
                assert caught.value.__cause__ is not None
                return pool.statistics()

        totals = run(main)
        assert simulator.statistics.requests == 1

    assert (totals.requests, totals.succeeded, totals.failed) == (1, 0, 1)


def test_retries_end_with_the_same_error(run: Run) -> None:
    with SimulatorThread(faults=[{"kind": "status", "status": 500, "rate": 1.0}]) as simulator:

        async def main() -> None:
            async with LLMPool(
                base_url=simulator.base_url, api_key="k", model="m", max_attempts=3, limits=FAST
            ) as pool:
                with pytest.raises(LLMRequestError, match="500"):
                    await pool.request(messages=ASKED)

        run(main)
        assert simulator.statistics.requests == 3


def test_an_answer_that_max_tokens_cuts_short_is_an_answer_that_says_so(run: Run) -> None:
    with SimulatorThread() as simulator:

        async def main() -> LLMResponse:
            async with LLMPool(base_url=simulator.base_url, api_key="k", model="m") as pool:
                return await pool.request(messages=ASKED, max_tokens=1)

        answer = run(main)

    assert (answer.finish_reason, answer.completion_tokens) == ("length", 1)


async def test_the_timeout_is_one_attempts_and_waiting_for_a_place_is_not_in_it(autojump_clock: MockClock) -> None:
    simulator = Simulator(faults=FaultPlan.from_mapping({"latency": 8.0}))
    pool = LLMPool(
        base_url="http://127.0.0.1:9/v1",
        api_key="k",
        model="m",
        max_inflight=1,
        timeout=10,
        make_pool=lambda: simulator_pool(simulator),
    )
    async with pool, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask_together, pool, 1)

    assert trio.current_time() == 40
    assert pool.statistics().succeeded == 5


async def test_an_attempt_that_outlives_the_timeout_is_tried_again_and_given_up(autojump_clock: MockClock) -> None:
    simulator = Simulator(faults=FaultPlan.from_mapping({"latency": 100.0}))
    pool = LLMPool(
        base_url="http://127.0.0.1:9/v1",
        api_key="k",
        model="m",
        timeout=10,
        max_attempts=2,
        make_pool=lambda: simulator_pool(simulator),
    )
    async with pool:
        with pytest.raises(LLMRequestError, match="timeout"):
            await pool.request(messages=ASKED)

    assert 20 <= trio.current_time() <= 21
    assert pool.statistics().attempts == 2


async def test_other_timeouts_leave_the_pools_own_alone(autojump_clock: MockClock) -> None:
    """Whoever sets how long to connect has not taken back how long an attempt may take."""
    simulator = Simulator(faults=FaultPlan.from_mapping({"latency": 100.0}))
    pool = LLMPool(
        base_url="http://127.0.0.1:9/v1",
        api_key="k",
        model="m",
        timeout=10,
        max_attempts=1,
        limits={"timeouts": {"connect": 2.0}},
        make_pool=lambda: simulator_pool(simulator),
    )
    async with pool:
        with pytest.raises(LLMRequestError, match="timeout"):
            await pool.request(messages=ASKED)

    assert trio.current_time() == 10


async def test_a_lowered_limit_holds_for_what_comes_and_cancels_nothing(autojump_clock: MockClock) -> None:
    """A number in a file that is edited while requests go on; see `RuntimeConfig`."""
    simulator = Simulator(faults=FaultPlan.from_mapping({"latency": 10.0}))
    pool = LLMPool(
        base_url="http://127.0.0.1:9/v1",
        api_key="k",
        model="m",
        max_inflight=20,
        make_pool=lambda: simulator_pool(simulator),
    )
    async with pool, trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(ask_together, pool, 1)
        await trio.sleep(5)
        assert simulator.statistics.requests_in_flight == 20
        pool.set_max_inflight(2)
        await trio.sleep(10)
        assert simulator.statistics.requests_in_flight == 2

    assert pool.statistics().succeeded == 40
    assert trio.current_time() == 10 + 20 / 2 * 10


def test_a_limit_is_changed_from_asyncio_too() -> None:
    with SimulatorThread(latency=0.05) as simulator:

        async def main() -> None:
            async with LLMPool(base_url=simulator.base_url, api_key="k", model="m", max_inflight=1) as pool:
                await pool.request(messages=ASKED)
                pool.set_max_inflight(3)
                pool.set_timeout(5)
                await ask_together(pool, 12)

        asyncio.run(main())
        assert 1 < simulator.statistics.max_requests_in_flight <= 3


def test_the_key_is_sent_and_is_in_no_error(run: Run) -> None:
    fault = {"kind": "status", "status": 401, "rate": 1.0, "message": "bad key sk-tests-0123456789abcdef"}
    with SimulatorThread(faults=[fault]) as simulator:

        async def main() -> str:
            async with LLMPool(base_url=simulator.base_url, api_key="sk-tests-0123456789abcdef", model="m") as pool:
                with pytest.raises(LLMRequestError) as caught:
                    await pool.request(messages=ASKED)
                return f"{caught.value} {caught.value.__cause__} {pool!r}"

        assert "0123456789" not in run(main)


@pytest.mark.parametrize("end", ["\n", "\r\n", " "])
def test_a_key_read_from_a_file_with_its_line_end_is_good(run: Run, end: str) -> None:
    with SimulatorThread() as simulator:

        async def main() -> int:
            async with LLMPool(base_url=simulator.base_url, api_key=f"sk-t-0123456789{end}", model="m") as pool:
                return (await pool.request(messages=ASKED)).prompt_tokens

        assert run(main) > 0


@pytest.mark.parametrize("count", [2.5, float("nan"), float("inf"), 0, True])
def test_a_limit_that_is_no_count_is_refused_and_the_pool_lives_on(run: Run, count: float) -> None:
    """NaN came through to Trio's thread and ended it as an internal error, with all requests under way."""
    with SimulatorThread() as simulator:

        async def main() -> int:
            async with LLMPool(base_url=simulator.base_url, api_key="k", model="m") as pool:
                with pytest.raises(ValueError, match="whole number"):
                    pool.set_max_inflight(count)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
                return (await pool.request(messages=ASKED)).prompt_tokens

        assert run(main) > 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_inflight": 0}, "^max_inflight: a whole number above 0 is wanted, not 0$"),
        ({"max_inflight": "10"}, "^max_inflight: a whole number above 0 is wanted, not '10'$"),
        ({"max_inflight": 10**13}, "^max_inflight: "),
        ({"timeout": -1}, "^timeout: a positive number of seconds"),
        ({"timeout": "30"}, "^timeout: .*'30'"),
        ({"base_url": "http://example.com/v1"}, "^base_url: .*https"),
        ({"base_url": None}, "^base_url: a text is wanted"),
        ({"model": ""}, "^model: "),
        ({"model": 5}, "^model: "),
        ({"max_attempts": 0}, "^max_attempts: a whole number above 0"),
        ({"max_attempts": 1001}, "^max_attempts: "),
        ({"limits": {"requests_per_minit": 3}}, "^limits.requests_per_minit: unknown key"),
        ({"limits": {"requests_in_flight": 0}}, "^limits.requests_in_flight"),
        ({"limits": {"retry": 3}}, "^limits.retry: "),
        ({"limits": 3}, "^limits: a mapping is wanted"),
        ({"api_key": "sk-t-0123\n456789"}, "characters that no key has"),
        ({"api_key": "sk-t-0123456789\u00e9"}, "characters that no key has"),
        ({"api_key": None}, 'None is no key; is the variable set\\? "" sends none'),
        ({"api_key": 5}, "a text is wanted"),
    ],
)
def test_what_can_not_be_used_is_refused_when_the_pool_is_made(given: dict[str, Any], words: str) -> None:
    usable: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "api_key": "k", "model": "m"}
    with pytest.raises(ConfigError, match=words):
        LLMPool(**{**usable, **given})


async def test_a_param_that_makes_no_sense_is_refused_before_anything_is_sent() -> None:
    async with LLMPool(base_url="http://127.0.0.1:9/v1", api_key="k", model="m") as pool:
        with pytest.raises(ConfigError, match="temperature"):
            await pool.request(messages=ASKED, temperature=7)
        with pytest.raises(ValueError, match="above 0"):
            pool.set_max_inflight(0)
        with pytest.raises(ValueError, match="positive"):
            pool.set_timeout(float("nan"))
    with pytest.raises(RuntimeError):
        pool.set_max_inflight(3)
