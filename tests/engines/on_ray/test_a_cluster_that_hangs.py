"""Ray that does not come back, played by a stand-in: whoever waits for it goes on, and nobody else waits for them."""

import gc
import socket
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
        self.is_used_already = False
        self.has_nodes = False

    def is_initialized(self) -> bool:
        return self.is_used_already

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

    def get_runtime_context(self) -> "Hanging":
        if not self.has_nodes:
            raise RuntimeError("a stand-in has no nodes")
        return self

    def get_node_id(self) -> str:
        return "here"

    def nodes(self) -> list[dict[str, object]]:
        return [{"Alive": True, "NodeID": "here"}]


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
    gc.freeze()  # who leaves Ray collects first: seconds, where much is left of other tests
    yield hanging
    hanging.init_may_return.set()
    hanging.shutdown_may_return.set()
    wait_for_threads()
    gc.unfreeze()
    assert not threads()


def threads() -> list[threading.Thread]:
    """Return those of connections."""
    return [thread for thread in threading.enumerate() if thread.name == "Ray"]


def wait_for_threads() -> None:
    """Wait until all have ended that Ray does not hold: who leaves waits for them in vain on a busy machine."""
    for thread in threads():
        thread.join(AT_ONCE)


def all_calls(ray: Hanging) -> list[str]:
    """Return what Ray was asked in the end."""
    wait_for_threads()
    assert not threads()
    return ray.calls


async def use(is_open: trio.Event | None = None, *, address: str = LOCAL) -> None:
    async with open_cluster(address, workers=1, main="nobody:nothing"):
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

    assert (asked, is_left) == (["init"], True)
    assert all_calls(ray) == ["init", "shutdown"]


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

    assert asked == ["init"]
    assert all_calls(ray) == ["init", "shutdown"]


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


async def test_a_cluster_that_can_not_be_left_is_not_forgotten_by_those_who_gave_up(
    ray: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third run would else take what is being shut down for its own; left at last, it is in nobody's way."""
    monkeypatch.setattr(membership, "LAST_ONE_TIMEOUT", 0.1)
    ray.init_may_return.set()

    with trio.fail_after(AT_ONCE):
        await use()
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"^engine: this process can't leave the Ray cluster"):
                await use()
        with trio.move_on_after(0.01):
            await use()
        with pytest.raises(ConfigError, match=r"^engine: this process can't leave the Ray cluster"):
            await use()
        asked = [*ray.calls]
        ray.shutdown_may_return.set()
        wait_for_threads()
        await use()

    assert asked == ["init", "shutdown"]
    assert all_calls(ray) == ["init", "shutdown", "init", "shutdown"]


async def test_a_cluster_that_is_left_late_is_followed_by_the_next(ray: Hanging) -> None:
    """It was only slow."""
    ray.init_may_return.set()

    with trio.fail_after(AT_ONCE):
        await use()
        ray.shutdown_may_return.set()
        await use()

    assert all_calls(ray) == ["init", "shutdown", "init", "shutdown"]


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
    is_ended_too_soon = connection.wait_ended(0.25)
    asked = [*ray.calls]
    door.set()

    assert not is_ended_too_soon
    assert connection.wait_ended(AT_ONCE)
    assert (asked, ray.calls) == (["init"], ["init", "shutdown"])


async def test_who_is_not_the_last_waits_for_his_own_visits_and_not_for_the_end(
    ray: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run goes on for as long as it likes."""
    monkeypatch.setattr(cluster, "LEAVE_TIMEOUT", AT_ONCE)
    door, is_left = threading.Event(), trio.Event()
    ray.init_may_return.set()
    ray.shutdown_may_return.set()
    other = membership.membership.join(LOCAL, 1)
    other.wait_begun()
    visits = Visits()
    visits.begin("a visit", partial(_pass, door))

    async def leave() -> None:
        await cluster._leave(membership.membership.join(LOCAL, 1), visits, AT_ONCE)
        is_left.set()

    with trio.fail_after(AT_ONCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            await trio.sleep(0.1)
            is_left_too_soon = is_left.is_set()
            door.set()
    membership.membership.leave(other, Visits())

    assert (is_left_too_soon, is_left.is_set(), ray.is_left_at_the_end) == (False, True, False)
    assert all_calls(ray) == ["init", "shutdown"]


async def test_the_pulse_ends_with_its_cluster(ray: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks every few seconds, and would keep the cluster from being left."""
    monkeypatch.setattr(cluster, "LEAVE_TIMEOUT", AT_ONCE)
    ray.has_nodes = True
    ray.init_may_return.set()
    ray.shutdown_may_return.set()

    with trio.fail_after(AT_ONCE):
        async with open_cluster(LOCAL, workers=1, main="nobody:nothing"):
            pass

    assert (ray.is_left_at_the_end, all_calls(ray)) == (False, ["init", "shutdown"])


async def test_one_that_fails_leaves_no_thread_and_is_tried_anew(ray: Hanging) -> None:
    """Another address may be right."""
    ray.error = OSError("no room for it")
    ray.init_may_return.set()

    for _ in range(2):
        with pytest.raises(ConfigError, match=r"Ray could not be started on this machine: .*no room for it"):
            await use()
        assert threads() == []

    assert ray.calls == ["init", "init"]


async def test_who_comes_after_one_that_failed_does_not_get_its_error(ray: Hanging) -> None:
    """Who met it may not have left yet: another thread's run, say."""
    ray.error = OSError("no room for it")
    ray.init_may_return.set()
    failed = membership.membership.join(LOCAL, 1)
    with pytest.raises(ConfigError, match="no room for it"):
        failed.wait_begun()
    ray.error = None
    ray.shutdown_may_return.set()

    await use()
    membership.membership.leave(failed, Visits())

    assert all_calls(ray) == ["init", "init", "shutdown"]


async def test_what_the_program_around_uses_already_is_used_and_stays(ray: Hanging) -> None:
    """It is not ours to end."""
    ray.is_used_already = True
    is_open = trio.Event()

    with trio.fail_after(AT_ONCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, is_open)
            await is_open.wait()
            nursery.cancel_scope.cancel()

    assert all_calls(ray) == []


async def test_where_nobody_listens_ray_is_not_asked(ray: Hanging) -> None:
    """It would try for minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    with trio.fail_after(AT_ONCE), pytest.raises(ConfigError, match=f"there is no Ray cluster at {address}"):
        await use(address=address)

    assert all_calls(ray) == []


async def test_a_cluster_that_nobody_wants_any_more_is_not_even_begun(
    ray: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head's answer, or Ray's import, may have taken longer than the patience of who wanted it."""
    door, is_asking = threading.Event(), threading.Event()

    def answer(_address: str) -> None:
        is_asking.set()
        door.wait()

    monkeypatch.setattr(connecting, "check_answers", answer)

    with trio.fail_after(AT_ONCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await trio.to_thread.run_sync(is_asking.wait)
            nursery.cancel_scope.cancel()
    door.set()

    assert all_calls(ray) == []
