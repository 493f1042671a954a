"""`check` says all that will limit a run, so that nobody has to look it up in three files."""

import socket
from pathlib import Path

import pytest
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


@pytest.mark.parametrize(("documents", "per_minute", "fits"), [(100, 20, 99), (3, 1, 4), (100, 2, 9)])
def test_more_documents_than_a_minute_bears_are_warned_of(
    cli: Cli, project: Path, documents: int, per_minute: int, fits: int
) -> None:
    """They take turns, and a stage whose document waits for its turn runs out of time."""
    limits = f"limits: {{documents_in_flight: {documents}, requests_per_minute: {per_minute}}}\n"
    project.joinpath("pipeline.yaml").write_text(
        PIPELINE.replace("documents.json", "documents.jsonl") + limits, encoding="utf-8"
    )
    project.joinpath("documents.jsonl").write_text('{"id": "a", "text": "words"}\n', encoding="utf-8")

    ran = cli("check")

    said = " ".join(ran.err.split())
    assert ran.code == 0
    assert (f"set documents_in_flight to at most {fits}," in said) == (documents * 60 / per_minute >= 300)


def test_what_does_not_limit_is_not_named(cli: Cli, project: Path) -> None:
    said = cli("check").out

    assert "a minute" not in said
    assert "role namer" not in said
    assert "read again" not in said


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('@stage(role="namr")\nasync def mine(document, context):\n    return document\n', "did you mean 'namer'"),
        ('@stage(roles=["namer", "x"])\nasync def mine(document, context):\n    return document\n', "'x'"),
        ("@stage\ndef mine(document, context):\n    return document\n", "async def mine"),
    ],
)
def test_a_stage_that_a_run_would_refuse_is_refused(cli: Cli, project: Path, written: str, words: str) -> None:
    """Without importing it: the text says enough."""
    project.joinpath("own.py").write_text(f"from agent_pipeline import stage\n\n{written}", encoding="utf-8")
    project.joinpath("pipeline.yaml").write_text(PIPELINE.replace("[name]", "['own:mine']"), encoding="utf-8")

    ran = cli("check")

    assert ran.code == 3
    assert words in ran.err


def test_a_stage_of_ones_own_that_is_right_is_let_through(cli: Cli, project: Path) -> None:
    own = '@ap.stage(role="namer")\nasync def mine(document, context):\n    return document\n'
    project.joinpath("own.py").write_text(f"import agent_pipeline as ap\n\n{own}", encoding="utf-8")
    project.joinpath("pipeline.yaml").write_text(PIPELINE.replace("[name]", "['own:mine']"), encoding="utf-8")

    assert cli("check").code == 0


def test_the_engine_is_named_where_it_is_not_this_process(cli: Cli, project: Path) -> None:
    """How many documents go at once is no limit of one process any more."""
    config = project / "pipeline.yaml"
    config.write_text(f"{PIPELINE}limits: {{documents_in_flight: 10}}\nengine: {{kind: ray, workers: 4}}\n")

    said, told = cli("check").out, cli("check", "--json").json()

    assert (
        "engine:     ray, a cluster of its own on this machine: 4 workers x 3 documents at once; "
        "they share the budgets and limits of the run"
    ) in said
    assert told["engine"] == {
        "kind": "ray",
        "workers": 4,
        "documents_in_flight": 3,
        "address": "local",
        "shard_size": 50,
    }


def test_this_process_is_no_engine_worth_a_line(cli: Cli, project: Path) -> None:
    """For programs it is one all the same."""
    assert "engine:" not in cli("check").out
    assert cli("check", "--json").json()["engine"] == {
        "kind": "local",
        "workers": 0,
        "documents_in_flight": None,
        "address": None,
        "shard_size": None,
    }


def test_an_engine_that_is_not_there_is_refused_as_by_a_run(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first who hears of it is the machine that was to run it at night."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (project / "pipeline.yaml").write_text(f"{PIPELINE}engine: {{kind: ray}}\n")

    ran, run = cli("check", "--json"), cli("run", "--offline", "--json")

    assert (ran.code, ran.error()["code"]) == (3, "config_invalid")
    assert ran.error() == run.error()
    assert "the engine `ray` needs Ray, which is not installed" in ran.error()["message"]
    assert cli("plan", "--json").error() == run.error()


@pytest.mark.parametrize("folder", ["artifacts", "logs"])
def test_a_folder_that_goes_with_a_job_of_rays_is_refused_as_by_a_run(cli: Cli, project: Path, folder: str) -> None:
    """What was paid for would be gone."""
    others = [line for line in PIPELINE.splitlines() if not line.startswith(f"{folder}:")]
    copy = "runtime_resources/working_dir_files/_ray_pkg_1"
    text = "\n".join([*others, f"{folder}: {copy}/out", "engine: {kind: ray}"])
    (project / "pipeline.yaml").write_text(text, encoding="utf-8")

    ran, run = cli("check", "--json"), cli("run", "--offline", "--json")

    assert (ran.code, ran.error()["code"]) == (3, "config_invalid")
    assert ran.error() == run.error()
    assert f"{copy}/out is in Ray's copy of the job's folder" in ran.error()["message"]
    assert not (project / "runtime_resources").exists()


@pytest.mark.parametrize("command", ["check", "plan"])
def test_whether_a_cluster_is_there_is_for_a_run_to_find_out(cli: Cli, project: Path, command: str) -> None:
    """Neither uses the network, as they say."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        head.settimeout(0)
        address = f"127.0.0.1:{head.getsockname()[1]}"
        (project / "pipeline.yaml").write_text(f"{PIPELINE}engine: {{kind: ray, address: '{address}'}}\n")

        assert cli(command).code == 0

        with pytest.raises(BlockingIOError):
            head.accept()


def test_a_run_that_finds_nobody_at_the_address_leaves_nothing_behind(cli: Cli, project: Path) -> None:
    """Nothing was begun: `last` stays what it was, and nothing is recorded or announced."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    ran = cli("run", "--offline", "--engine", "ray", "--ray-address", address)

    assert ran.code == 3
    assert ran.err.count("there is no Ray cluster at") == 1
    assert not (project / "logs").exists()


def test_what_can_not_be_recorded_is_not_announced(cli: Cli) -> None:
    """A promise in one line and its refusal in the next."""
    ran = cli("run", "--offline", "--engine", "ray", "--record", "tape")

    assert (ran.code, "recording into" in ran.err) == (3, False)


def test_an_engine_that_is_not_wanted_is_looked_for_nowhere(cli: Cli, project: Path) -> None:
    """The other keys are for `ray`."""
    (project / "pipeline.yaml").write_text(f"{PIPELINE}engine: {{kind: local, address: '127.0.0.1:1'}}\n")

    assert (cli("check").code, cli("plan").code) == (0, 0)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("ray", "engine: a mapping is wanted, for example {kind: ray}"),
        ("{kind: Ray}", "engine.kind: the value should be 'local' or 'ray'; did you mean 'ray'?"),
        ("{kind: dask}", "engine.kind: the value should be 'local' or 'ray'"),
        ("{kind: 3}", "engine.kind: the value should be 'local' or 'ray'"),
        ("{kind: ray, worker: 2}", "engine.worker: unknown key; did you mean 'workers'?"),
    ],
)
def test_a_wrong_engine_is_refused_with_what_was_meant(cli: Cli, project: Path, engine: str, said: str) -> None:
    """In a file as on the command line."""
    (project / "pipeline.yaml").write_text(f"{PIPELINE}engine: {engine}\n")

    ran = cli("check", "--json")

    assert ran.code == 3
    assert str(ran.error()["message"]).endswith(said)
