"""A role's params and an agent's own settings, as they meet in the request that goes out."""

import dataclasses
from typing import Any

import agents as sdk
import pytest
import trio
from agents.retry import retry_policies
from agents.testing import ModelStep, ScriptedModel, assistant_message
from hypothesis import given
from hypothesis import strategies as st
from tests.bridge.world import World, make_roles, open_world
from trio.testing import MockClock

from agent_pipeline.bridge.agents import NO_RETRIES, _NoSettings
from agent_pipeline.bridge.models import RoleModel, RoleProvider, role_settings, settle_settings
from agent_pipeline.config.role_models import Api
from agent_pipeline.errors import AgentRunError, AttemptTimeoutError, ModelProtocolError, RateLimitedError, ServerError
from agent_pipeline.gateway import OPENAI_URL
from agent_pipeline.gateway.inprocess import BASE_URL

CAPS = {
    ("responses", BASE_URL): "max_output_tokens",
    ("responses", OPENAI_URL): "max_output_tokens",
    ("chat", BASE_URL): "max_tokens",
    ("chat", OPENAI_URL): "max_completion_tokens",
}
every_way = pytest.mark.parametrize(("api", "base_url"), CAPS)


async def _body(world: World, agent: object) -> dict[str, Any]:
    async with world.bridge.document("1") as session:
        await session.run_agent(agent, "Hi.")
    return world.simulator.bodies[-1]


def _agent(**settings: Any) -> sdk.Agent[object]:  # noqa: ANN401 - the SDK's own
    return sdk.Agent(name="a", model="writer", model_settings=sdk.ModelSettings(**settings))


def _caps_in(body: dict[str, Any]) -> dict[str, object]:
    return {name: body[name] for name in set(CAPS.values()) if body.get(name) is not None}


@every_way
async def test_roles_params_are_in_the_request(autojump_clock: MockClock, api: Api, base_url: str) -> None:
    """Under each API's own names, whether the SDK knows the param or not."""
    params = {"max_tokens": 500, "temperature": 0.5, "reasoning_effort": "low", "verbosity": "low", "seed": 7}
    async with open_world(api=api, base_url=base_url, roles=make_roles(params)) as world:
        body = await _body(world, "writer")

    assert _caps_in(body) == {CAPS[api, base_url]: 500}
    assert (body["temperature"], body["seed"]) == (0.5, 7)
    effort = body["reasoning"]["effort"] if api == "responses" else body["reasoning_effort"]
    verbosity = body["text"]["verbosity"] if api == "responses" else body["verbosity"]
    assert (effort, verbosity) == ("low", "low")
    assert "stream" not in body or not body["stream"]


@every_way
async def test_plain_call_and_agent_send_the_same_params(autojump_clock: MockClock, api: Api, base_url: str) -> None:
    """A role means the same on both lanes."""
    params = {"max_tokens": 500, "top_p": 0.5, "reasoning_effort": "low", "verbosity": "low", "user": "u"}
    async with open_world(api=api, base_url=base_url, roles=make_roles(params)) as world:
        by_agent = await _body(world, "writer")
        await world.bridge.find_role("writer").ask("Hi.")
        plain = world.simulator.bodies[-1]

    spoken = {"input", "messages", "instructions", "model"}
    assert {name: value for name, value in by_agent.items() if name in plain.keys() - spoken} == {
        name: value for name, value in plain.items() if name not in spoken
    }


async def test_agents_own_settings_win(autojump_clock: MockClock) -> None:
    """What a stage's author writes into an Agent is closer to the work than the YAML."""
    params = {"temperature": 0.5, "top_p": 0.5, "seed": 7, "reasoning_effort": "low"}
    agent = _agent(temperature=0.1, extra_body={"seed": 8}, reasoning={"effort": "high"})
    async with open_world(roles=make_roles(params)) as world:
        body = await _body(world, agent)

    assert (body["temperature"], body["top_p"], body["seed"]) == (0.1, 0.5, 8)
    assert body["reasoning"]["effort"] == "high"


@every_way
@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 9_000},
        {"extra_body": {"max_tokens": 9_000}},
        {"extra_body": {"max_completion_tokens": 9_000}},
        {"extra_body": {"max_output_tokens": 9_000}},
        {"extra_args": {"max_output_tokens": 9_000}},
        {"extra_args": {"max_completion_tokens": 9_000}},
        {"extra_body": {"seed": 1}},
        {"max_tokens": 9_000, "extra_body": {"max_output_tokens": 9_000, "max_tokens": 9_000}},
    ],
)
async def test_nothing_lifts_the_roles_cap(
    autojump_clock: MockClock, api: Api, base_url: str, asked: dict[str, Any]
) -> None:
    """The budget reserves what the role allows; a longer answer would break the cap that can't be passed."""
    async with open_world(api=api, base_url=base_url, roles=make_roles({"max_tokens": 500})) as world:
        body = await _body(world, _agent(**asked))

    assert _caps_in(body) == {CAPS[api, base_url]: 500}


