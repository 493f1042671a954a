"""Providers that only any-llm knows: one gate, one client each, nothing tried again below.

Anthropic's Messages API is spoken on a socket of this machine.
"""

import time
import traceback
from functools import partial

import pytest
import trio
from any_llm.types.completion import ChatCompletion
from tests.gateway.anthropic_bodies import message, refusal
from tests.gateway.foreign_world import KEY, KEY_VARIABLE, ForeignWorld, open_foreign
from tests.gateway.wire_server import Play, WireServer, answer, hang, http, reset_after, say, wait_until, wire_server
from tests.gateway.world import closed_port

from agent_pipeline.config.rates import Rates
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    AgentPipelineError,
    AttemptTimeoutError,
    BudgetExceededError,
    ConnectionLostError,
    CredentialsRejectedError,
    ModelNotFoundError,
    ModelProtocolError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExhaustedError,
    RequestRejectedError,
    ServerError,
)

OPEN = partial(open_foreign, "anthropic")
WELL = answer(message("hello"))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def _at(server: WireServer) -> str:
    return server.url.removesuffix("/v1")


async def _fails(play: Play, **settings: object) -> tuple[AgentPipelineError, ForeignWorld, WireServer]:
    async with (
        wire_server(play) as server,
        OPEN(_at(server), **settings) as world,  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
    ):
        with pytest.raises(AgentPipelineError) as caught:
            await world.complete(max_tokens=64)
    return caught.value, world, server


async def test_answer_is_any_llms_own_and_is_charged_as_reported() -> None:
    """What Anthropic counts beside the input is a part of it here."""
    async with wire_server(WELL) as server, OPEN(_at(server), budget_tokens=10_000) as world:
        said = await world.complete(max_tokens=64)

    assert isinstance(said, ChatCompletion)
    assert said.choices[0].message.content == "hello"
    (record,) = world.records
    assert record.usage == Usage(input_tokens=15, output_tokens=5, cached_input_tokens=4)
    assert (record.charged_tokens, world.budget.tokens.statistics().spent) == (20, 20)
    assert (record.method, record.path, record.provider, record.model) == (
        "POST",
        "any-llm/completion",
        "anthropic",
        "m",
    )
    (seen,) = server.seen
    assert (seen.target, seen.header("x-api-key")) == ("/v1/messages", KEY)


async def test_worst_case_is_the_bytes_of_the_request_and_the_output_cap() -> None:
    """As for all other providers, so that one budget holds for all."""
    rates = Rates(fresh=1_000_000, cached=1_000_000, output=1_000_000, reasoning=1_000_000)
    async with wire_server(WELL) as server, OPEN(_at(server), price=rates) as world:
        await world.complete(max_tokens=64)

    (record,) = world.records
    body = b'{"model":"m","messages":[{"role":"user","content":"Say hello."}],"max_tokens":64}'
    assert record.reserved_tokens == len(body) + 64
    assert record.cost_micro_usd == rates.cost_micro_usd(Usage(15, 5, cached_input_tokens=4))


async def test_call_that_does_not_fit_the_budget_is_not_sent() -> None:
    """The cap holds whoever speaks to the provider."""
    async with wire_server(WELL) as server, OPEN(_at(server), budget_tokens=100) as world:
        with pytest.raises(BudgetExceededError):
            await world.complete(max_tokens=64)

    assert (server.seen, world.records) == ([], [])


async def test_one_client_and_one_connection_serve_call_after_call() -> None:
    """A client per call would cost a TLS handshake each, and tens of milliseconds of CPU."""
    async with wire_server(WELL) as server, OPEN(_at(server)) as world:
        for _ in range(20):
            await world.complete(max_tokens=64)

        assert (len(world.made), server.connections, len(server.seen)) == (1, 1, 20)


async def test_calls_that_come_first_together_make_one_client() -> None:
    """Whoever comes while it is made waits for it."""
    async with wire_server(WELL) as server, OPEN(_at(server)) as world:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(partial(world.complete, max_tokens=64))

        assert (len(world.made), len(server.seen)) == (1, 10)
        assert server.connections <= 10


