"""What is no ledger, not whole or of another version is named with what to do about it, and left alone."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from tests.ledger.steps import ARTIFACT, change, state_of, write_two_sessions

from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import open_ledger, open_reader, recorded_artifacts
from agent_pipeline.ledger.schema import connect


async def write_nothing(path: Path) -> None:
    """Make a ledger in which no run has begun."""
    async with open_ledger(path):
        pass


def garbage(path: Path) -> None:
    """Write what SQLite does not know."""
    path.write_bytes(b"not a database, but long enough to look at " * 400)


def truncated(path: Path) -> None:
    """Write the first half of a ledger."""
    trio.run(write_two_sessions, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def another_database(path: Path) -> None:
    """Write a database of somebody else."""
    change(path, "CREATE TABLE notes (text)")


def changed(*statements: str) -> Callable[[Path], None]:
    """Write a ledger and change it."""

    def write(path: Path) -> None:
        trio.run(write_two_sessions, path)
        change(path, *statements)

    return write


def nothing(path: Path) -> None:
    """Write nothing."""


def without_run(path: Path) -> None:
    """Write a ledger in which no run has begun."""
    trio.run(write_nothing, path)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (nothing, "there is no ledger; check the path"),
    "folder": (Path.mkdir, "there is no ledger"),
    "empty file": (Path.touch, "an empty ledger, no run has begun in it; start a new run"),
    "garbage": (garbage, "can't be read: file is not a database; this is no ledger, check the path"),
    "truncated": (truncated, "can't be read: database disk image is malformed; it is damaged"),
    "no ledger": (another_database, r"a SQLite file, but not a ledger \(no run.config_path\)"),
    "a table less": (changed("DROP TABLE attempts"), r"not a ledger \(no attempts.attempt_id\)"),
    "a column less": (changed("ALTER TABLE run DROP COLUMN reason"), r"not a ledger \(no run.reason\)"),
    "older": (changed("PRAGMA user_version = 1"), "written by an older version .*format 1, now 2.*start a new run"),
    "newer": (changed("PRAGMA user_version = 3"), "written by a newer version .*format 3, known: 2.*use that version"),
    "no format": (changed("PRAGMA user_version = 0"), "a SQLite file, but not a ledger$"),
    "no run": (without_run, "no run has begun in it"),
    "a blob": (changed("UPDATE run SET name = x'00ff'"), r"name holds a value of the wrong kind \(bytes\)"),
    "no options": (changed("UPDATE run SET options_json = '[1]'"), "options_json holds no JSON object"),
    "broken options": (changed("UPDATE run SET options_json = '{'"), "can't be read: "),
    "deep options": (
        changed("UPDATE run SET options_json = printf('%.*c', 100000, '[')"),
        "options_json holds no JSON object",
    ),
    "no time": (changed("UPDATE run SET started_at = 'soon'"), "can't be read: Invalid isoformat string: 'soon'"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_can_not_be_read_is_named_and_left_alone(path: Path, kind: str) -> None:
    """The message has the path and says what to do; nothing is repaired, made or tidied up."""
    make, said = UNREADABLE[kind]
    make(path)
    before = state_of(path.parent) if kind != "folder" else {}

    with pytest.raises(LedgerError, match=said) as caught, open_reader(path):
        pass

    assert str(caught.value).startswith(f"{path}: ")
    if kind != "folder":
        assert state_of(path.parent) == before


@pytest.mark.parametrize("kind", ["garbage", "truncated", "no ledger", "a table less", "older", "newer", "no format"])
@pytest.mark.parametrize("create", [True, False])
def test_what_is_no_ledger_of_ours_is_not_written_to(path: Path, kind: str, *, create: bool) -> None:
    """A wrong path, an older run: refused with the same words, and not even the journal mode is changed."""
    make, said = UNREADABLE[kind]
    make(path)
    before = state_of(path.parent)

    async def write() -> None:
        async with open_ledger(path, create=create):
            pass

    with pytest.raises(LedgerError, match=said.removeprefix("can't be read: ").partition(";")[0]):
        trio.run(write)

    assert state_of(path.parent) == before


def damaged_page(path: Path, *, number: int) -> None:
    """Overwrite a page, counted from 0."""
    content = bytearray(path.read_bytes())
    content[number * 4096 : (number + 1) * 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def test_damage_inside_is_found_and_told(path: Path) -> None:
    """A disk may lose a page in the middle; what lies on it can't be read, and `integrity_problems` says so."""
    trio.run(write_two_sessions, path)
    with closing(connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'stage_results'").fetchone()
    damaged_page(path, number=page - 1)
    before = state_of(path.parent)

    with open_reader(path) as reader:
        assert len(list(reader.documents())) == 2
        assert any("stage_results" in problem or "malformed" in problem for problem in reader.integrity_problems())
        with pytest.raises(LedgerError, match="malformed; it is damaged"):
            list(reader.stage_results())
    assert state_of(path.parent) == before


def test_a_result_without_its_document_is_a_problem(path: Path) -> None:
    """SQLite itself lets such rows in where somebody else writes."""
    changed("DELETE FROM documents WHERE document_id = '1'")(path)

    with open_reader(path) as reader:
        assert reader.integrity_problems() == ["stage_results: row 1 belongs to no row of documents"]


def test_artifacts_of_an_older_format_are_known(path: Path) -> None:
    """What older runs wrote can still be cleaned up."""
    changed("PRAGMA user_version = 1")(path)

    assert recorded_artifacts(path) == [ARTIFACT]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE attempts SET number = 'one'", r"number holds a value of the wrong kind \(str\)"),
        ("UPDATE documents SET position = 1.5", r"position holds a value of the wrong kind \(float\)"),
        ("UPDATE documents SET source = x'00'", r"source holds a value of the wrong kind \(bytes\)"),
        ("UPDATE documents SET outcome = 'eaten' WHERE outcome IS NOT NULL", "outcome is 'eaten', which is none"),
    ],
)
def test_a_value_of_the_wrong_kind_is_damage(path: Path, statement: str, said: str) -> None:
    """SQLite gives back whatever a row holds; nobody who reads has to expect text where a number belongs."""
    trio.run(write_two_sessions, path)
    change(path, "PRAGMA ignore_check_constraints = ON", statement)

    with open_reader(path) as reader, pytest.raises(LedgerError, match=said):
        _ = list(reader.documents()), list(reader.attempts())
