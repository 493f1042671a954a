"""This process as the driver of a Ray cluster: one that it starts for itself on this machine, or one that is there."""

import atexit
import ctypes
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from agent_pipeline.engines.link import OpenWorker
from agent_pipeline.engines.on_ray.address import LOCAL
from agent_pipeline.engines.on_ray.library import check_ray_installed
from agent_pipeline.engines.on_ray.membership import Connection, membership
from agent_pipeline.engines.on_ray.pulse import Pulse
from agent_pipeline.engines.on_ray.ray_link import open_ray_worker
from agent_pipeline.engines.on_ray.visits import Visits

LEAVE_TIMEOUT = 30.0
LEAVE_LOST_TIMEOUT = 3.0
"""Seconds for which the end of our part in a cluster is waited for; where it was lost, or not even reached."""

LEAVE_STARTING_TIMEOUT = 10.0
"""Seconds for one of our own that is only being started: soon it is there, and can be ended in order. Of one that is
left before that the system ends all but Ray's agents, which give up after a minute or so."""


@asynccontextmanager
async def open_cluster(address: str, *, workers: int, main: str) -> AsyncGenerator[OpenWorker]:
    """Begin to use a cluster; give a way to start workers in it. Left afterwards, and ended if it was begun here.

    Also on error and cancellation; a cluster that the program around us uses already is used as well, and stays. Where
    this is cancelled before there is a cluster, and Ray does not come back, it is left to a thread that leaves at once
    if it ever does, and that the end of the process does not wait for.

    Args:
        address: `LOCAL`, `AUTO`, or that of a cluster's head, as `host:port`.
        workers: how many a cluster of our own has places for.
        main: the main function of its workers as `module:function`.

    Raises:
        ConfigError: Ray is not installed, there is no cluster at this address, or none could be started.
    """
    check_ray_installed()
    visits = Visits()
    connection = membership.join(address, workers)
    try:
        await trio.to_thread.run_sync(connection.wait_begun, abandon_on_cancel=True)
    except BaseException:
        await _leave(connection, visits, LEAVE_STARTING_TIMEOUT if address == LOCAL else LEAVE_LOST_TIMEOUT)
        raise
    pulse = Pulse(visits)
    try:
        _take_signals_back()
        yield partial(open_ray_worker, main, pulse.why_lost, visits)
    finally:
        pulse.stop()
        is_lost = pulse.why_lost() is not None
        await _leave(connection, visits, LEAVE_LOST_TIMEOUT if is_lost else LEAVE_TIMEOUT)


async def _leave(connection: Connection, visits: Visits, timeout: float) -> None:
    """Leave the cluster; wait until that is done, also when cancelled, at most so many seconds."""
    is_last = membership.leave(connection, visits)

    def wait() -> None:
        visits.wait_over()
        if is_last:
            connection.wait_ended()

    with trio.move_on_after(timeout, shield=True) as patience:
        await trio.to_thread.run_sync(wait, abandon_on_cancel=True)
    if patience.cancelled_caught:
        _leave_it_at_the_end()


def _leave_it_at_the_end() -> None:
    """Let this process end as one that knows nothing of Ray: its head is gone, or it would have answered.

    Else it would be waited for once more, and then crash: its threads go on while their objects are destroyed.
    """
    shutdown = getattr(sys.modules.get("ray"), "shutdown", None)  # it may be that its import is what takes long
    if shutdown is not None:
        atexit.unregister(shutdown)
    c = ctypes.CDLL(None)
    if hasattr(c, "on_exit"):  # what Python does at its end is done by then
        c.on_exit(c["_exit"], None)


def _take_signals_back() -> None:
    """Install our handler of SIGTERM again: Ray puts one around it that prints a stack first."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
