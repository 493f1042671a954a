"""How a run's end becomes outcome, exit code and reason."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Literal

import pytest
from tests.integration.leavings import Leavings
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.verdict import exit_code_of, judge
from agent_pipeline.domain.events import DocumentStarted, Event
from agent_pipeline.errors import LedgerError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.pipeline.admission import Tally
from agent_pipeline.simulator import Simulator


def tally(*, succeeded: int = 0, failed: int = 0, skipped: int = 0, unreachable: int = 0) -> Tally:
    """Return the endings of a run; `unreachable` are among the failed."""
    counted = Tally(taken=succeeded + failed + skipped)
    counted.outcomes.update(succeeded=succeeded, failed=failed, skipped=skipped)
    counted.failure_codes.update(provider_unreachable=unreachable)
    return counted


@pytest.mark.parametrize(
    ("stopped", "outcome", "exit_code"),
    [
        ("signal:SIGINT", "incomplete", 130),
        ("signal:SIGTERM", "incomplete", 143),
        ("budget:tokens", "incomplete", 4),
        ("budget:usd", "incomplete", 4),
        ("deadline:run", "incomplete", 1),
        ("cancelled", "incomplete", 1),
        ("credentials_rejected", "failed", 5),
        ("quota_exhausted", "failed", 5),
        ("certificate_rejected", "failed", 6),
        ("input_invalid", "failed", 3),
        ("ledger_failed", "failed", 1),
        ("internal_error", "failed", 70),
    ],
)
def test_why_a_run_stopped_decides(stopped: str, outcome: str, exit_code: int) -> None:
    """Whatever its documents did, the reason it stopped early is what there is to act on."""
    verdict = judge(tally(succeeded=3, failed=1), stopped=stopped, dropped=1, fail_on_error="never")

    assert verdict == (outcome, exit_code, stopped)


@pytest.mark.parametrize(
    ("ends", "fail_on_error", "expected"),
    [
        (tally(succeeded=2), 0, (0, None)),
        (tally(succeeded=2, skipped=1), 0, (0, None)),
        (tally(succeeded=9, failed=1), 0, (1, "documents_failed")),
        (tally(succeeded=9, failed=1), 1, (0, None)),
        (tally(succeeded=8, failed=2), 1, (1, "documents_failed")),
        (tally(succeeded=9, failed=1), 0.1, (0, None)),
        (tally(succeeded=8, failed=2), 0.1, (1, "documents_failed")),
        (tally(failed=2), "never", (0, None)),
        (tally(failed=2, unreachable=2), 0, (6, "provider_unreachable")),
        (tally(failed=2, skipped=1, unreachable=2), 0, (6, "provider_unreachable")),
        (tally(failed=2, unreachable=1), 0, (1, "documents_failed")),
        (tally(succeeded=1, failed=2, unreachable=2), 0, (1, "documents_failed")),
    ],
)
def test_failed_documents_count_as_told(
    ends: Tally, fail_on_error: float | Literal["never"], expected: tuple[int, str | None]
) -> None:
    """A whole number is documents, a fraction is of all; none reached at all is another thing."""
    _, exit_code, reason = judge(ends, stopped=None, dropped=0, fail_on_error=fail_on_error)

    assert (exit_code, reason) == expected


def test_lost_telemetry_is_no_success() -> None:
    """Who finds exit code 0 may rely on the logs; failed documents are the greater evil."""
    assert judge(tally(succeeded=1), stopped=None, dropped=1, fail_on_error=0)[1:] == (1, "telemetry_dropped")
    assert judge(tally(failed=1), stopped=None, dropped=1, fail_on_error=0)[1:] == (1, "documents_failed")


def test_an_error_without_a_code_of_its_own_is_a_failure() -> None:
    """An error that is added later must not end as success or as a bug."""
    assert exit_code_of("something_new") == 1


class Vandal:
    """A sink that takes a table out of the ledger when the first document starts."""

    name = "vandal"

    def __init__(self, project: Project) -> None:
        self._project = project
        self._done = False

    def handle(self, event: Event, at: datetime) -> None:
        """Drop the table, once."""
        del at
        if isinstance(event, DocumentStarted) and not self._done:
            self._done = True
            (run,) = self._project.runs()
            with closing(sqlite3.connect(run / "ledger.sqlite3")) as connection:
                connection.execute("DROP TABLE stage_results")

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is held."""


async def test_a_ledger_that_can_not_be_written_is_raised_as_it_is(tmp_path: Path) -> None:
    """Nothing more may be called done; whoever embeds the run gets one error of ours, in no group."""
    project = make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS)
    options = RunOptions(
        offline=True, virtual=True, make_pool=lambda: simulator_pool(Simulator()), sinks=(Vandal(project),)
    )

    with pytest.raises(LedgerError, match="stage_results"):
        await Pipeline.from_config(project.config, options=options).run()

    assert list(project.artifacts.iterdir()) == []
    (run,) = project.runs()
    left = Leavings(run)
    assert left.manifest["result"] is None
    assert left.named("PIPELINE_STOPPING")[0].fields["reason"] == "ledger_failed"
