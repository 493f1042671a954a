"""A stage of the user's own, beside the config, against servers known by their `base_url` alone."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.command import Ended, Launcher, environment
from tests.integration.foreign_server import PLAIN, ForeignServer, open_foreign_server
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import make_project
from tests.integration.provider import SeparateSimulator

from agent_pipeline.domain.document import JsonValue

PROBE = '''"""Uses every way a stage has to a model."""

import json

import trio
from pydantic import BaseModel

from agent_pipeline import Document, StageContext, stage


class Facts(BaseModel):
    """What is asked for."""

    title: str
    word_count: int


@stage
async def probe(document: Document, context: StageContext) -> Document:
    """Ask plainly, ask for a structure, and run an agent with a tool that runs under Trio."""
    role = str(document.metadata["role"])
    marked = f"<document>\\n{document.text}\\n</document>"
    calls = []

    async def count_words(text: str) -> str:
        """Count the words of a text."""
        await trio.sleep(0)
        calls.append(text)
        return json.dumps({"word_count": 4242})

    plain = await context.ask(f"Summarise.\\n\\n{marked}", role=role)
    asked = await context.ask(f"State the facts.\\n\\n{marked}", Facts, role=role)
    found = await context.run_agent(role, f"Count the words.\\n\\n{marked}", Facts, tools=[count_words])
    return document.with_fields(
        plain=plain, title=asked.title, words=asked.word_count, agent=found.word_count, calls=len(calls)
    )
'''

TEXT = "# A title to find\n\nFour words stand here. And here stand a few more of them.\n"
ROLES = {
    "responses": ("of-responses", False),
    "responses_streamed": ("of-responses", True),
    "chat": ("of-chat", False),
    "chat_streamed": ("of-chat", True),
    "foreign": ("somebody", False),
    "foreign_streamed": ("somebody", True),
}
CALLS = 4
"""A plain one, a structured one, and two turns of the agent."""


@dataclass(frozen=True)
class Outcome:
    """The run, and what both servers counted meanwhile."""

    ended: Ended
    left: Leavings
    by_path: Counter[str]
    server: ForeignServer


@pytest.fixture(scope="module")
def foreign_server() -> Iterator[ForeignServer]:
    """A server that is not ours."""
    with open_foreign_server() as server:
        yield server


def by_path(simulator: SeparateSimulator) -> Counter[str]:
    """Return the successful requests by path."""
    paths = simulator.statistics()["requests_by_path"]
    assert isinstance(paths, dict)
    return Counter({path: ends.get("200", 0) for path, ends in paths.items()})


@pytest.fixture(scope="module")
def outcome(
    launcher: Launcher,
    simulator: SeparateSimulator,
    foreign_server: ForeignServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    """Run one document per role."""
    root = tmp_path_factory.mktemp("project")
    documents: list[JsonValue] = [{"id": role, "text": TEXT, "role": role} for role in ROLES]
    project = make_project(root, documents, stages=["own_stages:probe"], own_stages=PROBE)
    providers = {
        "of-responses": {"base_url": simulator.base_url, "api": "responses"},
        "of-chat": {"base_url": simulator.base_url, "api": "chat"},
        "somebody": {"base_url": foreign_server.base_url, "api": "chat", "env_key": "SOMEBODY_KEY"},
    }
    roles = {
        name: {"provider": provider, "model": "m1", "params": {"max_tokens": 500, "stream": streamed}}
        for name, (provider, streamed) in ROLES.items()
    }
    project.roles.write_text(
        json.dumps({"project": "p", "env": "test", "providers": providers, "roles": roles}), encoding="utf-8"
    )
    before = by_path(simulator)
    ended = launcher.run("run", project.config, "--json", cwd=root, env=environment(SOMEBODY_KEY="some-key-1"))
    (run,) = project.runs()
    return Outcome(ended, Leavings(run), by_path(simulator) - before, foreign_server)


def test_every_document_succeeds(outcome: Outcome) -> None:
    """One config line is all that may differ between servers, APIs and ways of delivery."""
    assert outcome.ended.exit_code == 0, outcome.ended.stderr
    assert_complete(outcome.left)
    assert {row["outcome"] for row in outcome.left.documents} == {"succeeded"}


@pytest.mark.parametrize("role", [role for role in ROLES if not role.startswith("foreign")])
def test_the_simulator_gives_correct_results(outcome: Outcome, role: str) -> None:
    """Plain, structured and by way of a tool, whole or streamed, with either API: the same answers."""
    fields = outcome.left.fields_of(role, "probe")

    assert "Four words stand here" in str(fields.pop("plain"))
    assert fields == {"title": "A title to find", "words": 17, "agent": 4242, "calls": 1}


@pytest.mark.parametrize("role", ["foreign", "foreign_streamed"])
def test_another_server_gives_correct_results(outcome: Outcome, role: str) -> None:
    """What is compatible with OpenAI is compatible with us."""
    fields = outcome.left.fields_of(role, "probe")

    assert fields == {"plain": PLAIN, "title": "Fixed title", "words": 7, "agent": 7, "calls": 1}


def test_servers_counted_what_the_ledger_holds(outcome: Outcome) -> None:
    """A request without a row is money nobody can account for."""
    rows = Counter(str(row["role"]) for row in outcome.left.attempts)

    assert rows == dict.fromkeys(ROLES, CALLS)
    assert outcome.by_path == {"/v1/responses": 2 * CALLS, "/v1/chat/completions": 2 * CALLS}
    assert len(outcome.server.seen) == 2 * CALLS
    assert {row["outcome"] for row in outcome.left.attempts} == {"succeeded"}


def test_usage_of_another_server_is_charged_as_reported(outcome: Outcome) -> None:
    """Streamed or not, what the server says it used is what the budget is charged."""
    charged = [row["charged_tokens"] for row in outcome.left.attempts if row["provider"] == "somebody"]

    assert charged == [16] * 2 * CALLS


def test_another_server_sees_plain_requests(outcome: Outcome) -> None:
    """Streams only where asked for, the cap by the name all servers know, the key in its one place."""
    seen = outcome.server.seen

    assert Counter(bool(body.get("stream")) for _, _, body in seen) == {False: CALLS, True: CALLS}
    assert {body.get("max_tokens") for _, _, body in seen} == {500}
    assert {authorization for _, authorization, _ in seen} == {"Bearer some-key-1"}
    assert "some-key-1" not in json.dumps([body for _, _, body in seen])
    assert all(b"some-key-1" not in Path(path).read_bytes() for path in outcome.left.files())
