"""How a run stands: its own word, or whether a process holds its directory."""

import json

import pytest
from tests.runs.sample import Sample, kill

from agent_pipeline.errors import LedgerError
from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.directory import find_run, run_names
from agent_pipeline.runs.state import is_simulated, status_of


def state(sample: Sample) -> str:
    with open_reader(sample.run.ledger) as ledger:
        return status_of(sample.run, ledger).state


def test_a_run_that_ended_says_how_itself(sample: Sample) -> None:
    """Whoever may hold its directory now."""
    with sample.run.locked():
        assert state(sample) == "completed"


def test_without_an_end_it_was_killed_unless_somebody_holds_it(sample: Sample) -> None:
    """A killed process can't say so; its lock is gone with it."""
    kill(sample)

    assert state(sample) == "killed"
    with sample.run.locked():
        assert state(sample) == "running"
    assert state(sample) == "killed"


def test_who_answered_is_on_record(sample: Sample) -> None:
    """What a simulator said is no model's word."""
    with open_reader(sample.run.ledger) as ledger:
        assert is_simulated(ledger.run)
    sample.sql(f"UPDATE run SET options_json = '{json.dumps({'offline': False})}'")  # noqa: S608 - own
    with open_reader(sample.run.ledger) as ledger:
        assert not is_simulated(ledger.run)


def test_options_that_somebody_broke_are_an_error(sample: Sample) -> None:
    """Not a guess."""
    for broken in ("{", '["offline"]', "[" * 100_000):
        sample.sql(f"UPDATE run SET options_json = '{broken}'")  # noqa: S608 - of this test's own values

        with pytest.raises(LedgerError, match="can't be read"), open_reader(sample.run.ledger):
            pass


def test_runs_are_listed_newest_first_whatever_their_pipelines(sample: Sample) -> None:
    """Names sort by pipeline; people look for what they did last."""
    logs = sample.project.logs
    names = ["zoo-2020-01-01_00h00m00s-aaaaaa", "ant-2031-01-01_00h00m00s-aaaaaa"]
    for name in [*names, "no run", "openai_sdk"]:
        (logs / name).mkdir(exist_ok=True)

    assert run_names(logs) == [names[1], sample.run.run_id, names[0]]
    assert run_names(logs / "nowhere") == []
    assert run_names(sample.run.ledger) == []


@pytest.mark.parametrize("typed", ["trail", "trial-1026", "Trial-20"])
def test_a_misspelt_run_is_guessed(sample: Sample, typed: str) -> None:
    """Names are long, and mostly only their beginning is typed."""
    with pytest.raises(Exception, match=f"did you mean '{sample.run.run_id}'"):
        find_run(typed, sample.project.logs)
