"""Very many documents from JSON Lines, plain calls to the in-process provider: does anything grow with their number?

Memory and time are noted every 10,000 documents; the first note is what the later ones are held against. The
simulator's own work is in the time. Then one document more is in the source, and the run is gone on with:
how long until its request leaves. Each measurement is a process of its own. Leaves nothing.

    uv run python benchmarks/many_documents.py --documents 1000000
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from figures import Table
from many_at_once import resident_kilobytes
from side_by_side import measure_all, table_of

if TYPE_CHECKING:
    from agent_pipeline.gateway.pool import ConnectionPool

WARM_UP = 10_000
"""Documents after which memory should not grow any more."""
IN_FLIGHT = 100
WANTED_GROWTH = 1.10
WANTED_LEDGER_KILOBYTES = 2.0
WANTED_SECONDS_TO_RESUME = 20.0
IN_THE_WAY = {
    "resident MB, the most later / resident MB when warm": """\
nothing is kept of a document: 40,000 of them leave no garbage, and what is traced grows by caches that have a bound
(pydantic's of texts, the simulator's of requests it has seen lately). They fill up after the first 10,000, and so do,
as far as the rest tells, the allocator's arenas; from 380,000 documents to a million it went from 170 to 171 MB.""",
    "resumed: seconds until the first request": """\
each finished document is read from the source and hashed, looked up in the ledger, and its artifact's status is looked
at: some 20 to 30 us of CPU, of which reading the line takes 6, the hash 2.5, the ledger 5, the artifact 5.""",
}

PIPELINE = """\
name: bench
roles: roles.yaml
source: {{path: documents.jsonl}}
artifacts: artifacts
logs: logs
stages: ["bench_stage:answer"]
limits:
  documents_in_flight: {in_flight}
  requests_in_flight: {in_flight}
  timeouts: {{run: null}}
"""
ROLES = """\
project: bench
env: bench
providers: {local: {base_url: "https://simulator.invalid/v1", api: responses}}
roles: {writer: {provider: local, model: gpt-5-mini, params: {max_tokens: 200}}}
"""
STAGE = """\
from agent_pipeline import Document, StageContext, stage


@stage(role="writer")
async def answer(document: Document, context: StageContext) -> Document:
    return document.with_text(await context.ask(document.text))
"""


