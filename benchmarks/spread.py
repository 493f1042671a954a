"""Documents spread over workers on Ray: what the driver costs, what a worker costs beside one process, what two give.

A run's workers are warm before its window begins, and the window ends before they do: CPU is that of each process from
one snapshot of the driver to another, by documents that ended between them. Two plain processes, each a run of its own,
are the control of what this machine gives a second one. *Parsing* is documents that are counted out word by word before
they are asked about, some 10 ms in a thread. Everything happens in a network namespace with loopback and nothing else,
since Ray listens on every address.

    uv run python benchmarks/spread.py --documents 2000 --rounds 3
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import per_document_cpu
from figures import Pair, Table
from side_by_side import (
    as_a_user,
    let_open_many_files,
    measure_all,
    open_server,
    run_server,
    scratch_folder,
    table_of,
    take_all,
)

if TYPE_CHECKING:
    from agent_pipeline.config.pipeline import Overrides
    from agent_pipeline.domain.events import Event

IN_FLIGHT = 50
"""Documents at once, in each worker and in each plain process."""
WARM_UP = 0.15
"""The part of the documents after which the window begins, and before whose end it ends."""
NAMESPACE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")

DRIVER, WORKER, PLAIN = "driver: CPU ms", "worker: CPU ms", "one process: CPU ms"
CALLS = "budget: calls"
THIN, PARSING = "", ", parsing"
"""What is measured of each kind of document has its end behind its name."""
RAY_ONE, RAY_TWO = "1 worker{}: ms", "2 workers{}: ms"
PLAIN_ONE, PLAIN_TWO = "1 process{}: ms", "2 processes{}: ms"
WANTED = {DRIVER: 0.3, CALLS: 0.05}
WANTED_OF_TWO = 0.625
IN_THE_WAY = {
    DRIVER: "the driver alone writes, for all workers. By its threads, over 3,000 documents of a run that took "
    "0.79 ms: taking reports, fences and counts 0.22, log, events and traces 0.18, artifacts 0.14, the ledger 0.13, "
    "reading and unpacking what came 0.10.",
    f"{RAY_TWO} / {RAY_ONE}".format(THIN, THIN): "two cores for two workers, the driver and the provider: a document "
    "that is nothing but a call costs all of them 6 ms, which is 3 ms on both cores, and a single worker has the "
    "driver and the provider on the other core already. A driver on a machine of its own was not tried.",
}
PARSING_STAGE = """\
from collections import Counter

import trio

from agent_pipeline import Document, StageContext, stage

WORDS = "The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 5000


def parse() -> str:
    return Counter(word.strip(".,").lower() for word in WORDS.split()).most_common(1)[0][0]


@stage
async def answer(document: Document, context: StageContext) -> Document:
    word = await trio.to_thread.run_sync(parse)
    return document.with_text(f"{word}: {await context.run_agent('writer', document.text)}")
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one instant."""

    at: float
    documents: int
    driver: float
    workers: float
    calls: int


@dataclass(slots=True)
class Window:
    """A sink that reads the counters when so many documents have ended, once before and once after.

    Attributes:
        documents: of the run.
        workers: without which it does not begin to count.
        calls: asked how often a worker wanted more of a budget.
    """

    documents: int
    workers: int
    calls: Callable[[], int]
    name: str = "window"
    pids: list[int] = field(default_factory=list)
    ended: int = 0
    begun_at: int = 0
    readings: list[Reading] = field(default_factory=list)

    def handle(self, event: "Event", at: datetime) -> None:
        """Count."""
        del at
        pid = getattr(event, "pid", None)
        if event.name == "WORKER_READY" and pid is not None:
            self.pids.append(pid)
            self.begun_at = self.ended
        if event.name != "DOCUMENT_FINISHED":
            return
        self.ended += 1
        warm = len(self.pids) >= self.workers and self.ended >= self.begun_at + self.documents * WARM_UP
        if (not self.readings and warm) or self.ended == int(self.documents * (1 - WARM_UP)):
            workers = sum(map(cpu_seconds, self.pids))
            self.readings.append(Reading(time.monotonic(), self.ended, time.process_time(), workers, self.calls()))

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""

    def figures(self) -> dict[str, float]:
        """Return what a document took in the window."""
        if len(self.readings) != 2:
            raise SystemExit(f"too few documents: workers were not warm before {self.ended} had ended")
        first, last = self.readings
        documents = last.documents - first.documents
        return {
            "wall": (last.at - first.at) / documents * 1000,
            "driver": (last.driver - first.driver) / documents * 1000,
            "workers": (last.workers - first.workers) / documents * 1000,
            "calls": (last.calls - first.calls) / documents,
        }


def cpu_seconds(pid: int) -> float:
    """Return what a process has used so far."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def run(folder: Path, documents: int, workers: int) -> dict[str, float]:
    """Run the pipeline on so many workers, or in this process where there are none; return its figures."""
    from agent_pipeline.compose import Pipeline, RunOptions  # noqa: PLC0415 - the process that compares does without
    from agent_pipeline.engines.leases import lending  # noqa: PLC0415 - as above
    from agent_pipeline.engines.messages import LeaseWanted  # noqa: PLC0415 - as above

    calls: list[None] = []
    take = lending.Lending.take

    def count(self: lending.Lending, worker: int, report: Any) -> None:  # noqa: ANN401 - handed on
        if isinstance(report, LeaseWanted):
            calls.append(None)
        take(self, worker, report)

    lending.Lending.take = count  # type: ignore[method-assign]
    window = Window(documents, workers, lambda: len(calls))
    options = RunOptions(own_process=True, sinks=(window,))
    pipeline = Pipeline.from_config(folder / "bench.yaml", overrides=_overrides(workers), options=options)
    result = pipeline.run_sync(limit=documents)
    if result.documents.succeeded != documents:
        raise SystemExit(f"only {result.documents} succeeded: {result.failures[:1]}")
    return window.figures()


