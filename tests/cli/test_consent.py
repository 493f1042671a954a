"""Who sits at a terminal is asked before a run that may spend without end."""

import io
from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.integration.project import IN_THIS_PROCESS, make_project, prose

from agent_pipeline.cli.commands.running import consent
from agent_pipeline.cli.commands.running.consent import consents, is_unbounded
from agent_pipeline.compose import RunOptions
from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.domain.document import JsonValue


@pytest.mark.parametrize(
    ("limits", "env_key", "options", "expected"),
    [
        ({}, "OPENAI_API_KEY", RunOptions(), True),
        ({"budget": {"tokens": 100_000}}, "OPENAI_API_KEY", RunOptions(), False),
        ({"budget": {"usd": 1}}, "OPENAI_API_KEY", RunOptions(), False),
        ({}, None, RunOptions(), False),
        ({}, "OPENAI_API_KEY", RunOptions(offline=True), False),
        ({}, "OPENAI_API_KEY", RunOptions(replay="tape"), False),
    ],
)
def test_a_run_is_unbounded_where_a_key_is_used_and_no_budget(
    tmp_path: Path, limits: dict[str, JsonValue], env_key: str | None, options: RunOptions, *, expected: bool
) -> None:
    """A server of one's own costs nothing, and neither does the simulator."""
    project = make_project(tmp_path, prose(1), env_key=env_key, base_url="http://127.0.0.1:1/v1", limits=limits)

    assert is_unbounded(load_pipeline_config(project.config), options) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False), ("yet\n", False)],
)
def test_only_a_yes_goes_on(capsys: pytest.CaptureFixture[str], answer: str, *, expected: bool) -> None:
    """An end of input is no answer."""
    assert consents(RunOptions(limit=5), terminal=True, environ={}, answers=io.StringIO(answer)) is expected

    said = capsys.readouterr().err
    assert "nothing limits what at most 5 documents may cost" in said
    assert said.endswith("nothing was begun\n") is not expected


@pytest.mark.parametrize(("terminal", "environ"), [(False, {}), (True, {"CI": "1"})])
def test_nobody_is_asked_where_nobody_is(
    capsys: pytest.CaptureFixture[str], environ: dict[str, str], *, terminal: bool
) -> None:
    """A question would hold a job for ever."""
    assert consents(RunOptions(), terminal=terminal, environ=environ, answers=io.StringIO(""))
    assert capsys.readouterr().err == ""


def test_who_says_no_has_begun_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And `--yes` asks nothing: the run begins, and ends at the provider that is not there."""
    monkeypatch.setattr("agent_pipeline.cli.commands.running.run.consents", lambda _options: False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdefghij")
    project = make_project(
        tmp_path,
        prose(1),
        stages=IN_THIS_PROCESS,
        base_url="http://127.0.0.1:9/v1",
        limits={"retry": {"max_attempts": 1}},
    )

    assert cli("run", str(project.config)).code == consent.REFUSED
    assert project.runs() == []
    assert cli("run", str(project.config), "--yes", "--timeout", "30").code == 6
    assert len(project.runs()) == 1
