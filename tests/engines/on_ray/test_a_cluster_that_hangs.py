"""Ray that does not come back, played by a stand-in: whoever waits for it goes on, and nobody else waits for them."""

import threading
from collections.abc import Iterator
from functools import partial

import pytest
import trio

from agent_pipeline.engines.on_ray import LOCAL, cluster, connecting, membership, open_cluster
from agent_pipeline.engines.on_ray.visits import Visits
from agent_pipeline.errors import ConfigError

AT_ONCE = 5.0
"""Seconds that count as at once on a busy machine; what hangs here hangs without end."""


class Hanging:
    """Ray's library, as far as a driver asks it; each call of it returns when the test lets it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_left_at_the_end = False
        self.init_may_return = threading.Event()
        self.shutdown_may_return = threading.Event()
        self.is_connecting = threading.Event()
        self.error: Exception | None = None

    def is_initialized(self) -> bool:
        return False

    def init(self, **_given: object) -> None:
        self.calls.append("init")
        self.is_connecting.set()
        self.init_may_return.wait()
        if self.error is not None:
            raise self.error

    def shutdown(self) -> None:
        self.calls.append("shutdown")
        self.shutdown_may_return.wait()

    def leave_at_the_end(self) -> None:
        self.is_left_at_the_end = True

    def get_runtime_context(self) -> object:
        raise RuntimeError("a stand-in has no nodes")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    hanging = Hanging()
    for module in (connecting, membership):
        monkeypatch.setattr(module, "load_ray", lambda: hanging)
    monkeypatch.setattr("agent_pipeline.engines.on_ray.pulse.load_ray", lambda: hanging)
    monkeypatch.setattr(connecting, "_keep_quiet", lambda: None)
    monkeypatch.setattr(cluster, "_leave_it_at_the_end", hanging.leave_at_the_end)
    for name in ("LEAVE_TIMEOUT", "LEAVE_LOST_TIMEOUT", "LEAVE_STARTING_TIMEOUT"):
        monkeypatch.setattr(cluster, name, 0.1)
    monkeypatch.setattr(membership, "membership", made := membership.Membership())
    monkeypatch.setattr(cluster, "membership", made)
    yield hanging
    hanging.init_may_return.set()
    hanging.shutdown_may_return.set()
    wait_for_threads()
    assert not threads()


def threads() -> list[threading.Thread]:
    """Return those of connections."""
    return [thread for thread in threading.enumerate() if thread.name == "Ray"]


def wait_for_threads() -> None:
    """Wait until all have ended that Ray does not hold: who leaves waits for them in vain on a busy machine."""
    for thread in threads():
        thread.join(AT_ONCE)


async def use(is_open: trio.Event | None = None) -> None:
    async with open_cluster(LOCAL, workers=1, main="nobody:nothing"):
        if is_open is not None:
            is_open.set()
            await trio.sleep_forever()


def _pass(door: threading.Event) -> None:
    door.wait()


async def started(ray: Hanging) -> None:
    await trio.to_thread.run_sync(ray.is_connecting.wait)


async def test_who_does_not_want_a_cluster_any_more_does_not_wait_for_it(ray: Hanging) -> None:
    """As on Ctrl-C; the end of the process does not wait, either, and what comes too late is ended."""
    with trio.fail_after(AT_ONCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await started(ray)
            nursery.cancel_scope.cancel()
    asked, is_left = [*ray.calls], ray.is_left_at_the_end
    ray.shutdown_may_return.set()
    ray.init_may_return.set()
    wait_for_threads()

    assert (asked, is_left) == (["init"], True)
    assert ray.calls == ["init", "shutdown"]
    assert threads() == []


async def test_a_cluster_of_our_own_that_is_there_soon_is_ended_in_order(
    ray: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else some of its processes would go on for a minute."""
    monkeypatch.setattr(cluster, "LEAVE_STARTING_TIMEOUT", AT_ONCE)
    ray.shutdown_may_return.set()

    with trio.fail_after(AT_ONCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await started(ray)
            nursery.cancel_scope.cancel()
            ray.init_may_return.set()

    assert (ray.calls, ray.is_left_at_the_end, threads()) == (["init", "shutdown"], False, [])


async def test_one_who_goes_leaves_it_to_another_who_waits(ray: Hanging) -> None:
    """Two runs of one process have one connection."""
    is_open = trio.Event()
    ray.shutdown_may_return.set()
    with trio.fail_after(AT_ONCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, is_open)
            await started(ray)
            with trio.move_on_after(0.01):
                await use()
            ray.init_may_return.set()
            await is_open.wait()
            asked = [*ray.calls]
            nursery.cancel_scope.cancel()
    wait_for_threads()

    assert asked == ["init"]
    assert ray.calls == ["init", "shutdown"]


async def test_a_cluster_that_can_not_be_left_holds_up_nobody_but_the_next_for_a_while(
    ray: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray has one connection in a process: the next run is told why it gets none."""
    monkeypatch.setattr(membership, "LAST_ONE_TIMEOUT", 0.1)
    ray.init_may_return.set()

    with trio.fail_after(AT_ONCE):
        await use()
        is_left = ray.is_left_at_the_end
        with pytest.raises(ConfigError, match=r"^engine: this process can't leave the Ray cluster .* another process$"):
            await use()

    assert (is_left, ray.calls) == (True, ["init", "shutdown"])


async def test_a_cluster_that_is_left_late_is_followed_by_the_next(ray: Hanging) -> None:
    """It was only slow."""
    ray.init_may_return.set()

    with trio.fail_after(AT_ONCE):
        await use()
        ray.shutdown_may_return.set()
        await use()
    wait_for_threads()

    assert ray.calls == ["init", "shutdown", "init", "shutdown"]


async def test_a_visit_that_does_not_end_holds_up_nobody_but_the_shutdown(ray: Hanging) -> None:
    """Ray would end the process where a thread comes back to it after that."""
    door = threading.Event()
    ray.init_may_return.set()
    ray.shutdown_may_return.set()
    connection = membership.membership.join(LOCAL, 1)
    connection.wait_begun()
    visits = Visits()
    visits.begin("a visit", partial(_pass, door))

    with trio.fail_after(AT_ONCE):
        await cluster._leave(connection, visits, 0.05)
    asked = [*ray.calls]
    door.set()

    assert connection.wait_ended(AT_ONCE)
    assert (asked, ray.calls) == (["init"], ["init", "shutdown"])


async def test_one_that_fails_leaves_no_thread_and_is_tried_anew(ray: Hanging) -> None:
    """Another address may be right."""
    ray.error = OSError("no room for it")
    ray.init_may_return.set()

    for _ in range(2):
        with pytest.raises(ConfigError, match=r"Ray could not be started on this machine: .*no room for it"):
            await use()
        assert threads() == []

    assert ray.calls == ["init", "init"]
