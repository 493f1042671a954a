"""Whether this process is a driver: that of one cluster at a time, which is Ray's rule, for all runs in it."""

import gc
import threading
import time

from agent_pipeline.engines.on_ray.connecting import connect
from agent_pipeline.engines.on_ray.library import load_ray
from agent_pipeline.engines.on_ray.visits import Visits
from agent_pipeline.errors import ConfigError

LAST_ONE_TIMEOUT = 30.0
"""Seconds for which who wants to connect waits until Ray has let this process go from where it was before."""


class Connection:
    """A cluster of this process, from the wish for it until it is left; the thread that connects and disconnects.

    The thread lives as long as what it starts: Linux ends processes that share the fate of the process that started
    them when its starting *thread* ends. Ray may hold it for ever, but never whoever waits for it under a timeout.

    Attributes:
        users: how many runs use it; kept by `Membership`.
        visits: of the runs that left it.
    """

    def __init__(self, address: str, workers: int, after: "Connection | None") -> None:
        self.users = 0
        self.visits: list[Visits] = []
        self._address = address
        self._workers = workers
        self._after = after
        self._begun = threading.Event()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="Ray", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it can be used no more, or never could."""
        return self._over.is_set() or self._error is not None

    def wait_begun(self) -> None:
        """Block until this process is connected.

        Raises:
            ConfigError: it can't be.
        """
        self._begun.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Let it be left: at once, or as soon as Ray has connected."""
        self._over.set()

    def wait_ended(self, timeout: float | None = None) -> bool:
        """Block until it is left, at most `timeout` seconds; return whether it is."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._wait_for_the_last_one()
            is_ours = connect(self._address, self._workers, lambda: not self._over.is_set())
        except BaseException as exc:  # noqa: BLE001 - raised again where somebody waits for it
            self._error = exc
            return
        finally:
            self._begun.set()
        self._over.wait()
        # Ray ends the process at once, and what it was about to print with it, where one comes back to it after that.
        for visits in self.visits:
            visits.wait_over()
        if is_ours:
            gc.collect()  # or what is only garbage may tell Ray of its end while that is being shut down
            load_ray().shutdown()

    def _wait_for_the_last_one(self) -> None:
        until = time.monotonic() + LAST_ONE_TIMEOUT
        while (after := self._after) is not None:
            if not after.wait_ended(max(0.0, until - time.monotonic())):
                raise ConfigError(
                    f"this process can't leave the Ray cluster that it used before: Ray has not answered for "
                    f"{LAST_ONE_TIMEOUT:g} s; start the run in another process",
                    key="engine",
                )
            self._after = after._after  # noqa: SLF001 - of its own kind: the one that it gave up waiting for


class Membership:
    """The one connection of this process that is in use, if one is; nothing here waits for Ray."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def join(self, address: str, workers: int) -> Connection:
        """Return the connection that others use already, or a new one; `leave` it in the end, also if it fails."""
        with self._lock:
            if self._connection is None or self._connection.is_over:
                self._connection = Connection(address, workers, after=self._connection)
            self._connection.users += 1
            return self._connection

    def leave(self, connection: Connection, visits: Visits) -> bool:
        """Use it no more; return whether nobody does now, so that it ends.

        Args:
            connection: as it was joined.
            visits: of who leaves; Ray is left when they are over.
        """
        with self._lock:
            connection.visits.append(visits)
            connection.users -= 1
            if connection.users == 0:
                connection.end()
            return connection.users == 0


membership = Membership()
