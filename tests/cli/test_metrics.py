"""`metrics` on the command line: text for Prometheus on stdout or in a file, of a run that may be going on."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.telemetry.prometheus_text import read_prometheus


@pytest.fixture
def run_dir(cli: Cli, project: Path) -> Path:
    """A finished run."""
    assert cli("run", "--offline", "--display", "none").code == 0
    (path,) = (project / "logs").glob("tiny-*")
    return path


def test_a_run_s_figures_are_printed(cli: Cli, run_dir: Path) -> None:
    """By its name, the beginning of it, or its path; nothing else is on stdout or stderr."""
    for named in (run_dir.name, "tiny-", str(run_dir)):
        ran = cli("metrics", named)

        assert (ran.code, ran.err) == (0, "")
        samples = read_prometheus(ran.out)
        own = {("pipeline", "tiny"), ("run", run_dir.name)}
        assert samples["agent_pipeline_documents", frozenset({*own, ("outcome", "succeeded"), ("error", "")})] == 3


def test_a_file_is_replaced_in_one_step(cli: Cli, project: Path, run_dir: Path) -> None:
    """A collector that looks at any moment sees the old figures or the new ones, and may read them."""
    target = project / "run.prom"
    target.write_text("old", encoding="utf-8")
    with target.open(encoding="utf-8") as before:
        ran = cli("metrics", "tiny", "--output", str(target))

        assert (ran.code, ran.out, ran.err) == (0, "", "")
        assert before.read() == "old"
    assert target.read_text(encoding="utf-8") == cli("metrics", "tiny").out
    assert stat.S_IMODE(target.stat().st_mode) & 0o600 == 0o600
    assert not list(project.glob(".run.prom*"))


def test_json_says_the_same(cli: Cli, project: Path, run_dir: Path) -> None:
    ran = cli("metrics", "tiny", "--json", "--output", str(project / "run.prom"))
    told = json.loads(ran.out.splitlines()[-1])
    figures = {(one["name"], frozenset(one["labels"].items())): one["value"] for one in told["metrics"]}

    assert (told["run_id"], told["exit_code"], ran.code) == (run_dir.name, 0, 0)
    assert figures == read_prometheus((project / "run.prom").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope",), "no run 'nope'"),
        (("tiny", "--output", "missing/run.prom"), "No such file or directory; name a file"),
        (("tiny", "--output", "out"), "Is a directory"),
        (("out",), "not a run directory"),
    ],
)
def test_what_can_not_be_is_one_sentence(cli: Cli, run_dir: Path, arguments: tuple[str, ...], words: str) -> None:
    ran = cli("metrics", *arguments)

    assert (ran.code, ran.out) == (3, "")
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not list(run_dir.parents[1].rglob("*.prom*"))


def test_a_damaged_ledger_is_one_sentence(cli: Cli, run_dir: Path) -> None:
    (run_dir / "ledger.sqlite3").write_bytes(b"no database at all, whatever its name says" * 30)

    ran = cli("metrics", "tiny")

    assert (ran.code, ran.out) == (3, "")
    assert "this is no ledger, check the path" in ran.err
    assert "Traceback" not in ran.err


def test_names_of_others_can_not_move_the_cursor_or_tell_a_key(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's name comes from a config or a live file."""
    monkeypatch.setenv("SOME_API_KEY", "hunter22-and-more")
    assert cli("run", "--offline", "--display", "none").code == 0
    (run_dir,) = (project / "logs").glob("tiny-*")
    with closing(sqlite3.connect(run_dir / "ledger.sqlite3", isolation_level=None)) as connection:
        connection.execute("UPDATE attempts SET model = ?", ('a\x1b[31m"\\ \n hunter22-and-more',))

    ran = cli("metrics", "tiny")

    assert ran.code == 0
    models = {value for _, labels in read_prometheus(ran.out) for name, value in labels if name == "model"}
    assert models == {'a"\\ [redacted]'}


def test_nothing_of_the_run_is_changed(cli: Cli, run_dir: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [run_dir, *run_dir.rglob("*")]}

    assert cli("metrics", "tiny").code == 0

    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [run_dir, *run_dir.rglob("*")]} == before
