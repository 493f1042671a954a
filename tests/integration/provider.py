"""The provider a run is pointed at: `agent-pipeline simulate` as a process of its own."""

import json
import signal
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.integration.command import Launcher, wait_until

from agent_pipeline.domain.document import JsonValue


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

    def of_model(self, name: str) -> Mapping[str, int]:
        """Return what it has seen of one model: `requests`, `refused`, `most_requests_per_minute` and so on."""
        models = self.statistics()["models"]
        assert isinstance(models, dict)
        seen = models[name]
        assert isinstance(seen, dict)
        return seen

    def close(self) -> int:
        """Stop it as a user does; return its exit code."""
        self._process.signal(signal.SIGTERM)
        return self._process.wait(20).exit_code


def failing_for(words: str, status: int = 500) -> dict[str, JsonValue]:
    """Return the fault that lets each request fail that says these words, and no other."""
    return {"kind": "status", "status": status, "match": {"contains": words}}


def model_down(model: str, status: int = 503) -> dict[str, JsonValue]:
    """Return the fault that lets one model fail for all, while others answer."""
    return {"kind": "status", "status": status, "match": {"model": model}}


def rate_limit(
    *, requests: int | None = None, tokens: int | None = None, retry_after: float | bool = True, headers: bool = True
) -> dict[str, JsonValue]:
    """Return the limit of so many requests and tokens in any minute, for each model."""
    limits: dict[str, JsonValue] = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    return {"kind": "rate_limit", **limits, "retry_after": retry_after, "headers": headers}


def capacity(
    *, in_flight: int | None = None, per_second: int | None = None, retry_after: float | bool = False
) -> dict[str, JsonValue]:
    """Return the hidden capacity of each model."""
    limits: dict[str, JsonValue] = {"requests_in_flight": in_flight, "requests_per_second": per_second}
    return {"kind": "capacity", **limits, "retry_after": retry_after}


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
