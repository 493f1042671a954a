"""`runs`: which runs there are, how each ended and stands, also where one is damaged."""

import re

from tests.cli.conftest import Cli
from tests.cli.looked import killed_in_flight, labelled, lines, listed
from tests.runs.sample import Sample


def test_runs_are_told_in_a_line_each(look: Cli, past: Sample) -> None:
    """How it ended, what it did, what it cost, and who answered."""
    ran = look("runs")

    title, line = lines(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert title.split("  ")[0] == "RUN"
    assert re.fullmatch(rf"{past.run.run_id}  [\d: -]+  completed +3/6 +2 +[\d,]+ +\$[\d.]+  simulator", line)


def test_a_damaged_run_is_a_line_and_not_the_end(look: Cli, past: Sample) -> None:
    """The others are what one looks for."""
    logs = past.project.logs
    for name, content in (
        ("trial-2031-01-01_00h00m00s-aaaaaa", b"no ledger"),
        ("trial-2032-01-01_00h00m00s-bbbbbb", None),
    ):
        (logs / name).mkdir()
        if content is not None:
            (logs / name / "ledger.sqlite3").write_bytes(content * 200)

    ran = look("runs")
    told = look("runs", "--json").json()

    assert ran.code == 0
    assert [line.split()[0][-6:] for line in lines(ran.out)[1:]] == ["bbbbbb", "aaaaaa", past.run.run_id[-6:]]
    assert [line.split()[1] for line in lines(ran.out)[1:3]] == ["damaged", "damaged"]
    assert "ledger.sqlite3 is missing" in ran.err
    assert "this is no ledger" in ran.err
    assert [one["state"] for one in listed(told["runs"])] == ["damaged", "damaged", "completed"]


def test_only_as_many_runs_are_opened_as_are_wanted(look: Cli, past: Sample) -> None:
    """And it is said that there are more."""
    for number in range(3):
        (past.project.logs / f"old-2001-01-0{number + 1}_00h00m00s-aaaaaa").mkdir()

    ran = look("runs", "--limit", "1")

    assert len(lines(ran.out)) == 2
    assert "3 older ones are not shown; --limit 4 shows all" in ran.err


def test_no_runs_are_no_error(look: Cli, past: Sample) -> None:
    """There is a first time."""
    past.project.config.unlink()

    ran = look("runs")

    assert (ran.code, ran.out) == (0, "")
    assert "no runs in logs; `agent-pipeline run` begins one" in ran.err


def test_an_unknown_cost_is_never_nothing(look: Cli, past: Sample) -> None:
    """Nothing would be believed."""
    past.sql("UPDATE attempts SET cost_micro_usd = NULL")

    assert " unknown " in lines(look("runs").out)[1]
    assert labelled(look("show", "trial").out, "cost:") == "nothing (simulated)"
    assert [one["cost_usd"] for one in listed(look("runs", "--json").json()["runs"])] == [None]


def test_a_run_that_goes_on_is_told_from_a_killed_one(look: Cli, past: Sample) -> None:
    """By the lock on its directory, which dies with the process."""
    killed_in_flight(past)

    assert " killed " in lines(look("runs").out)[1]
    with past.run.locked():
        going = lines(look("runs").out)[1]
    assert " running " in going
    assert " 2/6 so far " in going
