"""Measurements beside each other: one server process, every measurement a process of its own, in turns."""

import atexit
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from figures import Figure, Pair, Table, about, with_ratios

LATENCY = 0.05
"""Seconds that the server takes for each answer."""


def run_server(latency: float = LATENCY) -> None:
    """Serve the simulator until killed; print its address."""
    import trio  # noqa: PLC0415 - the measured processes do without

    from agent_pipeline.simulator import FaultPlan, Simulator, serve  # noqa: PLC0415 - the measured processes do without

    async def main() -> None:
        simulator = Simulator(faults=FaultPlan.from_mapping({"latency": latency}))
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve, simulator)
            print(f"http://127.0.0.1:{port}/v1", flush=True)

    trio.run(main)


@contextmanager
def open_server(script: str, *arguments: str) -> Generator[str]:
    """Start `script serve`, which calls `run_server`; give its address, end it at the end."""
    let_open_many_files()
    server = subprocess.Popen([sys.executable, script, "serve", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield (server.stdout.readline() if server.stdout else "").strip()
    finally:
        server.terminate()
        server.wait()


def seen_by_server(url: str) -> dict[str, int]:
    """Return the counters of the simulator behind `url`."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/simulator/statistics", timeout=30) as answer:  # noqa: S310 - loopback
        counters: dict[str, int] = json.load(answer)
    return counters


def let_open_many_files() -> None:
    """Raise the limit of this process and of those it starts: a connection is a file, and many are measured."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def scratch_folder() -> Path:
    """Return a new folder, which is removed when this process ends.

    Not before: ext4 reuses no inode that was freed in the last minutes, and looks at each of them whenever a file is
    made near by. After a thousand files were removed, making one took 0.5 ms of CPU instead of 0.03.
    """
    folder = tempfile.mkdtemp(prefix="bench", dir="/tmp")  # a short path
    atexit.register(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    return Path(folder)


def own_copy(project: Path) -> Path:
    """Return a copy of a project beside its files, for one run: what another one wrote is not removed for it."""
    copy = Path(tempfile.mkdtemp(prefix="run", dir=project))
    for file in project.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    return copy


def measure(script: str, *arguments: str, packages: Sequence[str] = ()) -> float:
    """Run one measurement in a process of its own; return the number it prints last.

    With `packages` it runs in an environment that holds these and nothing of ours; uv makes it once and keeps it.
    """
    return float(last_line(script, *arguments, packages=packages))


def measure_all(script: str, *arguments: str) -> dict[str, float]:
    """Run one measurement in a process of its own; return the numbers by name that it prints last, as JSON."""
    numbers: dict[str, float] = json.loads(last_line(script, *arguments))
    return numbers


def last_line(script: str, *arguments: str, packages: Sequence[str] = ()) -> str:
    """Run a script in a process of its own; return the last line it prints."""
    let_open_many_files()
    python = [sys.executable]
    if packages:
        wanted = [word for package in packages for word in ("--with", package)]
        python = ["uv", "run", "-q", "--no-project", "--python", sys.executable, *wanted, "python"]
    command = [*python, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=as_a_user())
    if done.returncode != 0:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout.splitlines()[-1]


def as_a_user() -> dict[str, str]:
    """Return the environment of measured processes: bytecode is kept, and no key leads to a real provider."""
    left_out = {"PYTHONDONTWRITEBYTECODE", "OPENAI_API_KEY"}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def take_turns(rounds: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Make each measurement once a round; return the figures by name."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, one in measures.items():
            figures[name].append(one())
    return figures


def take_all(rounds: int, one: Callable[[], Mapping[str, float]]) -> dict[str, list[float]]:
    """Make one measurement of several figures once a round; return the figures by name."""
    taken = [one() for _ in range(rounds)]
    return {name: [numbers[name] for numbers in taken] for name in taken[0]}


def table_of(
    title: str,
    figures: Mapping[str, Sequence[float]],
    pairs: Sequence[Pair] = (),
    wanted: Mapping[str, float] | None = None,
    *,
    program: str = "",
    in_the_way: Mapping[str, str] | None = None,
) -> Table:
    """Return the figures as a table, with the ratios of these pairs.

    Args:
        title: what was measured.
        figures: one value a round, by name.
        pairs: which to divide by which.
        wanted: the most that a figure should be, by name.
        program: the docstring of the benchmark, which says what is compared.
        in_the_way: what keeps a figure from what is wanted, by name.
    """
    most = wanted or {}
    rows = [Figure(name, values, most.get(name)) for name, values in figures.items()]
    return Table(title, with_ratios(rows, pairs), about(program), in_the_way or {})


def print_table(title: str, figures: Mapping[str, list[float]], beside: str) -> None:
    """Print minimum, median and maximum of all figures, and of their ratios to those of `beside`, pair by pair."""
    print(table_of(title, figures, [(name, beside, None) for name in figures if name != beside]).as_text())
