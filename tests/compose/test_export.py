"""Whole runs beside an OTLP receiver: what arrives is the ledger's story as a tree, and the run never depends on it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from tests.integration.leavings import Leavings
from tests.integration.project import BUILT_IN, IN_THIS_PROCESS, Project, make_project, prose
from tests.runs.sample import DOCUMENTS, FAULTS
from tests.telemetry.otel.receiver import Received, Receiver, open_receiver

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import ConfigError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.runs.directory import find_run
from agent_pipeline.runs.verify import verify_run
from agent_pipeline.simulator import Simulator

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SECRET = "hunter22-zebra-77"  # noqa: S105 - made up
OFFLINE = RunOptions(offline=True, seed=1)
SDK = "openinference.instrumentation.openai_agents"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the environment names."""
    with open_receiver() as receiver:
        monkeypatch.setenv(ENDPOINT, receiver.endpoint)
        yield receiver


def project_in(root: Path, documents: JsonValue, stages: Sequence[JsonValue] = IN_THIS_PROCESS) -> Project:
    """Return a project."""
    return make_project(root, documents, stages=stages)


def run_sync(project: Project, options: RunOptions = OFFLINE) -> RunResult:
    """Run it over real sockets, with real threads."""
    return Pipeline.from_config(project.config, options=options).run_sync()


@dataclass(frozen=True)
class Trees:
    """The spans of one run, by who is below whom."""

    spans: Sequence[Received]

    def parent(self, span: Received) -> Received:
        """Return the span that this one is part of."""
        (found,) = [one for one in self.spans if (one.trace_id, one.span_id) == (span.trace_id, span.parent_id)]
        return found

    def chain(self, span: Received) -> list[Received]:
        """Return a span and all it is part of, up to the root."""
        return [span] if span.parent_id is None else [span, *self.chain(self.parent(span))]


def test_what_arrives_is_what_the_ledger_says(receiver: Receiver, tmp_path: Path) -> None:
    """Documents of every outcome, reworks, requests that failed: each has its span, in its trace, in its place."""
    faults = tmp_path / "faults.yaml"
    faults.write_text(json.dumps(FAULTS), encoding="utf-8")
    result = run_sync(project_in(tmp_path / "p", DOCUMENTS, BUILT_IN), replace(OFFLINE, faults=str(faults)))
    ledger = Leavings(Path(result.run_dir))

    assert (result.outcome, result.dropped) == ("completed", {})
    assert len({(span.trace_id, span.span_id) for span in receiver.spans}) == len(receiver.spans)
    assert {span.attributes["agent_pipeline.run.id"] for span in receiver.spans} == {result.run_id}
    assert_documents(receiver, ledger)
    assert_attempts(receiver, ledger)
    assert_stages(receiver, ledger)
    assert_tree(receiver, ledger)


def assert_documents(receiver: Receiver, ledger: Leavings) -> None:
    """Each row has its span, with how it ended, linked to the run's."""
    (run,) = receiver.named("run ")
    documents = {span.attributes["agent_pipeline.document.id"]: span for span in receiver.named("document")}
    assert documents.keys() == {row["document_id"] for row in ledger.documents}
    for row in ledger.documents:
        span = documents[str(row["document_id"])]
        assert row["trace_id"] in {None, f"trace_{span.trace_id}"}
        assert span.attributes["agent_pipeline.document.outcome"] == row["outcome"]
        assert span.attributes.get("error.type") == row["error_code"]
        assert (span.failed, span.error) == (row["outcome"] == "failed", row["error"] if span.failed else "")
        assert span.links == [(run.trace_id, run.span_id)]
    assert run.attributes["agent_pipeline.documents.total"] == len(ledger.documents)


def assert_attempts(receiver: Receiver, ledger: Leavings) -> None:
    """Each row has its span, with the status and the tokens of the answer."""
    names = ("agent_pipeline.attempt.id", "http.response.status_code", "gen_ai.usage.input_tokens")
    sent = [tuple(span.attributes.get(name) for name in names) for span in receiver.named("chat ")]
    kept = [(row["attempt_id"], row["status_code"], row["input_tokens"]) for row in ledger.attempts]
    assert sorted(map(repr, sent)) == sorted(map(repr, kept))
    assert sum(span.failed for span in receiver.named("chat ")) == 2


def assert_stages(receiver: Receiver, ledger: Leavings) -> None:
    """Each result has its span; a pass that failed has one, too."""
    names = ("agent_pipeline.document.id", "agent_pipeline.stage", "agent_pipeline.cycle")
    passed = [span for span in receiver.named("stage ") if not span.failed]
    results = [(row["document_id"], row["stage"], row["cycle"]) for row in ledger.table("stage_results")]
    assert Counter(tuple(span.attributes[name] for name in names) for span in passed) == Counter(results)


