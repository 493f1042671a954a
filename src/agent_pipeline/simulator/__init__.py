"""The OpenAI-compatible provider that needs no network and no key: rules free of I/O, and a thin Trio server."""

from agent_pipeline.simulator.plan import FaultPlan
from agent_pipeline.simulator.reading import DEFECT, LASTING_DEFECT
from agent_pipeline.simulator.rules import Simulator
from agent_pipeline.simulator.server import serve
from agent_pipeline.simulator.statistics import ModelStatistics, Statistics
from agent_pipeline.simulator.wire import BodyStep, Ending, SimulatorReply, SimulatorRequest

__all__ = [
    "DEFECT",
    "LASTING_DEFECT",
    "BodyStep",
    "Ending",
    "FaultPlan",
    "ModelStatistics",
    "Simulator",
    "SimulatorReply",
    "SimulatorRequest",
    "Statistics",
    "serve",
]
