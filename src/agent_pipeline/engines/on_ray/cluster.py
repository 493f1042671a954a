"""This process as the driver of a Ray cluster: one that it starts for itself on this machine, or one that is there."""

import atexit
import ctypes
import gc
import importlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from agent_pipeline.engines.link import OpenWorker
from agent_pipeline.engines.on_ray.library import check_ray_installed, load_ray
from agent_pipeline.engines.on_ray.pulse import Pulse
from agent_pipeline.engines.on_ray.ray_link import open_ray_worker
from agent_pipeline.engines.on_ray.visits import Visits
from agent_pipeline.engines.on_ray.words import in_words
from agent_pipeline.errors import ConfigError

LOCAL, AUTO = "local", "auto"
"""Addresses: a cluster of our own on this machine; the one that this machine belongs to."""

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""For a cluster of our own: batches and shards pass through it, nothing stays."""

ANSWER_TIMEOUT = 10.0
"""Seconds for which the head of a cluster may let wait."""

LEAVE_TIMEOUT = 30.0
LEAVE_LOST_TIMEOUT = 3.0
"""Seconds for which the end of our part in a cluster is waited for; where it was lost before that."""


@asynccontextmanager
async def open_cluster(address: str, *, workers: int, main: str) -> AsyncGenerator[OpenWorker]:
    """Begin to use a cluster; give a way to start workers in it. Left afterwards, and ended if it was begun here.

    Also on error and cancellation; a cluster that the program around us uses already is used as well, and stays.

    Args:
        address: `LOCAL`, `AUTO`, or that of a cluster's head, as `host:port`.
        workers: how many a cluster of our own has places for.
        main: the main function of its workers as `module:function`.

    Raises:
        ConfigError: Ray is not installed, there is no cluster at this address, or none could be started.
    """
    check_ray_installed()
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(membership.enter, address, workers)
    visits = Visits()
    pulse = Pulse(visits)
    try:
        _take_signals_back()
        yield partial(open_ray_worker, main, pulse.why_lost, visits)
    finally:
        pulse.stop()
        is_lost = pulse.why_lost() is not None
        with trio.move_on_after(LEAVE_LOST_TIMEOUT if is_lost else LEAVE_TIMEOUT, shield=True) as patience:
            await trio.to_thread.run_sync(_leave, visits, abandon_on_cancel=True)
        if patience.cancelled_caught:
            _leave_it_at_the_end()


def _leave(visits: Visits) -> None:
    """Leave the cluster when none of our threads is inside Ray; block until then.

    Ray ends the process at once, and what it was about to print with it, where one comes back to it after that.
    """
    visits.wait_over()
    membership.leave()


def _leave_it_at_the_end() -> None:
    """Let this process end as one that knows nothing of Ray: its head is gone, or it would have answered.

    Else it would be waited for once more, and then crash: its threads go on while their objects are destroyed.
    """
    atexit.unregister(load_ray().shutdown)
    c = ctypes.CDLL(None)
    if hasattr(c, "on_exit"):  # what Python does at its end is done by then
        c.on_exit(c["_exit"], None)


class _Membership:
    """Whether this process is a driver: that of one cluster at a time, which is Ray's rule, for all runs in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._thread: _DriverThread | None = None

    def enter(self, address: str, workers: int) -> None:
        with self._lock:
            if self._users == 0:
                self._thread = _DriverThread(address, workers)
                self._thread.begin()
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._thread is not None:
                self._thread.end()


membership = _Membership()


class _DriverThread:
    """The thread that connects and disconnects.

    It lives as long as what it starts: Linux ends processes that share the fate of the process that started them when
    its starting *thread* ends.
    """

    def __init__(self, address: str, workers: int) -> None:
        self._address = address
        self._workers = workers
        self._begun = threading.Event()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="Ray", daemon=True)

    def begin(self) -> None:
        """Connect; block until that is done.

        Raises:
            ConfigError: it can't be.
        """
        self._thread.start()
        self._begun.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Disconnect; block until that is done."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            is_ours = _connect(self._address, self._workers)
        except BaseException as exc:  # noqa: BLE001 - raised again where somebody waits for it
            self._error = exc
            return
        finally:
            self._begun.set()
        self._over.wait()
        if is_ours:
            gc.collect()  # or what is only garbage may tell Ray of its end while that is being shut down
            load_ray().shutdown()


def _connect(address: str, workers: int) -> bool:
    """Connect this process; return whether it was not before."""
    ray = load_ray()
    if ray.is_initialized():
        return False
    if address not in {LOCAL, AUTO}:
        _check_answers(address)
    _keep_quiet()
    local = {"num_cpus": workers, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            **(local if address == LOCAL else {}),
        )
    except Exception as exc:
        raise ConfigError(_problem(address, exc), key="engine.address") from exc
    return True


def _check_answers(address: str) -> None:
    """See that somebody listens there: Ray itself would try for minutes, and hear no signal meanwhile.

    Raises:
        ConfigError: nobody does.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT):
            pass
    except (OSError, ValueError) as exc:
        raise ConfigError(
            _nobody_at(address, getattr(exc, "strerror", None) or str(exc)), key="engine.address"
        ) from exc


def _keep_quiet() -> None:
    """Let Ray's driver say nothing on a terminal that is not its own; what it says of workers we say ourselves."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # It prints errors of the cluster to stdout, which belongs to results, and has no switch for that.
    vars(importlib.import_module("ray._private.worker"))["print_to_stdstream"] = _ignore


def _take_signals_back() -> None:
    """Install our handler of SIGTERM again: Ray puts one around it that prints a stack first."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _ignore(*_arguments: object, **_more: object) -> None:
    """Stand in the place of what prints."""


def _problem(address: str, exc: Exception) -> str:
    if address == LOCAL:
        return f"Ray could not be started on this machine: {in_words(exc)}"
    if isinstance(exc, ConnectionError) and address == AUTO:
        return _nobody_at(address)
    if isinstance(exc, ConnectionError):
        return (
            f"what answers at {address} does not let this process in: see that it is the head of a Ray cluster, and "
            "that RAY_AUTH_MODE and ~/.ray/auth_token are the same here as there (docs/ray.md)"
        )
    return f"the Ray cluster {address} could not be used: {in_words(exc)}"


def _nobody_at(address: str, why: str = "") -> str:
    where = "here" if address == AUTO else f"at {address}"
    advice = "start one (`ray start --head`), or take `local`, which starts one for this run"
    return f"there is no Ray cluster {where}{f' ({why})' if why else ''}; {advice}"
