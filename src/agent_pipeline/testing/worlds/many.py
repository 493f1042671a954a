"""Many worlds, one after the other or in several processes, and what came of all of them."""

import faulthandler
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from agent_pipeline.testing.worlds.world import WorldReport, simulate_world

HANGING = 300.0
"""Real seconds after which a world counts as hanging: its process shows where it is, and ends."""

_CHUNK = 10

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - only where it is there, and in a folder of its own
"""A world syncs some hundred times, which a disk takes longer for than all the rest."""

_NOUNS: Mapping[str, str] = {"crash": "crashes", "cancel": "cancellations", "stop": "stops"}


@dataclass(slots=True)
class Tally:
    """What many worlds were made of.

    Attributes:
        worlds: how many.
        failing: reports with violations.
        totals: documents by outcome, interruptions by kind, requests, steps.
        seconds: real ones.
    """

    worlds: int = 0
    failing: list[WorldReport] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, report: WorldReport) -> None:
        """Count one world."""
        self.worlds += 1
        self.totals.update(report.outcomes)
        self.totals["requests"] += report.requests
        self.totals["steps"] += report.steps
        self.totals.update(_NOUNS[told.partition(" ")[0]] for told in report.sessions if " at " in told)
        if report.violations:
            self.failing.append(report)

    def told(self) -> str:
        """Return one line for people."""
        violations = sum(len(report.violations) for report in self.failing)
        parts = ", ".join(f"{count:,} {what}" for what, count in sorted(self.totals.items()))
        return f"{self.worlds:,} worlds, {violations:,} violations ({parts}) in {self.seconds:.0f} s"


def simulate_worlds(
    seeds: Sequence[int], *, jobs: int = 1, keep: Path | None = None, tell: Callable[[WorldReport], None] | None = None
) -> Tally:
    """Simulate a world for each seed; return what came of them.

    Args:
        seeds: in the order in which they are told.
        jobs: processes; 1 stays in this one.
        keep: where the folders of failing worlds stay, by seed; None keeps none.
        tell: takes each report as its turn comes.

    Raises:
        BrokenProcessPool: a process died, or hung and was ended.
    """
    tally, begun = Tally(), time.perf_counter()
    for report in _reports(seeds, jobs, keep):
        tally.add(report)
        if tell is not None:
            tell(report)
    tally.seconds = time.perf_counter() - begun
    return tally


def _reports(seeds: Sequence[int], jobs: int, keep: Path | None) -> Iterator[WorldReport]:
    simulate = partial(_simulate, keep=keep)
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    # Spawned, not forked: nothing of this process gets into a world.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool:
        yield from pool.map(partial(_simulate_in_worker, keep=keep), seeds, chunksize=_CHUNK)


def _end_with_parent() -> None:
    """Let this process end with the one that started it, which may be killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="end with parent", daemon=True).start()


def _simulate(seed: int, *, keep: Path | None) -> WorldReport:
    with tempfile.TemporaryDirectory(prefix="world-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
        report = simulate_world(seed, Path(folder))
        if report.violations and keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{seed}.story.jsonl").write_text("\n".join(report.story) + "\n", encoding="utf-8")
            shutil.copytree(Path(folder, "project"), keep / str(seed), dirs_exist_ok=True)
    return report


def _simulate_in_worker(seed: int, *, keep: Path | None) -> WorldReport:
    faulthandler.dump_traceback_later(HANGING, exit=True)
    try:
        return replace(_simulate(seed, keep=keep), story=())
    finally:
        faulthandler.cancel_dump_traceback_later()
