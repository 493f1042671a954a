"""Main functions of workers that know nothing of pipelines, for tests of the way to them."""

import os
import time
from collections import Counter
from pathlib import Path

import trio
from tests.engines.plans import plan_with

from agent_pipeline.engines.link import WorkerEnd
from agent_pipeline.engines.messages import (
    Alive,
    Done,
    Ended,
    Fence,
    Finish,
    Pause,
    Paused,
    Ready,
    Recall,
    WorkerPlan,
)

ECHO, FLOOD, RAISE = (f"{__name__}:{name}" for name in ("echo", "flood", "raise_at_once"))

OUT_OF_REACH = """\
from agent_pipeline.engines.on_ray import local_process, ray_link
ray_link.KILL_TIMEOUT = 0.5
ray_link._kill = lambda actor: None
async def kill(self): pass
local_process.LocalProcess.kill = kill
"""
"""A piece of a program: no worker can be killed, as where the network is cut."""


def plan_of(worker: int = 1) -> WorkerPlan:
    """Return a plan that says nothing but the worker's number."""
    return plan_with(worker=worker, concurrency=1, run_id="toy", version="0", plan_sha256=None)


async def echo(plan: WorkerPlan, link: WorkerEnd) -> None:
    """Answer each `Recall` by a `Paused` of that name, at once; a `Pause` by one that is left to wait; beat."""
    link.report(Ready("0", None, os.getpid(), ""))
    link.flush()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_beat, link)
        while not isinstance(command := await link.receive(), Finish):
            if isinstance(command, Recall):
                link.report(Paused("toy", command.owner, time.time()))
                link.flush()
            elif isinstance(command, Pause):
                link.report(Paused("toy", command.model, time.time()))
        nursery.cancel_scope.cancel()
    link.report(Done())


async def _beat(link: WorkerEnd) -> None:
    while True:
        await trio.sleep(1)
        link.report(Alive())


async def flood(plan: WorkerPlan, link: WorkerEnd) -> None:
    """Report ended documents as fast as they are taken away, until the process is killed."""
    link.report(Ready("0", None, os.getpid(), ""))
    for position in range(1_000_000):
        link.report(Ended(Fence(1, 1), position, "", None, "succeeded", None, None, Counter(), Counter()))
        link.flush()
        await trio.sleep(0.002)


async def raise_at_once(plan: WorkerPlan, link: WorkerEnd) -> None:
    """Raise what no worker should."""
    link.report(Ready("0", None, os.getpid(), ""))
    async with trio.open_nursery():
        raise ValueError("boom, said the toy")


def is_running(pid: int) -> bool:
    """Return whether there is such a process, and it is more than the memory of one."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
