"""The file itself: private, tidy, durable, and never somebody else's."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.steps import AT, ATTEMPT, begin, open_session
from tests.unprivileged import read_only_folder, unprivileged

from agent_pipeline.domain.document import Artifact
from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import Ledger, recorded_artifacts
from agent_pipeline.ledger.commit import Connect, Writer
from agent_pipeline.ledger.inline_writer import InlineWriter
from agent_pipeline.ledger.schema import connect
from agent_pipeline.ledger.thread_writer import ThreadWriter


def read_bytes(path: Path) -> bytes:
    """Return what the file holds."""
    return path.read_bytes()


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of each file of a folder by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_bytes(path: Path, content: bytes) -> None:
    """Make a file of this content."""
    path.write_bytes(content)


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_closed_ledger_is_one_private_durable_file(path: Path, *, threaded: bool) -> None:
    """It can be copied as one file, read by its owner only, and is a sound database."""
    async with open_session(path, threaded=threaded) as ledger:
        await begin(ledger, "1")
        private = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}

    assert private == dict.fromkeys(["ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm"], 0o600)
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite3"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_every_commit_is_synced(path: Path) -> None:
    """FULL is what makes "acknowledged" survive a power cut; it is set per connection, so it is easily lost."""
    with closing(connect(path)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_a_file_that_is_no_ledger_is_refused_and_left_alone(path: Path) -> None:
    """Somebody's file must not be turned into a ledger by a wrong path."""
    content = b"not a database, but long enough to look at " * 40
    write_bytes(path, content)

    with pytest.raises(LedgerError, match="not a database"):
        async with open_session(path):
            pass

    assert read_bytes(path) == content


async def test_another_database_is_refused(path: Path) -> None:
    """SQLite alone does not make a ledger."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")

    with pytest.raises(LedgerError, match="not a ledger"):
        async with open_session(path):
            pass


async def test_a_newer_format_is_refused(path: Path) -> None:
    """Writing old rows into a newer format would harm it."""
    async with open_session(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(LedgerError, match="newer version"):
        async with open_session(path):
            pass


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("place", ["missing/ledger.sqlite3", "link", "folder", "/dev/null"])
async def test_a_place_that_can_not_hold_a_ledger_is_named(path: Path, place: str, *, threaded: bool) -> None:
    """The folder must exist, and links and devices are not followed."""
    (path.parent / "folder").mkdir()
    (path.parent / "link").symlink_to(path.parent / "elsewhere")

    with pytest.raises(LedgerError) as caught:
        async with open_session(path.parent / place, threaded=threaded):
            pass

    assert place in str(caught.value)
    assert not (path.parent / "elsewhere").exists()


async def test_a_closed_ledger_takes_nothing(path: Path) -> None:
    """What comes too late is refused, not silently dropped."""
    async with open_session(path) as ledger:
        pass

    with pytest.raises(LedgerError, match="closed"):
        ledger.record_attempt(ATTEMPT)
    with pytest.raises(LedgerError, match="closed"):
        await begin(ledger, "1")


def test_artifacts_of_a_missing_or_broken_ledger_are_an_error(path: Path) -> None:
    """No artifacts and no answer are two different things."""
    with pytest.raises(LedgerError, match="there is no ledger"):
        recorded_artifacts(path)
    assert not path.exists()

    path.write_bytes(b"x" * 5000)
    with pytest.raises(LedgerError, match="can't be read"):
        recorded_artifacts(path)


async def write_artifact(ledger: Ledger) -> Artifact:
    """Record a document that became an artifact."""
    artifact = Artifact("1", "/out/a.md", "f" * 64, 12)
    await ledger.begin_document(
        document_id="1",
        position=1,
        source=None,
        content_sha256="0" * 64,
        plan_sha256=None,
        trace_id=None,
        started_at=AT,
    )
    await ledger.finish_document(
        "1",
        outcome="succeeded",
        error_code=None,
        error=None,
        failed_stage=None,
        reworks=0,
        artifact=artifact,
        ended_at=AT,
    )
    return artifact


@pytest.mark.parametrize("while_open", [True, False])
async def test_a_ledger_is_read_where_nothing_may_be_written(path: Path, *, while_open: bool) -> None:
    """An archived run can be looked at: a whole ledger without its companions, a killed run's with all of them."""
    async with open_session(path) as ledger:
        artifact = await write_artifact(ledger)
        files = files_of(path.parent)
    files = files if while_open else files_of(path.parent)

    with read_only_folder(files) as folder:
        with unprivileged():
            found = recorded_artifacts(folder / path.name)
        left = files_of(folder)

    assert len(files) == (3 if while_open else 1)
    assert found == [artifact]
    assert left == files


@pytest.mark.parametrize("writer_class", [ThreadWriter, InlineWriter])
async def test_closing_twice_changes_nothing(path: Path, writer_class: Callable[[Path, Connect], Writer]) -> None:
    """Whoever cleans up need not know whether somebody did before."""
    writer = writer_class(path, connect)
    await writer.open()

    await writer.aclose()
    closed = files_of(path.parent)
    await writer.aclose()

    assert files_of(path.parent) == closed
    assert list(closed) == [path.name]
    assert writer.failure is None


async def test_a_reader_that_stays_does_not_keep_rows_out_of_the_file(path: Path) -> None:
    """Somebody may be looking at the ledger while the run ends; the file alone must still be all of it."""
    async with open_session(path) as ledger:
        reader = sqlite3.connect(path)
        await begin(ledger, "1")
        reader.execute("SELECT * FROM documents").fetchall()

    copy = path.with_name("copy.sqlite3")
    write_bytes(copy, read_bytes(path))
    with closing(reader), closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT document_id FROM documents").fetchall() == [("1",)]


async def test_a_place_without_a_write_ahead_log_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite keeps this name in memory, where nothing would outlive the process."""
    monkeypatch.chdir(path.parent)

    with pytest.raises(LedgerError, match="can't hold a write-ahead log"):
        async with open_session(Path(":memory:")):
            pass
