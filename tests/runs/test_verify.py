"""Checking a run: silent about a whole one, and every damage is named."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tests.docs.test_facts import first_cells, section
from tests.runs.changes import Change, set_manifest
from tests.runs.damages import ARTIFACTS, ATTEMPTS, FILES, LEDGER, LOGS, MANIFEST, TRACES
from tests.runs.sample import Sample, codes, fingerprint, kill
from tests.unprivileged import let_others_in, unprivileged

from agent_pipeline.runs.directory import find_run
from agent_pipeline.runs.verify import evidence, verify_run

DAMAGES = {
    f"{where}: {name}": damage
    for where, damages in {
        "artifact": ARTIFACTS,
        "ledger": LEDGER,
        "attempt": ATTEMPTS,
        "logs": LOGS,
        "traces": TRACES,
        "manifest": MANIFEST,
        "files": FILES,
    }.items()
    for name, damage in damages.items()
}


def test_a_whole_run_has_no_differences(pristine: Sample) -> None:
    """Everything is looked at: no count is zero but those that have to be."""
    report = verify_run(pristine.run)

    assert (report.differences, report.notes, report.is_clean) == ((), (), True)
    assert {name for name, count in report.counts.items() if count == 0} == {
        "differences",
        "cancelled",
        "unfinished",
        "unknown_tokens",
    }
    assert report.counts["plain_calls"] == 3
    assert report.counts["attempts"] == 26
    assert report.counts["log_lines"] == report.counts["events"]


def test_every_key_of_the_manifest_is_explained(pristine: Sample) -> None:
    """It is read by people and programs that were not there."""
    keys = json.loads(pristine.run.manifest.read_text(encoding="utf-8")).keys()
    explained = first_cells(section("docs/run-directory.md", "The manifest"))

    assert sorted(explained) == sorted(keys)


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_named(sample: Sample, name: str) -> None:
    """One change at a time, and the manifest agrees with the damaged files, so that not just a hash tells."""
    change, expected = DAMAGES[name]
    change(sample)
    if not name.startswith(("manifest", "files")):
        sample.seal()

    report = verify_run(sample.run)

    assert codes(report) == expected
    assert not report.is_clean
    assert all(difference.what and difference.where for difference in report.differences)


def test_there_are_more_than_enough_damages() -> None:
    """A list that shrinks unnoticed proves less and less."""
    assert len(DAMAGES) >= 80
    assert all(expected for _, expected in DAMAGES.values())


@pytest.mark.parametrize("manifest", [True, False])
def test_checking_changes_nothing(sample: Sample, *, manifest: bool) -> None:
    """Neither a whole run nor a killed one, whose ledger still has a log of its own beside it."""
    if not manifest:
        kill(sample)
        sample.write_ahead("UPDATE documents SET error = 'seen' WHERE document_id = '3'")
        assert sample.run.ledger.with_name("ledger.sqlite3-wal").stat().st_size > 0
    before = fingerprint(sample.project.root)

    report = verify_run(sample.run)

    assert report.is_clean
    assert fingerprint(sample.project.root) == before


KILLED_KEEPS_QUIET = {
    "artifact: half written": "temporary_left",
    "ledger: document added": "document_event_missing",
    "ledger: a position twice": "",
    "attempt: deleted": "attempt_row_missing",
    "attempt: added": "attempt_event_missing",
    "attempt: without an end": "attempt_row_missing attempt_unfinished",
    "logs: events torn": "line_torn",
    "logs: log torn": "line_torn",
    "logs: no end of a document": "document_event_missing",
    "logs: attempt deleted": "attempt_event_missing",
    "logs: end of the run deleted": "",
    "logs: another number of documents": "",
    "logs: review deleted": "last_reviews_missing",
    "logs: review torn": "line_torn",
    "traces: span of a request deleted": "span_missing",
    "traces: torn": "line_torn",
}
"""What SIGKILL may leave so, with the words of the notes; all other damages stay differences."""


@pytest.fixture
def all_is_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the whole sample count as the last moments of its process, however slow this machine is."""
    monkeypatch.setattr(evidence, "TAIL", timedelta(hours=1))


@pytest.mark.usefixtures("all_is_recent")
@pytest.mark.parametrize(
    "name",
    [
        name if name in KILLED_KEEPS_QUIET else pytest.param(name, marks=pytest.mark.slow)
        for name in DAMAGES
        if not name.startswith(("manifest", "files"))
    ],
)
def test_after_a_kill_only_what_it_explains_is_a_note(sample: Sample, name: str) -> None:
    """Rows and events of the last moments may be missing; nothing may contradict."""
    kill(sample)
    change, _ = DAMAGES[name]
    change(sample)

    report = verify_run(sample.run)

    notes = {note.code for note in report.notes} - {"session_killed", "manifest_missing", "clock_jump"}
    if name in KILLED_KEEPS_QUIET:
        assert codes(report) == ""
        assert " ".join(sorted(notes)) == KILLED_KEEPS_QUIET[name]
    else:
        assert codes(report) != ""
    assert {"session_killed", "manifest_missing"} <= {note.code for note in report.notes} or "session" in name


