"""A run of two sessions: each tells its part, and only the end of an earlier one may be cut off."""

from pathlib import Path

import pytest
from tests.runs.changes import Change, both, dropped
from tests.runs.sample import Sample, codes, copy_sample, go_on, make_sample

from agent_pipeline.runs.verify import verify_run


@pytest.fixture(scope="module")
def continued_once(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A run whose failed documents were worked on again in a second session; only to be copied."""
    sample = make_sample(tmp_path_factory.mktemp("continued") / "project")
    go_on(sample)
    return sample


@pytest.fixture
def continued(continued_once: Sample, tmp_path: Path) -> Sample:
    """Such a run, to be damaged."""
    return copy_sample(continued_once, tmp_path / "project")


def test_a_run_of_two_sessions_has_no_differences(continued: Sample) -> None:
    """Kept documents have their events in the first, failed ones in both; each session has traces of its own."""
    report = verify_run(continued.run)

    assert report.differences == ()
    assert report.notes == ()
    assert (report.counts["sessions"], report.counts["traces"]) == (2, 5)


CONTINUED: dict[str, tuple[Change, str, str]] = {
    "end in the first session deleted": (
        both(dropped("DOCUMENT_FINISHED", "rejected")),
        "document_event_missing",
        "",
    ),
    "last event of the first session not in the events": (
        lambda sample: sample.edit(sample.run.events, dropped("PIPELINE_FINISHED")),
        "",
        "last_events_missing",
    ),
    "an event of the first session not in the events": (
        lambda sample: sample.edit(sample.run.events, dropped("STAGE_STARTED")),
        "event_missing",
        "",
    ),
    "last event of the second session not in the events": (
        lambda sample: sample.edit(sample.run.events, lambda lines: lines[:-1]),
        "event_missing",
        "",
    ),
    "first session without an end": (
        lambda sample: sample.sql("UPDATE sessions SET ended_at = NULL WHERE session = 1"),
        "session_open",
        "",
    ),
    "document of the first session": (
        lambda sample: sample.sql("UPDATE documents SET session = 1 WHERE document_id = '3'"),
        "document_event_differs trace_id_differs",
        "",
    ),
    "attempt of the other session": (
        lambda sample: sample.sql(
            "UPDATE attempts SET session = 1 WHERE attempt_id = "
            "(SELECT attempt_id FROM attempts WHERE session = 2 LIMIT 1)"
        ),
        "attempt_event_differs trace_id_differs",
        "",
    ),
}


@pytest.mark.parametrize("name", CONTINUED)
def test_damages_of_a_run_of_two_sessions_are_named(continued: Sample, name: str) -> None:
    """Only at the very end of an earlier session may the events be behind the log."""
    change, expected, noted = CONTINUED[name]
    change(continued)
    continued.seal()

    report = verify_run(continued.run)

    assert codes(report) == expected
    assert " ".join(note.code for note in report.notes) == noted
