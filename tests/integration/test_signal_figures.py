"""The figure of stopping: signals at random moments with more than a hundred documents in flight, counted."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.integration.command import Launcher, wait_until
from tests.integration.leavings import Leavings
from tests.integration.project import make_project, prose
from tests.integration.provider import SeparateSimulator, open_separate_simulator
from tests.integration.test_signals import EXIT_CODES, SIGNALS, assert_readable, assert_stopped_in_order, logged

from agent_pipeline.domain.document import JsonValue

pytestmark = pytest.mark.slow

PIECES, TRIALS = 20, 5
DOCUMENTS = 120
GRACE = 0.2
BOUND = 2.0
"""Seconds beyond the grace, from the first signal to the end of the process, on a machine with nothing else to do."""

LIMITS: Mapping[str, JsonValue] = {
    "documents_in_flight": DOCUMENTS,
    "requests_in_flight": DOCUMENTS,
    "timeouts": {"grace": GRACE},
}


@pytest.fixture(scope="module")
def provider(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeparateSimulator]:
    """A provider that answers soon, but not at once."""
    folder = tmp_path_factory.mktemp("provider")
    with open_separate_simulator(launcher, folder, latency={"min": 0.1, "max": 0.7}) as simulator:
        yield simulator


def crowding() -> float:
    """Return how many want each processor, at least 1: by so much everything takes longer."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def stop_somewhere(launcher: Launcher, provider: SeparateSimulator, root: Path, rng: random.Random) -> Counter[str]:
    """Run, send one to three signals at a random moment, look at everything; return what was seen."""
    project = make_project(root, prose(DOCUMENTS), base_url=provider.base_url, limits=LIMITS)
    process = launcher.start("run", project.config, "--json", cwd=root)
    wait_until(lambda: logged(project, "DOCUMENT_STARTED") == DOCUMENTS, 60, lambda: process.stderr)
    time.sleep(rng.uniform(0, 1.2))  # four requests for each document take longer
    numbers = [rng.choice(SIGNALS) for _ in range(rng.choice((1, 1, 2, 3)))]

    begun = time.monotonic()
    for number in numbers:
        process.signal(number)
        time.sleep(rng.uniform(0.01, 0.1))
    ended = process.wait(30)
    took = time.monotonic() - begun

    assert took <= (GRACE + BOUND) * crowding(), f"{took:.2f} s after {numbers}"
    assert "Traceback" not in ended.stderr
    (run,) = project.runs()
    left = Leavings(run)
    seen = Counter(trials=1, signals=len(numbers), milliseconds=round(took * 1000))
    if ended.stdout:
        assert_stopped_in_order(ended, left, numbers[0])
    else:
        seen["left at once"] += 1
        assert len(numbers) == 3
        assert ended.exit_code in {EXIT_CODES[number] for number in numbers}
        assert_readable(left)
        seen["left open"] += sum(row["outcome"] is None for row in left.documents)
    assert len(left.documents) == DOCUMENTS
    seen.update(str(row["outcome"]) for row in left.documents if row["outcome"] is not None)
    return seen


@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.timeout(300)
def test_a_hundred_random_stops_hang_nowhere(
    launcher: Launcher, provider: SeparateSimulator, tmp_path: Path, piece: int
) -> None:
    """None takes longer than its grace and two seconds; every file parses; nothing counts as done that is not."""
    seen: Counter[str] = Counter()
    slowest = 0

    for trial in range(TRIALS):
        one = stop_somewhere(launcher, provider, tmp_path / str(trial), random.Random(f"{piece} {trial}"))
        slowest = max(slowest, one["milliseconds"])
        seen += one

    print(f"stops {piece}: {dict(sorted(seen.items()))}, slowest {slowest} ms, crowding {crowding():.1f}")  # noqa: T201 - the figure
    assert seen["trials"] == TRIALS