async def test_requests_in_flight_are_the_gates() -> None:
    """any-llm itself knows no limit."""
    release = trio.Event()

    async def play(stream: trio.abc.Stream) -> None:
        await release.wait()
        await WELL(stream)

    async with wire_server(play) as server, OPEN(_at(server), requests_in_flight=3) as world:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(partial(world.complete, max_tokens=64))
            await wait_until(lambda: server.in_flight == 3)
            await trio.sleep(0.05)
            release.set()

        assert (server.most_in_flight, len(server.seen)) == (3, 8)


async def test_rate_limit_is_waited_out_by_the_gate_alone() -> None:
    """The client below would try again by itself, unseen and uncharged."""
    refused = say(refusal(429, "rate_limit_error", "slow down", "retry-after: 0.2", "request-id: req_1"))
    async with wire_server(refused, WELL) as server, OPEN(_at(server)) as world:
        begun = time.monotonic()
        await world.complete(max_tokens=64)

        assert time.monotonic() - begun >= 0.2
        assert len(server.seen) == 2
    assert world.errors == ["rate_limited", None]
    assert (world.records[0].status_code, world.records[0].charged_tokens) == (429, 0)
    assert world.records[0].provider_request_id == "req_1"
    assert world.records[1].number == 1, "a 429 is no attempt used up"


@pytest.mark.parametrize("status", [500, 503, 529])
async def test_failing_server_is_asked_as_often_as_the_gate_says(status: int) -> None:
    """Three attempts are three requests, not nine."""
    error, world, server = await _fails(say(refusal(status, "overloaded_error", "Overloaded")), max_attempts=3)

    assert isinstance(error, ServerError)
    assert (error.status_code, len(server.seen), world.errors) == (status, 3, ["server_error"] * 3)
    assert f"{status}: Overloaded" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "words", "wanted"),
    [
        (401, "authentication_error", "invalid x-api-key", CredentialsRejectedError),
        (403, "permission_error", "not for you", CredentialsRejectedError),
        (402, "billing_error", "pay", QuotaExhaustedError),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", QuotaExhaustedError),
        (404, "not_found_error", "model: m", ModelNotFoundError),
        (400, "invalid_request_error", "messages: at least one is wanted", RequestRejectedError),
        (413, "request_too_large", "too large", RequestRejectedError),
    ],
)
async def test_refusal_means_what_it_means_elsewhere(
    status: int, kind: str, words: str, wanted: type[ProviderError]
) -> None:
    """The same end of a run, whichever client brought the bad news; and one request each."""
    error, world, server = await _fails(say(refusal(status, kind, words)), max_attempts=3)

    assert type(error) is wanted
    assert (len(server.seen), world.records[0].status_code, world.records[0].charged_tokens) == (1, status, 0)
    assert words.removesuffix(".") in str(error)


async def test_request_that_is_too_long_says_so() -> None:
    """So that a role whose context is longer may be asked."""
    words = "prompt is too long: 208310 tokens > 200000 maximum"

    error, _, _ = await _fails(say(refusal(400, "invalid_request_error", words)))

    assert isinstance(error, RequestRejectedError)
    assert error.unsuited == "context_length"


async def test_refused_key_closes_the_lane_and_is_in_no_message() -> None:
    """Whoever comes next is not sent; a provider that repeats the key finds it nowhere."""
    refused = say(refusal(401, "authentication_error", f"Incorrect API key provided: {KEY}"))
    async with wire_server(refused) as server, OPEN(_at(server)) as world:
        for _ in range(2):
            with pytest.raises(CredentialsRejectedError) as caught:
                await world.complete(max_tokens=64)
            assert KEY not in str(caught.value)
            assert KEY not in "".join(traceback.format_exception(caught.value)), "a traceback would show it"

        assert len(server.seen) == 1
    assert KEY not in (world.records[0].error or "")


