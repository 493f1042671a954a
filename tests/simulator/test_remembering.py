"""A simulator that remembers answers gives the same ones, faster."""

import json

from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest


def asked(text: str, blanks: bytes = b"") -> SimulatorRequest:
    """Return a request for an answer."""
    body = json.dumps({"model": "any", "input": text}).encode() + blanks
    return SimulatorRequest("POST", "/v1/responses", body=body)


def said(reply: SimulatorReply) -> tuple[object, object]:
    """Return what a reply says and what it counts."""
    content = json.loads(reply.body)
    return content["output"][0]["content"], content["usage"]


REQUESTS = [
    asked("A nursery is where tasks live."),
    asked("A nursery is where tasks live.", b" \n"),
    asked("Two words."),
    asked("A nursery is where tasks live.", b"\t"),
]


def test_answers_and_counts_are_those_of_one_that_remembers_nothing() -> None:
    plain, remembering = Simulator(seed=1), Simulator(seed=1, remembers=10)

    without, with_memory = ([said(one.respond(request)) for request in REQUESTS] for one in (plain, remembering))

    assert with_memory == without
    assert remembering.statistics.as_json() == plain.statistics.as_json()


def test_each_reply_has_an_id_of_its_own() -> None:
    """Else two attempts could not be told apart in a ledger."""
    simulator = Simulator(remembers=10)

    ids = {simulator.respond(request).header("x-request-id") for request in REQUESTS}

    assert len(ids) == len(REQUESTS)


def test_faults_strike_as_they_would() -> None:
    """What is remembered is the answer, not whether it was given."""
    plan = FaultPlan.from_mapping({"faults": [{"kind": "status", "status": 500, "rate": 0.5}]})
    plain, remembering = Simulator(seed=3, faults=plan), Simulator(seed=3, faults=plan, remembers=10)
    requests = [asked("Words.", b" " * count) for count in range(40)]

    statuses = [[one.respond(request).status for request in requests] for one in (plain, remembering)]

    assert statuses[0] == statuses[1]
    assert set(statuses[0]) == {200, 500}


def test_no_more_is_remembered_than_was_asked_for() -> None:
    """Memory has an end; what comes later is made anew each time."""
    simulator = Simulator(remembers=2)

    answers = [said(simulator.respond(asked(f"Document {number}."))) for number in (1, 2, 3, 4, 3, 1)]

    assert answers[4] == answers[2]
    assert answers[5] == answers[0]
    assert len({str(answer) for answer in answers}) == 4


def test_an_answer_is_never_that_to_another_request() -> None:
    """Also where what is remembered was never answered, so that there is room."""
    plan = FaultPlan.from_mapping({"faults": [{"kind": "status", "status": 500, "match": {"contains": "first"}}]})
    plain, remembering = Simulator(faults=plan), Simulator(faults=plan, remembers=1)
    for simulator in (plain, remembering):
        simulator.respond(asked("the first"))
    requests = [asked(f"Document {number}.") for number in range(20)]

    answers = [[said(one.respond(request)) for request in requests] for one in (plain, remembering)]

    assert answers[0] == answers[1]
