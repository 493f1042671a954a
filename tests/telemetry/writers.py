"""Waiting for the threads that write telemetry."""

import threading

import trio


async def wait_writers_ended() -> None:
    """Wait until no writer thread is left, a stuck one that was let go included."""
    for thread in threading.enumerate():
        if thread.name == "telemetry":
            await trio.to_thread.run_sync(thread.join, 10)
            assert not thread.is_alive()
