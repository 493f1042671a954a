"""The simulated provider without its network: a request goes in, a reply comes out."""

from collections import Counter
from dataclasses import replace
from typing import Final

from agent_pipeline.simulator.apis import APIS, Api
from agent_pipeline.simulator.clock import Clock
from agent_pipeline.simulator.conversation import parse_body
from agent_pipeline.simulator.damage import damaged
from agent_pipeline.simulator.identity import CREATED_AT, Identity, digest_of
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.limits import Arrival
from agent_pipeline.simulator.plan import FaultPlan, LatencyRange
from agent_pipeline.simulator.statistics import Statistics
from agent_pipeline.simulator.strikes import Strikes, Verdict
from agent_pipeline.simulator.wire import (
    MAX_BODY_BYTES,
    BadRequestError,
    SimulatorReply,
    SimulatorRequest,
    error_reply,
    json_reply,
)

STATISTICS_PATH: Final = "/simulator/statistics"
MODELS_PATH: Final = "/v1/models"
MODEL: Final = "simulator"


_MODEL_OBJECT: Final[JsonObject] = {
    "id": MODEL,
    "object": "model",
    "created": CREATED_AT,
    "owned_by": "agent-pipeline-simulator",
}


class Simulator:
    """An OpenAI-compatible provider that computes its answers from the request; it is no model and says so.

    Replies depend on the seed, the request and how often that very request came before. Only faults with a `script`,
    and limits, depend on the order of arrival; limits also on the time, which is Trio's.

    Attributes:
        statistics: what was seen so far.
    """

    def __init__(self, *, seed: int = 0, faults: FaultPlan | None = None) -> None:
        self._plan = faults or FaultPlan()
        self._seed = seed if self._plan.seed is None else self._plan.seed
        self._seen: Counter[bytes] = Counter()
        self._strikes = Strikes(self._plan.faults)
        self._clock = Clock()
        self.statistics = Statistics()

    def respond(self, request: SimulatorRequest) -> SimulatorReply:
        """Return the reply to a request, and count it.

        `GET /simulator/statistics` is answered from outside the simulated world: never counted, never faulty.
        """
        path = request.path.partition("?")[0]
        if path == STATISTICS_PATH and request.method == "GET":
            return _announced(json_reply(self.statistics.as_json()), "statistics")
        digest = digest_of(request)
        self._seen[digest] += 1
        identity = Identity(self._seed, digest, self._seen[digest])
        problem: BadRequestError | None = None
        arrival: Arrival | None = None
        try:
            arrival = self._arrival(request, path)
        except BadRequestError as exc:
            problem = exc
        verdict = self._strikes.judge(request, path, identity, arrival)
        try:
            reply = self._reply(path, identity, arrival, verdict, problem)
        except BadRequestError as exc:
            reply = error_reply(exc, (("allow", _allowed(path)),) if exc.status == 405 else ())
        self._count(path, reply)
        reply = replace(reply, delay=reply.delay + self._latency(identity))
        if arrival is not None:
            reply = self._conclude(arrival, verdict, reply)
        return _announced(reply, identity.name("req")) if reply.status is not None else reply

    def refuse(self, status: int, message: str, *, path: str = "") -> SimulatorReply:
        """Return, and count, the reply to a request that a player could not take in (broken framing, too large)."""
        reply = error_reply(BadRequestError(message, status=status))
        self._count(path.partition("?")[0], reply)
        return _announced(reply, f"req_refused_{self.statistics.requests}")

    def _arrival(self, request: SimulatorRequest, path: str) -> Arrival | None:
        """Understand and count a request to a model; None for any other."""
        _check_request(request, path)
        if path not in APIS:
            return None
        ask = APIS[path].understand(parse_body(request.body))
        others = self.statistics.requests_in_flight - 1  # the player has counted this one; none plays: nothing counted
        arrival = Arrival(ask, self._clock.now(), None if others < 0 else others)
        self.statistics.model(ask.model).came(arrival.now)
        return arrival

    def _reply(
        self, path: str, identity: Identity, arrival: Arrival | None, verdict: Verdict, problem: BadRequestError | None
    ) -> SimulatorReply:
        if verdict.fault is not None:
            self.statistics.faults[verdict.fault.kind] += 1
        if verdict.instead is not None:
            return verdict.instead
        if problem is not None:
            raise problem
        reply = _models(path) if arrival is None else self._answer(APIS[path], arrival, identity, verdict)
        fault = verdict.damages()
        return reply if fault is None else damaged(reply, fault)

    def _answer(self, api: Api, arrival: Arrival, identity: Identity, verdict: Verdict) -> SimulatorReply:
        made = api.make(arrival.ask, identity, self._plan.chunk_delay)
        self.statistics.input_tokens += made.input_tokens
        self.statistics.output_tokens += made.output_tokens
        model = self.statistics.model(arrival.ask.model)
        model.answered(arrival.now, made.input_tokens, made.output_tokens)
        verdict.answered(arrival, made.output_tokens)
        return made.reply

    def _conclude(self, arrival: Arrival, verdict: Verdict, reply: SimulatorReply) -> SimulatorReply:
        if reply.status == 429:
            self.statistics.model(arrival.ask.model).refused += 1
        verdict.replied(arrival, reply)
        headers = verdict.headers(arrival)
        return replace(reply, headers=(*reply.headers, *headers)) if headers and reply.status is not None else reply

    def _latency(self, identity: Identity) -> float:
        latency = self._plan.latency
        if isinstance(latency, LatencyRange):
            return latency.min + (latency.max - latency.min) * identity.chance("latency")
        return latency

    def _count(self, path: str, reply: SimulatorReply) -> None:
        end = reply.ending if reply.status is None else str(reply.status)
        self.statistics.ends[path if _is_known(path) else "(unknown)", end] += 1


def _is_known(path: str) -> bool:
    return path in APIS or path in {STATISTICS_PATH, MODELS_PATH, f"{MODELS_PATH}/{MODEL}"}


def _allowed(path: str) -> str:
    return "POST" if path in APIS else "GET"


def _check_request(request: SimulatorRequest, path: str) -> None:
    if not _is_known(path):
        raise BadRequestError(f"Unknown request URL: {request.method} {path[:200]}.", status=404, code="unknown_url")
    if request.method != _allowed(path):
        raise BadRequestError(f"Not allowed to {request.method} on {path}.", status=405, code="method_not_allowed")
    if len(request.body) > MAX_BODY_BYTES:
        raise BadRequestError(f"The body is longer than {MAX_BODY_BYTES} bytes.", status=413)


def _models(path: str) -> SimulatorReply:
    return json_reply({"object": "list", "data": [_MODEL_OBJECT]} if path == MODELS_PATH else _MODEL_OBJECT)


def _announced(reply: SimulatorReply, request_id: str) -> SimulatorReply:
    marks = (("x-request-id", request_id), ("x-simulator", "agent-pipeline"), ("openai-processing-ms", "0"))
    return replace(reply, headers=(*reply.headers, *marks))
