"""What the simulator has seen: requests by path and end, connections, and the most at once of either."""

from collections import Counter
from dataclasses import dataclass, field

from agent_pipeline.simulator.json_values import JsonObject


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
        }
