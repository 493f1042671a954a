"""The key goes to the configured host in one header, and shows nowhere else; the environment adds nothing."""

import json

import pytest
from tests.gateway.bodies import APIS, Api
from tests.gateway.wire_server import Play, answer, say, wire_server
from tests.gateway.world import KEY, open_world, well

from agent_pipeline.errors import AgentPipelineError, RequestRejectedError
from agent_pipeline.gateway.gateway import Gateway
from agent_pipeline.telemetry import REDACTED, SecretValues

CANARIES = {
    "OPENAI_API_KEY": "sk-env-canary-1",
    "OPENAI_ADMIN_KEY": "sk-env-canary-2",
    "OPENAI_ORG_ID": "org-canary",
    "OPENAI_PROJECT_ID": "proj-canary",
    "OPENAI_WEBHOOK_SECRET": "whsec-canary",
    "OPENAI_BASE_URL": "http://canary.invalid/v1",
    "OPENAI_CUSTOM_HEADERS": "User-Agent: canary\nIdempotency-Key: canary\nAuthorization: canary\nX-Canary: canary",
    "HTTP_PROXY": "http://canary.invalid:1",
    "ALL_PROXY": "http://canary.invalid:1",
    "SSL_CERT_FILE": "/canary.pem",
}


@pytest.mark.parametrize("api", APIS)
async def test_key_is_in_the_authorization_header_and_nowhere_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of the environment is in the request at all: another account's key must never be used silently."""
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)

    async with wire_server(well(api)) as server, open_world(server.url, api=api) as world:
        await world.role.ask("Well?")

    (seen,) = server.seen
    assert seen.header("authorization") == f"Bearer {KEY}"
    assert seen.header("host") == f"127.0.0.1:{server.port}"
    everything = repr(seen)
    assert everything.count(KEY) == 1
    assert "canary" not in everything.replace(KEY, "").lower()
    assert "x-stainless" not in everything.lower()
    assert {name for name, _ in seen.headers} == {
        "host", "accept", "accept-encoding", "authorization", "content-length", "content-type", "user-agent",
    }  # fmt: skip


async def test_provider_without_a_key_is_sent_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server must not get the key of another one."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARIES["OPENAI_API_KEY"])

    async with wire_server(well("chat")) as server, open_world(server.url, api="chat", key=None) as world:
        await world.role.ask("Well?")

    assert server.seen[0].header("authorization") is None


async def test_key_is_not_sent_to_another_host() -> None:
    """A client can be talked into another address; its transport can't."""
    async with wire_server(well("chat")) as server, wire_server(well("chat")) as other, open_world(server.url) as world:
        with pytest.raises(RequestRejectedError, match="was not sent"):
            await world.role.client.with_options(base_url=other.url).models.list()

    assert not other.seen
    assert not server.seen


@pytest.mark.parametrize(
    "play",
    [
        answer(f"wrong key: {KEY}".encode(), status=401),
        answer(f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'.encode(), status=401),
        answer(f'{{"error": {{"message": "{"x" * 290}{KEY}"}}}}'.encode(), status=400),
        answer(f"<p>authorization: Bearer {KEY}</p>".encode(), content_type="text/html"),
        answer(f'{{"error": {{"message": "{KEY}"}}}}'.encode()),
        answer(f"{KEY}".encode()),
        say(f"HTTP/1.1 200 {KEY}\x00\r\n\r\n".encode(), hang_up=True),
        say(f"{KEY}\r\n\r\n".encode(), hang_up=True),
    ],
)
@pytest.mark.parametrize("api", APIS)
async def test_key_that_a_provider_repeats_is_in_no_message(api: Api, play: Play) -> None:
    """Messages go into logs, the ledger and issue trackers."""
    async with wire_server(play) as server, open_world(server.url, api=api) as world:
        with pytest.raises(AgentPipelineError) as caught:
            await world.role.ask("Well?")

    shown = repr(caught.value) + str(caught.value) + repr(world.records)
    assert KEY not in shown
    assert KEY[:12] not in shown


@pytest.mark.parametrize("api", APIS)
async def test_no_key_is_in_a_request_whoever_put_it_there(api: Api) -> None:
    """A tool may have read the environment, and its result is the next request; the rest of the words arrive."""
    other = 'the "other" provider\'s key é'
    said = f"I found {KEY} and {json.dumps(other)}. Well?"

    async with (
        wire_server(well(api)) as server,
        open_world(server.url, api=api, keys=SecretValues([KEY, other])) as world,
    ):
        assert await world.role.ask(said) == "yes"

    (seen,) = server.seen
    assert seen.header("authorization") == f"Bearer {KEY}"
    assert not SecretValues([KEY, other]).holds(seen.body.decode())
    assert f'I found {REDACTED} and \\"{REDACTED}\\". Well?' in seen.body.decode()
    assert seen.header("content-length") == str(len(seen.body))


async def test_key_repeated_as_a_request_id_is_not_recorded() -> None:
    """The ledger keeps it, and so does whoever writes to the provider's support."""
    play = answer(b"{}", status=400, headers=[f"x-request-id: req-{KEY}"])

    async with wire_server(play) as server, open_world(server.url) as world:
        with pytest.raises(AgentPipelineError):
            await world.role.ask("Well?")

    assert world.records[0].provider_request_id == "req-<hidden>"


async def test_key_with_a_character_no_header_has_is_not_repeated() -> None:
    """The HTTP library's complaint quotes the whole header."""
    async with wire_server(well("chat")) as server, open_world(server.url, api="chat", key=f"{KEY}\n") as world:
        with pytest.raises(RequestRejectedError) as caught:
            await world.role.ask("Well?")

    assert KEY not in str(caught.value)
    assert KEY not in repr(world.records)
    assert not server.seen


async def test_objects_that_hold_the_key_do_not_show_it() -> None:
    """Tracebacks with locals print them."""
    async with open_world("http://127.0.0.1:1/v1") as world:
        role = world.role

    for thing in (role, role.binding, role.transport, role.client, world.gateway):
        assert KEY not in repr(thing)
    assert isinstance(world.gateway, Gateway)


@pytest.mark.parametrize("name", ["", "é", "x" * 5000])
async def test_strange_request_id_does_no_harm(name: str) -> None:
    """It goes into records and back to the client as a header."""
    async with (
        wire_server(answer(b"{}", headers=[f"x-request-id: {name}"]), well("chat")) as server,
        open_world(server.url, api="chat", max_attempts=2) as world,
    ):
        assert await world.role.ask("Well?") == "yes"

    first = world.records[0].provider_request_id
    assert first is None or len(first) <= 200


async def test_request_id_is_recorded() -> None:
    """It is what the provider's support asks for."""
    async with (
        wire_server(answer(b"{}", headers=["x-request-id: req_1"])) as server,
        open_world(server.url) as world,
    ):
        with pytest.raises(AgentPipelineError):
            await world.role.ask("Well?")

    assert world.records[0].provider_request_id == "req_1"
