"""The thread that drives the sinks, and two ways to wait for its end: Trio's, and one for when Trio is stuck."""

import threading
from collections.abc import Callable

import trio


class WriterThread:
    """Runs `drive` in a thread of its own, a daemon, so that a stuck sink can't hold the process."""

    def __init__(self, drive: Callable[[], None]) -> None:
        self._drive = drive
        self._ended = trio.Event()
        self._done = threading.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._drive()
        finally:
            self._done.set()
            try:
                self._token.run_sync_soon(self._ended.set)
            except trio.RunFinishedError:
                return  # the run left after its timeout, nobody waits

    async def wait_ended(self, timeout: float) -> None:
        """Wait until the thread is gone, `timeout` seconds at most."""
        with trio.move_on_after(timeout):
            await self._ended.wait()
        if self._ended.is_set():
            self._thread.join()

    def block_until_done(self, timeout: float) -> None:
        """Block the calling thread until there is nothing left to drive, `timeout` seconds at most."""
        self._done.wait(timeout)
