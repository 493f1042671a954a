"""A driver whose disk fails, or that dies between two writes, leaves what one process leaves that meets the same."""

import errno
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.integration.project import Project, make_project, prose
from tests.integration.spread import Provider, local, run_over_workers, with_engine
from tests.integration.test_workers import artifacts, finished, problems, rows

from agent_pipeline import failpoints
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.simulator import FaultPlan
from agent_pipeline.testing.worlds.files import copy_files

DOCUMENTS = 12
STAGES: list[JsonValue] = [
    "tests.integration.every_kind:plainly",
    {
        "tests.integration.every_kind:disapprove": {
            "rework_to": "tests.integration.every_kind:plainly",
            "max_reworks": 1,
        }
    },
]
ENDS = "SELECT document_id, outcome, error_code, reworks, artifact_sha256 FROM documents ORDER BY 1"


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Leave no point armed for the tests that follow."""
    yield
    failpoints.disarm_all()


def project_at(root: Path) -> Project:
    return make_project(root, prose(DOCUMENTS), stages=STAGES, env_key=None, limits={"documents_in_flight": 6})


def at_call(number: int, action: Callable[[], object], *, and_later: bool) -> Callable[[], None]:
    """Return what acts at its n-th call, and maybe at all that follow."""
    calls = 0

    def act() -> None:
        nonlocal calls
        calls += 1
        if calls == number or (and_later and calls > number):
            action()

    return act


def fail(error: Callable[[], Exception]) -> Callable[[], None]:
    def act() -> None:
        raise error()

    return act


def ended(project: Project, provider: Provider, *, gone_on: bool = False) -> tuple[Any, ...]:
    """Run, or go on; return how it ended."""
    try:
        result = finished(run_over_workers(project, provider, gone_on=gone_on))
    except AgentPipelineError as exc:
        return type(exc).__name__, str(exc), problems(project)
    return result.outcome, result.exit_code, result.reason, problems(project)


def of_system(number: int) -> Callable[[], Exception]:
    return lambda: OSError(number, os.strerror(number))


def full_ledger() -> Exception:
    return sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("later", [1, 5])
@pytest.mark.parametrize(
    ("point", "error"),
    [
        ("artifact.filled", of_system(errno.ENOSPC)),
        ("artifact.synced", of_system(errno.EROFS)),
        ("artifact.linked", of_system(errno.EACCES)),
        ("artifact.filled", of_system(errno.EIO)),
        ("ledger.before_commit", full_ledger),
    ],
)
def test_a_full_disk_ends_both_alike(tmp_path: Path, point: str, error: Callable[[], Exception], later: int) -> None:
    """And when there is room again, both are gone on with to the same end."""
    seen: dict[str, Any] = {}
    for engine, set_engine in (("ray", partial(with_engine, shard_size=4)), ("local", local)):
        project = set_engine(project_at(tmp_path / engine))
        provider = Provider(FaultPlan.from_mapping({"latency": 1}))
        failpoints.arm(point, at_call(later + 6 if point.startswith("ledger") else later, fail(error), and_later=True))
        first = ended(project, provider)
        failpoints.disarm_all()
        second = ended(project, provider, gone_on=True)
        left: object = rows(project, ENDS)
        if point == "artifact.linked":  # which documents it hits is a matter of time, and they are not tried again
            left = Counter(one[1:3] for one in rows(project, ENDS))
        seen[engine] = first, second, left, len(artifacts(project))

    assert seen["ray"] == seen["local"]


@pytest.mark.parametrize("then", ["ray", "local"])
@pytest.mark.parametrize("number", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "point",
    ["document.before_row", "document.after_row", "artifact.linked", "ledger.before_commit", "ledger.after_commit"],
)
def test_a_driver_that_dies_between_two_writes_loses_nothing(
    tmp_path: Path, point: str, number: int, then: str
) -> None:
    """Between what a worker reported and what is on disk: all that has a row is kept and not asked for again."""
    project, kept = with_engine(project_at(tmp_path / "project"), shard_size=4), tmp_path / "kept"
    provider = Provider(FaultPlan.from_mapping({"latency": 1}))
    known: dict[str, Any] = {}

    def die() -> None:
        copy_files(project.root, kept)
        known["asked"] = provider.asked.copy()

    failpoints.arm(point, at_call(number if "ledger" not in point else 5 * number, die, and_later=False))
    run_over_workers(project, provider)
    failpoints.disarm_all()
    shutil.rmtree(project.root)
    kept.rename(project.root)
    provider.asked = known["asked"]
    done = {one[0] for one in rows(project, ENDS) if one[1] == "succeeded"}
    (kept_results,) = rows(project, "SELECT count(*) FROM stage_results WHERE stage LIKE '%plainly'")[0]
    before = provider.asked.copy()

    (local if then == "local" else with_engine)(project)
    result = finished(run_over_workers(project, provider, gone_on=True))

    other = local(project_at(tmp_path / "other"))
    undisturbed = Provider()
    finished(run_over_workers(other, undisturbed))
    assert (result.outcome, problems(project)) == ("completed", [])
    assert rows(project, ENDS) == rows(other, ENDS)
    assert artifacts(project) == artifacts(other)
    again = provider.asked - before
    assert again.total() == undisturbed.asked.total() - kept_results
    assert not [one for one in again for document in done if f"note number {int(document[1:])}.".encode() in one]
