"""A run that ended early, or was killed, goes on: nothing is lost, nothing that was paid for is paid for again."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.integration.command import Ended, Launcher, wait_until
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import ONE_CALL, Project, make_project, prose
from tests.integration.provider import SeparateSimulator, open_separate_simulator

TWO_STAGES = """
from agent_pipeline import Document, StageContext, stage


@stage(role="drafter")
async def draft(document: Document, context: StageContext) -> Document:
    return document.with_fields(draft=await context.ask("Draft:\\n" + document.text))


@stage(role="judge")
async def judge(document: Document, context: StageContext) -> Document:
    return document.with_fields(judged=await context.ask("Judge this:\\n" + str(document.fields["draft"])))


@stage(role="judge")
async def finish(document: Document, context: StageContext) -> Document:
    return document.with_text(document.text + await context.ask("Finish:\\n" + str(document.fields["judged"])))
"""
STAGES = ("own_stages:draft", "own_stages:judge", "own_stages:finish")


def left_by(project: Project) -> Leavings:
    (path,) = project.runs()
    return Leavings(path)


def resume(launcher: Launcher, project: Project, *flags: object) -> Ended:
    (path,) = project.runs()
    return launcher.run("resume", path.name, "--json", *flags, cwd=project.root)


def part(ended: Ended, name: str) -> dict[str, object]:
    value = ended.result[name]
    assert isinstance(value, dict)
    return value


def served(simulator: SeparateSimulator) -> Callable[[], int]:
    before = simulator.requests()
    return lambda: simulator.requests() - before


def test_a_finished_run_has_nothing_left_to_do(launcher: Launcher, tmp_path: Path) -> None:
    """Resuming it asks for nothing and changes no artifact."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(tmp_path / "p", prose(3), stages=ONE_CALL, base_url=simulator.base_url)
        assert launcher.run("run", cwd=project.root).exit_code == 0
        before = {path: path.read_bytes() for path in project.artifacts.iterdir()}
        asked = served(simulator)

        ended = resume(launcher, project)

        assert asked() == 0
    result = ended.result
    assert (ended.exit_code, result["outcome"]) == (0, "completed")
    assert result["documents"] == {"total": 3, "succeeded": 3, "failed": 0, "skipped": 0, "cancelled": 0}
    assert result["session"] == {
        "number": 2,
        "kept_documents": 3,
        "requests": 0,
        "attempts": 0,
        "charged_tokens": 0,
    }
    assert {path: path.read_bytes() for path in project.artifacts.iterdir()} == before


def test_a_killed_run_goes_on_where_it_was(launcher: Launcher, tmp_path: Path) -> None:
    """SIGKILL in the middle: every document once, every finished stage once, all files whole."""
    with open_separate_simulator(launcher, tmp_path / "provider", latency=0.05) as simulator:
        project = make_project(
            tmp_path / "p",
            prose(30),
            stages=STAGES,
            own_stages=TWO_STAGES,
            base_url=simulator.base_url,
            limits={"documents_in_flight": 8},
        )
        process = launcher.start("run", "--display", "none", cwd=project.root)
        wait_until(lambda: simulator.requests() >= 40, 60, lambda: process.stderr)
        process.kill()
        at_kill = simulator.requests()

        ended = resume(launcher, project)

        assert ended.exit_code == 0, ended.stderr
        repeated = simulator.requests() - 90
        assert 0 <= repeated <= 8, f"{repeated} requests repeated after a kill at {at_kill}"
    left = left_by(project)
    assert_complete(left)
    assert len(left.documents) == 30
    assert {one["outcome"] for one in left.documents} == {"succeeded"}
    assert len(list(project.artifacts.iterdir())) == 30
    assert len(left.table("stage_results")) == 90
    assert len(left.named("PIPELINE_RESUMED")) == 1
    assert sum(1 for one in left.attempts if one["outcome"] == "succeeded") >= 90


def test_an_interrupted_run_goes_on(launcher: Launcher, tmp_path: Path) -> None:
    """What was cancelled is taken up again."""
    with open_separate_simulator(launcher, tmp_path / "provider", latency=0.1) as simulator:
        project = make_project(
            tmp_path / "p",
            prose(20),
            stages=STAGES,
            own_stages=TWO_STAGES,
            base_url=simulator.base_url,
            limits={"documents_in_flight": 4},
        )
        process = launcher.start("run", "--display", "none", cwd=project.root)
        wait_until(lambda: simulator.requests() >= 20, 60, lambda: process.stderr)
        process.signal(signal.SIGINT)
        process.signal(signal.SIGINT)
        assert process.wait().exit_code == 130

        ended = resume(launcher, project)

        assert ended.exit_code == 0, ended.stderr
        assert simulator.requests() - 60 <= 4
    left = left_by(project)
    assert_complete(left)
    assert {one["outcome"] for one in left.documents} == {"succeeded"}