def _overrides(workers: int) -> "Overrides | None":
    from agent_pipeline.config.pipeline import EngineOverrides, Overrides  # noqa: PLC0415 - as above

    if not workers:
        return None
    engine = EngineOverrides(kind="ray", workers=workers, worker_concurrency=IN_FLIGHT)
    return Overrides(engine=engine)


def one_round(url: str, documents: int) -> dict[str, float]:
    """Run everything once, one after the other, with each kind of documents."""
    return _one_kind(url, documents, THIN) | _one_kind(url, documents // 5, PARSING)


def _one_kind(url: str, documents: int, kind: str) -> dict[str, float]:
    """Run documents of one kind; the two plain processes at the same time."""
    root = scratch_folder()

    def project(name: str, in_flight: int = IN_FLIGHT) -> str:
        folder = root / name
        folder.mkdir()
        per_document_cpu.write_project(folder, url, documents, in_flight)
        if kind == PARSING:
            folder.joinpath("bench_stage.py").write_text(PARSING_STAGE, encoding="utf-8")
        return str(folder)

    one_worker = measure_all(__file__, "run", project("ray1"), str(documents), "1")
    two_workers = measure_all(__file__, "run", project("ray2", 2 * IN_FLIGHT), str(documents), "2")
    plain = measure_all(__file__, "run", project("plain"), str(documents), "0")
    commands = [[sys.executable, __file__, "run", project(f"pair{n}"), str(documents), "0"] for n in (1, 2)]
    pair = [subprocess.Popen(one, stdout=subprocess.PIPE, text=True, env=as_a_user()) for one in commands]
    beside = [json.loads(one.communicate()[0].splitlines()[-1]) for one in pair]
    walls = {
        RAY_ONE.format(kind): one_worker["wall"],
        RAY_TWO.format(kind): two_workers["wall"],
        PLAIN_ONE.format(kind): plain["wall"],
        PLAIN_TWO.format(kind): 1 / sum(1 / one["wall"] for one in beside),
    }
    if kind == PARSING:
        return walls
    each = {
        DRIVER: two_workers["driver"],
        WORKER: one_worker["workers"],
        PLAIN: plain["driver"],
        CALLS: two_workers["calls"],
    }
    return each | walls


@contextmanager
def short_home() -> Generator[str]:
    """Give a folder for Ray's token and sockets, whose paths may have a hundred characters."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rounds_in_namespace(documents: int, rounds: int, latency: float) -> dict[str, list[float]]:
    """Take all figures where there is loopback and nothing else; return them by name, one a round."""
    with short_home() as home:
        environment = {**as_a_user(), "HOME": home, "RAY_TMPDIR": home}
        command = [*NAMESPACE, sys.executable, __file__, "rounds", str(documents), str(rounds), str(latency)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(documents: int, rounds: int, latency: float = 0.05) -> Table:
    """Take all figures; return the table."""
    figures = rounds_in_namespace(documents, rounds, latency)
    title = f"Spread over workers, per document: {documents} documents, {IN_FLIGHT} in flight in each worker"
    pairs: list[Pair] = [(WORKER, PLAIN, 1.10)]
    for kind in THIN, PARSING:
        pairs.append((RAY_TWO.format(kind), RAY_ONE.format(kind), WANTED_OF_TWO))
        pairs.append((PLAIN_TWO.format(kind), PLAIN_ONE.format(kind), None))
    return table_of(title, figures, pairs, WANTED, program=__doc__, in_the_way=IN_THE_WAY)


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["serve", latency]:
            run_server(float(latency))
        case ["run", folder, documents, workers]:
            print(json.dumps(run(Path(folder), int(documents), int(workers))))
        case ["rounds", documents, rounds, latency]:
            let_open_many_files()
            with open_server(__file__, latency) as url:
                print(json.dumps(take_all(int(rounds), lambda: one_round(url, int(documents)))))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--documents", type=int, default=2000)
            parser.add_argument("--rounds", type=int, default=3)
            parser.add_argument("--latency", type=float, default=0.05, help="seconds that each answer takes")
            given = parser.parse_args()
            print(compare(given.documents, given.rounds, given.latency).as_text())
            print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
