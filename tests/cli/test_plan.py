"""`plan` on the command line: what it prints, how it exits, what it refuses, and what it leaves alone."""

import json
import re
from pathlib import Path

import pytest
from tests.cli.conftest import PIPELINE, Cli


def files(project: Path) -> list[str]:
    """Return what is in a project."""
    return sorted(str(path) for path in project.rglob("*") if "__pycache__" not in str(path))


def test_a_plan_says_what_a_run_would_need(cli: Cli, project: Path) -> None:
    """With no key and no earlier run; nothing is made."""
    before = files(project)

    ran = cli("plan")

    assert (ran.code, ran.err, files(project)) == (0, "", before)
    said = ran.out.splitlines()
    assert said[0] == "plan of a run of tiny: nothing is asked, made or spent"
    assert said[1].startswith("documents:  3 to work on, ")
    assert said[2].split() == ["low", "expected", "high"]
    assert said[3].split() == ["requests:", "3", "3", "3"]
    assert said[4].split() == ["attempts:", "3", "3", "15"]
    assert re.fullmatch(r"money: +\$0\.\d{4,6} +\$0\.\d{4,6} +\$0\.\d{4,6}", said[6])
    assert any(line.startswith("time:       about 5 s, where an answer takes 5.0 s; at worst ") for line in said)


def test_a_plan_after_a_run_names_it(cli: Cli, project: Path) -> None:
    assert cli("run", "--offline", "--display", "none").code == 0
    (run,) = (project / "logs").glob("tiny-*")

    ran = cli("plan")

    assert f"expected:   as in {run.name} (simulated), by the size of documents" in ran.out


def test_a_plan_for_programs_is_one_object(cli: Cli, project: Path) -> None:
    ran = cli("plan", "--json", "--limit", "2", "--budget-tokens", "50000").json()

    assert (ran["exit_code"], ran["name"], ran["run"], ran["history"]) == (0, "tiny", None, None)
    assert ran["requests"] == {"low": 2, "expected": 2, "high": 2}
    assert ran["budget_left"] == {"tokens": 50000, "usd": None}
    documents = ran["documents"]
    assert isinstance(documents, dict)
    assert (documents["total"], documents["is_complete"]) == (2, True)
    stages = ran["stages"]
    assert isinstance(stages, list)
    assert [stage["stage"] for stage in stages] == ["name"]


def test_a_plan_of_a_resume_says_what_is_left(cli: Cli, project: Path) -> None:
    assert cli("run", "--offline", "--display", "none", "--limit", "2").code == 0

    ran = cli("plan", "--run", "tiny", "--limit", "3")

    assert ran.code == 0
    assert "1 to work on" in ran.out
    assert "2 are finished and kept" in ran.out
    assert cli("plan", "--run", "tiny", "--json").json()["requests"] == {"low": 0, "expected": 0, "high": 0}


def test_an_unknown_price_is_called_unknown(cli: Cli) -> None:
    ran = cli("plan", "--role", "namer=house-model")

    (money,) = (line for line in ran.out.splitlines() if line.startswith("money:"))
    assert money.split() == ["money:", "unknown", "unknown", "unknown"]
    assert "no price is known for 'house-model'" in ran.out
    assert "$0" not in ran.out


def test_standard_input_is_unknown(cli: Cli, project: Path) -> None:
    """It can be read once, and that is the run's."""
    project.joinpath("pipeline.yaml").write_text(PIPELINE.replace("documents.json", '"-"'), encoding="utf-8")

    ran = cli("plan", "--json")

    assert (ran.code, ran.json()["documents"], ran.json()["tokens"]) == (0, None, None)
    assert "unknown: standard input" in cli("plan").out


def test_warnings_go_to_stderr_and_hide_nothing_of_a_terminal(cli: Cli, project: Path) -> None:
    """Ids are foreign text."""
    project.joinpath("pipeline.yaml").write_text(PIPELINE.replace(".json", ".jsonl"), encoding="utf-8")
    line = json.dumps({"id": "a\u202eb\u200b", "text": "words"})
    project.joinpath("documents.jsonl").write_text(f"{line}\n{line}\n", encoding="utf-8")

    ran = cli("plan")

    assert ran.code == 0
    assert ran.err == "warning: 1 document (a b) have an id that another document has: a run ends at the second\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("plan", "missing.yaml"), 3, "missing.yaml"),
        (("plan", "logs"), 3, "logs"),
        (("plan", "--only", "nmae"), 3, "no stage 'nmae'"),
        (("plan", "--role", "naner=gpt-5"), 3, "did you mean 'namer'"),
        (("plan", "--budget-usd", "much"), 2, "no amount in dollars"),
        (("plan", "--run", "nothing"), 3, "no run 'nothing'"),
        (("plan", "--run", "tiny", "--only", "name"), 2, "its own config and stages"),
        (("plan", "pipeline.yaml", "--run", "tiny"), 2, "its own config and stages"),
        (("plan", "--retry-failed"), 2, "add --run RUN"),
    ],
)
def test_a_mistake_is_one_sentence(cli: Cli, project: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    (project / "logs").mkdir()

    ran = cli(*arguments, "--json")

    assert ran.code == code
    assert words in ran.error()["message"]
    assert "Traceback" not in ran.err


def test_a_source_that_is_gone_is_told(cli: Cli, project: Path) -> None:
    (project / "documents.json").unlink()

    assert cli("plan").code == 3


def test_a_plan_over_workers_names_the_engine_and_what_is_in_flight(cli: Cli, project: Path) -> None:
    """The limit on open files of this process is none of theirs."""
    arguments = ("plan", "--engine", "ray", "--workers", "3", "--worker-concurrency", "7", "--ray-address", "auto")

    ran, told = cli(*arguments), cli(*arguments, "--json").json()

    assert (
        "engine:     ray, the cluster of this machine: 3 workers x 7 documents at once; "
        "they share the budgets and limits of the run\n"
    ) in ran.out
    assert told["documents_in_flight"] == 21
    assert told["engine"] == {
        "kind": "ray",
        "workers": 3,
        "documents_in_flight": 7,
        "address": "auto",
        "shard_size": 50,
    }
    assert "engine:" not in cli("plan").out