def test_another_prompt_for_the_judge_is_paid_from_the_judge_on(launcher: Launcher, tmp_path: Path) -> None:
    """The drafts are what they were."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(
            tmp_path / "p", prose(3), stages=STAGES, own_stages=TWO_STAGES, base_url=simulator.base_url
        )
        assert launcher.run("run", cwd=project.root).exit_code == 0
        code = project.root / "own_stages.py"
        code.write_text(code.read_text(encoding="utf-8").replace("Judge this", "Judge this well"), encoding="utf-8")
        asked = served(simulator)

        ended = resume(launcher, project)

        assert asked() == 6
    assert (ended.exit_code, part(ended, "documents")["succeeded"]) == (0, 3)
    left = left_by(project)
    assert len(left.named("STAGE_REUSED")) == 3
    assert len(list(project.artifacts.iterdir())) == 3


def test_another_instruction_for_a_role_counts_too(launcher: Launcher, tmp_path: Path) -> None:
    """Prompts live in the roles file as well."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(
            tmp_path / "p", prose(2), stages=STAGES, own_stages=TWO_STAGES, base_url=simulator.base_url
        )
        assert launcher.run("run", cwd=project.root).exit_code == 0
        roles = json.loads(project.roles.read_text(encoding="utf-8"))
        roles["roles"]["judge"] = {**roles["defaults"], "mode": "chat", "instructions": "Be strict."}
        project.roles.write_text(json.dumps(roles), encoding="utf-8")
        asked = served(simulator)

        assert resume(launcher, project).exit_code == 0

        assert asked() == 4


def test_failures_are_tried_again_only_when_asked_for(launcher: Launcher, tmp_path: Path) -> None:
    """A failed stage was never recorded as done."""
    with open_separate_simulator(
        launcher, tmp_path / "provider", faults=[{"kind": "status", "status": 400, "script": [1]}]
    ) as simulator:
        project = make_project(
            tmp_path / "p",
            prose(3),
            stages=ONE_CALL,
            base_url=simulator.base_url,
            limits={"documents_in_flight": 1},
        )
        assert launcher.run("run", cwd=project.root).exit_code == 1
        asked = served(simulator)

        again = resume(launcher, project)
        assert asked() == 0
        assert (again.exit_code, part(again, "documents")["failed"]) == (1, 1)
        retried = resume(launcher, project, "--retry-failed")
        assert asked() == 1
        assert (retried.exit_code, part(retried, "documents")["succeeded"]) == (0, 3)


def test_a_raised_budget_continues_a_run_that_reached_it(launcher: Launcher, tmp_path: Path) -> None:
    """What was spent counts; what was bought is not bought again."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(
            tmp_path / "p",
            prose(6),
            stages=STAGES,
            own_stages=TWO_STAGES,
            base_url=simulator.base_url,
            limits={"documents_in_flight": 2, "budget": {"tokens": 2400}},
        )
        assert launcher.run("run", cwd=project.root).exit_code == 4

        same = resume(launcher, project)
        assert same.exit_code == 4
        raised = resume(launcher, project, "--budget-tokens", 1_000_000)

        assert raised.exit_code == 0, raised.stderr
        assert simulator.requests() == 18
    left = left_by(project)
    charged = sum(int(str(one["charged_tokens"])) for one in left.attempts)
    assert part(raised, "usage")["charged_tokens"] == charged


def test_a_longer_source_and_a_higher_limit_extend_a_run(launcher: Launcher, tmp_path: Path) -> None:
    """Five for a smoke test, then the rest."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(tmp_path / "p", prose(4), stages=ONE_CALL, base_url=simulator.base_url)
        assert launcher.run("run", "--limit", 2, cwd=project.root).exit_code == 0
        project.documents.write_text(json.dumps(prose(6)), encoding="utf-8")

        assert part(resume(launcher, project), "documents")["total"] == 2
        extended = resume(launcher, project, "--limit", 5)

        assert part(extended, "documents")["succeeded"] == 5
        assert simulator.requests() == 5


