"""What a run leaves does not depend on where its documents were worked on: compared to the last row, both engines."""

import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.integration.project import BUILT_IN, Project, make_project, prose
from tests.integration.spread import Provider, local, run_over_workers, with_engine
from tests.integration.test_workers import artifacts, finished, problems

from agent_pipeline.compose import RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import FaultPlan

OF_THE_MOMENT = re.compile(
    r"_at$|^trace_id$|^span_id$|_seconds$|^attempt_id$|^call_id$|^provider_request_id$|^pid$|^wait_reason$"
)
"""Columns and fields that no two runs have in common."""

OF_WORKERS = {"WORKER_READY", "WORKER_LOST", "LATE_REPORTS"}


def kind(*names: str) -> list[JsonValue]:
    """Return stages of these names."""
    return [f"tests.integration.every_kind:{name}" for name in names]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run.

    Attributes:
        ends: documents by their error code, or their outcome where they have none.
    """

    stages: Sequence[JsonValue]
    documents: JsonValue = field(default_factory=lambda: prose(12))
    roles: Mapping[str, JsonValue] = field(default_factory=dict)
    pipeline: Mapping[str, JsonValue] = field(default_factory=dict)
    params: Mapping[str, JsonValue] = field(default_factory=dict)
    limits: Mapping[str, JsonValue] = field(default_factory=dict)
    faults: Mapping[str, Any] = field(default_factory=lambda: {"latency": 1})
    options: RunOptions = field(default_factory=RunOptions)
    prepare: Callable[[Project], None] = lambda _: None
    ends: Mapping[str, int] = field(default_factory=lambda: {"succeeded": 12})


def table(path: Path, name: str) -> Counter[str]:
    """Return what a table holds, but for what is of the moment."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - a name of ours
    return Counter(json.dumps(lasting(dict(row))) for row in rows)


def lasting(values: dict[str, Any]) -> dict[str, Any]:
    """Return what two runs have in common."""
    return {name: value for name, value in values.items() if not OF_THE_MOMENT.search(name)}