async def test_attempt_that_hangs_is_cut_off_on_the_other_side_too() -> None:
    """A request that went on in its loop would be paid for twice."""
    async with (
        wire_server(hang()) as server,
        OPEN(_at(server), attempt_timeout=0.2, max_attempts=2, budget_tokens=10_000) as world,
    ):
        with pytest.raises(AttemptTimeoutError) as caught:
            await world.complete(max_tokens=64)

        await wait_until(lambda: server.open_connections == 0)
        assert (caught.value.rung, len(server.seen)) == ("attempt", 2)
        assert world.errors == ["attempt_timeout"] * 2
        assert world.records[0].charged_tokens == world.records[0].reserved_tokens


async def test_silence_is_bounded_by_the_read_timeout() -> None:
    """The clients' own is ten minutes."""
    error, _, _ = await _fails(hang(), read_timeout=0.15)

    assert isinstance(error, AttemptTimeoutError)
    assert (error.rung, error.timeout) == ("read", 0.15)


async def test_cancelled_call_is_over_on_the_other_side_and_charged() -> None:
    """It may be billed."""
    async with wire_server(hang()) as server, OPEN(_at(server)) as world:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(world.complete, max_tokens=64))
                await wait_until(lambda: server.seen)
                scope.cancel()

        await wait_until(lambda: server.open_connections == 0)
    (record,) = world.records
    assert (record.outcome, record.charged_tokens) == ("cancelled", record.reserved_tokens)


async def test_provider_that_can_not_be_reached_costs_nothing() -> None:
    """Nothing was sent, though nobody could watch the client connect."""
    async with OPEN(f"http://127.0.0.1:{await closed_port()}", max_attempts=2, budget_tokens=10_000) as world:
        with pytest.raises(ProviderUnreachableError) as caught:
            await world.complete(max_tokens=64)

    assert world.errors == ["provider_unreachable"] * 2
    assert [record.charged_tokens for record in world.records] == [0, 0]
    assert "the provider anthropic" in str(caught.value)


async def test_broken_connection_is_charged_in_full() -> None:
    """The model may have worked."""
    error, world, server = await _fails(reset_after(b""), max_attempts=2)

    assert isinstance(error, ConnectionLostError)
    assert (len(server.seen), world.errors) == (2, ["connection_lost"] * 2)
    assert world.records[0].charged_tokens == world.records[0].reserved_tokens


@pytest.mark.parametrize(
    "play",
    [
        answer(b"<html>please log in</html>", content_type="text/html"),
        answer(b"{}"),
        answer(b"{"),
        answer(message("")),
    ],
    ids=["html", "empty object", "torn", "no words"],
)
async def test_answer_with_nothing_in_it_is_no_answer(play: Play) -> None:
    """Clients make objects of None of it, or fall over it."""
    error, world, _ = await _fails(play, max_attempts=5)

    assert isinstance(error, ModelProtocolError)
    assert world.errors == ["bad_answer"] * 2, "a model that answers wrongly twice will again"


@pytest.mark.parametrize("text", ["hel", ""], ids=["half", "nothing but thoughts"])
async def test_answer_that_ran_into_the_output_cap_is_an_answer(text: str) -> None:
    """It is raw, and was paid for."""
    async with wire_server(answer(message(text, stop="max_tokens"))) as server, OPEN(_at(server)) as world:
        said = await world.complete(max_tokens=1)

    assert isinstance(said, ChatCompletion)
    assert said.choices[0].finish_reason == "length"


async def test_usage_of_nothing_is_no_report() -> None:
    """any-llm writes zeros where a provider reports none; those would make everything free."""
    nothing = {"input_tokens": 0, "output_tokens": 0}
    async with wire_server(answer(message("hello", usage=nothing))) as server, OPEN(_at(server)) as world:
        await world.complete(max_tokens=64)

    (record,) = world.records
    assert (record.usage, record.charged_tokens) == (None, record.reserved_tokens)


async def test_redirect_takes_no_key_elsewhere() -> None:
    """HTTP libraries drop `authorization` on the way to another host, but not Anthropic's header."""
    async with wire_server(WELL) as thief:
        moved = say(http(b"", status=307, headers=[f"location: {thief.url}/messages"]))
        error, world, _ = await _fails(moved)

        assert thief.connections == 0
    assert isinstance(error, RequestRejectedError)
    assert (world.errors, world.records[0].status_code) == (["request_rejected"], 307)
