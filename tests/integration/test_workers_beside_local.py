"""Whatever goes wrong, a run over workers ends as one in a single process does: outcome, exit code, reason, endings."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.integration.project import BUILT_IN, IN_THIS_PROCESS, Project, make_project, prose
from tests.integration.spread import OnOpen, Provider, local, run_over_workers, with_engine
from tests.integration.test_workers import problems, rows

from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import AgentPipelineError, DiskFullError
from agent_pipeline.simulator import FaultPlan

ENDINGS = "SELECT document_id, position, outcome, failed_stage, error_code, reworks FROM documents ORDER BY 2"


def of(number: int, **fault: JsonValue) -> dict[str, JsonValue]:
    """Return a fault of the requests of one document."""
    return {**fault, "match": {"contains": f"note number {number}."}}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong.

    Attributes:
        is_early: the run ends early, so that which documents end how depends on the order of things.
        is_paid_alike: how often a request is made does not depend on what else is seen in the same process.
        on_open: is given the open parts of the run.
    """

    documents: JsonValue = field(default_factory=lambda: prose(30))
    stages: Sequence[JsonValue] = IN_THIS_PROCESS
    faults: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, JsonValue] = field(default_factory=dict)
    params: Mapping[str, JsonValue] = field(default_factory=dict)
    roles: Mapping[str, JsonValue] = field(default_factory=dict)
    prepare: Callable[[Project], None] = lambda _: None
    options: RunOptions = field(default_factory=RunOptions)
    is_early: bool = False
    is_paid_alike: bool = True
    on_open: OnOpen = lambda _: None


def _torn_lines(project: Project) -> None:
    lines = [json.dumps(one) for one in prose(60)]
    lines[40] = '{"id": "torn", "te'
    lines[45] = "[]"
    _lines(project, lines)


def _duplicates(project: Project) -> None:
    _lines(project, [json.dumps(one) for one in [*prose(30), *prose(3, start=10), *prose(2)]])


def _near_duplicates(project: Project) -> None:
    _lines(project, [json.dumps(one) for one in [*prose(2), *prose(2), *prose(2)]])


def _bad_bytes(project: Project) -> None:
    _lines(project, [json.dumps(one) for one in prose(60)])
    path = project.root / "documents.jsonl"
    path.write_bytes(path.read_bytes() + b"\n\xff\xfe\n")


