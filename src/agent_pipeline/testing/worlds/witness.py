"""The provider's side of the story: every request it saw, kept apart from all that the run itself writes down."""

from dataclasses import dataclass

from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest

NOT_WORKED_ON = frozenset(range(300, 600)) - {408, 504, 524}
"""Answers by which a provider says that no model worked, and that it asks no money."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as the provider saw it.

    Attributes:
        request_id: of its reply; None where not even a head was to be sent.
        status: of its reply; None as above.
        tokens: what the whole reply reports as usage; 0 where no model worked.
    """

    request_id: str | None
    status: int | None
    tokens: int


class Witness(Simulator):
    """A simulator that remembers each request; it lives on when the run's process dies.

    Attributes:
        exchanges: in the order of arrival.
        is_deaf: set while a process goes on that has died: what it sends now was never sent.
    """

    def __init__(self, *, seed: int, faults: FaultPlan) -> None:
        super().__init__(seed=seed, faults=faults)
        self.exchanges: list[Exchange] = []
        self.is_deaf = False

    def respond(self, request: SimulatorRequest) -> SimulatorReply:
        """Answer, and remember it."""
        if self.is_deaf:
            return SimulatorReply(None, ending="hang")
        before = self._tokens()
        reply = super().respond(request)
        self.exchanges.append(Exchange(reply.header("x-request-id"), reply.status, self._tokens() - before))
        return reply

    def _tokens(self) -> int:
        return self.statistics.input_tokens + self.statistics.output_tokens
