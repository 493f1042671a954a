"""Twelve keys planted wherever a key can be, and whatever can go wrong with them: none is in anything a run leaves."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.integration.command import Ended, Launcher, environment
from tests.integration.echo_server import EchoServer, open_echo_server
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import Project, make_project

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.telemetry import REDACTED

PLACES = (
    "named by env_key",
    "of a second provider",
    "in a .env file",
    "OPENAI_API_KEY that no file names",
    "in OPENAI_CUSTOM_HEADERS",
    "echoed in the body of a 400 or 401",
    "before the host in a base_url",
    "in the query of an address that an exception quotes",
    "in the text of a stage's exception",
    "in a local variable of a traceback",
    "in a document",
    "echoed in the answer to a tool's result",
)


def canary(place: str) -> str:
    """Return the key of a place; nothing about its looks says that it is one."""
    return f"canary{PLACES.index(place):02}{hashlib.sha256(place.encode()).hexdigest()[:22]}"


CANARIES = {place: canary(place) for place in PLACES}

VARIABLES = {
    "FIRST_KEY": canary("named by env_key"),
    "SECOND_KEY": canary("of a second provider"),
    "OPENAI_API_KEY": canary("OPENAI_API_KEY that no file names"),
    "OPENAI_CUSTOM_HEADERS": f"X-Team: blue\nAuthorization: Bearer {canary('in OPENAI_CUSTOM_HEADERS')}",
    "REFUSED_KEY": canary("echoed in the body of a 400 or 401"),
    "SEARCH_URL": "https://search.invalid/v1?q=x&api_key="
    + canary("in the query of an address that an exception quotes"),
    "DATABASE_TOKEN": canary("in the text of a stage's exception"),
    "UNNAMED": canary("in a local variable of a traceback"),
    "DOCUMENT_KEY": canary("in a document"),
    "TOOL_KEY": canary("echoed in the answer to a tool's result"),
}
"""What the environment holds; the names are those of the roles file, or of programs' own."""

PROVIDERS = {
    "first": ("FIRST_KEY", "answer"),
    "second": ("SECOND_KEY", "answer"),
    "dotenv": ("DOTENV_KEY", "answer"),
    "refused": ("REFUSED_KEY", "400"),
    "unused": ("DOCUMENT_KEY", "answer"),
    "tool": ("TOOL_KEY", "tool"),
}

STAGES = '''"""Does with keys what nobody should."""

import os

from agent_pipeline import Document, StageContext, stage

ROLES = ("first", "second", "dotenv", "refused", "tool")


def read_environment(note: str) -> str:
    """Return what a careless tool returns."""
    return f"{note}: " + " ".join(f"{name}={value}" for name, value in os.environ.items() if name.endswith("_KEY"))


def fail() -> None:
    local = os.environ["UNNAMED"]
    raise LookupError(f"no entry of {len(local)} characters")


@stage(roles=ROLES)
async def careless(document: Document, context: StageContext) -> Document:
    what = document.id.split(" ")[0]
    if what == "exception":
        raise RuntimeError("could not log in with " + os.environ["DATABASE_TOKEN"])
    if what == "headers":
        raise RuntimeError("sent " + repr(os.environ["OPENAI_CUSTOM_HEADERS"]))
    if what == "address":
        raise OSError("GET " + os.environ["SEARCH_URL"] + " failed")
    if what == "local":
        fail()
    if what == "log":
        key = os.environ["OPENAI_API_KEY"]
        context.log("FOUND", variable=key, **{key: 1})
        context.review(approved=True, issues=f"{key} {os.environ['SECOND_KEY']}")
        return document
    if what == "tool":
        said = await context.run_agent("tool", document.text, tools=[read_environment])
        return document.with_text(said).with_fields(said=[said], found=read_environment("all"))
    answer = await context.ask(document.text, role=what)
    again = await context.run_agent(what, f"{document.text} {answer}")
    return document.with_text(again).with_fields(file_slug=answer, answers={answer: again})
'''

LIBRARY = """
import sys
from agent_pipeline import Pipeline
from agent_pipeline.compose import RunOptions

options = RunOptions(include_texts=True, own_process=True)
result = Pipeline.from_config(sys.argv[1], options=options).run_sync()
print(result)
"""

FAILING = ["exception", "headers", "address", "local", "refused", "holds first", "holds document", "holds its id"]
WORKING = ["log", "tool", "first", "second", "dotenv"]


