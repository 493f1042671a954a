"""For tests of pipelines: fakes in memory, a sweep that cancels at every step, whole runs in simulated worlds."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.testing.cancellation import cancel_at_every_step as cancel_at_every_step
    from agent_pipeline.testing.cancellation import virtual_clock as virtual_clock
    from agent_pipeline.testing.one_stage import run_stage as run_stage
    from agent_pipeline.testing.scripted_provider import ScriptedProvider as ScriptedProvider
    from agent_pipeline.testing.scripted_provider import Step as Step
    from agent_pipeline.testing.simulator_thread import SimulatorThread as SimulatorThread
    from agent_pipeline.testing.worlds.world import WorldReport as WorldReport
    from agent_pipeline.testing.worlds.world import simulate_world as simulate_world

__all__ = [
    # one stage, one document
    "run_stage",
    # one attempt
    "ScriptedProvider",
    "Step",
    # a provider on a socket
    "SimulatorThread",
    # one operation, cancelled everywhere
    "cancel_at_every_step",
    "virtual_clock",
    # whole runs
    "WorldReport",
    "simulate_world",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "ScriptedProvider": "agent_pipeline.testing.scripted_provider",
        "SimulatorThread": "agent_pipeline.testing.simulator_thread",
        "Step": "agent_pipeline.testing.scripted_provider",
        "WorldReport": "agent_pipeline.testing.worlds.world",
        "cancel_at_every_step": "agent_pipeline.testing.cancellation",
        "run_stage": "agent_pipeline.testing.one_stage",
        "simulate_world": "agent_pipeline.testing.worlds.world",
        "virtual_clock": "agent_pipeline.testing.cancellation",
    },
)
