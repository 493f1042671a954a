"""Whom a run talks to: the configured provider, and nobody else."""

import json
import re
from pathlib import Path

from tests.integration.command import ROOT, Ended, Launcher, environment
from tests.integration.foreign_server import open_foreign_server
from tests.integration.leavings import Leavings, assert_complete, json_lines
from tests.integration.project import ONE_CALL, make_project, prose

CANARY = "sk-canary-" + "Zq7" * 14
MISLEADING = {
    "OPENAI_API_KEY": CANARY,
    "OPENAI_BASE_URL": "https://elsewhere.invalid/v1",
    "OPENAI_ORG_ID": "org-elsewhere",
    "OPENAI_PROJECT_ID": "proj-elsewhere",
    "HTTPS_PROXY": "http://proxy.invalid:3128",
    "HTTP_PROXY": "http://proxy.invalid:3128",
    "ALL_PROXY": "http://proxy.invalid:3128",
}
"""What an environment may hold that must not lead a run elsewhere."""


def contacts(audit: Path) -> set[tuple[str, str]]:
    """Return host and port of each connection over the internet's protocols, and each name that was looked up."""
    seen = set()
    for line in json_lines(audit):
        arguments = line["arguments"]
        assert isinstance(arguments, list)
        if line["event"] in {"socket.getaddrinfo", "socket.gethostbyname"}:
            seen.add(("name", str(arguments[0])))
        elif "AF_INET" in str(line["family"]):
            host, port = re.findall(r"'([^']+)', (\d+)", arguments[1])[0]
            seen.add((host, port))
    return seen


def assert_no_canary(ended: Ended, *folders: Path) -> None:
    """Assert that the key is in nothing the run wrote."""
    assert CANARY not in ended.stdout + ended.stderr
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_the_offline_smoke_run_talks_to_itself_alone(launcher: Launcher, tmp_path: Path) -> None:
    """Also with a key at hand, offline means that nothing leaves the machine: no trace upload, no telemetry."""
    config = json.loads((ROOT / "configs" / "smoke_gpt5_nano.json").read_text(encoding="utf-8"))
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "smoke.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("roles_gpt5_nano.yaml", "smoke_documents.json"):
        (configs / name).write_bytes((ROOT / "configs" / name).read_bytes())
    audit = tmp_path / "audit.jsonl"

    ended = launcher.run(
        "--config",
        configs / "smoke.json",
        "--limit",
        "5",
        "--offline",
        "--json",
        cwd=tmp_path,
        env=environment(**MISLEADING),
        audit=audit,
        script=ROOT / "scripts" / "smoke.py",
    )

    assert ended.exit_code == 0, ended.stderr
    (run,) = (tmp_path / "logs").glob("smoke_pipeline-*")
    assert_complete(Leavings(run))
    assert len(list((tmp_path / "artifacts" / "smoke_output").iterdir())) == 5
    address = Leavings(run).named("OPENAI_CLIENT")[0].fields["base_url"]
    port = address.removesuffix("/v1").rpartition(":")[2]
    assert contacts(audit) - {("name", "'127.0.0.1'")} == {("127.0.0.1", port)}
    assert_no_canary(ended, tmp_path / "logs", tmp_path / "artifacts")


def test_the_key_goes_to_the_configured_address_and_nowhere_else(launcher: Launcher, tmp_path: Path) -> None:
    """In one header, to one host; not into a log, a trace, the ledger or an error message."""
    audit = tmp_path / "audit.jsonl"
    with open_foreign_server() as server:
        project = make_project(
            tmp_path / "project", prose(3), stages=["own_stages:summarise"], base_url=server.base_url, api="chat"
        )
        # The answer lacks what the stage asks for, so that errors with quotes of it are written, too.
        ended = launcher.run("run", project.config, "--json", cwd=tmp_path, env=environment(**MISLEADING), audit=audit)
        port = str(server.server_address[1])

    assert ended.exit_code == 1
    (run,) = project.runs()
    assert {row["error_code"] for row in Leavings(run).documents} == {"output_invalid"}
    assert {name for name, _ in contacts(audit) if name != "name"} == {"127.0.0.1"}
    assert {where for _, where in contacts(audit)} <= {port, "'127.0.0.1'"}
    assert {authorization for _, authorization, _ in server.seen} == {f"Bearer {CANARY}"}
    assert all(CANARY not in json.dumps(body) for _, _, body in server.seen)
    assert_no_canary(ended, project.logs)


def test_an_agents_run_would_be_seen_by_the_audit(launcher: Launcher, tmp_path: Path) -> None:
    """A watch that sees nothing proves nothing: a provider elsewhere shows up in it."""
    project = make_project(
        tmp_path / "project",
        prose(1),
        stages=ONE_CALL,
        base_url="https://elsewhere.invalid/v1",
        env_key="OPENAI_API_KEY",
        limits={"retry": {"max_attempts": 1}},
    )
    audit = tmp_path / "audit.jsonl"

    ended = launcher.run("run", project.config, "--json", cwd=tmp_path, env=environment(**MISLEADING), audit=audit)

    assert ended.exit_code == 6
    assert ("name", "'elsewhere.invalid'") in contacts(audit)
    assert_no_canary(ended, project.logs)
