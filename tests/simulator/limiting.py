"""A simulator with one limit, and requests that are held against it."""

from tests.simulator.asking import RESPONSES, TEXT, asking, post

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply
from agent_pipeline.simulator.json_values import JsonObject


def limiting(kind: str, *others: JsonObject, **more: JsonValue) -> Simulator:
    return Simulator(faults=FaultPlan.from_mapping({"faults": [{"kind": kind, **more}, *others]}))


def ask(simulator: Simulator, *, model: str = "small", text: str = TEXT, path: str = RESPONSES) -> SimulatorReply:
    return post(path, {**asking(path, text), "model": model}, simulator)
