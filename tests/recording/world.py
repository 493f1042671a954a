"""Runs that are recorded and replayed: in virtual time, in an order that a seed decides."""

import hashlib
import json
import random
import sqlite3
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import trio
from tests.integration.project import BUILT_IN, Project, make_project
from trio._core import _run as scheduler
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.runtime import load_libraries
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import DEFECT, FaultPlan, Simulator
from agent_pipeline.testing.worlds.watch import seeded_scheduler

OWN = "agent_pipeline.testing.worlds.stages:"
EVERYTHING: tuple[JsonValue, ...] = (*BUILT_IN, f"{OWN}consult", f"{OWN}compare")
"""Rework, an agent with a tool, two calls at once in one stage."""

ONE_AFTER_THE_OTHER: tuple[JsonValue, ...] = (*BUILT_IN, f"{OWN}consult")
"""The same, with one request of a document at a time."""

ONE_CALL: tuple[JsonValue, ...] = (f"{OWN}note",)

TROUBLES: dict[str, object] = {
    "seed": 5,
    "latency": {"min": 0.01, "max": 0.9},
    "faults": [
        {"kind": "status", "status": 429, "retry_after": 2.5, "rate": 0.05},
        {"kind": "status", "status": 503, "rate": 0.05},
        {"kind": "reset_before_body", "rate": 0.04},
        {"kind": "reset_mid_body", "rate": 0.04},
        {"kind": "truncate_stream", "rate": 0.08},
        {"kind": "malformed_json", "rate": 0.03},
        {"kind": "html_200", "rate": 0.03},
        {"kind": "hang", "rate": 0.02},
        {"kind": "hang_mid_body", "rate": 0.02},
        {"kind": "ping", "rate": 0.02},
    ],
}
LIMITS: dict[str, JsonValue] = {
    "retry": {"max_attempts": 8, "initial_delay": 0.5, "max_delay": 5},
    "timeouts": {"attempt": 40, "read": 30, "stage": 3000, "document": 9000},
}

_OF_ONE_RUN = {"at", "started_at", "run_id", "run_dir", "attempt_id", "call_id", "trace_id", "span_id"}
_OF_TIME = {"wait_seconds", "wait_reason", "latency_seconds", "duration_seconds"}


def documents(count: int) -> list[JsonValue]:
    """Return entries; every third has a flaw that a reviewer sends back."""
    return [
        {
            "id": f"d{number:02}",
            "url": f"https://documents.invalid/{number}",
            "text": f"# Note {number}\n\nIt says {'little' * (number % 5 + 1)}.\n"
            + (f"{DEFECT} to mend\n" if number % 3 == 0 else ""),
        }
        for number in range(1, count + 1)
    ]


@dataclass(frozen=True)
class Ran:
    """A run that is over."""

    project: Project
    result: RunResult

    @property
    def run(self) -> Path:
        """Its directory."""
        return Path(self.result.run_dir)

    def artifacts(self) -> dict[str, str]:
        """Return the hash of each artifact by its name."""
        files = sorted(path for path in self.project.artifacts.iterdir() if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def events(self, *, without: frozenset[str] | set[str] = frozenset()) -> list[dict[str, Any]]:
        """Return all events in order, without what names this very run or its moment."""
        lines = (self.run / "events.jsonl").read_text(encoding="utf-8").splitlines()
        lines = [line.replace(self.result.run_id, "RUN").replace(str(self.project.root), "") for line in lines]
        kept = [cast("dict[str, Any]", _plain(json.loads(line), _OF_ONE_RUN | without)) for line in lines]
        return [event for event in kept if not str(event["event"]).startswith(("OPENAI_CLIENT", "PIPELINE_STARTED"))]

    def events_by_document(self) -> dict[str, list[dict[str, Any]]]:
        """Return each document's events in order, without what other documents have a part in."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.events(without=_OF_TIME):
            if event.get("document_id"):
                found[event["document_id"]].append(event)
        return dict(found)

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        """Return the attempts of the ledger, sorted."""
        with closing(sqlite3.connect(self.run / "ledger.sqlite3")) as ledger:
            return sorted(ledger.execute(f"SELECT {columns} FROM attempts"), key=repr)  # noqa: S608 - a test's own


def _plain(value: object, gone: set[str] | frozenset[str]) -> object:
    if isinstance(value, dict):
        return {name: _plain(item, gone) for name, item in value.items() if name not in gone}
    if isinstance(value, list):
        return [_plain(item, gone) for item in value]
    return value


class _InOrder(random.Random):
    """Lets tasks that can go on at one instant do so in the order in which they began.

    A seed would not do: a replay takes other steps than what was recorded, and so would draw another order.
    """

    def random(self) -> float:
        """Return what turns no order round."""
        return 0.9


@contextmanager
def _in_order() -> Generator[None]:
    with seeded_scheduler("0"):
        drawn, scheduler._r = scheduler._r, _InOrder()
        try:
            yield
        finally:
            scheduler._r = drawn


def write_project(
    root: Path,
    entries: Sequence[JsonValue],
    *,
    stages: Sequence[JsonValue] = EVERYTHING,
    params: Mapping[str, JsonValue] | None = None,
    **limits: JsonValue,
) -> Project:
    """Write a project whose retries are patient enough for many troubles."""
    return make_project(root, list(entries), stages=stages, params=params, limits={**LIMITS, **limits})


def run(project: Project, options: RunOptions) -> Ran:
    """Run in virtual time."""
    load_libraries()
    pipeline = Pipeline.from_config(project.config, options=options)
    with _in_order():
        result = trio.run(
            pipeline.run,
            clock=MockClock(autojump_threshold=0),
            restrict_keyboard_interrupt_to_checkpoints=True,
            strict_exception_groups=True,
        )
    return Ran(project, result)


def record(project: Project, recording: Path | None, *, faults: Mapping[str, object] | None = None) -> Ran:
    """Record a run against the simulator; without a directory, only run."""
    simulator = Simulator(faults=FaultPlan.from_mapping(dict(faults or {})))
    return run(
        project,
        RunOptions(
            offline=True,
            virtual=True,
            make_pool=lambda: simulator_pool(simulator),
            seed=1,
            record=None if recording is None else str(recording),
        ),
    )


def replay(project: Project, recording: Path) -> Ran:
    """Replay a run: nobody is asked."""
    return run(project, RunOptions(virtual=True, seed=1, replay=str(recording)))


def lines_of(recording: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the exchanges of each file of a recording."""
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(recording.rglob("*.jsonl"))
    }
