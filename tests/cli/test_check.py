"""`check` says all that will limit a run, so that nobody has to look it up in three files."""

from pathlib import Path

from tests.cli.conftest import PIPELINE, ROLES, Cli

LIMITS = """\
live: live.json
limits:
  requests_per_minute: 300
  tokens_per_minute: 90000
  budget: {tokens: 200000}
  budget_per_document: {tokens: 5000}
"""


def test_every_limit_is_named(cli: Cli, project: Path) -> None:
    project.joinpath("pipeline.yaml").write_text(PIPELINE + LIMITS, encoding="utf-8")
    project.joinpath("roles.yaml").write_text(
        ROLES.replace("params:", "budget_tokens: 70000, params:"), encoding="utf-8"
    )
    project.joinpath("live.json").write_text("{}", encoding="utf-8")

    ran = cli("check")

    said = " ".join(ran.out.split())
    assert ran.code == 0
    assert "200,000 tokens" in said
    assert "300 requests and 90,000 tokens a minute, to each provider and model" in said
    assert "each document 5,000 tokens" in said
    assert "role namer 70,000 tokens" in said
    assert "read again while the run goes on:" in said
    assert "live.json" in said


def test_what_does_not_limit_is_not_named(cli: Cli, project: Path) -> None:
    said = cli("check").out

    assert "a minute" not in said
    assert "role namer" not in said
    assert "read again" not in said