def _lines(project: Project, lines: Sequence[str]) -> None:
    (project.root / "documents.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pipeline = json.loads(project.config.read_text(encoding="utf-8"))
    pipeline["source"] = {"path": "documents.jsonl"}
    project.config.write_text(json.dumps(pipeline), encoding="utf-8")


def _taken_place(project: Project) -> None:
    (project.artifacts / "d0007.md").mkdir(parents=True)
    (project.artifacts / "d0007.md" / "file").write_text("here first", encoding="utf-8")


def _taken_rejected(runtime: Runtime) -> None:
    runtime.records.directory.rejected.write_text("here first", encoding="utf-8")


def _signalled(*, cancel: bool) -> OnOpen:
    """Return what does as Ctrl-C does, in the middle of things: once, or twice."""

    def on_open(runtime: Runtime) -> None:
        async def stop() -> None:
            await trio.sleep(3)
            runtime.stop.request("signal:SIGINT", "interrupted", cancel=False)
            if cancel:
                await trio.sleep(0.5)
                runtime.stop.request("signal:SIGINT", "interrupted", cancel=True)

        trio.lowlevel.spawn_system_task(stop)

    return on_open


def _failing(error: Callable[[], AgentPipelineError]) -> OnOpen:
    def on_open(runtime: Runtime) -> None:
        async def stop() -> None:
            await trio.sleep(3)
            runtime.stop.request_for(error())

        trio.lowlevel.spawn_system_task(stop)

    return on_open


TROUBLES = {
    "signalled": Trouble(
        documents=prose(100),
        faults={"latency": 2},
        limits={"documents_in_flight": 10},
        on_open=_signalled(cancel=False),
        is_early=True,
    ),
    "signalled_twice": Trouble(
        documents=prose(100),
        faults={"latency": 2},
        limits={"documents_in_flight": 10},
        on_open=_signalled(cancel=True),
        is_early=True,
    ),
    "disk_full": Trouble(
        documents=prose(100),
        faults={"latency": 2},
        limits={"documents_in_flight": 10},
        on_open=_failing(lambda: DiskFullError("the disk is full")),
        is_early=True,
    ),
    "well": Trouble(stages=BUILT_IN),
    "streamed": Trouble(stages=BUILT_IN, params={"stream": True}),
    "bad_request": Trouble(faults={"faults": [of(3, kind="status", status=400)]}),
    "server_error": Trouble(faults={"faults": [of(3, kind="status", status=500)]}, is_paid_alike=False),
    "malformed": Trouble(faults={"faults": [of(3, kind="malformed_json", script=[1])]}),
    "retried": Trouble(faults={"faults": [of(n, kind="status", status=503, script=[1]) for n in (2, 4, 9, 27)]}),
    "rate_limited": Trouble(
        faults={"faults": [of(n, kind="status", status=429, retry_after=1, script=[1]) for n in (2, 4, 9, 27)]}
    ),
    "hanging": Trouble(
        faults={"faults": [of(3, kind="hang")]}, limits={"timeouts": {"document": 5, "stage": None, "attempt": 3}}
    ),
    "stage_timeout": Trouble(
        faults={"faults": [of(3, kind="hang")]}, limits={"timeouts": {"document": 50, "stage": 4, "attempt": 3}}
    ),
    "unauthorized": Trouble(faults={"faults": [{"kind": "status", "status": 401}]}, is_early=True),
    "unauthorized_one": Trouble(faults={"latency": 1, "faults": [of(15, kind="status", status=401)]}, is_early=True),
    "run_timeout": Trouble(
        documents=prose(100),
        faults={"latency": 2},
        limits={"documents_in_flight": 10, "timeouts": {"run": 7}},
        is_early=True,
    ),
    "budget": Trouble(
        documents=prose(100), limits={"documents_in_flight": 10, "budget": {"tokens": 8_000}}, is_early=True
    ),
    "budget_too_small": Trouble(limits={"budget": {"tokens": 10}}, is_early=True),
    "budget_of_documents": Trouble(stages=BUILT_IN, limits={"budget_per_document": {"tokens": 2_500}}),
    "small_budget_of_documents": Trouble(stages=BUILT_IN, limits={"budget_per_document": {"tokens": 100}}),
    "duplicates": Trouble(prepare=_duplicates, is_early=True),
    "near_duplicates": Trouble(prepare=_near_duplicates, faults={"latency": 5}, is_early=True),
    "unusable": Trouble(
        documents=[
            *prose(3),
            {"id": "empty", "text": ""},
            {"id": "none"},
            7,
            {"text": 5, "id": "no"},
            *prose(3, start=4),
        ]
    ),
    "only_unusable": Trouble(documents=[{"id": "none"}]),
    "torn_lines": Trouble(prepare=_torn_lines),
    "bad_bytes": Trouble(prepare=_bad_bytes, is_early=True),
    "rejected_place": Trouble(
        stages=["tests.integration.every_kind:disapprove"],
        on_open=_taken_rejected,
    ),
    "taken_place": Trouble(prepare=_taken_place),
    "limited": Trouble(options=RunOptions(limit=7)),
    "fail_on_error": Trouble(
        faults={"faults": [of(3, kind="status", status=400)]}, options=RunOptions(fail_on_error="never")
    ),
    "only": Trouble(stages=BUILT_IN, options=RunOptions(only=("route", "transform"))),
}


def ended(project: Project, trouble: Trouble) -> tuple[Any, ...]:
    """Run; return what is to be the same, and what else there is to see."""
    try:
        result = run_over_workers(
            project, Provider(FaultPlan.from_mapping(trouble.faults)), options=trouble.options, on_open=trouble.on_open
        )
    except AgentPipelineError as exc:
        return type(exc).__name__, str(exc)
    assert result is not None
    same: tuple[Any, ...] = (result.outcome, result.exit_code, result.reason, problems(project))
    if trouble.is_early:
        return same
    failures = [(one.document_id, one.stage, one.code) for one in result.failures]
    charged = result.usage.charged_tokens if trouble.is_paid_alike else 0
    return (*same, result.documents, failures, rows(project, ENDINGS), charged, result.usage.requests)


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_ends_as_in_one_process(name: str, tmp_path: Path) -> None:
    """Both engines, one after the other, in the same place."""
    trouble = TROUBLES[name]
    project = make_project(
        tmp_path,
        trouble.documents,
        stages=trouble.stages,
        env_key=None,
        limits=trouble.limits,
        params=trouble.params,
    )
    trouble.prepare(project)

    spread = ended(with_engine(project, shard_size=5), trouble)
    shutil.rmtree(project.artifacts.parent, ignore_errors=True)
    trouble.prepare(project)
    expected = ended(local(project), trouble)

    assert spread == expected
