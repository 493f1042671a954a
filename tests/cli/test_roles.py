"""`roles list` and `roles test`: what a role comes to, and whether it answers."""

import socket
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from agent_pipeline.testing import SimulatorThread

KEY = "sk-proj-0123456789abcdefghijABCDEFGHIJ"

ROLES = """\
project: tiny
env: test
providers:
  openai: {env_key: OPENAI_API_KEY}
  here: {base_url: "http://127.0.0.1:9/v1", env_key: HERE_KEY}
roles:
  namer:
    provider: openai
    model: gpt-5-mini
    params: {max_tokens: 200, temperature: 0}
    fallback: other
    budget_tokens: 1000
  other: {provider: openai, model: no-such-model-at-all, params: {max_tokens: 100}}
  local: {provider: here, model: mine}
  vectors: {provider: openai, model: text-embedding-3-small, mode: embedding}
  painter: {provider: openai, model: gpt-image-1, mode: image}
defaults: {provider: openai, model: gpt-5-nano, params: {max_tokens: 100}}
"""


@pytest.fixture
def roles(project: Path) -> Path:
    """A project whose roles differ in all there is."""
    path = project / "roles.yaml"
    path.write_text(ROLES, encoding="utf-8")
    return path


def test_roles_are_told_in_a_line_each(cli: Cli, roles: Path) -> None:
    """Model, params, price, and whether the key is there."""
    ran = cli("roles", "list")

    rows = {line.split()[0]: " ".join(line.split()) for line in ran.out.splitlines()[2:]}
    assert (ran.code, ran.err) == (0, "")
    assert rows["namer"] == "namer openai gpt-5-mini chat max_tokens=200, temperature=0 other 1,000 tokens 0.25, 2 no"
    assert rows["other"].endswith(" unknown no")
    assert rows["local"].endswith(" unknown not needed")
    assert rows["(defaults)"].startswith("(defaults) openai gpt-5-nano chat ")
    del roles


def test_a_roles_file_may_be_listed_without_a_pipeline(cli: Cli, roles: Path) -> None:
    """Programs have none."""
    told = cli("roles", "list", str(roles), "--json").json()["roles"]

    assert isinstance(told, list)
    assert [one["role"] for one in told] == ["namer", "other", "local", "vectors", "painter", None]
    assert (told[0]["usd_per_million_input"], told[0]["usd_per_million_output"]) == (0.25, 2.0)
    assert (told[1]["usd_per_million_input"], told[1]["key"]) == (None, "missing")


def test_no_part_of_a_key_is_shown(cli: Cli, roles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its beginning either: that is how keys are told apart."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    for command in (["roles", "list"], ["roles", "list", "--json"], ["doctor"], ["doctor", "--json"]):
        ran = cli(*command)
        assert KEY[:8] not in ran.out + ran.err
        assert KEY[-6:] not in ran.out + ran.err
    assert " yes" in cli("roles", "list").out
    del roles


def test_a_role_is_tried_against_the_simulator(cli: Cli, roles: Path) -> None:
    """One call, no key, no network; what it took and would have cost."""
    ran = cli("roles", "test", "namer", "--offline")
    told = cli("roles", "test", "namer", "--offline", "--json").json()

    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0] == "role namer: works, simulated"
    assert "model:     openai/gpt-5-mini, mode chat" in lines
    assert any(line.startswith("attempt:   status 200 in ") for line in lines)
    assert any(line.startswith("cost:      nothing (simulated; it would have cost $0.0") for line in lines)
    assert "it is no model" in ran.err
    assert (told["works"], told["attempts"], told["simulator"], told["exit_code"]) == (True, 1, True, 0)
    assert told["input_tokens"]
    del roles


def test_a_role_that_embeds_is_tried_by_embedding(cli: Cli, roles: Path) -> None:
    """A chat request would be refused."""
    ran = cli("roles", "test", "vectors", "--offline")

    assert ran.code == 0
    assert "answer:    an embedding of " in ran.out
    del roles


@pytest.mark.parametrize(
    ("role", "code", "said"),
    [
        ("namr", 3, "did you mean 'namer'?"),
        ("painter", 3, "mode image"),
        ("namer", 5, "or go on with --offline"),
    ],
)
def test_what_can_not_be_tried_is_said_before_anything_is_sent(
    cli: Cli, roles: Path, role: str, code: int, said: str
) -> None:
    """Without a key, nothing leaves."""
    ran = cli("roles", "test", role)

    assert ran.code == code
    assert said in ran.err
    del roles


def test_a_name_that_is_near_none_is_tried_on_the_defaults(cli: Cli, roles: Path) -> None:
    """Stages may name roles that only the defaults know."""
    assert "openai/gpt-5-nano" in cli("roles", "test", "something", "--offline").out
    del roles


def test_a_server_that_is_not_there_is_unreachable(cli: Cli, roles: Path) -> None:
    """Once, and not five times; the fallback is not asked in its place."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    roles.write_text(ROLES.replace("127.0.0.1:9/", f"127.0.0.1:{port}/"), encoding="utf-8")

    ran = cli("roles", "test", "local")

    assert ran.code == 6
    assert ran.out.splitlines()[0] == "role local: failed"
    assert "error:     provider_unreachable: " in ran.out
    assert "to do:     check the address (`base_url`)" in ran.out


def test_a_server_that_answers_is_asked_once(cli: Cli, roles: Path) -> None:
    """By its own address, without a key."""
    with SimulatorThread() as server:
        roles.write_text(ROLES.replace("http://127.0.0.1:9/v1", server.base_url), encoding="utf-8")

        ran = cli("roles", "test", "local")

    assert (ran.code, ran.err) == (0, "")
    assert "cost:      unknown" in ran.out
    assert ran.out.splitlines()[0] == "role local: works"
