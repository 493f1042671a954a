"""`RoleClient.ask` against the simulator over a socket: both APIs, streamed and not, plain and structured."""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
import trio
from pydantic import BaseModel, TypeAdapter
from tests.gateway.bodies import APIS, PATHS, Api
from tests.gateway.wire_server import Seen, wire_server
from tests.gateway.world import open_world, well

from agent_pipeline.errors import BudgetExceededError, EnvVarMissingError, OutputInvalidError, UnknownRoleError
from agent_pipeline.gateway import Gateway
from agent_pipeline.simulator import Simulator, serve


class Colour(Enum):
    """A choice."""

    red = "red"
    blue = "blue"


class Finding(BaseModel):
    """A part."""

    title: str
    colour: Colour


class Report(BaseModel):
    """Parts within."""

    findings: list[Finding]
    score: float
    note: str | None


@dataclass
class Point:
    """No model of pydantic's."""

    x: int
    y: int


class Node(BaseModel):
    """It holds its like."""

    name: str
    children: list["Node"]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("output_type", [None, Report, Point, list[int], Colour, Node, dict[str, int], int | None])
async def test_answer_has_the_type_that_was_asked_for(
    api: Api, output_type: type[object] | None, *, streamed: bool
) -> None:
    """Every way to ask leads to the same kind of answer, counted once on both sides."""
    simulator = Simulator()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, simulator)
        url = f"http://127.0.0.1:{port}/v1"
        async with open_world(url, api=api, params={"stream": streamed, "max_tokens": 500}) as world:
            answer = await world.role.ask(
                "Three apples and two pears lie on a blue table. What lies there?", output_type
            )
        nursery.cancel_scope.cancel()

    if output_type is None:
        assert isinstance(answer, str)
        assert answer
    else:
        TypeAdapter(output_type).validate_python(answer, strict=True)
    assert simulator.statistics.requests == len(world.records) == 1
    (record,) = world.records
    assert record.usage is not None
    assert record.usage.input_tokens == simulator.statistics.input_tokens
    assert record.usage.output_tokens == simulator.statistics.output_tokens
    assert record.charged_tokens == record.usage.total_tokens <= record.reserved_tokens
    assert record.path == PATHS[api]
    assert world.budget.tokens.statistics().spent == record.charged_tokens


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_request_carries_what_the_role_says(api: Api, *, streamed: bool) -> None:
    """Instructions, params and schema, under the names of each API."""
    params = {"stream": streamed, "max_tokens": 50, "temperature": 0.5, "verbosity": "low", "model": "another"}
    structured = '{"x": 1, "y": 2}'

    async with (
        wire_server(well(api, structured, streamed=streamed)) as server,
        open_world(server.url, api=api, params=params) as world,
    ):
        assert await world.role.ask("Well?", Point) == Point(1, 2)

    body = body_of(server.seen[0])
    assert body["model"] == "m"
    assert body["temperature"] == 0.5
    assert ("stream" in body) is streamed
    form = {"name": "Point", "strict": True, "schema": body_schema(body, api)}
    if api == "responses":
        assert body["input"] == "Well?"
        assert body["instructions"] == "Be brief."
        assert body["max_output_tokens"] == 50
        assert body["text"] == {"verbosity": "low", "format": {"type": "json_schema", **form}}
    else:
        assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Well?"}]
        assert body["max_tokens"] == 50
        assert body["response_format"] == {"type": "json_schema", "json_schema": form}
        assert body.get("stream_options") == ({"include_usage": True} if streamed else None)


def body_of(seen: Seen) -> dict[str, Any]:
    """Return a request's JSON."""
    body = json.loads(seen.body)
    assert isinstance(body, dict)
    return body


def body_schema(body: dict[str, Any], api: Api) -> object:
    """Return the schema in a request."""
    form = body["text"]["format"] if api == "responses" else body["response_format"]["json_schema"]
    return form["schema"]


@pytest.mark.parametrize("name", ["max_tokens", "max_output_tokens", "max_completion_tokens"])
async def test_worst_case_is_reserved_under_whichever_name_the_cap_has(name: str) -> None:
    """Reserved as 0, a hundred answers at once would pass the budget."""
    async with wire_server(well("chat")) as server, open_world(server.url, api="chat", params={name: 1000}) as world:
        await world.role.ask("Well?")

    assert world.records[0].reserved_tokens == len(server.seen[0].body) + 1000


async def test_several_choices_are_reserved_for() -> None:
    """`n` answers of the cap's length are billed as that many."""
    params = {"max_tokens": 1000, "n": 3}

    async with wire_server(well("chat")) as server, open_world(server.url, api="chat", params=params) as world:
        await world.role.ask("Well?")

    assert world.records[0].reserved_tokens == len(server.seen[0].body) + 3000


async def test_request_that_does_not_fit_the_budget_is_not_sent() -> None:
    """Not one byte."""
    async with wire_server(well("chat")) as server, open_world(server.url, api="chat", budget_tokens=10) as world:
        with pytest.raises(BudgetExceededError):
            await world.role.ask("Well?")

    assert server.connections == 0


async def test_prompt_that_talks_of_streams_is_not_taken_for_one() -> None:
    """Words of a document are no settings."""
    async with wire_server(well("responses")) as server, open_world(server.url) as world:
        assert await world.role.ask('{"stream":true} \\"stream\\":true ,"stream": true') == "yes"


async def test_answer_that_does_not_fit_its_type_is_no_provider_error() -> None:
    """The provider kept its word, the model did not: it is paid for, and another attempt is another request's."""
    async with wire_server(well("chat", "no JSON")) as server, open_world(server.url, api="chat") as world:
        with pytest.raises(OutputInvalidError):
            await world.role.ask("Well?", Point)

    assert world.errors == [None]


async def test_role_is_resolved_once() -> None:
    """A client per call would cost more than the call."""
    async with open_world("http://127.0.0.1:1/v1") as world:
        assert world.gateway.role("writer") is world.gateway.role("writer")
        with pytest.raises(UnknownRoleError, match="writer"):
            world.gateway.role("writr")


async def test_role_whose_provider_has_no_endpoint_is_told_so() -> None:
    """A missing key shows when the role is used, not when the run starts."""
    async with open_world("http://127.0.0.1:1/v1") as world:
        gateway = Gateway(
            runtime=world.gateway._runtime,
            endpoints={},
            gate=world.gateway.gate,
            pool=world.pool,
            read_timeout=None,
            connect_timeout=None,
        )
        with pytest.raises(EnvVarMissingError, match="no endpoint here"):
            gateway.role("writer")
