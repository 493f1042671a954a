"""A resource for tests of what hosts one."""

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from agent_pipeline.bridge import Hosted, current_flavour


@dataclass
class Room:
    """Counts who is in it; only code under Trio touches it."""

    events: list[str] = field(default_factory=list)
    inside: int = 0
    thread: int = 0

    async def add(self, left: int, right: int) -> int:
        assert current_flavour() == "trio"
        await trio.lowlevel.checkpoint()
        return left + right

    async def stay(self, entered: Callable[[], None] | None = None) -> None:
        self.inside += 1
        try:
            if entered is not None:
                entered()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            self.inside -= 1


def hosted_room() -> tuple[Hosted[Room], Room]:
    room = Room()

    @asynccontextmanager
    async def open_room() -> AsyncGenerator[Room]:
        room.events.append("opened")
        room.thread = threading.get_ident()
        try:
            yield room
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            room.events.append("closed")

    return Hosted(open_room), room
