"""When a provider fails for all: a pause for everybody, one probe after the other, and the point to give it up."""

import math
from collections.abc import Callable
from typing import Literal

BreakerState = Literal["closed", "open", "half_open", "down"]
"""All may send · nobody may · one attempt, the probe, is under way · nobody ever will again."""

FAILURES_IN_A_ROW = 10
"""Failures without an answer between them that open a breaker.

Opening costs little (a pause of a second, and one probe), so it needs no more proof than this: at one failure in two,
ten in a row come once in a thousand requests. Three documents with the default of five attempts get there, and so a run
of three documents against a dead provider ends as one of three thousand does.
"""

DOCUMENTS = 3
"""Documents that must have met them. With one or two, nobody can tell the document's fault from the provider's."""

PROBES = 3
"""Failed probes, at least, until a provider counts as down."""

PATIENCE = 120.0
"""Seconds, at least, from opening until a provider that has answered before counts as down.

Long enough for a server that is started again and for most short outages, and well below the default timeout of a stage
(300 s), so that the documents in flight outlive it. One that has never answered is more likely a wrong address: nobody
wants to wait two minutes to learn that, so there it is the probes alone.
"""

SHORTEST_PAUSE = 0.1
"""Seconds; a policy without delays must not make a dead provider's probes a hot loop."""


class Breaker:
    """Watches one lane's attempts; all of it happens at once, and the time is told to it.

    Every attempt it lets go is ended by `fail`, `answer` or `leave`; others' endings say nothing and are ignored.

    Args:
        first_pause: seconds from opening to the first probe; each next pause is twice as long.
        longest_pause: seconds that a pause may grow to.
        on_change: takes the new state and why.

    Attributes:
        state: closed at first.
        pause_end: when the next probe may go, where the state is `open`; else inf.
        reason: why the state is what it is.
    """

    def __init__(
        self, *, first_pause: float, longest_pause: float, on_change: Callable[[BreakerState, str], None]
    ) -> None:
        self.state: BreakerState = "closed"
        self.pause_end = math.inf
        self.reason = ""
        self._first_pause = max(first_pause, SHORTEST_PAUSE)
        self._longest_pause = max(longest_pause, self._first_pause)
        self._on_change = on_change
        self._sent: dict[object, int] = {}
        self._times_closed = 0
        self._failures = 0
        self._documents: set[str | None] = set()
        self._has_answered = False
        self._probe: object = None
        self._probes = 0
        self._opened = -math.inf

    @property
    def is_tripped(self) -> bool:
        """Whether the provider is under suspicion: what fails now is not the request's fault."""
        return self.state in {"open", "half_open"}

    def let_go(self, attempt: object, now: float) -> bool:
        """Tell whether this attempt may be sent now; the first to ask after a pause becomes the probe."""
        if self.state == "open" and now >= self.pause_end:
            self._probe = attempt
            self._change("half_open", "one request finds out whether the provider answers again")
        if self.state == "closed" or (self.state == "half_open" and self._probe is attempt):
            self._sent[attempt] = self._times_closed
            return True
        self._sent.pop(attempt, None)
        return False

    def answer(self, attempt: object, *, is_refusal: bool = False) -> None:
        """Take an answer: the provider is alive, whatever it says. A 429 (`is_refusal`) ends no row of failures."""
        if self._sent.pop(attempt, None) is None or self.state == "down":
            return
        self._has_answered = True
        if self.is_tripped:
            self._close()
        elif not is_refusal:
            self._forget()

    def fail(self, attempt: object, document_id: str | None, error: str, now: float) -> None:
        """Take a failure that is the provider's or the network's: 5xx, no connection, a lost one, a timeout."""
        sent = self._sent.pop(attempt, None)
        if sent is None:
            return
        if self._probe is attempt:
            self._fail_probe(error, now)
        elif self.state == "closed" and sent == self._times_closed:  # one sent before an outage tells of that outage
            self._failures += 1
            if len(self._documents) < DOCUMENTS:
                self._documents.add(document_id)
            if self._failures >= FAILURES_IN_A_ROW and len(self._documents) >= DOCUMENTS:
                self._opened, self._probes = now, 0
                self._pause(f"{self._failures} requests in a row failed, the last with: {error}", now)

    def leave(self, attempt: object, now: float) -> None:
        """Forget an attempt that ended without a word of the provider's; if it was the probe, another may be it."""
        self._sent.pop(attempt, None)
        if self._probe is attempt:
            self._probe = None
            self.pause_end = now
            self._change("open", "the probe was given up before it was answered; the next goes at once")

    def _fail_probe(self, error: str, now: float) -> None:
        self._probe = None
        self._probes += 1
        is_enough = not self._has_answered or now - self._opened >= PATIENCE
        if self._probes >= PROBES and is_enough:
            probes = f"{self._probes} probes in {now - self._opened:.1f} s"
            self._change("down", f"no request was answered since, nor {probes}, the last with: {error}")
        else:
            self._pause(f"probe {self._probes} failed: {error}", now)

    def _pause(self, reason: str, now: float) -> None:
        pause = min(self._first_pause * 2 ** min(self._probes, 60), self._longest_pause)
        self.pause_end = now + pause
        self._change("open", f"{reason}; the next probe goes in {pause:g} s")

    def _close(self) -> None:
        self._times_closed += 1
        self._probe = None
        self._forget()
        self._change("closed", "the provider answers again")

    def _forget(self) -> None:
        self._failures = 0
        self._documents.clear()

    def _change(self, state: BreakerState, reason: str) -> None:
        self.state, self.reason = state, reason
        if state != "open":
            self.pause_end = math.inf
        self._on_change(state, reason)
