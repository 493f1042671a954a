"""The simulated provider without its network: a request goes in, a reply comes out."""

import hashlib
from dataclasses import dataclass, replace
from typing import Final

from agent_pipeline.simulator.apis import APIS, Api, Made
from agent_pipeline.simulator.batches import LineReply
from agent_pipeline.simulator.clock import Clock
from agent_pipeline.simulator.conversation import Ask, parse_body
from agent_pipeline.simulator.damage import damaged, status_reply
from agent_pipeline.simulator.identity import CREATED_AT, Identity, Ordinals, digest_of
from agent_pipeline.simulator.json_values import JsonObject, as_object, dumps, loads
from agent_pipeline.simulator.limits import Arrival
from agent_pipeline.simulator.plan import FaultPlan, LatencyRange
from agent_pipeline.simulator.statistics import Statistics
from agent_pipeline.simulator.storage import STORED, Storage, without_id
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and what was understood of it: `arrival` where a model is asked, `problem` where it is refused."""

    request: SimulatorRequest
    path: str
    identity: Identity
    arrival: Arrival | None
    problem: BadRequestError | None = None


class Simulator:
    """An OpenAI-compatible provider that computes its answers from the request; it is no model and says so.

    Replies depend on the seed, the request and how often that very request came before. Only faults with a `script`,
    and limits, depend on the order of arrival; limits also on the time, which is Trio's.

    Args:
        seed: same seed, same answers and faults.
        faults: what goes wrong; its own seed comes first.
        remembers: answers that are kept for requests which come again, but for blanks at their end; the first so many.
            Reading a request and making its answer is most of the work.

    Attributes:
        statistics: what was seen so far.
    """

    def __init__(self, *, seed: int = 0, faults: FaultPlan | None = None, remembers: int = 0) -> None:
        self._plan = faults or FaultPlan()
        self._seed = seed if self._plan.seed is None else self._plan.seed
        self._ordinals = Ordinals()
        self._strikes = Strikes(self._plan.faults)
        self._clock = Clock()
        self._remembers = remembers
        self._asks: dict[tuple[str, bytes], Ask] = {}
        self._made: dict[int, Made | None] = {}  # by the identity of each ask that is kept
        self._storage = Storage(self._answer_line, self._plan)
        self.statistics = Statistics()

    def respond(self, request: SimulatorRequest) -> SimulatorReply:
        """Return the reply to a request, and count it.

        `GET /simulator/statistics` is answered from outside the simulated world: never counted, never faulty.
        """
        path = without_id(request.path.partition("?")[0])
        if path == STATISTICS_PATH and request.method == "GET":
            return _announced(json_reply(self.statistics.as_json()), "statistics")
        asked = self._understand(request, path)
        identity, arrival = asked.identity, asked.arrival
        verdict = self._strikes.judge(request, path, identity, arrival)
        try:
            reply = self._reply(asked, verdict)
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
        self._count(without_id(path.partition("?")[0]), reply)
        return _announced(reply, f"req_refused_{self.statistics.requests}")

    def _understand(self, request: SimulatorRequest, path: str) -> _Asked:
        identity = self._identity(request)
        try:
            return _Asked(request, path, identity, self._arrival(request, path))
        except BadRequestError as exc:
            return _Asked(request, path, identity, None, exc)

    def _arrival(self, request: SimulatorRequest, path: str) -> Arrival | None:
        """Understand and count a request to a model; None for any other."""
        _check_request(request, path)
        if path not in APIS:
            return None
        ask = self._ask(request, path)
        others = self.statistics.requests_in_flight - 1  # the player has counted this one; none plays: nothing counted
        arrival = Arrival(ask, self._clock.now(), None if others < 0 else others)
        self.statistics.model(ask.model).came(arrival.now)
        return arrival

    def _ask(self, request: SimulatorRequest, path: str) -> Ask:
        """Read a request; one that is remembered is the very one that was read before."""
        if not self._remembers:
            return APIS[path].understand(parse_body(request.body))
        key = path, hashlib.sha256(request.body.rstrip()).digest()
        if key in self._asks:
            return self._asks[key]
        ask = APIS[path].understand(parse_body(request.body))
        if len(self._asks) < self._remembers:
            self._asks[key] = ask
            self._made[id(ask)] = None
        return ask

    def _make(self, api: Api, arrival: Arrival, identity: Identity) -> Made:
        key = id(arrival.ask)
        made = self._made.get(key)
        if made is None:
            made = api.make(arrival.ask, identity, self._plan.chunk_delay)
            if key in self._made:
                self._made[key] = made
        return made

    def _identity(self, request: SimulatorRequest) -> Identity:
        digest = digest_of(request)
        return Identity(self._seed, digest, self._ordinals.next(digest))

    def _reply(self, asked: _Asked, verdict: Verdict) -> SimulatorReply:
        if verdict.fault is not None:
            self.statistics.faults[verdict.fault.kind] += 1
        if verdict.instead is not None:
            return verdict.instead
        if asked.problem is not None:
            raise asked.problem
        if asked.arrival is not None:
            reply = self._answer(APIS[asked.path], asked.arrival, asked.identity, verdict)
        elif asked.path in STORED:
            reply = self._storage.respond(asked.request, asked.path, asked.identity, self._clock.now())
        else:
            reply = _models(asked.path)
        fault = verdict.damages()
        return reply if fault is None else damaged(reply, fault)

    def _answer(self, api: Api, arrival: Arrival, identity: Identity, verdict: Verdict) -> SimulatorReply:
        made = self._make(api, arrival, identity)
        self.statistics.input_tokens += made.input_tokens
        self.statistics.output_tokens += made.output_tokens
        model = self.statistics.model(arrival.ask.model)
        model.answered(arrival.now, made.input_tokens, made.output_tokens)
        verdict.answered(arrival, made.output_tokens)
        return made.reply

    def _answer_line(self, endpoint: str, body: JsonObject) -> LineReply:
        """Answer one line of a batch: its tokens count, but it is no request of its own, and has no limits."""
        request = SimulatorRequest("POST", endpoint, (), dumps(body).encode())
        identity = self._identity(request)
        try:
            made = self._made_for_line(request, identity, APIS[endpoint])
        except BadRequestError as exc:
            made = Made(error_reply(exc), 0, 0)
        self.statistics.input_tokens += made.input_tokens
        self.statistics.output_tokens += made.output_tokens
        body = as_object(loads(made.reply.body))
        return LineReply(made.reply.status or 0, identity.name("req"), body, made.input_tokens, made.output_tokens)

    def _made_for_line(self, request: SimulatorRequest, identity: Identity, api: Api) -> Made:
        ask = api.understand(parse_body(request.body))
        if ask.stream:
            raise BadRequestError("Streams are not supported in a batch.", param="stream")
        fault = self._strikes.status_of_line(request, identity, ask)
        if fault is None:
            return api.make(ask, identity, 0.0)
        self.statistics.faults[fault.kind] += 1
        return Made(status_reply(fault), 0, 0)

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
    return path in APIS or path in STORED or path in {STATISTICS_PATH, MODELS_PATH, f"{MODELS_PATH}/{MODEL}"}


def _allowed(path: str) -> str:
    return ", ".join(STORED.get(path, ("POST",) if path in APIS else ("GET",)))


def _check_request(request: SimulatorRequest, path: str) -> None:
    if not _is_known(path):
        raise BadRequestError(f"Unknown request URL: {request.method} {path[:200]}.", status=404, code="unknown_url")
    if request.method not in _allowed(path).split(", "):
        raise BadRequestError(f"Not allowed to {request.method} on {path}.", status=405, code="method_not_allowed")
    if len(request.body) > MAX_BODY_BYTES:
        raise BadRequestError(f"The body is longer than {MAX_BODY_BYTES} bytes.", status=413)


def _models(path: str) -> SimulatorReply:
    return json_reply({"object": "list", "data": [_MODEL_OBJECT]} if path == MODELS_PATH else _MODEL_OBJECT)


def _announced(reply: SimulatorReply, request_id: str) -> SimulatorReply:
    marks = (("x-request-id", request_id), ("x-simulator", "agent-pipeline"), ("openai-processing-ms", "0"))
    return replace(reply, headers=(*reply.headers, *marks))
