"""Tables of results that the pipeline file names: there when a session ends, however it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from tests.documents.convertible import HTML, docx
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import IN_THIS_PROCESS, Project, make_project, prose

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import ConfigError, InputError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.runs import results
from agent_pipeline.runs.results import tables
from agent_pipeline.simulator import FaultPlan, Simulator


def with_results(project: Project, *paths: str, **more: object) -> Project:
    """Name tables in the pipeline file."""
    written = json.loads(project.config.read_text(encoding="utf-8"))
    project.config.write_text(json.dumps({**written, "results": list(paths), **more}), encoding="utf-8")
    return project


def options(*, limit: int | None = None) -> RunOptions:
    """Run in memory."""
    return RunOptions(offline=True, virtual=True, seed=1, make_pool=lambda: simulator_pool(Simulator()), limit=limit)


def run(project: Project, *, limit: int | None = None) -> RunResult:
    """Run to the end."""
    return Pipeline.from_config(project.config, options=options(limit=limit)).run_sync()


def rows(path: Path) -> list[dict[str, object]]:
    """Read a table."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_writes_its_tables_and_names_them(tmp_path: Path) -> None:
    """The same as `export` writes of it."""
    project = with_results(
        make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS), "tables/all.jsonl", "all.csv", "all.parquet"
    )

    result = run(project)

    assert (result.exit_code, result.results_problem) == (0, None)
    assert result.results == tuple(str(tmp_path / name) for name in ("tables/all.jsonl", "all.csv", "all.parquet"))
    assert [row["document_id"] for row in rows(tmp_path / "tables/all.jsonl")] == ["d0001", "d0002", "d0003"]
    again = tmp_path / "again.csv"
    results.write_results(Path(result.run_dir) / "ledger.sqlite3", again)
    assert again.read_bytes() == (tmp_path / "all.csv").read_bytes()
    assert_complete(Leavings(Path(result.run_dir)))
    manifest = json.loads((Path(result.run_dir) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["result"]["results"] == list(result.results)


def test_each_session_writes_them_anew_with_all_documents(tmp_path: Path) -> None:
    """They are those of the run, not of one of its sessions."""
    project = with_results(make_project(tmp_path, prose(3), stages=IN_THIS_PROCESS), "all.jsonl")
    first = run(project, limit=1)
    assert len(rows(tmp_path / "all.jsonl")) == 1

    second = Pipeline.from_run(first.run_dir, options=options())
    assert second.run_sync().documents.total == 3

    assert len(rows(tmp_path / "all.jsonl")) == 3


@pytest.mark.parametrize("delay", [0.0, 0.5, 2.5, 3.5])
def test_a_run_that_was_cancelled_has_its_tables_too(tmp_path: Path, autojump_clock: object, delay: float) -> None:
    """What it finished was paid for."""
    project = with_results(
        make_project(tmp_path, prose(4), stages=IN_THIS_PROCESS, limits={"documents_in_flight": 1}), "all.jsonl"
    )
    slow = Simulator(faults=FaultPlan.from_mapping({"latency": 1.0}))
    chosen = RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(slow))

    async def main() -> None:
        with trio.move_on_after(delay):
            await Pipeline.from_config(project.config, options=chosen).run()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    outcomes = [row["outcome"] for row in rows(tmp_path / "all.jsonl")]
    assert outcomes == [*["succeeded"] * int(delay), "cancelled"][: len(outcomes)]
    assert len(outcomes) >= int(delay)
    left = Leavings(project.runs()[0])
    assert_complete(left)
    assert len(left.documents) == len(outcomes)


def test_a_table_that_can_not_be_written_is_no_plain_success(tmp_path: Path) -> None:
    """The run is whole, the others are there, and it is told."""
    project = with_results(make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS), "file/all.jsonl", "good.jsonl")
    (tmp_path / "file").write_text("", encoding="utf-8")

    result = run(project)

    assert (result.outcome, result.exit_code, result.reason) == ("completed", 1, "results_not_written")
    assert result.results == (str(tmp_path / "good.jsonl"),)
    assert result.results_problem is not None
    assert "file/all.jsonl: the results can't be written: " in result.results_problem
    assert_complete(Leavings(Path(result.run_dir)))


def _without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "find_spec", lambda _: None)


@pytest.mark.parametrize(
    ("path", "problem", "prepare"),
    [
        ("all.xlsx", r"all\.xlsx: results are written as \.jsonl, ", None),
        ("all.parquet", r"to write Parquet, install agent-pipeline\[parquet\]", _without_pyarrow),
        ("notes/all.csv", "is where documents are read from", None),
        ("folder.csv", r"folder\.csv is a folder", None),
    ],
)
def test_what_can_be_known_before_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, problem: str, prepare: Callable[..., None] | None
) -> None:
    """Not after a night's work."""
    project = with_results(
        make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS), path, source={"glob": "notes/**/*"}
    )
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("Words.", encoding="utf-8")
    (tmp_path / "folder.csv").mkdir()
    if prepare is not None:
        prepare(monkeypatch)

    with pytest.raises(InputError, match=problem):
        run(project)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("documents.json", "documents.json is the source, or in it"),
        ("roles.yaml", "roles.yaml is the roles file"),
        ("pipeline.yaml", "pipeline.yaml is this file"),
        ("out/artifacts/all.csv", "the artifacts folder holds artifacts and nothing else"),
        ("./all.csv", "all.csv is named twice"),
    ],
)
def test_a_table_in_the_place_of_something_else_is_refused_at_its_line(tmp_path: Path, path: str, problem: str) -> None:
    """It would be overwritten at the end of the run."""
    project = with_results(make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS), "all.csv", path)

    with pytest.raises(ConfigError, match=problem) as caught:
        Pipeline.from_config(project.config)

    assert caught.value.key == "results.1"


def test_converted_documents_are_kept_when_a_run_goes_on(tmp_path: Path) -> None:
    """What a file says counts, not its bytes: saved again by another program, nothing is paid for again."""
    project = with_results(
        make_project(tmp_path, prose(1), stages=IN_THIS_PROCESS), "all.jsonl", source={"glob": "notes/*"}
    )
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.html").write_text(HTML, encoding="utf-8")
    (notes / "b.docx").write_bytes(docx("Tasks"))
    (notes / "c.pdf").write_bytes(b"broken")
    first = run(project)
    assert (first.documents.succeeded, first.documents.failed) == (2, 1)

    (notes / "a.html").write_text(HTML.replace("<h1>", '<h1 class="new">'), encoding="utf-8")
    (notes / "b.docx").write_bytes(docx("Other tasks"))
    second = Pipeline.from_run(first.run_dir, options=options()).run_sync()

    assert (second.session.kept_documents, second.session.requests) == (2, 1)  # a.html, and c.pdf as it failed
    told = {row["document_id"]: row["error_code"] for row in rows(tmp_path / "all.jsonl")}
    assert told == {"notes/a.html": None, "notes/b.docx": None, "notes/c.pdf": "document_invalid"}
