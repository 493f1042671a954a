"""The provider a run is pointed at: `agent-pipeline simulate` as a process of its own."""

import json
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.integration.command import Launcher, wait_until


class SeparateSimulator:
    """`agent-pipeline simulate`, known by its address alone."""

    def __init__(self, launcher: Launcher, cwd: Path, *arguments: str) -> None:
        self._process = launcher.start("simulate", *arguments, cwd=cwd)
        wait_until(lambda: "\n" in self._process.stdout, 20, lambda: self._process.stderr)
        self.base_url = self._process.stdout.strip()

    def statistics(self) -> dict[str, object]:
        """Return what it has counted so far."""
        address = self.base_url.removesuffix("/v1") + "/simulator/statistics"
        with urlopen(address, timeout=10) as answer:  # noqa: S310 - the test's own server
            value = json.load(answer)
        assert isinstance(value, dict)
        return value

    def requests(self) -> int:
        """Return how many requests it has counted so far."""
        count = self.statistics()["requests"]
        assert isinstance(count, int)
        return count

    def close(self) -> int:
        """Stop it as a user does; return its exit code."""
        self._process.signal(signal.SIGTERM)
        return self._process.wait(20).exit_code


@contextmanager
def open_separate_simulator(launcher: Launcher, folder: Path, **faults: object) -> Generator[SeparateSimulator]:
    """Start a simulator of the test's own, with these keys of a faults file; stop it when the block ends."""
    folder.mkdir(exist_ok=True)
    plan = folder / "faults.yaml"
    plan.write_text(json.dumps(faults), encoding="utf-8")
    simulator = SeparateSimulator(launcher, folder, "--faults", str(plan))
    try:
        yield simulator
    finally:
        assert simulator.close() == 143
