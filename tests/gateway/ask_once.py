"""A process that asks, and prints what came of it: `ask_once.py URL memory|files`."""

import os
import re
import resource
import sys
from pathlib import Path

import trio
from tests.gateway.world import World, open_world

from agent_pipeline.errors import AgentPipelineError

MIB = 1024 * 1024


async def main(url: str, how: str) -> None:
    """Ask `memory`: with an answer that is too large; `files`: without a file descriptor left, then with one."""
    async with open_world(url) as world:
        if how == "memory":
            await ask(world)  # small: the second answer is measured, not what is loaded at the first
            reset_peak()
            before = peak_bytes()
            await ask(world)
            print(f"rise={(peak_bytes() - before) / MIB:.1f}")  # noqa: T201  (how a process answers)
        else:
            world.gateway.role("writer")
            used = max(int(name) for name in os.listdir("/proc/self/fd")) + 1  # noqa: PTH208  (no Path is needed)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, hard))
            await ask(world)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await ask(world)
        sent = [record.sent for record in world.records]
        print(f"{sent=} spent={world.budget.tokens.statistics().spent}")  # noqa: T201  (how a process answers)


def peak_bytes() -> int:
    """Return the most memory this process has held since `reset_peak` (getrusage counts the parent's too)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def reset_peak() -> None:
    """Let the peak be what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def ask(world: World) -> None:
    """Ask, and print how it ended."""
    try:
        print(await world.role.ask("Well?"))  # noqa: T201  (how a process answers)
    except AgentPipelineError as exc:
        print(f"{exc.code}: {exc}")  # noqa: T201  (how a process answers)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
