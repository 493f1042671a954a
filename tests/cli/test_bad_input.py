"""What users get wrong ends with 3, one clear message, no traceback, and nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

Change = Callable[[Path], object]


def _write(name: str, text: str) -> Change:
    return lambda project: (project / name).write_text(text, encoding="utf-8")


def _replace(name: str, old: str, new: str) -> Change:
    def change(project: Path) -> None:
        text = (project / name).read_text(encoding="utf-8")
        assert old in text
        (project / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "typo in the pipeline": (_replace("pipeline.yaml", "artifacts:", "artefacts:"), "pipeline.yaml:4:1: artefacts"),
    "typo in the roles": (_replace("roles.yaml", "model:", "modle:"), "did you mean 'model'"),
    "missing roles": (lambda project: (project / "roles.yaml").unlink(), "no such file"),
    "unknown provider": (_replace("roles.yaml", "provider: openai", "provider: opnai"), "did you mean 'openai'"),
    "pasted key": (_replace("roles.yaml", "OPENAI_API_KEY", "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"), "key"),
    "unknown stage": (_replace("pipeline.yaml", "[name]", "[nmae]"), "did you mean 'name'"),
    "missing role": (_replace("roles.yaml", "namer:", "writer:"), "unknown role 'namer'"),
    "missing stage module": (_replace("pipeline.yaml", "[name]", "['nowhere:work']"), "nowhere"),
    "malformed documents": (_write("documents.json", '{"scraped_documents": [}'), "documents.json:1:"),
    "documents of another shape": (_write("documents.json", '{"pages": []}'), "scraped_documents"),
    "empty source": (_write("documents.json", '{"scraped_documents": []}'), "empty"),
    "missing source": (lambda project: (project / "documents.json").unlink(), "documents.json"),
    "not YAML": (_write("pipeline.yaml", "name: [\n"), "pipeline.yaml:2:1"),
}


@pytest.mark.parametrize("command", [("check",), ("run", "--offline")], ids=["check", "run"])
@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_ends_with_3_and_one_message(
    cli: Cli, project: Path, change: Change, said: str, command: tuple[str, ...]
) -> None:
    """`check` finds whatever would keep a run from beginning, and both leave the folder as it was."""
    change(project)
    before = sorted(project.rglob("*"))

    ran = cli(*command, "--json")

    assert ran.code == 3
    errors = [line for line in ran.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in ran.err
    assert "abcdefghijklmnopqrstuvwxyz" not in ran.out + ran.err
    assert ran.json()["exit_code"] == 3
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize("folder", ["out", "logs"])
def test_a_folder_that_can_not_be_written_is_found_by_check(cli: Cli, project: Path, folder: str) -> None:
    """A run would find out after its first document was paid for."""
    (project / folder).write_text("in the way", encoding="utf-8")

    ran = cli("check")

    assert ran.code == 3
    assert f"{project / folder} can't be made" in ran.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def wrk(): ...\n", "did you mean 'wrk'"),
        ("def work(:\n", "mine/steps.py:1:10"),
        ("from elsewhere import *\n", ""),
        ("def __getattr__(name): ...\n", ""),
        ("if True:\n    async def work(): ...\n", ""),
        ("from elsewhere import step as work\nraise SystemExit('imported')\n", ""),
    ],
)
def test_a_stage_of_ones_own_is_looked_up_without_running_it(cli: Cli, project: Path, source: str, said: str) -> None:
    """Importing runs the module and the packages around it; a check has no effects."""
    (project / "mine").mkdir()
    (project / "mine" / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    (project / "mine" / "steps.py").write_text(source, encoding="utf-8")
    _replace("pipeline.yaml", "[name]", "['mine.steps:work']")(project)

    ran = cli("check")

    assert ran.code == (3 if said else 0), ran.err
    assert said in ran.err


def test_a_run_without_a_key_ends_with_5_and_says_how_to_go_on(cli: Cli, project: Path) -> None:
    """The README's first minute of everybody who has no key yet."""
    ran = cli("run", "--json")

    assert ran.code == 5
    assert "OPENAI_API_KEY" in ran.err
    assert "--offline" in ran.err
    assert ran.error()["code"] == "credentials_missing"
    assert not (project / "logs").exists()
    assert not (project / "out").exists()


def test_no_pipeline_file_is_named_and_none_is_there(cli: Cli, project: Path) -> None:
    """The defaults are told, not guessed at."""
    (project / "pipeline.yaml").unlink()

    ran = cli("run")

    assert ran.code == 3
    assert "pipeline.yaml" in ran.err


def test_a_wrong_live_file_is_found_by_check(cli: Cli, project: Path) -> None:
    """A run would refuse it, too."""
    config = project / "pipeline.yaml"
    config.write_text(config.read_text(encoding="utf-8") + "\nlive: live.json\n", encoding="utf-8")
    assert cli("check").code == 0

    (project / "live.json").write_text('{"documents_in_flight": 0}', encoding="utf-8")

    ran = cli("check")
    assert ran.code == 3
    assert "live.json:1:2: documents_in_flight" in ran.err


def test_check_tells_what_would_run(cli: Cli, project: Path) -> None:
    """Entries that would be skipped and keys that are missing are warnings."""
    entries = [{"url": "a", "markdown": "text"}, {"url": "b"}, {"markdown": "no url"}]
    (project / "documents.json").write_text(json.dumps({"follow_up_documents": entries}), encoding="utf-8")

    ran = cli("check", "pipeline.yaml", "--json")

    checked = ran.json()
    assert ran.code == 0
    assert checked["documents"] == {"total": 3, "usable": 1, "skipped": 2, "invalid": 0, "files": None}
    assert checked["stages"] == ["name"]
    assert checked["missing_keys"] == {"openai": "OPENAI_API_KEY"}
    assert "2 entries" in ran.err
    assert cli("check").out.startswith("pipeline.yaml: valid\n")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{start: 2, min: 1, max: 30}", "2 requests (later 1 to 30) in flight"),
        ("{start: 4, min: 4, max: 4}", "100 documents and 4 requests in flight"),
    ],
)
def test_check_tells_limits_and_who_stands_in(cli: Cli, project: Path, written: str, told: str) -> None:
    """A start alone would look like the limit that holds."""
    with (project / "pipeline.yaml").open("a", encoding="utf-8") as config:
        config.write(f"limits: {{requests_in_flight: {written}}}\n")
    with (project / "roles.yaml").open("a", encoding="utf-8") as roles:
        roles.write("  first: {provider: openai, model: gpt-5-nano, fallback: namer}\n")

    checked = cli("check").out

    assert told in " ".join(checked.split())
    assert "first -> openai/gpt-5-nano, or namer" in checked


def test_a_key_in_the_env_file_beside_the_config_counts(cli: Cli, project: Path) -> None:
    """The key's only home on many machines."""
    (project / ".env").write_text("OPENAI_API_KEY=not-a-real-one\n", encoding="utf-8")

    ran = cli("check", "--json")

    assert ran.json()["missing_keys"] == {}
    assert "not-a-real-one" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("address", "missing"),
    [("http://127.0.0.1:8000/v1", {}), ("https://example.invalid/v1", {"openai": "OPENAI_API_KEY"})],
)
def test_a_provider_on_this_machine_needs_no_key(
    cli: Cli, project: Path, address: str, missing: dict[str, str]
) -> None:
    """The simulator and local servers are reached by their address alone."""
    _replace("roles.yaml", "env_key: OPENAI_API_KEY", f"env_key: OPENAI_API_KEY, base_url: '{address}'")(project)

    assert cli("check", "--json").json()["missing_keys"] == missing
