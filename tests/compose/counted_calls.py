"""Counts the calls that one document costs: a run in virtual time, as a program, since other tests leave caches warm.

Prints a JSON object: by kind of call, calls of Python functions for each document more. Two runs are counted, and the
difference divided, so that what a run costs once is left out.
"""

import gc
import json
import sys
import tempfile
from pathlib import Path

import trio
from tests.integration.project import OWN_STAGES, make_project, prose
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.simulator import FaultPlan, Simulator

FEWER, MORE = 10, 40
IN_FLIGHT = 10  # the same in both runs, so that no document costs more for its neighbours
STAGES = f'''{OWN_STAGES}

@stage
async def agent(document: Document, context: StageContext) -> Document:
    """Let the agent of a role answer."""
    return document.with_text(await context.run_agent("summariser", document.text))


@stage(role="summariser")
async def ask(document: Document, context: StageContext) -> Document:
    """Make one plain call."""
    return document.with_text(await context.ask(document.text))
'''


def calls(root: Path, stage: str, documents: int) -> int:
    """Return the calls of Python functions in a run of one-call documents."""
    project = make_project(
        root,
        prose(documents),
        stages=(f"own_stages:{stage}",),
        own_stages=STAGES,
        limits={"documents_in_flight": IN_FLIGHT},
    )
    roles = json.loads(project.roles.read_text(encoding="utf-8"))
    roles["roles"] = {"summariser": roles["defaults"]}
    project.roles.write_text(json.dumps(roles), encoding="utf-8")
    simulator = Simulator(faults=FaultPlan(latency=1.0))
    options = RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(simulator), seed=1)
    pipeline = Pipeline.from_config(project.config, options=options)
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    gc.collect()
    gc.disable()  # what is collected, and when, depends on what ran before
    sys.setprofile(count)
    try:
        result = trio.run(pipeline.run, clock=MockClock(autojump_threshold=0))
    finally:
        sys.setprofile(None)
        gc.enable()
    if result.documents.succeeded != documents:
        raise SystemExit(f"{result.documents}: {result.failures[:1]}")
    return counted


def main() -> None:
    """Count, after a run that warms up."""
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        for stage in ("ask", "agent"):
            root = Path(temporary) / stage
            calls(root, stage, FEWER)
            few = calls(root, stage, FEWER)
            found[stage] = (calls(root, stage, MORE) - few) / (MORE - FEWER)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
