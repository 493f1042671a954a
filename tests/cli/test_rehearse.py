"""`rehearse` on the command line: what it prints, how it exits, and what it refuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

PROBE = """
import sys
touched = []
sys.addaudithook(lambda event, arguments: touched.append(event) if event.startswith("socket.connect") else None)
from agent_pipeline.cli import main
code = main(["rehearse", "--faults", "none", "--documents", "4"])
print(code, touched)
"""


def test_a_rehearsal_ends_with_what_the_settings_come_to(cli: Cli, project: Path) -> None:
    before = sorted(project.rglob("*"))

    ran = cli("rehearse", "--faults", "none", "--documents", "5")

    assert (ran.code, sorted(project.rglob("*"))) == (0, before)
    said = ran.out.splitlines()
    assert said[0] == "rehearsal of tiny: fault plan none, seed 0; all of it simulated"
    assert said[1] == "documents:  5 of 5 finished, 0 lost"
    assert said[2] == "requests:   5, in 5 HTTP attempts"
    assert re.fullmatch(r"with your settings: 0 lost, 0 retried, 6\.\d\d s, cost \$0\.00\d+, at risk \$0", said[-2])
    assert said[-1].startswith("change:     nothing")
    assert "no model is asked" in ran.err
    assert "5 documents: the stages of 3 run, 2 stand in" in ran.err


def test_lost_documents_are_exit_code_one(cli: Cli, project: Path) -> None:
    faults = project / "mine.yaml"
    faults.write_text("faults: [{kind: status, status: 400, match: {contains: bees}}]\n", encoding="utf-8")

    ran = cli("rehearse", "--faults", "mine.yaml", "--json")

    found = ran.json()
    assert (ran.code, found["exit_code"], found["faults"]) == (1, 1, "mine.yaml")
    assert found["documents"] == {
        "total": 3,
        "finished": 2,
        "lost": 1,
        "unfinished": 0,
        "skipped": 0,
        "stand_ins": 0,
        "repeats": 0,
    }
    assert found["failures"] == {"request_rejected": 1}
    advice = found["advice"]
    assert isinstance(advice, list)
    assert advice[0].startswith("1 document failed with request_rejected, which no provider is to blame for: ")


def test_documents_left_undone_are_exit_code_one_too(cli: Cli) -> None:
    ran = cli("rehearse", "--faults", "dead-provider", "--documents", "20", "--json")

    assert (ran.code, ran.json()["reason"]) == (1, "provider_down")


def test_flags_of_the_run_change_the_rehearsal(cli: Cli) -> None:
    ran = cli("rehearse", "--faults", "none", "--role", "namer=house-model", "--limit", "1", "--json").json()

    assert (ran["requests"], ran["cost_usd"]) == (1, None)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--faults", "429-strom"), 3, "did you mean '429-storm'"),
        (("--faults", "."), 3, "is a folder"),
        (("--faults", "bad.yaml"), 3, "bad.yaml:1:10"),
        (("--documents", "0"), 2, "greater than or equal to 1"),
        (("--documents", "2000000"), 2, "less than or equal to 1000000"),
        (("missing.yaml",), 3, "missing.yaml"),
        (("--skip", "name"), 3, "no stage is left"),
    ],
)
def test_a_mistake_is_one_sentence(cli: Cli, project: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    (project / "bad.yaml").write_text("faults: [{kind: storm}]\n", encoding="utf-8")

    ran = cli("rehearse", *arguments, "--json")

    assert ran.code == code
    assert words in ran.error()["message"]
    assert "Traceback" not in ran.err


def test_foreign_text_cannot_move_the_cursor(cli: Cli, project: Path) -> None:
    """Stages and errors may say anything."""
    (project / "rude.py").write_text(
        "from agent_pipeline import stage\n"
        "@stage\n"
        "async def rude(document, context):\n"
        "    raise ValueError('a\\x1b[2Jb sk-1234567890abcdef1234567890abcdef')\n",
        encoding="utf-8",
    )
    pipeline = project / "pipeline.yaml"
    pipeline.write_text(pipeline.read_text(encoding="utf-8").replace("[name]", "['rude:rude']"), encoding="utf-8")

    ran = cli("rehearse", "--faults", "none")

    assert ran.code == 1
    assert "\x1b" not in ran.out + ran.err
    assert "ValueError: ab [redacted] (rude.py:4)" in ran.out


def test_no_network_is_touched(project: Path) -> None:
    """Not even loopback."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=project, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.splitlines()[-1] == "0 []"