def documents() -> list[JsonValue]:
    """Return one entry for each thing that can go wrong."""
    plain: list[JsonValue] = [
        {"id": name, "text": "A few words."} for name in (*WORKING, *FAILING) if not name.startswith("holds")
    ]
    return [
        *plain,
        {"id": "holds first", "text": f"My notes.\n\nexport FIRST_KEY={canary('named by env_key')}\n"},
        {"id": "holds document", "text": "Words.", "where": {"deep": [canary("in a document")]}},
        {"id": f"holds its id {canary('in a document')}", "text": "Words."},
    ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run over all of it."""

    ended: Ended
    project: Project
    sent: list[tuple[str, bytes]]

    @property
    def left(self) -> Leavings:
        """What the run left."""
        (run,) = self.project.runs()
        return Leavings(run)


def plant(root: Path, server: EchoServer) -> Project:
    """Write a project that names four of the keys, and a `.env` with one of them."""
    project = make_project(root, documents(), stages=["own_stages:careless"], own_stages=STAGES)
    params: JsonValue = {"max_tokens": 500}
    providers: dict[str, JsonValue] = {
        name: {"env_key": variable, "base_url": server.base_url(manner), "api": "chat"}
        for name, (variable, manner) in PROVIDERS.items()
    }
    roles: dict[str, JsonValue] = {name: {"provider": name, "model": "m", "params": params} for name in PROVIDERS}
    write_roles(project, providers, roles)
    (root / ".env").write_text(f"DOTENV_KEY={canary('in a .env file')}\n", encoding="utf-8")
    return project


def write_roles(project: Project, providers: Mapping[str, JsonValue], roles: Mapping[str, JsonValue]) -> None:
    """Put other providers and roles into a project."""
    content = {"project": "trial", "env": "test", "providers": dict(providers), "roles": dict(roles)}
    project.roles.write_text(json.dumps(content), encoding="utf-8")


def forms(key: str) -> set[bytes]:
    """Return what to look for: a canary reads alike however it is quoted, but backwards it would not."""
    return {key.encode(), quote(key).encode(), json.dumps(key)[1:-1].encode()}


def found_in(content: bytes) -> set[str]:
    """Return the places whose key is in this."""
    return {place for place, key in CANARIES.items() if any(form in content for form in forms(key))}


def found_in_run(ended: Ended, *folders: Path) -> dict[str, set[str]]:
    """Return where keys are: in what file, or on what stream, and which; also in the names of files."""
    contents = {"stdout": ended.stdout.encode(), "stderr": ended.stderr.encode()}
    for folder in folders:
        for path in folder.rglob("*"):
            contents[str(path)] = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
    assert len(contents) > 2 + len(folders), "nothing was left to look at"
    return {name: found for name, content in contents.items() if (found := found_in(content))}


def run_all(launcher: Launcher, root: Path, *arguments: object, script: Path | None = None) -> Outcome:
    """Run the project with all of the keys planted, a traceback wherever there may be one."""
    with open_echo_server() as server:
        project = plant(root, server)
        command = ["run", project.config, *arguments] if script is None else [project.config]
        variables = {**VARIABLES, "AGENT_PIPELINE_DEBUG": "1", "OPENAI_AGENTS_DONT_LOG_MODEL_DATA": "0"}
        if script is not None:  # only commands read `.env`
            variables["DOTENV_KEY"] = canary("in a .env file")
        ended = launcher.run(*command, cwd=root, env=environment(**variables), script=script)
        return Outcome(ended, project, server.seen)


@pytest.fixture(scope="module")
def outcome(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run it once, with every line of the log on stderr as well."""
    return run_all(launcher, tmp_path_factory.mktemp("planted"), "--json", "--display", "log")


def test_twelve_keys_are_planted() -> None:
    """The figure; each of its own, so that one that is found says where it came from."""
    assert len(set(CANARIES.values())) == 12
    assert not [key for key in CANARIES.values() for other in CANARIES.values() if key != other and key in other]


def test_no_key_is_in_any_file_or_stream(outcome: Outcome) -> None:
    """Ledger and its log, run log, events, reviews, traces, the SDK's log, manifest, artifacts, stdout, stderr."""
    assert found_in_run(outcome.ended, outcome.project.root / "out") == {}
    assert_complete(outcome.left)


def test_every_document_ended_as_it_should(outcome: Outcome) -> None:
    """A run in which nothing happens leaves no key either."""
    left = outcome.left
    endings = {str(row["document_id"]): (row["outcome"], row["error_code"]) for row in left.documents}

    assert outcome.ended.exit_code == 1, outcome.ended.stderr
    assert endings == {
        **dict.fromkeys(WORKING, ("succeeded", None)),
        **dict.fromkeys(("exception", "headers", "address", "local"), ("failed", "stage_failed")),
        "refused": ("failed", "request_rejected"),
        "holds first": ("failed", "document_invalid"),
        "holds document": ("failed", "document_invalid"),
        f"holds its id {REDACTED} (13)": ("failed", "document_invalid"),
    }
    errors = {str(row["document_id"]): str(row["error"]) for row in left.documents}
    assert "could not log in with [redacted]" in errors["exception"]
    assert f"api_key={REDACTED}" in errors["address"]
    assert "no entry of 30 characters" in errors["local"]
    assert "holds a key that is set in the environment" in errors["holds first"]


def test_what_was_asked_for_is_kept_without_the_key(outcome: Outcome) -> None:
    """An answer that repeats a key is still an answer."""
    artifacts = {path.name: path.read_text(encoding="utf-8") for path in outcome.project.artifacts.iterdir()}

    assert len(artifacts) == len(WORKING)
    assert sum(f"Authorization: Bearer {REDACTED}" in text for text in artifacts.values()) == 4
    assert REDACTED in str(outcome.left.fields_of("tool", "careless")["found"])


def test_a_key_goes_to_its_own_provider_in_one_header_alone(outcome: Outcome) -> None:
    """No document and no result of a tool takes a provider's key along, not even back to where it came from."""
    keys = {f"Bearer {canary(place)}" for place in ("named by env_key", "of a second provider", "in a .env file")}
    keys |= {f"Bearer {VARIABLES['REFUSED_KEY']}", f"Bearer {VARIABLES['TOOL_KEY']}"}

    assert {authorization for authorization, _ in outcome.sent} == keys
    loaded = {name: {**VARIABLES, "DOTENV_KEY": canary("in a .env file")}[name] for name, _ in PROVIDERS.values()}
    assert [name for _, body in outcome.sent for name, key in loaded.items() if key.encode() in body] == []


def test_nor_where_texts_are_asked_for(launcher: Launcher, tmp_path: Path) -> None:
    """With prompts, answers and the results of tools in traces and log, and the result printed by the caller."""
    script = tmp_path / "library.py"
    script.write_text(LIBRARY, encoding="utf-8")

    outcome = run_all(launcher, tmp_path / "project", script=script)

    assert found_in_run(outcome.ended, outcome.project.root / "out") == {}
    assert "I was called with" in outcome.left.traces_path.read_text(encoding="utf-8")
    assert REDACTED in outcome.left.sdk_log_path.read_text(encoding="utf-8")
    assert REDACTED in outcome.ended.stdout


def test_no_key_is_shown_when_the_provider_rejects_it(launcher: Launcher, tmp_path: Path) -> None:
    """A 401 ends the run, with the provider's own words, which repeat the key."""
    with open_echo_server() as server:
        project = plant(tmp_path, server)
        content = json.loads(project.roles.read_text(encoding="utf-8"))
        content["providers"]["first"]["base_url"] = server.base_url("401")
        write_roles(project, content["providers"], content["roles"])
        variables = {**VARIABLES, "AGENT_PIPELINE_DEBUG": "1"}
        ended = launcher.run("run", project.config, cwd=tmp_path, env=environment(**variables))

    assert ended.exit_code == 5
    assert found_in_run(ended, project.root / "out") == {}
    assert "Incorrect API key provided" in ended.stderr + ended.stdout


@pytest.mark.parametrize("where", ["roles", "flag", "comment", "argument"])
def test_a_key_in_a_config_is_refused_and_not_repeated(launcher: Launcher, tmp_path: Path, where: str) -> None:
    """Nothing is created, and the message does not show what is wrong but where."""
    key = canary("before the host in a base_url")
    with open_echo_server() as server:
        project = plant(tmp_path, server)
        address = server.base_url("answer").replace("//", f"//user:{key}@")
        arguments: list[object] = []
        if where == "roles":
            content = json.loads(project.roles.read_text(encoding="utf-8"))
            content["providers"]["first"]["base_url"] = address
            write_roles(project, content["providers"], content["roles"])
        elif where == "flag":
            arguments = ["--base-url", f"first={address}"]
        elif where == "comment":
            with project.config.open("a", encoding="utf-8") as file:
                file.write(f"\n# for the first one: {VARIABLES['FIRST_KEY']}\n")
        else:
            arguments = ["--base-url", address]
        ended = launcher.run(
            "run", project.config, "--json", *arguments, cwd=tmp_path, env=environment(**VARIABLES, FORCE_COLOR="1")
        )

    assert ended.exit_code in {2, 3}
    assert found_in(ended.stdout.encode() + ended.stderr.encode()) == set()
    assert not (project.root / "out").exists()
    assert server.seen == []


def test_a_traceback_shows_no_key(launcher: Launcher, tmp_path: Path) -> None:
    """Neither its locals, nor the text of an error that caused another."""
    with open_echo_server() as server:
        project = plant(tmp_path, server)
        broken = (
            'local = os.environ["UNNAMED"]\nraise LookupError(os.environ["SECOND_KEY"] + os.environ["SEARCH_URL"])\n'
        )
        (project.root / "own_stages.py").write_text(f"import os\n{broken}", encoding="utf-8")
        variables = {**VARIABLES, "AGENT_PIPELINE_DEBUG": "1"}
        ended = launcher.run("run", project.config, "--json", cwd=tmp_path, env=environment(**variables))

    assert ended.exit_code == 3
    assert "Traceback" in ended.stderr
    assert "LookupError" in ended.stderr
    assert found_in(ended.stdout.encode() + ended.stderr.encode()) == set()
