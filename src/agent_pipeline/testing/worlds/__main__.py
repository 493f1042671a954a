"""`python -m agent_pipeline.testing.worlds`: look for a seed whose world breaks an invariant."""

import argparse
import os
import sys
from pathlib import Path

from agent_pipeline.testing.worlds.many import simulate_worlds
from agent_pipeline.testing.worlds.world import WorldReport


def main(arguments: list[str] | None = None) -> int:
    """Simulate worlds, print each that breaks an invariant with its seed, and a summary; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agent_pipeline.testing.worlds", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many worlds (500)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    parser.add_argument("--keep", type=Path, help="folder for the files of worlds that break something")
    parser.add_argument("--verbose", action="store_true", help="a line for each world")
    given = parser.parse_args(arguments)
    if given.seeds < 1 or given.jobs < 1:
        parser.error("--seeds and --jobs must be 1 or more")

    def tell(report: WorldReport) -> None:
        if given.verbose:
            sys.stdout.write(f"seed {report.seed}: {report.requests} requests, story {report.story_sha256}\n")
        if report.violations:
            sys.stdout.write(_shown(report))
        sys.stdout.flush()

    seeds = range(given.first, given.first + given.seeds)
    tally = simulate_worlds(seeds, jobs=min(given.jobs, given.seeds), keep=given.keep, tell=tell)
    sys.stdout.write(tally.told() + "\n")
    return 1 if tally.failing else 0


def _shown(report: WorldReport) -> str:
    lines = [f"seed {report.seed}: {'; '.join(report.sessions)}", *(f"  {problem}" for problem in report.violations)]
    return "\n".join([*lines, f"  again: just simulate-faults --first {report.seed} --seeds 1", ""])


if __name__ == "__main__":
    sys.exit(main())
