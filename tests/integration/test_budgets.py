"""Budgets of roles and documents, and written prices, over real sockets: each stops what it is for, and is resumed."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.integration.command import Launcher
from tests.integration.leavings import Leavings
from tests.integration.project import Project, make_project, prose
from tests.integration.provider import open_separate_simulator
from tests.integration.test_resume import STAGES, TWO_STAGES, left_by, part, resume

from agent_pipeline.domain.document import JsonValue


def set_judge(project: Project, **settings: JsonValue) -> None:
    """Give the role `judge` settings of its own."""
    roles = json.loads(project.roles.read_text(encoding="utf-8"))
    roles["roles"]["judge"] = {**roles["defaults"], **settings}
    project.roles.write_text(json.dumps(roles), encoding="utf-8")


def set_key(project: Project, key: str, value: JsonValue) -> None:
    """Change a key of the pipeline file, or of its limits."""
    config = json.loads(project.config.read_text(encoding="utf-8"))
    (config if key in config or key == "prices" else config["limits"])[key] = value
    project.config.write_text(json.dumps(config), encoding="utf-8")


def charged(left: Leavings, **where: object) -> int:
    """Return what the attempts with these values were charged."""
    rows: list[Mapping[str, object]] = [
        row for row in left.attempts if all(row[key] == value for key, value in where.items())
    ]
    return sum(int(str(row["charged_tokens"])) for row in rows)


def test_a_role_that_used_up_its_budget_ends_the_run_until_it_is_raised(launcher: Launcher, tmp_path: Path) -> None:
    """Exit 4 and a reason of its own; what was bought is not bought again, in whichever session."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(
            tmp_path / "p",
            prose(6),
            stages=STAGES,
            own_stages=TWO_STAGES,
            base_url=simulator.base_url,
            limits={"documents_in_flight": 2},
        )
        set_judge(project, budget_tokens=2200)
        first = launcher.run("run", "--json", cwd=project.root)
        at_first = charged(left_by(project), role="judge")
        same = resume(launcher, project)
        set_judge(project, budget_tokens=1_000_000)
        raised = resume(launcher, project)

        assert raised.exit_code == 0, raised.stderr
        assert simulator.requests() == 18
    for ended in (first, same):
        assert (ended.exit_code, ended.result["reason"]) == (4, "budget:role:judge:tokens")
    assert 0 < at_first <= 2200
    left = left_by(project)
    assert part(raised, "usage")["charged_tokens"] == charged(left)


def test_a_document_that_used_up_its_budget_fails_alone(launcher: Launcher, tmp_path: Path) -> None:
    """The others end well, and it does with a larger one."""
    documents: list[JsonValue] = [*prose(3), {"id": "long", "text": "A sentence that says little. " * 200}]
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(
            tmp_path / "p",
            documents,
            stages=STAGES,
            own_stages=TWO_STAGES,
            base_url=simulator.base_url,
            limits={"budget_per_document": {"tokens": 2_500}},
        )
        first = launcher.run("run", "--json", cwd=project.root)
        left = left_by(project)
        assert {row["document_id"]: row["error_code"] for row in left.documents if row["outcome"] != "succeeded"} == {
            "long": "document_budget_exceeded"
        }
        set_key(project, "budget_per_document", {"tokens": 100_000})
        raised = resume(launcher, project, "--retry-failed")

        assert simulator.requests() == 12
    assert (first.exit_code, first.result["reason"], raised.exit_code) == (1, "documents_failed", 0)


def test_a_document_goes_on_behind_the_stages_it_has_paid_for(launcher: Launcher, tmp_path: Path) -> None:
    """What they cost counts for its budget in the next session, too."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(
            tmp_path / "p",
            prose(2),
            stages=STAGES,
            own_stages=TWO_STAGES,
            base_url=simulator.base_url,
            limits={"budget_per_document": {"tokens": 2_140}},
        )
        assert launcher.run("run", cwd=project.root).exit_code == 1
        left = left_by(project)
        assert {(row["error_code"], row["failed_stage"]) for row in left.documents} == {
            ("document_budget_exceeded", "finish")
        }
        assert 0 < charged(left, document_id="d0001") <= 2_140
        assert resume(launcher, project, "--retry-failed").exit_code == 1
        assert simulator.requests() == 4
        set_key(project, "budget_per_document", {"tokens": 2_200})

        assert resume(launcher, project, "--retry-failed").exit_code == 0
        assert simulator.requests() == 6


def test_written_prices_are_what_a_run_costs_and_what_its_money_buys(launcher: Launcher, tmp_path: Path) -> None:
    """An unlisted model is priced by the file; the ledger's money adds up to what is shown, and stays below the cap."""
    with open_separate_simulator(launcher, tmp_path / "provider") as simulator:
        project = make_project(
            tmp_path / "p", prose(4), stages=STAGES, own_stages=TWO_STAGES, base_url=simulator.base_url
        )
        flags = ("run", "--json", "--budget-usd", 0.0042, "--documents-in-flight", 2)
        set_judge(project, model="house-model")
        refused = launcher.run(*flags, cwd=project.root)
        set_key(project, "prices", {"openai": {"house-model": {"input": 1, "output": 2, "cached_input": 0.5}}})
        ended = launcher.run(*flags, cwd=project.root)

    assert (refused.exit_code, "house-model" in refused.stderr) == (3, True)
    left = left_by(project)
    costs = [int(str(row["cost_micro_usd"])) for row in left.attempts]
    assert (ended.exit_code, ended.result["reason"]) == (4, "budget:usd")
    assert ended.result["cost_usd"] == sum(costs) / 1e6
    assert 0 < sum(costs) <= 4_200
    for row in (row for row in left.attempts if row["model"] == "house-model"):
        tokens = {name: int(str(row[f"{name}_tokens"])) for name in ("input", "output", "cached_input")}
        fresh = tokens["input"] - tokens["cached_input"]
        assert row["cost_micro_usd"] == -(-(fresh * 10 + tokens["cached_input"] * 5 + tokens["output"] * 20) // 10)
