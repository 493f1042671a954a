"""What was seen of each model: the figures against which a client's own limits are measured."""

import json

import trio
from tests.simulator.asking import RESPONSES, TEXT, asking, post
from trio.testing import MockClock

from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest


def ask(simulator: Simulator, model: str = "m", text: str = TEXT) -> SimulatorReply:
    return post(RESPONSES, {**asking(RESPONSES, text), "model": model}, simulator)


async def test_the_busiest_minute_is_any_minute(autojump_clock: MockClock) -> None:
    """A burst at its end and one at the beginning of the next are one burst."""
    simulator = Simulator()

    usage = json.loads(ask(simulator).body)["usage"]["total_tokens"]

    for pause in (55, 1, 1, 3, 1, 100):
        await trio.sleep(pause)
        ask(simulator)

    seen = simulator.statistics.model("m")
    assert (seen.requests, seen.refused) == (7, 0)
    assert seen.most_requests_per_minute == 5
    assert seen.most_tokens_per_minute == 5 * usage
    assert seen.input_tokens + seen.output_tokens == 7 * usage


async def test_refused_requests_are_counted_but_for_their_tokens(autojump_clock: MockClock) -> None:
    """Whoever refused them: a limit or a scripted 429."""
    simulator = Simulator(
        faults=FaultPlan.from_mapping(
            {
                "faults": [
                    {"kind": "status", "status": 429, "script": [1]},
                    {"kind": "status", "status": 503, "script": [2]},
                    {"kind": "rate_limit", "requests_per_minute": 3},
                ]
            }
        )
    )

    statuses = [ask(simulator).status for _ in range(4)]

    seen = simulator.statistics.model("m")
    assert statuses == [429, 503, 200, 429]
    assert (seen.requests, seen.refused, seen.most_requests_per_minute) == (4, 2, 4)
    assert seen.most_tokens_per_minute == seen.input_tokens + seen.output_tokens > 0


def test_each_model_has_metrics_of_its_own() -> None:
    """As they are shown to other processes, in the order of names."""
    simulator = Simulator()
    for model in ("b", "a", "b"):
        ask(simulator, model)
    post(RESPONSES, {"model": "c"}, simulator)

    reply = simulator.respond(SimulatorRequest("GET", "/simulator/statistics"))

    models = json.loads(reply.body)["models"]
    assert [(name, one["requests"], one["most_requests_per_minute"]) for name, one in models.items()] == [
        ("a", 1, 1),
        ("b", 2, 2),
    ]
    assert simulator.statistics.model("never asked").requests == 0
