"""Measurements beside each other: one server process, every measurement a process of its own, in turns."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

LATENCY = 0.05
"""Seconds that the server takes for each answer."""


def run_server() -> None:
    """Serve the simulator until killed; print its address."""
    import trio  # noqa: PLC0415 - the measured processes do without

    from agent_pipeline.simulator import FaultPlan, Simulator, serve  # noqa: PLC0415 - the measured processes do without

    async def main() -> None:
        simulator = Simulator(faults=FaultPlan.from_mapping({"latency": LATENCY}))
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve, simulator)
            print(f"http://127.0.0.1:{port}/v1", flush=True)

    trio.run(main)


@contextmanager
def open_server(script: str) -> Generator[str]:
    """Start `script serve`, which calls `run_server`; give its address, end it at the end."""
    server = subprocess.Popen([sys.executable, script, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        yield (server.stdout.readline() if server.stdout else "").strip()
    finally:
        server.terminate()
        server.wait()


def measure(script: str, *arguments: str) -> float:
    """Run one measurement in a process of its own; return the number it prints last."""
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-3000:])
    return float(done.stdout.splitlines()[-1])


def take_turns(rounds: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Make each measurement once a round; return the figures by name."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, one in measures.items():
            figures[name].append(one())
    return figures


def print_table(title: str, figures: Mapping[str, list[float]], beside: str) -> None:
    """Print minimum, median and maximum of all figures, and of their ratios to those of `beside`, pair by pair."""
    print(title)
    print(f"{'':40}{'min':>8}{'median':>8}{'max':>8}")
    rows = dict(figures)
    for name, values in figures.items():
        if name != beside:
            rows[f"{name} / {beside}"] = [a / b for a, b in zip(values, figures[beside], strict=True)]
    for name, values in rows.items():
        print(f"{name:40}{min(values):8.3f}{statistics.median(values):8.3f}{max(values):8.3f}")
