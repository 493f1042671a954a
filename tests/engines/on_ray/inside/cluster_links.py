"""The way to a worker over Ray: what holds while it works, and when it does not."""

import os
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
from tests.engines.on_ray.inside.conftest import PLACES
from tests.engines.on_ray.toys import ECHO, FLOOD, RAISE, is_running, plan_of

from agent_pipeline.engines.link import DriverEnd, OpenWorker, WorkerLostError
from agent_pipeline.engines.messages import Done, Ended, Finish, Pause, Paused, Ready, Recall, Report
from agent_pipeline.engines.on_ray import LOCAL, open_cluster, ray_link
from agent_pipeline.engines.on_ray.local_process import LocalProcess
from agent_pipeline.engines.on_ray.ray_link import BATCHES_AHEAD, LISTEN_PERIOD, RayLink, open_ray_worker
from agent_pipeline.engines.on_ray.visits import Visits

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_cluster")]


@asynccontextmanager
async def _cluster(main: str = ECHO) -> AsyncGenerator[OpenWorker]:
    async with open_cluster(LOCAL, workers=PLACES, main=main) as open_worker:
        yield open_worker


async def _reports(end: DriverEnd) -> AsyncGenerator[Report]:
    while True:
        for report in await end.receive():
            yield report
            if isinstance(report, Done):
                return


async def _next(end: DriverEnd, kind: type[Report]) -> Report:
    while True:
        for report in await end.receive():
            if isinstance(report, kind):
                return report


async def _hear_all(end: DriverEnd) -> None:
    with trio.fail_after(60):
        while True:
            await end.receive()


async def _pid(end: DriverEnd) -> int:
    ready = await _next(end, Ready)
    assert isinstance(ready, Ready)
    return ready.pid


async def test_a_flushed_report_is_here_within_a_third_of_a_second() -> None:
    """A worker waits for room in the budget this way, and a document waits with it."""
    async with _cluster() as open_worker, open_worker(plan_of()) as end:
        await _pid(end)
        waits = []
        for number in range(20):
            asked_at = time.time()
            end.send(Recall(str(number)))
            await _next(end, Paused)
            waits.append(time.time() - asked_at)

    assert sorted(waits)[10] < 0.1
    assert max(waits) < 0.3


async def test_reports_come_in_order_and_none_is_lost_by_those_who_give_up_waiting() -> None:
    """The driver waits for reports under deadlines of its own."""
    async with _cluster() as open_worker, open_worker(plan_of()) as end:
        for number in range(300):
            end.send(Recall(str(number)) if number % 3 else Pause("toy", str(number), 0.0))
        end.send(Finish())
        heard: list[Report] = []
        while not (heard and isinstance(heard[-1], Done)):
            with trio.move_on_after(0.001):
                heard += await end.receive()
        with pytest.raises(WorkerLostError):
            await end.receive()

    assert [one.model for one in heard if isinstance(one, Paused)] == [str(number) for number in range(300)]


async def test_a_worker_that_was_killed_is_lost_in_plain_words() -> None:
    """What Ray says of it is a page."""
    async with _cluster() as open_worker, open_worker(plan_of()) as end:
        os.kill(await _pid(end), signal.SIGKILL)
        with pytest.raises(WorkerLostError, match=r"^its worker process has died") as lost:
            await _hear_all(end)

    assert len(str(lost.value)) < 120


async def test_an_error_nobody_foresaw_is_told_by_its_name() -> None:
    """Its traceback is in the worker's log; its objects may not travel."""
    async with _cluster(RAISE) as open_worker, open_worker(plan_of()) as end:
        assert isinstance((await end.receive())[0], Ready)
        with pytest.raises(WorkerLostError, match=r"ValueError: boom, said the toy"):
            await _hear_all(end)


async def test_a_stopped_worker_is_silent_and_can_be_killed() -> None:
    """It would go on where it was, and charge, when it is continued: killed is the only fence."""
    async with _cluster() as open_worker, open_worker(plan_of()) as end:
        pid = await _pid(end)
        os.kill(pid, signal.SIGSTOP)
        await trio.sleep(0.5)
        end.send(Recall("into the void"))
        with trio.move_on_after(2) as silence:
            await _next(end, Paused)
        await end.kill()
        was_running = is_running(pid)

    assert silence.cancelled_caught
    assert not was_running


async def test_no_process_is_left_when_the_driver_is_cancelled() -> None:
    """Whatever the worker is about."""
    pids: list[int] = []
    async with _cluster() as open_worker:
        with trio.CancelScope() as scope:
            async with open_worker(plan_of(1)) as first, open_worker(plan_of(2)) as second:
                pids += [await _pid(first), await _pid(second)]
                scope.cancel()
                await trio.sleep_forever()

    assert len(set(pids)) == 2
    assert not any(map(is_running, pids))


async def test_nobody_is_inside_ray_for_a_worker_that_could_not_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It speaks on, and who hears it when Ray is left ends the driver."""
    visits = Visits()
    async with _cluster():
        with monkeypatch.context() as patch:
            patch.setattr(ray_link, "KILL_TIMEOUT", 0.5)
            patch.setattr(ray_link, "_kill", lambda _: None)
            patch.setattr(LocalProcess, "kill", _do_nothing)
            async with open_ray_worker(ECHO, lambda: None, visits, plan_of()) as end:
                pid = await _pid(end)
        was_running = is_running(pid)
        with trio.move_on_after(10 * LISTEN_PERIOD) as patience:
            await trio.to_thread.run_sync(visits.wait_over, abandon_on_cancel=True)
        os.kill(pid, signal.SIGKILL)

    assert was_running
    assert not patience.cancelled_caught


async def _do_nothing(_: LocalProcess) -> None:
    """Stand in the place of what ends a process."""


async def test_a_worker_without_a_place_waits_for_one() -> None:
    """A cluster may grow, and a lost worker's place comes free after it is gone."""
    async with _cluster() as open_worker, trio.open_nursery() as nursery:
        leave = trio.Event()

        async def occupy(number: int, *, task_status: trio.TaskStatus[None]) -> None:
            async with open_worker(plan_of(number)):
                task_status.started()
                await leave.wait()

        for number in range(PLACES):
            await nursery.start(occupy, number)
        with trio.move_on_after(1) as patience:
            async with open_worker(plan_of(PLACES)):
                pass
        leave.set()
        with trio.fail_after(200):
            async with open_worker(plan_of(PLACES)) as end:
                await _pid(end)

    assert patience.cancelled_caught


async def test_a_driver_that_reads_nothing_slows_its_worker_down() -> None:
    """What the ledger can't take yet waits in the worker, not in the driver's memory."""
    async with _cluster(FLOOD) as open_worker, open_worker(plan_of()) as end:
        assert isinstance(end, RayLink)
        await _pid(end)
        await trio.sleep(1.5)
        waiting = end._received.statistics().current_buffer_used
        async with aclosing(_reports(end)) as reports:
            positions = [one.position async for one in _some(reports, 1000)]

    assert waiting <= BATCHES_AHEAD
    assert positions == list(range(positions[0], positions[0] + 1000))


async def _some(reports: AsyncIterator[Report], count: int) -> AsyncIterator[Ended]:
    async for report in reports:
        if isinstance(report, Ended) and count:
            count -= 1
            yield report
        if not count:
            return
