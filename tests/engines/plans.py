"""The plan of a worker, for tests to change what matters to them."""

from dataclasses import replace
from typing import Any

from agent_pipeline.config.pipeline import Overrides
from agent_pipeline.engines.agreement import text_sha256
from agent_pipeline.engines.messages import WorkerPlan

_PLAN = WorkerPlan(
    worker=0,
    pipeline_text="",
    pipeline_sha256="",
    roles_text="",
    roles_sha256="",
    path="",
    roles_path="",
    overrides=Overrides(),
    only=(),
    skip=(),
    offline=True,
    faults=None,
    seed=None,
    include_texts=False,
    concurrency=10,
    run_id="run-1",
    session=1,
    version="1.0",
    plan_sha256="p" * 64,
    requests_in_flight=(10, 1, 10),
)


def plan_with(**changes: Any) -> WorkerPlan:  # noqa: ANN401
    """Return a plan in which these values are others; its texts have their hashes unless told otherwise."""
    plan = replace(_PLAN, **changes)
    hashes = {"pipeline_sha256": text_sha256(plan.pipeline_text), "roles_sha256": text_sha256(plan.roles_text)}
    return replace(plan, **(hashes | changes))
