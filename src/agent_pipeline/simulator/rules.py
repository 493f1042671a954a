"""The simulated provider without its network: a request goes in, a reply comes out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from agent_pipeline.simulator.answer import Answer, answer_to
from agent_pipeline.simulator.chat_api import completion_events, completion_object
from agent_pipeline.simulator.conversation import Ask, chat_ask, parse_body, responses_ask
from agent_pipeline.simulator.damage import damaged, replacement
from agent_pipeline.simulator.faults import BrokenReplyFault, Fault, FaultPlan, LatencyRange
from agent_pipeline.simulator.identity import CREATED_AT, Identity, digest_of
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.responses_api import response_events, response_object
from agent_pipeline.simulator.statistics import Statistics
from agent_pipeline.simulator.wire import (
    MAX_BODY_BYTES,
    BadRequestError,
    SimulatorReply,
    SimulatorRequest,
    error_reply,
    json_reply,
    stream_reply,
)

STATISTICS_PATH: Final = "/simulator/statistics"
MODELS_PATH: Final = "/v1/models"
MODEL: Final = "simulator"


@dataclass(frozen=True, slots=True)
class _Api:
    understand: Callable[[JsonObject], Ask]
    whole: Callable[[Ask, Answer, Identity], JsonObject]
    events: Callable[[Ask, Answer, Identity], list[bytes]]


_APIS: Final = {
    "/v1/responses": _Api(responses_ask, response_object, response_events),
    "/v1/chat/completions": _Api(chat_ask, completion_object, completion_events),
}
_MODEL_OBJECT: Final[JsonObject] = {
    "id": MODEL,
    "object": "model",
    "created": CREATED_AT,
    "owned_by": "agent-pipeline-simulator",
}


class Simulator:
    """An OpenAI-compatible provider that computes its answers from the request; it is no model and says so.

    Replies depend on the seed, the request and how often that very request came before. Only faults with a `script`
    depend on the order of arrival.

    Attributes:
        statistics: what was seen so far.
    """

    def __init__(self, *, seed: int = 0, faults: FaultPlan | None = None) -> None:
        self._plan = faults or FaultPlan()
        self._seed = seed if self._plan.seed is None else self._plan.seed
        self._seen: Counter[bytes] = Counter()
        self._matched = [0] * len(self._plan.faults)
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
        try:
            reply = self._reply(request, path, identity)
        except BadRequestError as exc:
            reply = error_reply(exc, (("allow", _allowed(path)),) if exc.status == 405 else ())
        self._count(path, reply)
        reply = replace(reply, delay=reply.delay + self._latency(identity))
        return _announced(reply, identity.name("req")) if reply.status is not None else reply

    def refuse(self, status: int, message: str, *, path: str = "") -> SimulatorReply:
        """Return, and count, the reply to a request that a player could not take in (broken framing, too large)."""
        reply = error_reply(BadRequestError(message, status=status))
        self._count(path.partition("?")[0], reply)
        return _announced(reply, f"req_refused_{self.statistics.requests}")

    def _reply(self, request: SimulatorRequest, path: str, identity: Identity) -> SimulatorReply:
        api = _APIS.get(path)
        problem: BadRequestError | None = None
        ask: Ask | None = None
        try:
            _check_request(request, path)
            ask = api.understand(parse_body(request.body)) if api else None
        except BadRequestError as exc:
            problem = exc
        fault = self._fault(path, request, ask, identity)
        if fault is not None:
            self.statistics.faults[fault.kind] += 1
            instead = replacement(fault)
            if instead is not None:
                return instead
        if problem is not None:
            raise problem
        reply = _models(path) if api is None or ask is None else self._answer(api, ask, identity)
        return reply if fault is None else damaged(reply, fault)

    def _answer(self, api: _Api, ask: Ask, identity: Identity) -> SimulatorReply:
        answer = answer_to(ask)
        self.statistics.input_tokens += answer.input_tokens
        self.statistics.output_tokens += answer.output_tokens
        if ask.stream:
            return stream_reply(api.events(ask, answer, identity), self._plan.chunk_delay)
        return json_reply(api.whole(ask, answer, identity))

    def _fault(self, path: str, request: SimulatorRequest, ask: Ask | None, identity: Identity) -> Fault | None:
        """Return the first fault that strikes; every matching one counts the request, so that scripts keep in step."""
        struck: Fault | None = None
        for index, fault in enumerate(self._plan.faults):
            if not _is_meant(fault, path, request, ask):
                continue
            self._matched[index] += 1
            if fault.script is not None:
                strikes = self._matched[index] in fault.script
            else:
                strikes = fault.rate is None or identity.chance("fault", index) < fault.rate
            if strikes and struck is None:
                struck = fault
        return struck

    def _latency(self, identity: Identity) -> float:
        latency = self._plan.latency
        if isinstance(latency, LatencyRange):
            return latency.min + (latency.max - latency.min) * identity.chance("latency")
        return latency

    def _count(self, path: str, reply: SimulatorReply) -> None:
        end = reply.ending if reply.status is None else str(reply.status)
        self.statistics.ends[path if _is_known(path) else "(unknown)", end] += 1


def _is_meant(fault: Fault, path: str, request: SimulatorRequest, ask: Ask | None) -> bool:
    match = fault.match
    if isinstance(fault, BrokenReplyFault) and fault.kind == "truncate_stream" and not (ask and ask.stream):
        return False
    if match.path is not None and match.path != path:
        return False
    if match.model is not None and (ask is None or match.model != ask.model):
        return False
    if match.contains is None:
        return True
    return ask.says(match.contains) if ask else match.contains.encode() in request.body


def _is_known(path: str) -> bool:
    return path in _APIS or path in {STATISTICS_PATH, MODELS_PATH, f"{MODELS_PATH}/{MODEL}"}


def _allowed(path: str) -> str:
    return "POST" if path in _APIS else "GET"


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