def write_project(folder: Path, documents: int) -> None:
    """Write the project; each document is a line of some 100 bytes."""
    with folder.joinpath("documents.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(line(number) for number in range(documents))
    folder.joinpath("bench.yaml").write_text(PIPELINE.format(in_flight=IN_FLIGHT), encoding="utf-8")
    folder.joinpath("roles.yaml").write_text(ROLES, encoding="utf-8")
    folder.joinpath("bench_stage.py").write_text(STAGE, encoding="utf-8")


def line(number: int) -> str:
    """Return a document."""
    return json.dumps({"id": f"d{number}", "text": f"Document {number}. The quick brown fox jumps."}) + "\n"


class Note(NamedTuple):
    """How a run stood when so many documents had asked."""

    asked: int
    seconds: float
    cpu_seconds: float
    kilobytes: int


@dataclass
class Course:
    """What was noted while the run went on: a note every so many documents."""

    every: int
    asked: int = 0
    begun: float = field(default_factory=time.perf_counter)
    notes: list[Note] = field(default_factory=list)

    def ask(self) -> None:
        """Count a request; a document makes one."""
        self.asked += 1
        if self.asked % self.every == 0:
            seconds = time.perf_counter() - self.begun
            self.notes.append(Note(self.asked, seconds, time.process_time(), resident_kilobytes("VmRSS")))


def counted_pool(course: Course) -> "ConnectionPool":
    """Return a pool that leads to the simulator in this process, and counts."""
    import httpx2  # noqa: PLC0415 - as late as the rest of the package

    from agent_pipeline.gateway.inprocess import SimulatorTransport  # noqa: PLC0415 - as late as the rest of the package
    from agent_pipeline.gateway.pool import ConnectionPool  # noqa: PLC0415 - as late as the rest of the package
    from agent_pipeline.simulator import Simulator  # noqa: PLC0415 - as late as the rest of the package

    class Counted(SimulatorTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            course.ask()
            return await super().handle_async_request(request)

    simulator = Simulator()
    return ConnectionPool(lambda: Counted(simulator))


def run_all(folder: Path, documents: int) -> dict[str, float]:
    """Run them all; return how memory, time and the ledger grew."""
    from agent_pipeline.compose import Pipeline, RunOptions  # noqa: PLC0415 - as late as the rest of the package

    course = Course(every=max(1, min(WARM_UP, documents // 10)))
    options = RunOptions(own_process=True, make_pool=lambda: counted_pool(course))
    result = Pipeline.from_config(folder / "bench.yaml", options=options).run_sync()
    if result.documents.succeeded != documents:
        raise SystemExit(f"only {result.documents} succeeded: {result.failures[:1]}")
    show(course)
    notes = course.notes
    half = len(notes) // 2
    return {
        "resident MB when warm": notes[0].kilobytes / 1024,
        "resident MB, the most later": max(note.kilobytes for note in notes[1:]) / 1024,
        "ms per document, first half": milliseconds(notes[0], notes[half]),
        "ms per document, second half": milliseconds(notes[half], notes[-1]),
        "CPU ms per document, first half": cpu_milliseconds(notes[0], notes[half]),
        "CPU ms per document, second half": cpu_milliseconds(notes[half], notes[-1]),
        "ledger: kB per document": Path(result.run_dir, "ledger.sqlite3").stat().st_size / documents / 1000,
    }


def milliseconds(earlier: Note, later: Note) -> float:
    """Return how long a document took between two notes."""
    return (later.seconds - earlier.seconds) / (later.asked - earlier.asked) * 1000


def cpu_milliseconds(earlier: Note, later: Note) -> float:
    """Return how much CPU a document took between two notes."""
    return (later.cpu_seconds - earlier.cpu_seconds) / (later.asked - earlier.asked) * 1000


def show(course: Course) -> None:
    """Print the notes."""
    for note in course.notes:
        times = f"{note.seconds:9.1f} s {note.cpu_seconds:9.1f} s CPU"
        print(f"{note.asked:9} documents {times} {note.kilobytes / 1024:8.1f} MB")


def go_on(folder: Path) -> dict[str, float]:
    """Go on with the run, with one document more; return the seconds until its request leaves, imports and all."""
    course = Course(every=1)
    from agent_pipeline.compose import Pipeline  # noqa: PLC0415 - its time counts
    from agent_pipeline.compose.earlier_run import find_earlier_run  # noqa: PLC0415 - its time counts

    (run,) = folder.glob("logs/bench-*")
    earlier = find_earlier_run(run, folder / "logs")
    options = dataclasses.replace(earlier.options, own_process=True, make_pool=lambda: counted_pool(course))
    result = Pipeline.from_config(earlier.config, overrides=earlier.overrides, options=options).run_sync()
    if course.asked != 1:
        raise SystemExit(f"{course.asked} requests instead of one: {result.documents}")
    return {
        "resumed: seconds until the first request": course.notes[0].seconds,
        "resumed: resident MB then": course.notes[0].kilobytes / 1024,
    }


def compare(documents: int) -> Table:
    """Measure both, once: a million documents are not run five times."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_project(folder, documents)
        taken = measure_all(__file__, "run", temporary, str(documents))
        with folder.joinpath("documents.jsonl").open("a", encoding="utf-8") as file:
            file.write(line(documents))
        taken |= measure_all(__file__, "resume", temporary)
    wanted = {
        "ledger: kB per document": WANTED_LEDGER_KILOBYTES,
        "resumed: seconds until the first request": WANTED_SECONDS_TO_RESUME,
    }
    pairs = [
        ("resident MB, the most later", "resident MB when warm", WANTED_GROWTH),
        ("ms per document, second half", "ms per document, first half", WANTED_GROWTH),
        ("CPU ms per document, second half", "CPU ms per document, first half", WANTED_GROWTH),
    ]
    title = f"{documents} documents from JSON Lines, {IN_FLIGHT} in flight, plain calls to the in-process provider"
    return table_of(
        title, {name: [number] for name, number in taken.items()}, pairs, wanted, program=__doc__, in_the_way=IN_THE_WAY
    )


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["run", folder, documents]:
            print(json.dumps(run_all(Path(folder), int(documents))))
        case ["resume", folder]:
            print(json.dumps(go_on(Path(folder))))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--documents", type=int, default=100_000)
            given = parser.parse_args()
            print(compare(given.documents).as_text())


if __name__ == "__main__":
    main()
