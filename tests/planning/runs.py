"""Real runs on the simulator, in virtual time, to hold plans against."""

import trio
from tests.integration.project import Project
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.planning.figures import Figures, added
from agent_pipeline.planning.plan import Plan, make_plan
from agent_pipeline.simulator import FaultPlan, Simulator


def run(project: Project, *, faults: dict[str, object] | None = None, limit: int | None = None) -> RunResult:
    """Run a project against the simulator without sockets."""
    simulator = Simulator(faults=FaultPlan.from_mapping(faults or {}))
    options = RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(simulator), seed=1, limit=limit)
    return Pipeline.from_config(project.config, options=options).run_sync()


def in_virtual_time(project: Project, *, latency: float) -> RunResult:
    """Run a project against a simulator that takes its time, which does not really pass."""
    simulator = Simulator(faults=FaultPlan(latency=latency))
    options = RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(simulator))
    pipeline = Pipeline.from_config(project.config, options=options)
    return trio.run(pipeline.run, clock=MockClock(autojump_threshold=0))


def plan(project: Project, options: RunOptions | None = None) -> Plan:
    """Plan a run of a project."""
    return make_plan(load_pipeline_config(project.config), options or RunOptions())


def tokens(of: Plan) -> Figures:
    """Return the tokens of all stages."""
    return added(stage.tokens for stage in of.stages)


def requests(of: Plan) -> Figures:
    """Return the requests of all stages."""
    return added(stage.requests for stage in of.stages)


def attempts(of: Plan) -> Figures:
    """Return the HTTP attempts of all stages."""
    return added(stage.attempts for stage in of.stages)


def money(of: Plan) -> Figures:
    """Return the micro-dollars of all stages."""
    return added(stage.micro_usd for stage in of.stages)
