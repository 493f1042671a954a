"""What the simulator has seen: requests by path and end, connections, and the most at once of either."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from agent_pipeline.simulator.clock import MINUTE, SlidingWindow
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.per_model import PerModel


@dataclass(slots=True)
class ModelStatistics:
    """What was seen of the requests for one model, by the name that was asked.

    Attributes:
        requests: all that were understood, refused ones among them.
        refused: those that got a 429, for whatever reason.
        most_requests_per_minute: the most that came, refused or not, in any 60 seconds.
        most_tokens_per_minute: the most tokens of answers, input and output, that were asked for in any 60 seconds;
            they count at the moment when their request came.
    """

    requests: int = 0
    refused: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    most_requests_per_minute: int = 0
    most_tokens_per_minute: int = 0
    _requests: SlidingWindow = field(default_factory=partial(SlidingWindow, MINUTE), repr=False, compare=False)
    _tokens: SlidingWindow = field(default_factory=partial(SlidingWindow, MINUTE), repr=False, compare=False)

    def came(self, now: float) -> None:
        """Count a request."""
        self.requests += 1
        self.most_requests_per_minute = max(self.most_requests_per_minute, self._requests.add(now, 1))

    def answered(self, now: float, input_tokens: int, output_tokens: int) -> None:
        """Count what the answer to a request reports; `now` is when the request came."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        total = self._tokens.add(now, input_tokens + output_tokens)
        self.most_tokens_per_minute = max(self.most_tokens_per_minute, total)

    def as_json(self) -> JsonObject:
        """Return the counters."""
        return {
            "requests": self.requests,
            "refused": self.refused,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "most_requests_per_minute": self.most_requests_per_minute,
            "most_tokens_per_minute": self.most_tokens_per_minute,
        }


@dataclass(slots=True)
class Statistics:
    """Counters, from the start of the simulator.

    A request counts once, when it has arrived whole or is refused; `ends` is keyed by path and what was decided: a
    status as text, or `reset` or `hang` where no status is sent. A request is in flight until its last byte is about
    to be sent, so that a client which sends the next one on seeing that byte is never counted twice. A connection
    counts from its first request on; one that only asks for statistics never does, so that looking changes nothing.

    Attributes:
        faults: how often each kind of fault struck.
        input_tokens: tokens of all answers that were made, delivered or not.
        output_tokens: the same for output.
    """

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    requests_in_flight: int = 0
    max_requests_in_flight: int = 0
    connections_opened: int = 0
    connections_open: int = 0
    max_connections_open: int = 0
    _models: PerModel[ModelStatistics] = field(default_factory=partial(PerModel, ModelStatistics))

    @property
    def models(self) -> Mapping[str, ModelStatistics]:
        """What was seen of each model that was asked."""
        return self._models.values

    def model(self, name: str) -> ModelStatistics:
        """Return the counters of one model, zero where it was not asked yet."""
        return self._models.of(name)

    @property
    def requests(self) -> int:
        """All requests that were answered, or met a fault."""
        return self.ends.total()

    def request_started(self) -> None:
        """Count a request as in flight."""
        self.requests_in_flight += 1
        self.max_requests_in_flight = max(self.max_requests_in_flight, self.requests_in_flight)

    def request_ended(self) -> None:
        """Count a request as no longer in flight."""
        self.requests_in_flight -= 1

    def connection_opened(self) -> None:
        """Count a connection as open."""
        self.connections_opened += 1
        self.connections_open += 1
        self.max_connections_open = max(self.max_connections_open, self.connections_open)

    def connection_closed(self) -> None:
        """Count a connection as no longer open."""
        self.connections_open -= 1

    def as_json(self) -> JsonObject:
        """Return the counters as `GET /simulator/statistics` shows them."""
        by_path: dict[str, JsonObject] = {}
        for (path, end), count in sorted(self.ends.items()):
            by_path.setdefault(path, {})[end] = count
        return {
            "simulator": "agent-pipeline",
            "requests": self.requests,
            "requests_by_path": {**by_path},
            "requests_in_flight": self.requests_in_flight,
            "max_requests_in_flight": self.max_requests_in_flight,
            "connections_opened": self.connections_opened,
            "connections_open": self.connections_open,
            "max_connections_open": self.max_connections_open,
            "faults": {**dict(sorted(self.faults.items()))},
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "models": {name: model.as_json() for name, model in sorted(self.models.items())},
        }