def assert_tree(receiver: Receiver, ledger: Leavings) -> None:
    """Attempts hang below the SDK's spans, those below their own stage, and stages below their document."""
    trees = Trees(receiver.spans)
    for span in receiver.named("chat "):
        above = trees.chain(span)
        assert [one.name for one in above[1:3]] == ["response", "turn"]
        stage, document = above[-2:]
        for name in ("agent_pipeline.stage", "agent_pipeline.cycle", "agent_pipeline.document.id"):
            assert stage.attributes[name] == span.attributes[name]
        assert document.name == "document"
        assert document.attributes["agent_pipeline.document.id"] == span.attributes["agent_pipeline.document.id"]
        assert document.start <= span.start <= span.end <= document.end
    of_the_sdk = [span for span in receiver.spans if span.scope == SDK]
    assert {span.attributes["openinference.span.kind"] for span in of_the_sdk} == {"AGENT", "LLM", "CHAIN"}
    assert len(of_the_sdk) == sum(line["object"] == "trace.span" for line in ledger.traces)
    assert all(trees.chain(span)[-2].name.startswith("stage ") for span in of_the_sdk)


async def test_two_runs_in_one_process_do_not_mix(receiver: Receiver, tmp_path: Path) -> None:
    """The SDK's processors are the process's; each run's spans are in its own traces."""
    results: list[RunResult] = []

    async def run(name: str) -> None:
        project = project_in(tmp_path / name, prose(3))
        results.append(await Pipeline.from_config(project.config, options=RunOptions(offline=True)).run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "one")
        nursery.start_soon(run, "two")

    for result in results:
        traces = {row["trace_id"] for row in Leavings(Path(result.run_dir)).documents}
        spans = [span for span in receiver.spans if span.attributes["agent_pipeline.run.id"] == result.run_id]
        assert {f"trace_{span.trace_id}" for span in spans if not span.name.startswith("run ")} == traces
        assert len([span for span in spans if span.scope == SDK]) == 3 * 4
        assert len([span for span in spans if span.name.startswith("chat")]) == 3
    assert len(receiver.spans) == 2 * (1 + 3 * (1 + 1 + 4 + 1))


@pytest.mark.parametrize("texts", [False, True])
def test_texts_leave_only_where_the_run_keeps_them_and_secrets_never(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, texts: bool
) -> None:
    """Prompts and answers are private; a key in one is nobody's."""
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    project = project_in(tmp_path, [{"id": "1", "text": f"A giraffe said: {SECRET[:-1]} is no key."}])

    run_sync(project, replace(OFFLINE, include_texts=texts))

    llm = next(span for span in receiver.spans if span.attributes.get("openinference.span.kind") == "LLM")
    sent = repr(receiver.spans)
    assert ("giraffe" in sent) == texts
    assert ("llm.model_name" in llm.attributes) == texts
    assert SECRET not in sent
    assert "llm.token_count" not in sent  # the attempts carry usage, and backends add up what they find
    assert not [name for span in receiver.spans if span.scope == SDK for name in span.attributes if "gen_ai" in name]


def test_a_session_that_goes_on_has_traces_of_its_own(receiver: Receiver, tmp_path: Path) -> None:
    """What was finished is not sent again, and no trace grows after its end."""
    project = project_in(tmp_path, prose(3))
    first = run_sync(project, replace(OFFLINE, limit=2))
    before = {span.trace_id for span in receiver.spans}
    receiver.spans.clear()

    options = RunOptions(offline=True, run=find_run(first.run_dir, project.logs))
    Pipeline.from_run(first.run_dir, options=options).run_sync()

    assert [span.attributes["agent_pipeline.document.id"] for span in receiver.named("document")] == ["d0003"]
    assert {span.attributes.get("agent_pipeline.session") for span in receiver.named("run ")} == {2}
    assert before.isdisjoint(span.trace_id for span in receiver.spans)


def test_the_pipeline_file_may_name_the_endpoint(tmp_path: Path) -> None:
    project = project_in(tmp_path, prose(1))
    with open_receiver() as receiver:
        content = json.loads(project.config.read_text(encoding="utf-8"))
        content["telemetry"] = {"otlp_endpoint": receiver.endpoint}
        project.config.write_text(json.dumps(content), encoding="utf-8")
        run_sync(project)

    assert len(receiver.named("document")) == 1
    assert set(receiver.paths) == {"/v1/traces"}


