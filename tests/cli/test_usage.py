"""Wrong command lines end with 2 and a hint, help is quick and light."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from tests.cli.conftest import Cli

from agent_pipeline.cli.flags import RunFlags

HEAVY = {"agents", "asyncio", "httpx2", "openai", "trio_asyncio"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--limt", "3"], "--limit"),
        (["rnu"], "'run'"),
        (["run", "--limit", "0"], "--limit"),
        (["run", "--limit", "many"], "--limit"),
        (["run", "--role", "namer"], "ROLE=MODEL"),
        (["run", "--role", "a=b", "--role", "a=c"], "given twice"),
        (["run", "--base-url", "=http://127.0.0.1"], "PROVIDER=URL"),
        (["run", "--budget-usd", "much"], "--budget-usd"),
        (["run", "--fail-on-error", "sometimes"], "never"),
        (["run", "--display", "fancy"], "--display"),
        (["run", "--faults", "faults.yaml"], "--offline"),
        (["simulate", "--port", "70000"], "--port"),
        (["check", "a", "b"], "b"),
    ],
)
def test_a_wrong_command_line_ends_with_2(cli: Cli, arguments: list[str], said: str) -> None:
    """Scripts tell their own mistake from a failed run; people see what was meant."""
    ran = cli(*arguments, "--json")

    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.json()["exit_code"] == 2
    assert ran.error()["code"] == "usage"
    assert said in ran.error()["message"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "rya"), "'--engine': 'rya' is not one of 'local', 'ray'; did you mean 'ray'?"),
        (("--engine", "dask"), "'--engine': 'dask' is not one of 'local', 'ray'"),
        (("--display", "ful"), "'--display': 'ful' is not one of 'full', 'plain', 'log', 'none'; did you mean 'full'?"),
        (("--engine", "is not one of 'x'."), "\"is not one of 'x'.\" is not one of 'local', 'ray'"),
        (("--workers", "0"), "'--workers': the value should be greater than or equal to 1"),
    ],
)
def test_a_value_that_is_none_of_a_flags_is_named_with_the_near_one(
    cli: Cli, arguments: tuple[str, str], said: str
) -> None:
    """In our words, not in those of the library that looked at it."""
    ran = cli("run", *arguments, "--json")

    assert ran.code == 2
    assert str(ran.error()["message"]).removeprefix("Invalid value for ").endswith(said)


def test_no_arguments_show_the_help_as_a_mistake(cli: Cli) -> None:
    """Nothing was asked for, so nothing was done."""
    ran = cli()

    assert ran.code == 2


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("3", 3), ("0.25", 0.25), ("1.0", 1.0), ("never", "never"), (" 2 ", 2)]
)
def test_failures_are_tolerated_by_number_or_fraction(text: str, value: float | str) -> None:
    """1 is one document, 1.0 is all of them."""
    tolerated = RunFlags(fail_on_error=text).tolerated_failures()

    assert tolerated == value
    assert type(tolerated) is type(value)


@pytest.mark.parametrize("text", ["-1", "1.5", "-0.1", "nan", "", "1e3", "."])
def test_other_tolerances_are_refused(text: str) -> None:
    """A tolerance that means nothing would hide failures."""
    with pytest.raises(typer.BadParameter):
        RunFlags(fail_on_error=text).tolerated_failures()


def test_money_is_taken_as_it_is_written() -> None:
    """A binary fraction of a dollar is not what was typed."""
    assert RunFlags(budget_usd="0.10").money() == Decimal("0.10")
    assert RunFlags(role=["a=b=c"]).role_models() == {"a": "b=c"}


PROBE = """
import json, sys
from agent_pipeline.cli import main
codes = [main([*command, "--help"]) for command in ([], ["run"], ["check"], ["simulate"])]
helped = sorted(sys.modules)
checked = main(["check", "--json"])
print(json.dumps({"codes": [*codes, checked], "helped": helped, "checked": sorted(sys.modules)}))
"""


def test_help_and_check_import_nothing_heavy(project: Path) -> None:
    """The SDK alone takes seconds; nobody waits so long to read a flag."""
    run = subprocess.run([sys.executable, "-c", PROBE], cwd=project, capture_output=True, text=True, check=True)

    seen = json.loads(run.stdout.splitlines()[-1])
    assert seen["codes"] == [0, 0, 0, 0, 0]
    assert not (HEAVY | {"trio"}) & set(seen["helped"])
    assert not HEAVY & set(seen["checked"])
    assert "--documents-in-flight" in run.stdout