def events(path: Path) -> Counter[str]:
    """Return what happened, in any order."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return Counter(json.dumps(told(one)) for one in found if one["event"] not in OF_WORKERS)


def told(event: dict[str, Any]) -> dict[str, Any]:
    kept = lasting(event)
    for name in ("at", "seq", "run_id", "run_dir", "engine", "workers", "documents_in_flight", "lane"):
        kept.pop(name, None)
    return kept


def left(project: Project, case: Case) -> dict[str, Any]:
    """Run; return everything of it that is to be the same."""
    provider = Provider(FaultPlan.from_mapping(case.faults))
    result = finished(run_over_workers(project, provider, options=case.options))
    (run,) = project.runs()
    outcome = lasting(asdict(result))
    for name in ("run_id", "run_dir", "next", "workers", "artifacts"):
        del outcome[name]
    return {
        "result": outcome,
        "problems": problems(project),
        "documents": table(run / "ledger.sqlite3", "documents"),
        "stage_results": table(run / "ledger.sqlite3", "stage_results"),
        "attempts": table(run / "ledger.sqlite3", "attempts"),
        "events": events(run / "events.jsonl"),
        "asked": provider.asked,
        "artifacts": artifacts(project),
        "rejected": {path.name: path.read_bytes() for path in run.glob("rejected/*")},
        "reviews": Counter(
            json.dumps(told(json.loads(one))) for one in (run / "reviews.jsonl").read_text().splitlines()
        ),
    }


HERE = "tests.integration.every_kind"

PRICES: JsonValue = {"openai": {"gpt-5-mini": {"input": 1.25, "cached_input": 0.125, "output": 10.0}}}

REWORKED: list[JsonValue] = [
    *kind("plainly"),
    {f"{HERE}:disapprove": {"rework_to": f"{HERE}:plainly", "max_reworks": 2}},
]

MODELS = ("large", "small")


def of(number: int, **fault: JsonValue) -> dict[str, JsonValue]:
    """Return a fault of the requests of one document."""
    return {**fault, "match": {"contains": f"note number {number}."}}


def with_fallback(project: Project) -> None:
    """Give the writer a stand-in."""
    roles = json.loads(project.roles.read_text(encoding="utf-8"))
    writer, stand_in = ({"provider": "openai", "model": model, "params": {"max_tokens": 900}} for model in MODELS)
    roles["roles"] = {"writer": {**writer, "fallback": "stand_in"}, "stand_in": stand_in}
    project.roles.write_text(json.dumps(roles), encoding="utf-8")


def with_role_budget(project: Project) -> None:
    roles = json.loads(project.roles.read_text(encoding="utf-8"))
    roles["roles"] = {
        "writer": {
            "provider": "openai",
            "model": "gpt-5-mini",
            "params": {"max_tokens": 2000},
            "budget_usd": 0.5,
            "budget_tokens": 500_000,
        }
    }
    project.roles.write_text(json.dumps(roles), encoding="utf-8")


def with_chat(project: Project) -> None:
    roles = json.loads(project.roles.read_text(encoding="utf-8"))
    roles["providers"]["openai"]["api"] = "chat"
    project.roles.write_text(json.dumps(roles), encoding="utf-8")


ODD: JsonValue = [
    *prose(4),
    {"id": "empty", "text": ""},
    {"id": "none"},
    7,
    {"text": 5, "id": "no"},
    {"id": "d0100", "text": "x" * 1_100_000},
    {"id": "../d0101", "text": "climbs", "file_slug": "up"},
    {"id": "d0102 [31m", "text": "red"},
    {"id": "d0103", "text": "surrogate \ud800", "meta": {"nested": [1, None, True]}},
    {"id": "d0104", "url": "http://x.invalid/a", "text": "from afar"},
    *prose(3, start=5),
]

CASES = {
    "plain": Case(stages=kind("plainly")),
    "structured": Case(stages=kind("structured")),
    "tool": Case(stages=kind("with_a_tool")),
    "tool_chat": Case(stages=kind("with_a_tool"), prepare=with_chat),
    "at_once": Case(stages=kind("at_once"), limits={"requests_in_flight": 100}),
    "no_model": Case(stages=kind("without_a_model")),
    "streamed": Case(stages=kind("plainly", "structured", "with_a_tool"), params={"stream": True}),
    "streamed_chat": Case(stages=kind("plainly", "with_a_tool"), params={"stream": True}, prepare=with_chat),
    "rework": Case(ends={"succeeded": 9, "rejected": 3}, stages=REWORKED),
    "refused_rework": Case(ends={"succeeded": 6, "rejected": 6}, stages=kind("plainly", "disapprove")),
    "broken": Case(ends={"succeeded": 8, "stage_failed": 4}, stages=kind("plainly", "broken")),
    "own_error": Case(ends={"succeeded": 8, "own_code": 4}, stages=kind("plainly", "dislike")),
    "fallback": Case(
        stages=kind("plainly", "with_a_tool"),
        prepare=with_fallback,
        limits={"retry": {"max_attempts": 2, "initial_delay": 0.01, "max_delay": 0.01}},
        faults={
            "latency": 1,
            "faults": [
                of(n, kind="status", status=500) | {"match": {"contains": f"note number {n}.", "model": "large"}}
                for n in (2, 5)
            ],
        },
    ),
    "fallback_400": Case(
        stages=kind("plainly", "with_a_tool"),
        prepare=with_fallback,
        faults={
            "latency": 1,
            "faults": [
                {
                    "kind": "status",
                    "status": 400,
                    "code": "context_length_exceeded",
                    "match": {"contains": f"note number {n}.", "model": "large"},
                }
                for n in (2, 5)
            ],
        },
    ),
    "odd": Case(
        ends={"succeeded": 11, "skipped": 2, "document_invalid": 3},
        stages=kind("without_a_model"),
        documents=ODD,
        pipeline={"results": ["out/artifacts/../results.csv", "out/results.jsonl"]},
    ),
    "odd_asked": Case(
        ends={"succeeded": 10, "skipped": 2, "document_invalid": 3, "incomplete_answer": 1},
        stages=BUILT_IN,
        documents=ODD,
        pipeline={"results": ["out/results.jsonl"]},
    ),
    "priced": Case(
        stages=kind("plainly", "at_once"),
        pipeline={"prices": PRICES},
        limits={"requests_in_flight": 100, "budget": {"usd": 5}, "budget_per_document": {"usd": 0.5}},
        prepare=with_role_budget,
    ),
    "price_of_document": Case(
        stages=kind("plainly", "with_a_tool"),
        pipeline={"prices": PRICES},
        limits={"budget_per_document": {"usd": 0.022}},
    ),
    "refused_documents": Case(
        ends={"document_budget_exceeded": 12},
        stages=kind("plainly", "with_a_tool"),
        pipeline={"prices": PRICES},
        limits={"budget_per_document": {"usd": 0.01}},
    ),
    "refused_later": Case(
        ends={"document_budget_exceeded": 12},
        stages=kind("plainly", "with_a_tool"),
        limits={"budget_per_document": {"tokens": 2700}},
    ),
    "retried": Case(
        stages=kind("plainly"),
        faults={"latency": 1, "faults": [of(n, kind="status", status=503, script=[1]) for n in (2, 4, 9)]},
    ),
    "malformed": Case(
        stages=kind("plainly"),
        faults={"latency": 1, "faults": [of(n, kind="malformed_json", script=[1]) for n in (2, 4, 9)]},
    ),
    "reset": Case(
        stages=kind("plainly"),
        faults={"latency": 1, "faults": [of(n, kind="reset_mid_body", script=[1]) for n in (2, 4, 9)]},
    ),
    "length": Case(ends={"incomplete_answer": 12}, stages=kind("plainly", "structured"), params={"max_tokens": 3}),
    "texts": Case(stages=kind("with_a_tool"), options=RunOptions(include_texts=True)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_is_left(name: str, tmp_path: Path) -> None:
    """Outcome, rows, events, artifacts, texts that were rejected, and what the provider was asked."""
    case = CASES[name]
    project = make_project(
        tmp_path, case.documents, stages=case.stages, env_key=None, limits=case.limits, params=case.params
    )
    project.config.write_text(json.dumps({**json.loads(project.config.read_text()), **case.pipeline}))
    case.prepare(project)

    spread = left(with_engine(project, shard_size=3, worker_concurrency=3), case)
    shutil.rmtree(project.artifacts.parent, ignore_errors=True)
    expected = left(local(project), case)

    ends = Counter(json.loads(one)["error_code"] or json.loads(one)["outcome"] for one in expected["documents"])
    assert ends == case.ends
    assert spread.keys() == expected.keys()
    for part, there in spread.items():
        here = expected[part]
        if isinstance(here, Counter):
            assert sorted((there - here).elements()) == sorted((here - there).elements()), part
        assert there == here, part
