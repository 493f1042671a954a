"""A role's fallback answers where the role can't, below the client, through the same gate; and only there."""

import json
from functools import partial

import httpx2
import pytest
import trio
from pydantic import BaseModel
from tests.gateway.chain import Chain, fault, open_chain
from trio.testing import MockClock

from agent_pipeline.config.role_models import Api
from agent_pipeline.control.scope import CallScope, call_scope
from agent_pipeline.domain.limit_events import FallbackUsed
from agent_pipeline.errors import (
    AgentPipelineError,
    BudgetExceededError,
    CredentialsRejectedError,
    IncompleteAnswerError,
    LedgerError,
    LocalResourceError,
    ModelNotFoundError,
    PoisonedError,
    ProviderDownError,
    RequestRejectedError,
    ServerError,
    WaitTooLongError,
)
from agent_pipeline.gateway.fallback import FallbackTransport, Link, reason_to_fall_back, rewrite_body
from agent_pipeline.gateway.inprocess import BASE_URL

TOO_LONG = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."


@pytest.mark.parametrize(
    ("troubles", "reason", "code"),
    [
        (fault("first", status=503), "unavailable", "server_error"),
        (fault("first", "reset_before_body"), "unavailable", "connection_lost"),
        (fault("first", "hang"), "unavailable", "attempt_timeout"),
        (fault("first", "html_200"), "unavailable", "bad_answer"),
        (fault("first", status=401), "unavailable", "credentials_rejected"),
        (fault("first", status=402), "unavailable", "quota_exhausted"),
        (fault("first", status=404, code="model_not_found"), "unavailable", "model_not_found"),
        (fault("first", status=429), "unavailable", "rate_limited"),
        (fault("first", status=400, code="context_length_exceeded"), "context_length", "request_rejected"),
        (fault("first", status=400, message=TOO_LONG), "context_length", "request_rejected"),
        (fault("first", status=400, code="content_filter"), "refused", "request_rejected"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_the_fallback_answers_what_the_role_cant(
    autojump_clock: MockClock, troubles: dict[str, object], reason: str, code: str, api: Api
) -> None:
    """No error leaves, also none that would end the run; both are on record as what they are."""
    async with open_chain(troubles, api=api) as chain:
        with call_scope(CallScope("d1", "write", 1)):
            assert await chain.ask()

    assert chain.steps == [("first", "second", reason, code)]
    assert isinstance(chain.events[0], FallbackUsed)
    assert (chain.events[0].document_id, chain.events[0].stage) == ("d1", "write")
    assert chain.asked[-1] == ("second", "second-model", None)
    assert set(chain.asked[:-1]) == {("first", "first-model", code)}


async def test_a_gateway_that_tells_nobody_falls_back_all_the_same(autojump_clock: MockClock) -> None:
    """Events are for those who want them."""
    async with open_chain(fault("first", status=503)) as chain:
        silent = FallbackTransport([chain.gateway.link("first"), chain.gateway.link("second")], None)
        request = httpx2.Request("POST", f"{BASE_URL}/responses", json={"model": "first-model", "input": "Well?"})
        assert (await silent.handle_async_request(request)).status_code == 200

    assert chain.events == []


async def test_a_role_that_answers_needs_no_fallback(autojump_clock: MockClock) -> None:
    """Nor does anybody hear of it."""
    async with open_chain() as chain:
        assert await chain.ask()

    assert chain.asked == [("first", "first-model", None)]
    assert chain.events == []


async def test_attempts_of_the_role_are_used_up_first(autojump_clock: MockClock) -> None:
    """A trouble that passes by itself changes no model."""
    brief = {**fault("first", status=503), "script": [1, 2]}
    brief.pop("rate")
    async with open_chain(brief, max_attempts=3) as chain:
        assert await chain.ask()
    assert [asked[::2] for asked in chain.asked] == [("first", "server_error")] * 2 + [("first", None)]

    async with open_chain(fault("first", status=503), max_attempts=3) as chain:
        assert await chain.ask()
    assert [asked[::2] for asked in chain.asked] == [("first", "server_error")] * 3 + [("second", None)]


async def test_a_closed_provider_is_not_asked_again(autojump_clock: MockClock) -> None:
    """Its key was refused once; later requests go to the fallback at once."""
    async with open_chain(fault("first", status=401)) as chain:
        for _ in range(3):
            assert await chain.ask()

    assert [role for role, *_ in chain.asked] == ["first", "second", "second", "second"]
    assert len(chain.steps) == 3


@pytest.mark.parametrize(
    ("troubles", "expected"),
    [
        (fault("first", status=400, code="invalid_value"), RequestRejectedError),
        (fault("first", status=422), RequestRejectedError),
    ],
)
async def test_a_request_that_is_wrong_has_no_fallback(
    autojump_clock: MockClock, troubles: dict[str, object], expected: type[AgentPipelineError]
) -> None:
    """It would be as wrong there."""
    async with open_chain(troubles) as chain:
        with pytest.raises(expected):
            await chain.ask()

    assert [role for role, *_ in chain.asked] == ["first"]
    assert chain.events == []


def test_what_no_other_model_cures_has_no_fallback() -> None:
    """A full budget, this machine's own troubles, the output cap, a ledger that can't be written."""
    assert reason_to_fall_back(BudgetExceededError("full", dimension="tokens")) is None
    assert reason_to_fall_back(LocalResourceError("no descriptors")) is None
    assert reason_to_fall_back(LedgerError("full disk")) is None
    assert reason_to_fall_back(IncompleteAnswerError("cut by max_tokens")) is None
    assert reason_to_fall_back(IncompleteAnswerError("won't", unsuited="refused")) == "refused"


def test_a_provider_that_is_down_and_a_request_it_never_answers_have_one() -> None:
    """Another role may well answer, however often this one failed."""
    assert reason_to_fall_back(ProviderDownError("fails for all")) == "unavailable"
    assert reason_to_fall_back(PoisonedError("keeps failing while others pass")) == "unavailable"


async def test_a_pause_beyond_the_deadline_counts_as_unavailable(autojump_clock: MockClock) -> None:
    """The provider wants an hour, the stage has a minute; its fallback has nothing to wait for."""
    async with open_chain(fault("first", status=429, retry_after=3600.0)) as chain:
        with call_scope(CallScope("d1", deadline=trio.current_time() + 60)):
            assert await chain.ask()
            assert await chain.ask()

    assert trio.current_time() == 0
    assert [role for role, *_ in chain.asked] == ["first", "second", "second"]
    assert {step[3] for step in chain.steps} == {WaitTooLongError.code}


async def test_chain_goes_on_to_its_end(autojump_clock: MockClock) -> None:
    """Each for its own reason."""
    troubles = (fault("first", status=503), fault("second", status=400, code="context_length_exceeded"))
    async with open_chain(*troubles, length=3) as chain:
        assert await chain.ask()

    assert chain.steps == [
        ("first", "second", "unavailable", "server_error"),
        ("second", "third", "context_length", "request_rejected"),
    ]
    assert [body["model"] for body in chain.simulator.bodies] == ["first-model", "second-model", "third-model"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (503, 503, ServerError),
        (401, 503, ServerError),
        (503, 401, ServerError),
        (401, 404, CredentialsRejectedError),
    ],
)
async def test_the_run_ends_only_where_every_role_would_end_it(
    autojump_clock: MockClock, first: int, second: int, expected: type[AgentPipelineError]
) -> None:
    """As long as some role of the chain may answer other documents, only this one fails."""
    troubles = fault("second", status=second, **({"code": "model_not_found"} if second == 404 else {}))
    async with open_chain(fault("first", status=first), troubles) as chain:
        with pytest.raises(AgentPipelineError) as caught:
            await chain.ask()

    assert type(caught.value) is expected
    assert [role for role, *_ in chain.asked] == ["first", "second"]
    assert len(chain.steps) == 1


async def test_a_wrong_request_to_the_fallback_is_told_as_it_is(autojump_clock: MockClock) -> None:
    """Its params are at fault, which the user can mend."""
    async with open_chain(fault("first", status=503), fault("second", status=422)) as chain:
        with pytest.raises(RequestRejectedError):
            await chain.ask()


async def test_fallback_spends_the_same_budget(autojump_clock: MockClock) -> None:
    """What the first cost is gone, and the fallback may use no more than the rest."""
    async with open_chain(fault("first", "reset_before_body"), budget_tokens=10_000) as chain:
        assert await chain.ask()
    charged = [record.charged_tokens for record in chain.records]
    assert len(charged) == 2
    assert chain.budget.tokens.statistics().spent == sum(charged)

    async with open_chain(fault("first", "reset_before_body"), budget_tokens=charged[0] + 50) as chain:
        with pytest.raises(BudgetExceededError):
            await chain.ask()
    assert [role for role, *_ in chain.asked] == ["first"]


async def test_cancelled_at_the_fallback_nothing_is_held(autojump_clock: MockClock) -> None:
    """`open_chain` looks at places, holds and the pool."""
    async with open_chain(fault("first", status=503), latency=10.0) as chain:
        with trio.move_on_after(15):
            await chain.ask()

    assert [(record.role, record.outcome) for record in chain.records] == [("first", "failed"), ("second", "cancelled")]


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_a_streamed_request_falls_back_as_a_stream(autojump_clock: MockClock, api: Api) -> None:
    """The client waits for events, whatever the fallback's role says of streams."""
    async with open_chain(fault("first", status=503), api=api, params={"first": {"stream": True}}) as chain:
        assert await chain.ask("One apple lies on a blue table.")

    assert chain.simulator.bodies[-1]["stream"] is True


class Fruit(BaseModel):
    """Something to ask for."""

    name: str


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_the_request_stays_but_for_what_the_role_brings(autojump_clock: MockClock, api: Api) -> None:
    """Prompt, schema and instructions are the stage's; model, params and cap are the fallback's own."""
    params = {
        "first": {"temperature": 0, "verbosity": "low", "reasoning_effort": "low", "seed": 1},
        "second": {"max_tokens": 50, "verbosity": "high", "top_p": 0.5},
    }
    async with open_chain(fault("first", status=503), api=api, params=params) as chain:
        await chain.gateway.role("first").ask("An apple.", Fruit)

    asked, rewritten = chain.simulator.bodies
    cap = "max_output_tokens" if api == "responses" else "max_tokens"
    assert rewritten["model"] == "second-model"
    assert (asked[cap], rewritten[cap]) == (100, 50)
    assert rewritten["top_p"] == 0.5
    assert not {"temperature", "seed", "reasoning", "reasoning_effort"} & rewritten.keys()
    if api == "responses":
        assert rewritten["text"] == asked["text"] | {"verbosity": "high"}
        assert (rewritten["input"], rewritten["instructions"]) == (asked["input"], "You are the first.")
    else:
        assert rewritten["verbosity"] == "high"
        assert rewritten["response_format"] == asked["response_format"]
        assert rewritten["messages"] == asked["messages"]


def _links(chain: Chain) -> tuple[Link, Link]:
    return chain.gateway.link("first"), chain.gateway.link("second")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"max_tokens": 100}, {"max_completion_tokens": 200}),
        ({"max_tokens": 30}, {"max_completion_tokens": 30}),
        ({"max_tokens": 900}, {"max_completion_tokens": 200}),
        ({}, {"max_completion_tokens": 200}),
    ],
)
async def test_a_lower_cap_of_the_callers_own_is_kept_under_the_others_name(
    asked: dict[str, int], sent: dict[str, int]
) -> None:
    """The cap is what the budget reserves for."""
    async with open_chain(api="chat", params={"second": {"max_tokens": 200}}, official=["second"]) as chain:
        body = rewrite_body({"model": "first-model", "messages": [], **asked}, *_links(chain))

    assert body == {"model": "second-model", "messages": [], **sent}


