"""`export`: a table of a run that is named, never over another file."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli


@pytest.fixture
def run(cli: Cli, project: Path) -> str:
    """A finished run."""
    assert cli("run", "--offline", "--quiet").code == 0
    return next(path.name for path in (project / "logs").glob("tiny-*"))


def test_each_format_is_written_and_told(cli: Cli, project: Path, run: str) -> None:
    for file in ("a.jsonl", "b.csv", "c.parquet", "deep/d.ndjson"):
        ran = cli("export", run, file)
        assert (ran.code, ran.out, ran.err) == (0, f"{file}: 3 documents of {run}\n", "")
    told = cli("export", run[:8], "e.csv", "--json").json()
    assert told == {"run_id": run, "run_dir": str(project / "logs" / run), "file": "e.csv", "rows": 3, "exit_code": 0}
    assert len((project / "a.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_a_dash_prints_json_lines(cli: Cli, run: str) -> None:
    """With `--json`, the object comes last."""
    ran = cli("export", run, "-", "--text", "--json")

    *rows, last = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["document_id"] for row in rows] == ["1", "2", "3"]
    assert "Words about ants." in rows[0]["text"]
    assert (last["file"], last["rows"], last["exit_code"]) == ("-", 3, 0)


def test_what_is_there_is_replaced_only_where_that_is_said(cli: Cli, project: Path, run: str) -> None:
    """The file may be somebody's source."""
    (project / "old.csv").write_text("kept", encoding="utf-8")
    (project / "link.csv").symlink_to("nowhere")

    for file in ("old.csv", "link.csv"):
        refused = cli("export", run, file)
        assert (refused.code, refused.err) == (
            3,
            f"error: {file} is there already; name another file, or say --overwrite\n",
        )
    assert (project / "old.csv").read_text(encoding="utf-8") == "kept"
    assert cli("export", run, "old.csv", "--overwrite").code == 0
    assert (project / "old.csv").read_text(encoding="utf-8").startswith("document_id,")


MISTAKES = {
    "nothing a.csv": "run_invalid: no run 'nothing' in",
    "tiny a.xls": "input_invalid: a.xls: results are written as .jsonl, .ndjson, .csv, .parquet; .xls is",
    "tiny out.csv": "input_invalid: out.csv is a folder; name a file in it, such as out.csv/results.csv",
    "roles.yaml a.csv": "run_invalid: no run 'roles.yaml' in",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_told_in_a_sentence(cli: Cli, project: Path, run: str, arguments: str) -> None:
    (project / "out.csv").mkdir()

    ran = cli("export", *arguments.split(), "--json")

    assert ran.code == 3
    assert f"{ran.error()['code']}: {ran.error()['message']}".startswith(MISTAKES[arguments])
    assert not (project / "a.csv").exists()


def test_a_folder_that_is_no_run_is_refused(cli: Cli, project: Path) -> None:
    ran = cli("export", str(project), "a.csv")

    assert (ran.code, "not a run directory" in ran.err) == (3, True)


def test_a_place_that_can_not_be_written_exits_1(cli: Cli, run: str) -> None:
    ran = cli("export", run, "roles.yaml/a.csv", "--json")

    assert (ran.code, ran.error()["code"]) == (1, "results_not_written")


def test_check_names_tables_and_refuses_what_a_run_would(cli: Cli, project: Path) -> None:
    pipeline = project / "pipeline.yaml"
    before = pipeline.read_text(encoding="utf-8")
    pipeline.write_text(f"{before}results: [tables/all.csv]\n", encoding="utf-8")
    assert f"results:    {project}/tables/all.csv\n" in cli("check").out

    pipeline.write_text(f"{before}results: [all.xlsx]\n", encoding="utf-8")
    ran = cli("check")

    assert (ran.code, "results are written as" in ran.err) == (3, True)


def test_files_are_counted_by_kind_and_not_opened(cli: Cli, project: Path) -> None:
    """Some would take seconds to convert."""
    for name in ("a.md", "b.pdf", "c.PDF", "d"):
        (project / "docs" / name).parent.mkdir(exist_ok=True)
        (project / "docs" / name).write_text("no pdf", encoding="utf-8")
    pipeline = project / "pipeline.yaml"
    text = pipeline.read_text(encoding="utf-8")
    pipeline.write_text(text.replace("{path: documents.json}", "{path: docs}"), encoding="utf-8")

    ran = cli("check", "--json")

    assert ran.json()["documents"] == {
        "total": None,
        "usable": None,
        "skipped": None,
        "invalid": None,
        "files": {".pdf": 2, ".md": 1, "": 1},
    }
    assert "documents:  4 files (2 .pdf, 1 .md, 1 without suffix), read when their turn comes\n" in cli("check").out
    pipeline.write_text(text.replace("documents.json", "docs/b.pdf"), encoding="utf-8")
    assert "documents:  1 file (1 .pdf), read when their turn comes\n" in cli("check").out