@every_way
async def test_an_agent_may_lower_the_cap(autojump_clock: MockClock, api: Api, base_url: str) -> None:
    """Under the name its API wants, and once."""
    async with open_world(api=api, base_url=base_url, roles=make_roles({"max_tokens": 500})) as world:
        body = await _body(world, _agent(max_tokens=50))

    assert _caps_in(body) == {CAPS[api, base_url]: 50}


@every_way
@given(
    role=st.none() | st.integers(1, 1000),
    own=st.none() | st.integers(1, 1000),
    body=st.dictionaries(st.sampled_from(sorted(set(CAPS.values()))), st.integers(1, 1000)),
    extra=st.dictionaries(st.sampled_from(sorted(set(CAPS.values()))), st.integers(1, 1000)),
)
async def test_the_lowest_cap_goes_out(
    api: Api, base_url: str, *, role: int | None, own: int | None, body: dict[str, int], extra: dict[str, int]
) -> None:
    """Whoever named it and however."""
    params = {} if role is None else {"max_tokens": role}
    async with open_world(api=api, base_url=base_url, roles=make_roles(params)) as world:
        client = world.bridge.find_role("writer")
        agent = sdk.ModelSettings(max_tokens=own, extra_body=body or None, extra_args=extra or None)
        merged = settle_settings(client, role_settings(client), agent)

    given_caps = [cap for cap in (role, own, *body.values(), *extra.values()) if cap is not None]
    extras = {**(merged.extra_args or {})}
    if isinstance(merged.extra_body, dict):
        extras |= merged.extra_body
    sent = [cap for cap in (merged.max_tokens, *(extras.get(name) for name in set(CAPS.values()))) if cap is not None]
    assert sent == ([min(given_caps)] if given_caps else [])


@pytest.mark.parametrize("name", ["model", "stream", "n"])
@pytest.mark.parametrize("extras", ["extra_body", "extra_args"])
async def test_extras_may_not_change_the_binding(autojump_clock: MockClock, name: str, extras: str) -> None:
    """Another model has another price and lane, more choices multiply the cap: only YAML may say so."""
    async with open_world() as world, world.bridge.document("1") as session:
        with pytest.raises(AgentRunError, match=name):
            await session.run_agent(_agent(**{extras: {name: 3}}), "Hi.")

        assert not world.records


async def test_settings_the_sdk_invents_are_not_the_agents_own(autojump_clock: MockClock) -> None:
    """An Agent without a model gets reasoning and verbosity meant for OpenAI's default model; servers refuse them."""
    roles: dict[str, Any] = make_roles()
    roles["defaults"] = {"provider": "openai", "model": "m", "params": {"verbosity": "high"}}
    async with open_world(roles=roles) as world:
        implicit = await _body(world, sdk.Agent[object](name="a"))
        own = await _body(world, sdk.Agent[object](name="a", model_settings=sdk.ModelSettings(verbosity="medium")))

    assert "reasoning" not in implicit
    assert implicit["text"]["verbosity"] == "high"
    assert own["text"]["verbosity"] == "medium"


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [500, 503, 408])
async def test_one_failing_call_is_one_request(
    autojump_clock: MockClock, api: Api, *, stream: bool, status: int
) -> None:
    """The gate is the one owner of retries: neither the client nor the runner adds its own."""
    eager = sdk.ModelRetrySettings(max_retries=3, policy=retry_policies.retry_after())
    always = sdk.ModelRetrySettings(max_retries=3, policy=lambda _context: True)
    faults = [{"kind": "status", "status": status, "retry_after": 1}]
    roles = make_roles({"stream": stream})
    async with open_world(api=api, roles=roles, faults=faults) as world, world.bridge.document("1") as session:
        for number, agent in enumerate(["writer", _agent(retry=eager), _agent(retry=always)], start=1):
            with pytest.raises(ServerError):
                await session.run_agent(agent, "Hi.")
            assert world.simulator.statistics.requests == number == len(world.records)


async def test_attempts_of_the_gate_are_the_only_ones(autojump_clock: MockClock) -> None:
    """Three allowed, three made, also when the agent asks for more of its own."""
    always = sdk.ModelRetrySettings(max_retries=3, policy=lambda _context: True)
    async with open_world(faults=[{"kind": "status", "status": 500}], max_attempts=3) as world:
        async with world.bridge.document("1") as session:
            with pytest.raises(ServerError):
                await session.run_agent(_agent(retry=always), "Hi.")

        assert [record.number for record in world.records] == [1, 2, 3]


async def test_four_rate_limits_take_exactly_what_they_ask_for(autojump_clock: MockClock) -> None:
    """Through the real runner: the wait is the gate's, in virtual time, and a 429 uses up no attempt."""
    faults = [{"kind": "status", "status": 429, "retry_after": 90, "script": [1, 2, 3, 4]}]
    async with open_world(faults=faults, max_attempts=1) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Hi.")

        assert trio.current_time() == 360
        assert [record.status_code for record in world.records] == [429, 429, 429, 429, 200]
        assert {record.number for record in world.records} == {1}
        world.assert_idle()


