"""`doctor`: what is well, what may be in the way, and what is."""

import re
import resource
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Cli, Ran

from agent_pipeline.cli.commands.before import doctor


def findings(ran: Ran) -> dict[str, tuple[str, str]]:
    """Return what was found by what was looked at, the last of each kind."""
    told = ran.json()["findings"]
    assert isinstance(told, list)
    return {one["what"]: (one["state"], one["text"]) for one in told}


def test_a_healthy_machine_has_nothing_in_the_way(cli: Cli, project: Path) -> None:
    """A key that is missing is a warning: the simulator needs none."""
    ran = cli("doctor")

    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[-1] == "nothing is in the way of a run: 1 warning"
    assert re.search(r"^ok +library +openai \d", ran.out, re.MULTILINE)
    assert "warning  key         openai: OPENAI_API_KEY is not set" in lines
    assert "ok       traces      are written to logs/openai_sdk/traces and sent nowhere" in lines
    assert any(re.match(r"ok +logs +logs, with [\d,.]+ GiB free", line) for line in lines)
    assert not (project / "logs").exists()


def test_a_key_is_told_to_be_there_and_no_more(cli: Cli, project: Path) -> None:
    """From `.env` too."""
    (project / ".env").write_text("OPENAI_API_KEY=sk-abcdefghijklmnopqrstuvwxyz012345\n", encoding="utf-8")

    ran = cli("doctor")

    assert "ok       key         openai: OPENAI_API_KEY is set (hidden)" in ran.out
    assert "abcdef" not in ran.out


@pytest.mark.parametrize(
    ("content", "code", "state"), [(None, 0, "warning"), ("stages: [", 1, "problem"), ("nome: x\n", 1, "problem")]
)
def test_a_config_that_is_missing_or_wrong_is_a_finding(
    cli: Cli, project: Path, content: str | None, code: int, state: str
) -> None:
    """The rest is looked at all the same."""
    if content is None:
        (project / "pipeline.yaml").unlink()
    else:
        (project / "pipeline.yaml").write_text(content, encoding="utf-8")

    ran = cli("doctor", "--json")

    assert ran.code == code == ran.json()["exit_code"]
    assert findings(ran)["config"][0] == state
    assert "open files" in findings(ran)


def test_a_config_that_is_named_and_not_there_is_a_problem(cli: Cli, project: Path) -> None:
    """It was meant."""
    ran = cli("doctor", "nowhere.yaml", "--json")
    folder = cli("doctor", str(project), "--json")

    assert (ran.code, findings(ran)["config"][0]) == (1, "problem")
    assert (folder.code, findings(folder)["config"][0]) == (1, "problem")


@pytest.mark.parametrize(("free", "state", "code"), [(2**40, "ok", 0), (2**29, "warning", 0), (2**20, "problem", 1)])
def test_a_disk_that_fills_up_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, free: int, state: str, code: int
) -> None:
    """A full disk ends a run; better known before."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: (2**41, 0, free))

    ran = cli("doctor", "--json")

    assert (findings(ran)["artifacts"][0], ran.code) == (state, code)


def test_room_for_documents_is_told_by_the_limit_on_open_files(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run clamps itself silently enough; the limit can be raised before."""
    config = project / "pipeline.yaml"
    config.write_text(config.read_text() + "limits: {documents_in_flight: 500}\n", encoding="utf-8")
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (256, 1024))

    state, text = findings(cli("doctor", "--json"))["open files"]

    assert state == "warning"
    assert text == "256, which a run raises to 1,024: room for 302 documents at once, but 500 are configured"


def test_what_is_not_installed_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra that is missing is nothing wrong; a library is."""

    def known(name: str) -> str:
        if name in {"pyarrow", "httpx2"}:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", known)

    ran = cli("doctor")

    assert ran.code == 1
    assert "ok       extra       [parquet] is not installed (needs pyarrow)" in ran.out
    assert "problem  library     httpx2 is missing" in ran.out
    assert ran.out.splitlines()[-1] == "something is in the way of a run: 1 problem and 1 warning"


def test_a_folder_that_can_not_be_used_is_a_problem(cli: Cli, project: Path) -> None:
    """A run would end before its first document."""
    (project / "out").write_text("a file", encoding="utf-8")

    ran = cli("doctor", "--json")

    assert (ran.code, findings(ran)["artifacts"][0]) == (1, "problem")


def test_a_proxy_is_not_used_and_said_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no other way out, every request would fail."""
    monkeypatch.setenv("https_proxy", "http://user:hunter22@proxy.example:3128")

    ran = cli("doctor")

    assert "HTTPS_PROXY is set, but requests go directly" in ran.out
    assert "hunter22" not in ran.out
    found: Any = findings(cli("doctor", "--json"))["proxy"]
    assert found[0] == "warning"


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_ray_is_told_with_its_version_or_that_it_is_not_there(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """It is in the way only where the config wants it; it is not imported, which takes seconds."""
    config = project / "pipeline.yaml"
    config.write_text(config.read_text(encoding="utf-8") + f"engine: {{kind: {engine}}}\n", encoding="utf-8")

    def known(name: str) -> str:
        if name == "ray":
            raise PackageNotFoundError(name)
        return version(name)

    there = cli("doctor", "--json")
    monkeypatch.setattr(doctor, "version", known)
    not_there = cli("doctor", "--json")

    assert findings(there)["ray"] == ("ok", f"Ray {version('ray')}: runs can be spread over workers (--engine ray)")
    assert "ray" not in sys.modules
    assert not_there.code == (engine == "ray")
    assert findings(not_there)["ray"] == (
        ("ok", "is not installed: runs are worked on in one process")
        if engine == "local"
        else ("problem", "the engine of this config is ray, which is not installed")
    )
