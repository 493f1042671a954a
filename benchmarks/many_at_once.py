"""A thousand documents in flight: the wall time they take beside the ideal, and the memory that each holds.

The ideal is the latency of one answer and the CPU of the run, one after the other. Memory is how far the peak of the
resident memory is above what the process held before, warmed up, with the gate's limit never in the way: the server
answers so late that all documents wait at once. Each measurement is a process of its own.

    uv run python benchmarks/many_at_once.py --documents 1000 --rounds 5
"""

import argparse
import functools
import gc
import json
import os
import sys
import time
from pathlib import Path

from figures import Table
from per_document_cpu import WARM_UP, gathered, write_project
from side_by_side import (
    measure_all,
    open_server,
    own_copy,
    run_server,
    scratch_folder,
    seen_by_server,
    table_of,
    take_all,
)

WANTED_WALL = 1.25
WANTED_KILOBYTES = 80.0
IN_THE_WAY = """\
Plain `Runner.run` calls in one loop take most of it already: the SDK's run, its client, a connection. On top come the \
document's own loop, its tasks and scopes, and its session. All of it is in use while a document waits: collecting \
garbage then frees nothing, and the allocator gives back less than 1 kB."""


def run(folder: Path, documents: int) -> None:
    """Run the pipeline; each document succeeds."""
    from agent_pipeline.compose import Pipeline, RunOptions  # noqa: PLC0415 - the server does without

    config = own_copy(folder) / "bench.yaml"
    result = Pipeline.from_config(config, options=RunOptions(own_process=True)).run_sync(limit=documents)
    if result.documents.succeeded != documents:
        raise SystemExit(f"only {result.documents} succeeded: {result.failures[:1]}")


def wall(folder: Path, documents: int, latency: float) -> dict[str, float]:
    """Return the seconds of a run after a warm-up, and of the ideal."""
    run(folder, min(WARM_UP, documents))
    begun, begun_cpu = time.perf_counter(), time.process_time()
    run(folder, documents)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    return {"wall": seconds, "ideal": latency + cpu}


def memory(folder: Path, documents: int) -> dict[str, float]:
    """Return the kilobytes by which a run after a warm-up raises the peak, for each document."""
    run(folder, min(WARM_UP, documents))
    before = settled_kilobytes()
    run(folder, documents)
    return {"kB per document": (peak_kilobytes() - before) / documents}


def bare_memory(url: str, documents: int) -> dict[str, float]:
    """Return the same of plain `Runner.run` calls."""
    return {"bare: kB per document": gathered(url, documents, documents, settled_kilobytes, peak_kilobytes) / documents}


def settled_kilobytes() -> float:
    """Return what this process holds once garbage is gone, and let its peak begin anew."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident_kilobytes("VmRSS")


def peak_kilobytes() -> float:
    """Return the most this process held since then."""
    return resident_kilobytes("VmHWM")


def resident_kilobytes(line: str) -> int:
    """Return a figure of the kernel's about this process: VmRSS is what it holds, VmHWM the most it held."""
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii")
    return next(int(words.split()[1]) for words in status.splitlines() if words.startswith(f"{line}:"))


def once(what: str, documents: int, latency: float) -> dict[str, float]:
    """Measure beside a server of its own; refuse a run whose documents were not all in flight at once."""
    with open_server(__file__, str(latency)) as url:
        folder = scratch_folder()
        write_project(folder, url, documents, documents)
        taken = measure_all(__file__, what, str(folder), str(documents), str(latency))
        seen = seen_by_server(url)
        if what == "memory":
            taken |= measure_all(__file__, "bare-memory", url, str(documents))
    if what == "memory" and seen["max_requests_in_flight"] < documents:
        raise SystemExit(
            f"only {seen['max_requests_in_flight']} of {documents} were in flight at once: a longer latency"
        )
    return taken


def compare(documents: int, rounds: int, *, latency: float = 1.0, long_latency: float = 30.0) -> list[Table]:
    """Return both tables."""
    walls = take_all(rounds, functools.partial(once, "wall", documents, latency))
    held = take_all(rounds, functools.partial(once, "memory", documents, long_latency))
    title = f"Seconds for {documents} agent documents in flight at once, {latency:g} s latency"
    kilobytes = f"Memory of {documents} agent documents in flight at once"
    return [
        table_of(title, walls, [("wall", "ideal", WANTED_WALL)], program=__doc__),
        table_of(
            kilobytes,
            held,
            wanted={"kB per document": WANTED_KILOBYTES},
            in_the_way={"kB per document": IN_THE_WAY},
            program=__doc__,
        ),
    ]


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["serve", latency]:
            run_server(float(latency))
        case ["wall", folder, documents, latency]:
            print(json.dumps(wall(Path(folder), int(documents), float(latency))))
        case ["memory", folder, documents, _]:
            print(json.dumps(memory(Path(folder), int(documents))))
        case ["bare-memory", url, documents]:
            print(json.dumps(bare_memory(url, int(documents))))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--documents", type=int, default=1000)
            parser.add_argument("--rounds", type=int, default=5)
            parser.add_argument("--latency", type=float, default=1.0, help="of the wall time's server, in seconds")
            parser.add_argument("--long-latency", type=float, default=30.0, help="of the memory's server, in seconds")
            given = parser.parse_args()
            tables = compare(given.documents, given.rounds, latency=given.latency, long_latency=given.long_latency)
            print("\n\n".join(table.as_text() for table in tables))


if __name__ == "__main__":
    main()
