"""Runs inside a Trio program: beside its other tasks, under its own deadline, several in one process.

Run it: `uv run python examples/inside_trio.py`.
"""

import sqlite3
from pathlib import Path

import trio

from agent_pipeline import Pipeline
from agent_pipeline.compose import RunOptions

HERE = Path(__file__).parent


async def tick(ticks: list[float]) -> None:
    """Stand for the rest of the program: it goes on while documents are worked on."""
    while True:
        await trio.sleep(0.01)
        ticks.append(trio.current_time())


async def main() -> None:
    """Run once to the end, then once against a slow provider until the program's own deadline."""
    ticks: list[float] = []
    fast = RunOptions(offline=True, clean=True)
    slow = RunOptions(offline=True, faults=str(HERE / "slow_provider.yaml"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick, ticks)

        result = await Pipeline.from_config(HERE / "inside_trio.yaml", options=fast).run(limit=2)

        print(f"{result.outcome}: {result.documents.succeeded} documents, {len(ticks)} ticks meanwhile")
        with trio.move_on_after(0.5):
            await Pipeline.from_config(HERE / "inside_trio.yaml", options=slow).run(limit=2)
        # Cancelled: the documents in flight have their terminal record, and every file is closed.
        newest = max(HERE.parent.glob("logs/inside_trio-*/ledger.sqlite3"), key=lambda path: path.stat().st_mtime)
        with sqlite3.connect(newest) as ledger:
            outcomes = ledger.execute("SELECT outcome, count(*) FROM documents GROUP BY 1").fetchall()
        print(f"cut short: {dict(outcomes)}")
        nursery.cancel_scope.cancel()

    if result.exit_code:
        raise SystemExit(result.exit_code)


if __name__ == "__main__":
    trio.run(main)