def test_a_changed_document_is_worked_on_again(launcher: Launcher, tmp_path: Path) -> None:
    """Its old artifact gives way to the new one; a moved document is no new one."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(tmp_path / "p", [], stages=ONE_CALL, base_url=simulator.base_url)
        config = project.config.read_text(encoding="utf-8")
        project.config.write_text(config.replace('"path": "documents.json"', '"glob": "notes/*.txt"'), encoding="utf-8")
        notes = project.root / "notes"
        notes.mkdir()
        for name in ("b", "c"):
            (notes / f"{name}.txt").write_text(f"# Note {name}\n\nThis is a note.", encoding="utf-8")
        assert launcher.run("run", cwd=project.root).exit_code == 0
        (notes / "a.txt").write_text("# First\n\nThis is new.", encoding="utf-8")
        (notes / "b.txt").write_text("# Other\n\nSomething else.", encoding="utf-8")

        ended = resume(launcher, project)

        assert simulator.requests() == 4
    assert (ended.exit_code, part(ended, "documents")["succeeded"]) == (0, 3)
    assert part(ended, "session")["kept_documents"] == 1
    texts = {path.name: path.read_text(encoding="utf-8") for path in project.artifacts.iterdir()}
    assert len(texts) == 3
    assert sum("Something else" in text for text in texts.values()) == 1
    left = left_by(project)
    assert_complete(left)
    assert [str(one["document_id"])[-5:] for one in left.documents] == ["a.txt", "b.txt", "c.txt"]


def test_a_lost_or_changed_artifact_is_written_again_for_nothing(launcher: Launcher, tmp_path: Path) -> None:
    """The ledger still has what was paid for; what somebody else wrote meanwhile is not touched."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(tmp_path / "p", prose(3), stages=ONE_CALL, base_url=simulator.base_url)
        assert launcher.run("run", cwd=project.root).exit_code == 0
        whole = (project.artifacts / "d0001.md").read_bytes()
        (project.artifacts / "d0001.md").unlink()
        (project.artifacts / "d0002.md").write_text("mine now", encoding="utf-8")
        edited = project.artifacts / "d0003.md"
        written = edited.stat()
        edited.write_bytes(edited.read_bytes().upper())
        os.utime(edited, ns=(written.st_atime_ns, written.st_mtime_ns))  # as cp -p and rsync do
        asked = served(simulator)

        assert resume(launcher, project).exit_code == 0

        assert asked() == 0
    assert (project.artifacts / "d0001.md").read_bytes() == whole
    assert (project.artifacts / "d0002.md").read_text(encoding="utf-8") == "mine now"
    assert {path.name for path in project.artifacts.iterdir()} == {
        "d0001.md",
        "d0002.md",
        "d0002-d0002.md",
        "d0003.md",
        "d0003-d0003.md",
    }


def test_a_second_process_on_one_run_is_refused_and_told_of_the_first(launcher: Launcher, tmp_path: Path) -> None:
    """Two would pay twice."""
    with open_separate_simulator(launcher, tmp_path / "provider", latency=0.2) as simulator:
        project = make_project(tmp_path / "p", prose(8), stages=ONE_CALL, base_url=simulator.base_url)
        first = launcher.start("run", "--display", "none", cwd=project.root)
        wait_until(lambda: simulator.requests() >= 1, 60, lambda: first.stderr)

        second = resume(launcher, project)

        assert second.exit_code == 3
        assert part(second, "error")["code"] == "run_in_use"
        assert str(first.pid) in second.stderr
        assert first.wait().exit_code == 0


def test_a_duplicate_id_is_told_when_a_run_goes_on(launcher: Launcher, tmp_path: Path) -> None:
    """The second document of one id would overwrite the first."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(tmp_path / "p", prose(2), stages=ONE_CALL, base_url=simulator.base_url)
        assert launcher.run("run", cwd=project.root).exit_code == 0
        documents = project.root / "documents.jsonl"
        lines = [json.dumps(one) for one in [*prose(2), *prose(1)]]
        documents.write_text("\n".join(lines), encoding="utf-8")
        config = project.config.read_text(encoding="utf-8")
        project.config.write_text(config.replace("documents.json", "documents.jsonl"), encoding="utf-8")

        ended = resume(launcher, project)

    assert ended.exit_code == 3
    assert "d0001" in ended.stderr