async def test_hanging_provider_ends_at_the_attempts_deadline(autojump_clock: MockClock) -> None:
    """The client has no timeout of its own that could cut in before."""
    async with open_world(faults=[{"kind": "hang"}], attempt_timeout=700) as world:
        async with world.bridge.document("1") as session:
            with pytest.raises(AttemptTimeoutError):
                await session.run_agent("writer", "Hi.")

        assert trio.current_time() == 700


async def test_rate_limited_for_good_is_our_error(autojump_clock: MockClock) -> None:
    """The gate gives up after fifty in a row, and says so by the provider's own words."""
    faults = [{"kind": "status", "status": 429, "retry_after": 0}]
    async with open_world(faults=faults) as world, world.bridge.document("1") as session:
        with pytest.raises(RateLimitedError):
            await session.run_agent("writer", "Hi.")


async def test_models_are_built_once(autojump_clock: MockClock) -> None:
    """A client per document would cost more than a document."""
    async with open_world() as world:
        provider = RoleProvider(world.bridge.find_role)

        assert provider.get_model("writer") is provider.get_model("writer")


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_requests_start_no_thread_and_copy_no_client(autojump_clock: MockClock, api: Api) -> None:
    """A copied client asks for its platform in a thread: slow, and virtual time runs off to the next deadline."""
    agents = ["writer", _agent(retry=sdk.ModelRetrySettings(max_retries=0))]
    async with open_world(api=api, latency=1) as world:
        async with world.bridge.document("1") as session:
            for number, agent in enumerate(agents, start=1):
                with trio.fail_after(60):
                    await session.run_agent(agent, "Hi.")
                assert trio.current_time() == number
            limiter = trio.to_thread.current_default_thread_limiter()

        assert limiter.borrowed_tokens == 0


async def test_tool_that_streams_an_agent_passes_the_gate(autojump_clock: MockClock) -> None:
    """The SDK streams such an agent whatever its role says; nothing else changes."""
    events: list[object] = []
    expert = sdk.Agent[object](name="expert", model="expert")
    tool = expert.as_tool("ask_expert", "Asks the expert.", on_stream=events.append)
    async with open_world(roles=make_roles(expert={})) as world:
        async with world.bridge.document("1") as session:
            await session.run_agent("writer", "Ask the expert.", tools=[tool])

        assert [record.role for record in world.records] == ["writer", "expert", "writer"]
        assert [bool(body.get("stream")) for body in world.simulator.bodies] == [False, True, False]
        assert events
        world.assert_idle()


async def test_stream_without_its_end_or_without_usage(autojump_clock: MockClock) -> None:
    """The gate refuses the first before it gets here; should it not, no text is made up. The second is allowed."""
    async with open_world(roles=make_roles({"stream": True})) as world:
        model = RoleProvider(world.bridge.find_role).get_model("writer")
        assert isinstance(model, RoleModel)
        whole = ScriptedModel([[assistant_message("Hi.")], [assistant_message("Hi.")]])
        arguments: Any = ("", "Hi.", sdk.ModelSettings(), [], None, [], sdk.ModelTracing.DISABLED)

        model._inner = ScriptedModel([ModelStep.stream([])])
        with pytest.raises(ModelProtocolError):
            await model.get_response(*arguments, previous_response_id=None, conversation_id=None, prompt=None)
        model._inner = _WithoutUsage(whole)
        answer = await model.get_response(*arguments, previous_response_id=None, conversation_id=None, prompt=None)

    assert (answer.usage.requests, answer.usage.total_tokens) == (1, 0)


class _WithoutUsage(ScriptedModel):
    """Another model's stream, with the usage taken out."""

    def __init__(self, inner: ScriptedModel) -> None:
        super().__init__()
        self.inner = inner

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the SDK's interface
        """Pass the events on."""
        async for event in self.inner.stream_response(*args, **kwargs):
            if event.type == "response.completed":
                event.response.usage = None
            yield event


async def test_settings_of_a_role_are_merged_once_and_those_of_agents_each_time(autojump_clock: MockClock) -> None:
    """The same agent of a role runs for every document."""
    async with open_world(roles=make_roles({"max_tokens": 500, "temperature": 0.5})) as world:
        bodies = [await _body(world, agent) for agent in ("writer", _agent(temperature=0.9), "writer", "writer")]

    assert [body["temperature"] for body in bodies] == [0.5, 0.9, 0.5, 0.5]
    assert bodies[0] == bodies[2] == bodies[3]


@pytest.mark.parametrize(
    "override",
    [None, {"temperature": 0.5}, sdk.ModelSettings(), sdk.ModelSettings(temperature=0.5, extra_args={"a": 1}),
     sdk.ModelSettings(retry=NO_RETRIES)],
)  # fmt: skip
def test_settings_laid_over_none_are_what_the_sdk_makes_of_them(override: Any) -> None:  # noqa: ANN401 - as the SDK
    """A role's own agent has none, and spares the SDK going through them."""
    ours, theirs = _NoSettings().resolve(override), sdk.ModelSettings().resolve(override)

    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
