"""The sweep itself: it cancels at every step, finds what an operation leaves behind, and says where."""

import threading
import time

import pytest
import trio

from agent_pipeline.testing import cancel_at_every_step, cancellation


def test_every_wait_is_cancelled_while_it_lasts_and_as_it_ends() -> None:
    """Both are ways through the code: what was waited for never came, or has come and may be lost."""
    ends: list[tuple[int, str]] = []

    async def ring(bells: list[trio.Event]) -> None:
        for bell in bells:
            await trio.sleep(1)
            bell.set()

    async def operation(scope: trio.CancelScope) -> None:
        bells = [trio.Event() for _ in range(3)]
        heard, now = 0, ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ring, bells)
            with scope:
                for bell in bells:
                    now = "waiting"
                    await bell.wait()
                    heard, now = heard + 1, "has come"
                    await trio.lowlevel.checkpoint_if_cancelled()
                now = "undisturbed"
        ends.append((heard, now))

    assert cancel_at_every_step(operation) == len(ends)
    assert set(ends[:-1]) >= {(0, "waiting"), (1, "has come"), (1, "waiting"), (2, "has come"), (2, "waiting")}
    assert ends[-1] == (3, "undisturbed")


def test_order_of_tasks_is_the_same_in_each_run_and_another_for_another_seed() -> None:
    """Trio shuffles what is ready: else the n-th step would be another one in each run, and some never cancelled."""

    def orders(seed: int) -> list[str]:
        found: list[str] = []

        async def operation(scope: trio.CancelScope) -> None:
            order = ""

            async def note(name: str) -> None:
                nonlocal order
                for _ in range(3):
                    await trio.lowlevel.checkpoint()
                    order += name

            with scope:
                async with trio.open_nursery() as nursery:
                    for name in "abcd":
                        nursery.start_soon(note, name)
            found.append(order)

        cancel_at_every_step(operation, seed=seed)
        return found

    first = orders(0)

    assert all(first[-1].startswith(order) for order in first)
    assert {len(order) for order in first} == set(range(13))
    assert orders(0) == first
    assert len({orders(seed)[-1] for seed in range(3)}) > 1


def test_what_is_left_behind_is_found_and_told_where() -> None:
    """The note leads back to the one run that went wrong, however many there were."""
    runs: list[bool] = []

    async def operation(scope: trio.CancelScope) -> None:
        held = 0
        with scope:
            await trio.lowlevel.checkpoint()
            held += 1
            await trio.sleep(1)  # not in a `try`: cancelled here, nothing gives it back
            held -= 1
        runs.append(held == 0)
        assert held == 0

    with pytest.raises(AssertionError) as caught:
        cancel_at_every_step(operation)

    (note,) = [note for note in caught.value.__notes__ if "moment" in note]
    moment = int(note.rpartition(" ")[2])
    assert len(runs) == moment > 1
    runs.clear()
    with pytest.raises(AssertionError):
        cancel_at_every_step(operation, first=moment)
    assert runs == [False]


def test_time_is_virtual() -> None:
    """An operation that waits for an hour is swept in no time."""
    begun = time.monotonic()

    async def operation(scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(3600)
        assert scope.cancel_called or trio.current_time() >= 3600

    assert cancel_at_every_step(operation) > 1
    assert time.monotonic() - begun < 60


def test_real_time_waits_for_threads() -> None:
    """Virtual time would jump while a thread works; with real time the thread's work is done or not begun."""
    ended: list[bool] = []

    async def operation(scope: trio.CancelScope) -> None:
        done = threading.Event()
        with scope, trio.fail_after(60):
            await trio.lowlevel.checkpoint()
            await trio.to_thread.run_sync(done.set)
        ended.append(done.is_set())
        assert scope.cancelled_caught or done.is_set()

    assert cancel_at_every_step(operation, clock=None) > 1
    assert set(ended) == {True, False}


def test_steps_can_be_left_out() -> None:
    """A long operation may be swept coarsely by default, and whole where there is time."""
    cancelled_at: list[float] = []

    async def operation(scope: trio.CancelScope) -> None:
        with scope:
            for _ in range(20):
                await trio.sleep(1)
        cancelled_at.append(trio.current_time())

    every = cancel_at_every_step(operation)
    whole = sorted({*cancelled_at})
    cancelled_at.clear()

    assert cancel_at_every_step(operation, stride=4) == -(-every // 4)
    assert set(cancelled_at) < set(whole)


def test_an_operation_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better than a test that hangs: it says how far it came."""
    monkeypatch.setattr(cancellation, "MOST_MOMENTS", 20)

    async def operation(scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="20 moments"):
        cancel_at_every_step(operation)
