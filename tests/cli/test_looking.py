"""What holds of all commands that look at runs: what people mistype, what others wrote, what is left alone."""

import shlex
import time

import pytest
from tests.cli.conftest import Cli
from tests.cli.looked import HOSTILE, lines, listed
from tests.runs.sample import Sample


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("nope", "no run 'nope'"),
        ("trail", "did you mean 'trial-"),
        ("", "no run ''"),
        ("pipeline.yaml", "no run 'pipeline.yaml'"),
        ("out", "not a run directory"),
        ("/", "not a run directory"),
        ("x" * 5000, "no run 'xxx"),
        ("a/" * 3000, "no run 'a/a/"),
        ("\0", "no run '"),
    ],
)
@pytest.mark.parametrize("command", [["show"], ["trace"], ["why"]])
def test_what_is_no_run_is_said_in_a_sentence(look: Cli, command: list[str], typed: str, said: str) -> None:
    """Exit code 3, with what was probably meant."""
    document = ["1"] if command == ["why"] else []

    ran = look(*command, typed, *document, "--json")

    assert ran.code == 3
    assert ran.error()["code"] == "run_invalid"
    assert said in ran.error()["message"]
    assert "Traceback" not in ran.err


def test_an_ambiguous_beginning_names_what_there_is(look: Cli, past: Sample) -> None:
    """One of them is meant."""
    (past.project.logs / "trial-2031-01-01_00h00m00s-aaaaaa").mkdir()

    assert "2 runs in" in look("show", "trial").err


@pytest.mark.parametrize("damage", [b"", b"no database, only text" * 100])
def test_a_broken_ledger_is_no_traceback(look: Cli, past: Sample, damage: bytes) -> None:
    """It is the run that can't be read: exit code 3."""
    past.run.ledger.write_bytes(damage)

    for command in (["show", "trial"], ["why", "trial", "1"], ["trace", "trial"]):
        ran = look(*command)
        assert ran.code == 3
        assert ran.err.startswith("error: ")
        assert len(lines(ran.err)) == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("77", "it has 6, the first is '1'"),
        ("example.org/6", "did you mean 6 (https://example.org/6)?"),
        ("#7", "no document at position 7"),
        ("#0", "no document at position 0"),
        ("", "no document ''"),
        ("x'; DROP TABLE documents --", "the run has no document"),
        (HOSTILE, "the run has no document"),
    ],
)
def test_what_is_no_document_is_said_in_a_sentence(look: Cli, typed: str, said: str) -> None:
    """Exit code 3, nothing of what was typed reaches the terminal raw."""
    ran = look("why", "trial", typed)

    assert ran.code == 3
    assert said in ran.err
    assert "\x1b" not in ran.err


def test_documents_are_found_by_the_beginning_of_their_id(look: Cli, past: Sample) -> None:
    """Ids of folders are paths; several that begin alike are named."""
    past.sql("PRAGMA foreign_keys = OFF", "UPDATE documents SET document_id = 'notes/' || document_id || '.md'")

    assert lines(look("show", "trial", "notes/4").out)[0].startswith("document notes/4.md of ")
    assert (
        "several documents begin with 'notes/': notes/1.md, notes/2.md, notes/3.md, ..."
        in look("show", "trial", "notes/").err
    )
    assert "did you mean 'notes/4.md'?" in look("show", "trial", "note/4.md").err


