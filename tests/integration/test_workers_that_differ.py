"""A worker that would do something else gets no document: the run ends, and says where and what is different."""

import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from platform import node

import pytest
from tests.integration.project import Project, make_project, prose
from tests.integration.spread import Provider, run_over_workers, with_engine
from tests.integration.test_workers import rows

from agent_pipeline.engines.messages import WorkerPlan
from agent_pipeline.errors import WorkerMismatchError

STAGES = '''"""Stages."""

from agent_pipeline import Document, StageContext, stage


@stage
async def first(document: Document, context: StageContext) -> Document:
    return document.with_text(document.text + "one")


@stage
async def second(document: Document, context: StageContext) -> Document:
    return document.with_text(document.text + "two")
'''

Sent = Callable[[Project, WorkerPlan], WorkerPlan]


def rewritten(text: str) -> Sent:
    """Return what lets a worker find other code in the place of the driver's."""

    def sent(project: Project, plan: WorkerPlan) -> WorkerPlan:
        (project.root / "own_stages.py").write_text(text, encoding="utf-8")
        sys.modules.pop("own_stages", None)
        importlib.invalidate_caches()
        return plan

    return sent


def damaged(project: Project, plan: WorkerPlan) -> WorkerPlan:
    """Let a worker find other roles than were sent."""
    del project
    return replace(plan, roles_text=plan.roles_text.replace("2000", "4000"))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            rewritten(STAGES.replace("two", "three")),
            (
                f"worker 1 on {node()} finds other code, options or roles of second than the driver; "
                "install the same code of the stages there, then go on"
            ),
        ),
        (
            rewritten(STAGES.replace("second", "third")),
            (
                f"worker 1 on {node()}: FILE: stages.1: stage 'own_stages:second': 'second' in 'own_stages' has no "
                "such name; the driver finds it: install the same code of the stages there, then go on"
            ),
        ),
        (
            damaged,
            f"worker 1 on {node()}: the text of the roles file did not arrive as it was sent; go on with the run",
        ),
    ],
)
def test_it_is_told_where_and_what(tmp_path: Path, sent: Sent, said: str) -> None:
    """Exit 3, as any configuration that can't be used."""
    project = make_project(
        tmp_path, prose(6), stages=["own_stages:first", "own_stages:second"], own_stages=STAGES, env_key=None
    )
    with_engine(project, workers=1)

    try:
        with pytest.raises(WorkerMismatchError) as caught:
            run_over_workers(project, Provider(), sent=lambda plan: sent(project, plan))
    finally:
        sys.modules.pop("own_stages", None)

    assert re.sub(r"/\S+:1:\d+", "FILE", str(caught.value)) == said
    assert rows(project, "SELECT outcome, reason FROM run") == [("failed", "worker_mismatch")]
    assert rows(project, "SELECT * FROM documents") == []