async def test_a_cap_goes_by_the_apis_name_where_the_fallback_has_none() -> None:
    """And the role's own is not the fallback's."""
    async with open_chain(params={"second": {"max_tokens": None}}) as chain:
        lowered = rewrite_body({"model": "first-model", "max_output_tokens": 7}, *_links(chain))
        own = rewrite_body({"model": "first-model", "max_output_tokens": 100}, *_links(chain))

    assert lowered == {"model": "second-model", "max_output_tokens": 7}
    assert own == {"model": "second-model"}


async def test_a_callers_own_settings_win_over_the_fallbacks() -> None:
    """As they win over the role's."""
    params: dict[str, dict[str, object]] = {
        "first": {"temperature": 0, "metadata": {"by": "first"}},
        "second": {"temperature": 2, "top_p": 0.5},
    }
    async with open_chain(params=params) as chain:
        links = _links(chain)

    body = {"model": "first-model", "temperature": 1, "metadata": {"by": "first"}, "tools": []}
    assert rewrite_body(body, *links) == {
        "model": "second-model",
        "temperature": 1,
        "tools": [],
        "top_p": 0.5,
        "max_output_tokens": 100,
    }


async def test_what_only_one_provider_can_read_stays_there() -> None:
    """A model's thoughts are sealed, and its items are known by names of its provider's store."""
    items = [
        {"role": "user", "content": "Well?"},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "..."},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "yes"},
        "odd",
    ]
    async with open_chain() as chain:
        first, second = _links(chain)
    neighbour = Link(first.binding, first.api, first.official, {}, first.transport)

    assert rewrite_body({"input": items}, first, second)["input"] == [
        {"role": "user", "content": "Well?"},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "yes"},
        "odd",
    ]
    assert rewrite_body({"input": items}, first, neighbour)["input"] == items


@pytest.mark.parametrize("content", [b"--boundary", json.dumps([1]).encode()])
async def test_a_body_that_is_no_object_has_no_fallback(autojump_clock: MockClock, content: bytes) -> None:
    """Nobody knows where its model stands."""
    async with open_chain(fault("first", status=401)) as chain:
        await chain.ask()  # from now on the first is closed
        transport = chain.gateway.role("first").transport
        url = f"{chain.gateway.role('first').base_url}/audio"
        send = partial(transport.handle_async_request, httpx2.Request("POST", url, content=content))
        with pytest.raises(AgentPipelineError):
            await send()

    assert [record.role for record in chain.records] == ["first", "second"]
    assert len(chain.events) == 1


async def test_unknown_model_of_the_role_closes_only_its_own_lane(autojump_clock: MockClock) -> None:
    """So a fallback at the same provider still answers."""
    async with open_chain(fault("first", status=404, code="model_not_found")) as chain:
        assert await chain.ask()
        assert await chain.ask()

    assert chain.steps == [("first", "second", "unavailable", ModelNotFoundError.code)] * 2