def test_hostile_words_reach_no_terminal(look: Cli, past: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, sources, errors and models are written by others; a key in them is nobody's to see."""
    monkeypatch.setenv("MY_API_KEY", "hunter22-is-secret")
    text = f"{HOSTILE} hunter22-is-secret"
    past.sql(
        f"UPDATE documents SET error = '{text}', source = '{text}' WHERE document_id = '3'",  # noqa: S608 - own
        f"UPDATE documents SET error_code = '{HOSTILE}' WHERE document_id = '3'",  # noqa: S608
        f"UPDATE attempts SET error = '{text}', outcome = 'failed', model = '{HOSTILE}'",  # noqa: S608
        f"UPDATE attempts SET provider_request_id = '{HOSTILE}'",  # noqa: S608
        f"UPDATE run SET run_id = '{HOSTILE}', reason = '{HOSTILE}', config_path = ''",  # noqa: S608
    )

    for command in (["show"], ["trace"], ["trace", "--http"], ["trace", "--slow"], ["runs"]):
        words = [command[0], "trial", *command[1:]] if command != ["runs"] else command
        ran = look(*words)
        assert ran.code == 0
        assert not set(ran.out + ran.err) & {"\x1b", "\x07", "\u202e"}
        assert "hunter22" not in ran.out
    for arguments in (["why", "trial", "3"], ["show", "trial", "3"], ["why", "trial", "3", "--json"]):
        ran = look(*arguments)
        assert not set(ran.out) & {"\x1b", "\x07", "\u202e"}
        assert "hunter22" not in ran.out


def test_what_is_advised_can_be_typed(look: Cli, past: Sample) -> None:
    """Every next command of ours that only looks does so."""
    for document in "123456":
        told = look("why", "trial", document, "--json").json()["next"]
        for command in listed(told):
            program, *words = shlex.split(str(command))
            if program == "agent-pipeline" and words[0] in {"show", "trace", "why", "verify"}:
                assert look(*words).code == 0


@pytest.mark.parametrize(
    "command", [["runs"], ["show", "trial"], ["show", "trial", "3"], ["trace", "trial"], ["why", "trial", "3"]]
)
def test_looking_changes_nothing_and_programs_get_an_object(look: Cli, past: Sample, command: list[str]) -> None:
    """The last line of stdout, and the exit code in it."""
    before = {path: path.stat().st_mtime_ns for path in past.project.root.rglob("*") if path.is_file()}

    ran = look(*command, "--json")

    assert ran.json()["exit_code"] == ran.code == 0
    assert {path: path.stat().st_mtime_ns for path in past.project.root.rglob("*") if path.is_file()} == before


def test_a_live_run_can_be_looked_at(look: Cli, past: Sample) -> None:
    """Its ledger has a write-ahead log then."""
    past.write_ahead("UPDATE documents SET outcome = NULL, ended_at = NULL WHERE document_id = '6'")

    assert "1 not finished" in look("show", "trial").out


@pytest.mark.slow
def test_a_large_run_is_shown_in_seconds(look: Cli, past: Sample) -> None:
    """100,000 documents and as many requests; SQLite adds them up."""
    past.sql(
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 100000) "
        "INSERT INTO documents (document_id, position, outcome, started_at, ended_at, session, reworks) "
        "SELECT 'd' || v, v + 100, 'succeeded', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:01+00:00', 1, 0 FROM n",
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 100000) "
        "INSERT INTO attempts (attempt_id, document_id, role, provider, model, number, outcome, wait_seconds, "
        "latency_seconds, reserved_tokens, charged_tokens, method, path, started_at, session, call_id) "
        "SELECT 'a' || v, 'd' || v, 'r', 'p', 'm', 1, 'succeeded', 0, 0.1, 1, 1, 'POST', '/', "
        "'2026-01-01T00:00:00+00:00', 1, 'c' || v FROM n",
    )

    begun = time.process_time()
    codes = [look("runs").code, look("show", "trial").code, look("why", "trial", "d99999").code]

    assert codes == [0, 0, 0]
    assert time.process_time() - begun < 10


def test_paths_are_told_as_one_would_type_them(look: Cli, past: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """From far away the whole path, else the short one."""
    elsewhere = past.project.root / "far" / "away"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)

    assert f"agent-pipeline verify {past.run.path}" in look("show", str(past.run.path)).out


@pytest.mark.parametrize(
    "command",
    [["export", "trial", "out.csv"], ["export", "trial", "-"], ["metrics", "trial"], ["report", "trial"]],
)
def test_a_ledger_that_cannot_be_read_is_a_run_that_cannot(look: Cli, past: Sample, command: list[str]) -> None:
    """Exit code 3 as of any run directory that is invalid: 1 would say that documents failed."""
    whole = past.run.ledger.read_bytes()

    for damaged in (whole[: len(whole) // 3], b""):
        past.run.ledger.write_bytes(damaged)
        ran = look(*command, "--json")
        assert ran.json()["exit_code"] == ran.code == 3
        assert ran.error()["code"] == "run_invalid"


def test_a_run_to_compare_with_that_cannot_be_read_is_invalid_too(look: Cli, past: Sample) -> None:
    """Also the second one."""
    other = past.project.logs / "later-2031-01-01_00h00m00s-aaaaaa"
    other.mkdir()
    (other / "ledger.sqlite3").write_bytes(b"no database")

    assert look("report", "trial", "later").code == 3


@pytest.mark.parametrize(
    "hostile", ["--help", "--", "-x", "\u202eturned", "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789", "a  b"]
)
def test_what_is_advised_of_a_hostile_id_can_be_typed(look: Cli, past: Sample, hostile: str) -> None:
    """A dash is no flag, and what can't be shown as it is goes by its position; failed documents have most advice."""
    past.sql(
        "PRAGMA foreign_keys = OFF",
        f"UPDATE documents SET document_id = '{hostile}', outcome = 'failed', error_code = 'server_error' "  # noqa: S608
        "WHERE document_id = '3'",
    )

    told = [
        *listed(look("why", "trial", "#3", "--json").json()["next"]),
        *listed(look("show", "trial", "--json").json()["next"]),
    ]
    shown = [line for line in lines(look("show", "trial", "#3").out) if "agent-pipeline" in line]
    told += [line[line.index("agent-pipeline") :] for line in shown]

    looking = [words for words in map(shlex.split, map(str, told)) if words[1] in {"show", "trace", "why"}]
    assert len(looking) >= 4
    for _, *words in looking:
        assert look(*words).code == 0