def test_what_is_rehearsed_is_not_sent(receiver: Receiver, tmp_path: Path) -> None:
    """In virtual time a day's work that never happened would look like one that did."""
    project = project_in(tmp_path, prose(1))
    simulator = Simulator()

    run_sync(project, replace(OFFLINE, virtual=True, make_pool=lambda: simulator_pool(simulator)))

    assert receiver.paths == []


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_a_collector_that_is_not_there_costs_the_run_its_spans_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No exit code, no log, no document; what was lost is said with its reason, also to `verify`."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv(ENDPOINT, endpoint)
    project = project_in(tmp_path, prose(2))

    result = run_sync(project, replace(OFFLINE, strict_shutdown=True))

    run = find_run(result.run_dir, project.logs)
    assert (result.exit_code, result.reason, result.left_open) == (0, None, ())
    assert result.dropped == {"otlp": 1 + 2 * (1 + 1 + 4 + 1)}
    assert result.dropped_because == {"otlp": f"{endpoint}/v1/traces: ConnectionError: Connection refused"}
    assert json.loads(run.manifest.read_text(encoding="utf-8"))["dropped"] == result.dropped
    report = verify_run(run)
    assert report.is_clean
    assert [note.code for note in report.notes] == ["telemetry_dropped"]


def test_a_collector_that_hangs_holds_the_end_for_some_seconds_and_nothing_else(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It takes the first batch and never answers."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    receiver.hold = threading.Event()
    begun = time.monotonic()
    result = run_sync(project_in(tmp_path, prose(2)))
    waited = time.monotonic() - begun - result.duration_seconds

    assert result.exit_code == 0
    assert "otlp" not in {thread.name for thread in threading.enumerate()}
    assert result.dropped == {"otlp": 15}
    assert result.dropped_because["otlp"].endswith(": no answer within 0.5 s")
    assert waited < 5 + 1


async def test_when_the_host_cancels_the_run_its_spans_have_arrived(receiver: Receiver, tmp_path: Path) -> None:
    """Also those of the documents that were cut off, and the run's own."""
    project = project_in(tmp_path, prose(4))
    faults = tmp_path / "faults.yaml"
    faults.write_text(json.dumps({"latency": {"min": 60, "max": 60}}), encoding="utf-8")
    options = RunOptions(offline=True, faults=str(faults))
    with trio.move_on_after(20) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Pipeline.from_config(project.config, options=options).run)
            while not any("llm_start" in line for line in _log(project)):  # noqa: ASYNC110 - a file tells
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()

    assert not scope.cancelled_caught
    (run,) = receiver.named("run ")
    documents = receiver.named("document")
    assert run.attributes["agent_pipeline.run.outcome"] == "incomplete"
    assert [span.attributes["error.type"] for span in documents] == ["cancelled"] * len(documents)
    ledger = Leavings(project.runs()[0])
    assert len(documents) == len(ledger.documents)
    assert len(receiver.named("chat")) == len(ledger.attempts)


def _log(project: Project) -> list[str]:
    logs = list(project.logs.glob("*/trial.log"))
    return logs[0].read_text(encoding="utf-8").splitlines() if logs else []


WITHOUT = """
import sys
for name in {blocked}:
    sys.modules[name] = None
from agent_pipeline.cli import main
code = main(["run", "pipeline.yaml", "--offline", "--json", "--limit", "1"])
print(sorted({{"opentelemetry.sdk", "opentelemetry.exporter", "openinference", "requests"}} & sys.modules.keys()))
sys.exit(code)
"""


def command(root: Path, *blocked: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run in a process of its own where these can't be imported; it prints which libraries it loaded.

    OpenTelemetry's API is no extra: the Agents SDK needs it for MCP.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(blocked=list(blocked))],
        cwd=root,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_an_endpoint_none_of_it_is_imported(tmp_path: Path) -> None:
    """Nor needed: it is an extra."""
    project_in(tmp_path, prose(1), ("own_stages:summarise",))

    ended = command(tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "openinference"])
def test_an_endpoint_without_the_extra_is_one_clear_error_before_anything_begins(missing: str, tmp_path: Path) -> None:
    """Whoever set it wants the spans; whoever did not can go on."""
    project = project_in(tmp_path, prose(1), ("own_stages:summarise",))

    refused = command(tmp_path, missing, **{ENDPOINT: "http://127.0.0.1:9"})
    switched_off = command(tmp_path, missing, **{ENDPOINT: "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"})

    assert refused.returncode == 3
    assert "agent-pipeline[otel]" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert switched_off.returncode == 0, switched_off.stderr
    assert len(project.runs()) == 1


def test_a_broken_endpoint_is_refused_before_anything_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ENDPOINT, "collector:4318")
    project = project_in(tmp_path, prose(1))

    with pytest.raises(ConfigError, match=ENDPOINT):
        run_sync(project)

    assert project.runs() == []
