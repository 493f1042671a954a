"""Over real sockets: a request is on record before the server sees any of it, and stays here where it can't be."""

import pytest
import trio
from tests.gateway.bodies import APIS, Api
from tests.gateway.wire_server import wire_server
from tests.gateway.world import open_world, well

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.errors import LedgerError


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_request_is_on_record_when_the_server_sees_it(api: Api, *, streamed: bool) -> None:
    """A process that is killed while it waits has told what it asked for."""
    on_record: list[int] = []

    async def play(stream: trio.abc.Stream) -> None:
        on_record.append(len(world.dispatches))
        assert world.records == []
        await well(api, streamed=streamed)(stream)

    async with wire_server(play) as server, open_world(server.url, api=api, params={"stream": streamed}) as world:
        await world.role.ask("Well?")

    assert on_record == [1]
    assert [record.attempt_id for record in world.records] == [record.attempt_id for record in world.dispatches]


async def test_request_that_can_not_be_recorded_does_not_leave() -> None:
    """The first on a fresh connection, and one on a connection that is kept; nothing is charged for either."""
    is_full = True

    def watch(attempt: AttemptRecord) -> None:
        if is_full and attempt.outcome is None:
            msg = "disk full"
            raise LedgerError(msg)

    async with (
        wire_server(well("responses")) as server,
        open_world(server.url, max_attempts=3, watch=watch) as world,
    ):
        with pytest.raises(LedgerError):
            await world.role.ask("Well?")
        assert server.seen == []
        is_full = False
        await world.role.ask("Well?")
        is_full = True
        with pytest.raises(LedgerError):
            await world.role.ask("Well?")

        assert len(server.seen) == 1
        assert [(record.sent, record.outcome) for record in world.records] == [
            (False, "failed"),
            (True, "succeeded"),
            (False, "failed"),
        ]
