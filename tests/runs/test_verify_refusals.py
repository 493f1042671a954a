"""What can't be checked is refused and left alone, whatever is in its files."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.runs.changes import Change
from tests.runs.sample import Sample, codes, copy_sample, fingerprint

from agent_pipeline.errors import RunDirectoryError, RunInUseError
from agent_pipeline.runs.verify import verify_run

UNREADABLE: dict[str, tuple[Change, str]] = {
    "half deleted": (lambda sample: sample.run.events.unlink(), "events.jsonl is missing; a part"),
    "no ledger": (lambda sample: sample.run.ledger.unlink(), "ledger"),
    "no database": (lambda sample: sample.run.ledger.write_bytes(b"no database at all" * 100), "ledger"),
    "foreign database": (lambda sample: sample.sql("DROP TABLE attempts"), "not a ledger"),
    "newer format": (lambda sample: sample.sql("PRAGMA user_version = 99"), "newer version"),
    "older format": (lambda sample: sample.sql("PRAGMA user_version = 1"), "older version"),
    "empty ledger": (lambda sample: sample.sql("DELETE FROM run"), "no run has begun"),
    "ledger of another run": (lambda sample: sample.sql("UPDATE run SET run_id = 'other'"), "another run, other"),
    "torn ledger": (lambda sample: os.truncate(sample.run.ledger, 20_000), "ledger"),
    "events are a folder": (
        lambda sample: sample.run.log.rename(sample.run.path / "elsewhere").with_name(sample.run.log.name).mkdir(),
        "trial.log is missing",
    ),
    "a time that is none": (lambda sample: sample.sql("UPDATE documents SET started_at = 'noon'"), "can't be read"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_whole_run_is_refused(sample: Sample, name: str) -> None:
    """There is nothing to compare with; and it is left as it was."""
    change, message = UNREADABLE[name]
    change(sample)
    before = fingerprint(sample.project.root)

    with pytest.raises(RunDirectoryError, match=message):
        verify_run(sample.run)

    assert fingerprint(sample.project.root) == before


def test_a_damaged_page_of_the_ledger_is_found(sample: Sample) -> None:
    """Where SQLite still reads all rows, its own check tells; else the ledger is refused."""
    data = bytearray(sample.run.ledger.read_bytes())
    outcomes: set[str] = set()
    for page in range(1, len(data) // 4096):
        damaged = bytearray(data)
        damaged[page * 4096 : page * 4096 + 8] = bytes(8)
        sample.run.ledger.write_bytes(damaged)
        sample.seal()
        try:
            report = verify_run(sample.run)
            outcomes.add("found" if "ledger_damaged" in codes(report) else "missed")
        except RunDirectoryError:
            outcomes.add("refused")

    assert "missed" not in outcomes


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_bytes_are_changed_it_is_found_or_refused(pristine: Sample, data: st.DataObject) -> None:
    """A file whose hash is on record can't be changed unnoticed, and no content is a bug of ours."""
    with TemporaryDirectory() as folder:
        sample = copy_sample(pristine, Path(folder) / "project")
        files = [sample.run.path / name for name in sorted(sample.run.file_hashes()) if name != "manifest.json"]
        path = data.draw(st.sampled_from(files))
        content = bytearray(path.read_bytes())
        begin = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        assume(content[begin : begin + len(piece)] != piece)
        content[begin : begin + len(piece)] = piece
        path.write_bytes(content)

        try:
            report = verify_run(sample.run)
        except RunDirectoryError:
            return
        assert "file_changed" in codes(report)

        sample.run.manifest.unlink()  # nor where nothing but the content can tell
        with suppress(RunDirectoryError):
            verify_run(sample.run)


def test_a_run_that_is_worked_on_is_refused(sample: Sample) -> None:
    """Its files change while they are read."""
    with sample.run.locked(), pytest.raises(RunInUseError, match="another process"):
        verify_run(sample.run)


def test_several_may_look_at_once(sample: Sample) -> None:
    """And nobody works on the run meanwhile."""
    with sample.run.locked(shared=True):
        assert verify_run(sample.run).is_clean
        with pytest.raises(RunInUseError), sample.run.locked():
            pass
