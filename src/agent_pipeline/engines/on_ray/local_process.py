"""The process of an actor, where it is one of this machine: its end can be seen to, and seen."""

import os
import signal

import trio

from agent_pipeline.engines.on_ray.actor import Hello, process_room


class LocalProcess:
    """A process that said hello; held by a descriptor, so that its number is never taken for that of a later one.

    Without one (on another machine, in another container, on a system that has no such descriptors) everything here
    does nothing: then Ray's word has to do.
    """

    def __init__(self, hello: Hello) -> None:
        self._descriptor: int | None = None
        if hello.room and hello.room == process_room() and hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(hello.pid)
            except OSError:  # it has ended already
                self._descriptor = None

    async def kill(self) -> None:
        """Kill it, be it stopped or out of its senses; wait until it has ended."""
        if self._descriptor is None:
            return
        try:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return
        await trio.lowlevel.wait_readable(self._descriptor)

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