def test_what_a_killed_session_wrote_last_is_in_the_log_only(sample: Sample) -> None:
    """The log is written first; the next session goes on in both files."""
    kill(sample)
    sample.edit(sample.run.events, lambda lines: lines[:-5])

    report = verify_run(sample.run)

    assert codes(report) == ""
    (note,) = (note for note in report.notes if note.code == "last_events_missing")
    assert note.count == 5


def test_long_before_the_kill_nothing_may_be_missing(sample: Sample) -> None:
    """A process is behind by seconds at most: what is older was written or never happened."""
    kill(sample)
    sample.edit(sample.run.events, lambda lines: [line for line in lines if '"DOCUMENT_FINISHED"' not in line])
    sample.edit(sample.run.log, lambda lines: [line for line in lines if " DOCUMENT_FINISHED " not in line])
    later = '{"at":"2099-01-01T00:00:00.000000Z","event":"AGENT_EVENT"}\n'
    sample.edit(sample.run.events, lambda lines: [*lines, later])
    sample.edit(sample.run.log, lambda lines: [*lines, "2099-01-01T00:00:00.000Z DEBUG AGENT_EVENT\n"])

    report = verify_run(sample.run)

    assert codes(report) == "document_event_missing"
    assert len(report.differences) == 6


def test_many_differences_are_counted_and_the_first_are_shown(sample: Sample) -> None:
    """A report must not grow with the damage."""
    sample.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) "
        "INSERT INTO stage_results SELECT 'gone' || i, 'route', 1, 'x', '{}', '2026-11-20T00:00:00+00:00', "
        "'2026-11-20T00:00:00+00:00' FROM n"
    )
    sample.seal()

    report = verify_run(sample.run)

    assert len(report.differences) == 1000
    assert report.counts["differences"] >= 3000
    assert report.counts["stage_results"] == 1524


def test_looking_at_a_ledger_with_other_tools_is_no_change(sample: Sample) -> None:
    """They leave empty files beside it; a file of somebody's own is worth a note."""
    for name in ("ledger.sqlite3-wal", "ledger.sqlite3-shm", "my-notes.txt"):
        (sample.run.path / name).touch()

    report = verify_run(sample.run)

    assert report.is_clean
    assert [(note.code, note.example, note.count) for note in report.notes] == [("file_unknown", "my-notes.txt", 1)]


MANIFEST_NOTES: dict[str, tuple[Change, str]] = {
    "events lost": (set_manifest("dropped", to={"events": 3}), "telemetry_dropped"),
    "no result": (set_manifest("result", to=None), "outcome_untold"),
    "a thread left open": (set_manifest("resources", "threads", to={"opened": 2, "closed": 1}), "left_open"),
    "runs that overlapped": (set_manifest("resources", "threads", to=None), ""),
}


@pytest.mark.parametrize("name", MANIFEST_NOTES)
def test_what_the_run_itself_says_is_noted(sample: Sample, name: str) -> None:
    """It was told at its end, and explains what is missing; it contradicts nothing."""
    change, expected = MANIFEST_NOTES[name]
    change(sample)

    report = verify_run(sample.run)

    assert report.is_clean
    assert " ".join(note.code for note in report.notes) == expected


def test_an_artifact_that_may_not_be_read_is_not_called_missing(sample: Sample) -> None:
    """What to do about it is another thing."""
    let_others_in(sample.project.root)
    for path in [*sample.project.root.rglob("*"), *sample.project.root.iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    next(sample.project.artifacts.iterdir()).chmod(0)

    with unprivileged():
        report = verify_run(sample.run)

    assert codes(report) == "artifact_unreadable"


def test_a_run_that_was_moved_keeps_its_story(pristine: Sample, tmp_path: Path) -> None:
    """Its artifacts stay where they were written; only what all runs share stays behind."""
    moved = shutil.copytree(pristine.run.path, tmp_path / pristine.run.run_id)

    report = verify_run(find_run(str(moved), tmp_path))

    assert codes(report) == "file_missing"


def test_every_event_is_known_to_a_process_that_only_verifies() -> None:
    """Else a difference in its outcome or error code would be seen only where a run had been imported before."""
    program = """
import importlib, pkgutil
from agent_pipeline.runs.verify.lines import OWN_WORDS
from agent_pipeline import domain
for module in pkgutil.iter_modules(domain.__path__, "agent_pipeline.domain."):
    importlib.import_module(module.name)
from agent_pipeline.domain.events import Event, StageMessage
print(sorted({kind.name for kind in Event.__subclasses__()} - {StageMessage.name} - OWN_WORDS))
"""

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout == "[]\n"
