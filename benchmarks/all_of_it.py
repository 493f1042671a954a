"""All benchmarks one after the other: prints their tables and writes `docs/performance.md`.

Figures mean something on a machine that does nothing else. With `--small` everything is run once with few documents, to
see that it works.

    uv run python benchmarks/all_of_it.py --page docs/performance.md
"""

import argparse
import datetime as dt
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import connections
import many_at_once
import many_documents
import per_document_cpu
import plain_call_cpu
import spread
import start_up
from figures import Table, sections, standing
from others import BATCH_PACKAGES, LITELLM_PACKAGES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
LIBRARIES = ("agent-pipeline", "trio", "trio-asyncio", "openai", "openai-agents", "httpx2", "pydantic")


def all_tables(rounds: int, documents: int) -> Iterator[Table]:
    """Run every benchmark; yield each table when it is there."""
    yield per_document_cpu.compare(600, 100, rounds)
    yield per_document_cpu.compare(2000, 1000, rounds)
    yield plain_call_cpu.compare(2000, 25, rounds)
    yield from many_at_once.compare(1000, rounds)
    yield connections.compare(1000, 25, rounds)
    yield many_documents.compare(documents)
    yield start_up.compare(5, rounds)
    yield spread.compare(3000, rounds)


def small_tables() -> Iterator[Table]:
    """Run every benchmark once, with as little as will do; the figures mean nothing.

    All but that of workers, who take a minute to come up, and many documents until they are warm.
    """
    yield per_document_cpu.compare(20, 10, 1)
    yield plain_call_cpu.compare(100, 10, 1)
    yield from many_at_once.compare(20, 1, latency=0.2, long_latency=2.0)
    yield connections.compare(20, 5, 1)
    yield many_documents.compare(200)
    yield start_up.compare(2, 1)


def machine() -> str:
    """Return what this machine is, for whoever compares figures."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def page(tables: Sequence[Table], rounds: int) -> str:
    """Return the page."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    how = f"""\
# Performance

`uv run just bench` measured this and wrote this page. What is compared ran in turns beside the same server, each
measurement in a process of its own, {rounds} rounds; ratios are of figures of the same round, *wanted* is the most that
the median should be. Everything that a run has was on: ledger, events, traces, budget. What is set beside it keeps no
record of its work.

{standing(tables)}

Measured on:

- {dt.datetime.now(dt.UTC):%Y-%m-%d}
- {machine()}; load {os.getloadavg()[0]:.1f} at the end
- Python {platform.python_version()}, {libraries}
- beside it: {", ".join([*BATCH_PACKAGES, *LITELLM_PACKAGES])}"""
    return "\n\n".join([how, *sections(tables)]) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=1_000_000, help="of the benchmark of very many documents")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--small", action="store_true", help="once, with few documents: does it work?")
    given = parser.parse_args()
    tables: list[Table] = []
    for table in small_tables() if given.small else all_tables(given.rounds, given.documents):
        print(table.as_text(), end="\n\n", flush=True)
        tables.append(table)
    given.page.write_text(page(tables, 1 if given.small else given.rounds), encoding="utf-8")


if __name__ == "__main__":
    main()
