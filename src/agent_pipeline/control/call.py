"""What the gate is asked for, and what passes between it and the sender of one attempt."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent_pipeline.control.allowance import RateHeaders
from agent_pipeline.control.scope import CallScope
from agent_pipeline.domain.usage import Usage, WaitReason
from agent_pipeline.errors import AttemptTimeoutError


class Price(Protocol):
    """What tokens of one model cost."""

    def cost_micro_usd(self, usage: Usage) -> int:
        """Return the cost in integer micro-dollars."""
        ...

    def worst_case_micro_usd(self, input_tokens: int, output_tokens: int) -> int:
        """Return the most that so many tokens can cost, of whatever kind they turn out to be."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request a stage makes, however many attempts it takes.

    Attributes:
        input_tokens_bound: the bytes of the request's body, which make no more tokens. Every token of byte-level BPE
            stands for at least one byte, and names of special tokens inside a text are text. What a provider adds
            (about 4 tokens a message, 3 for the answer's beginning) is less than what JSON writes around them:
            `{"role":"user","content":""}` are 28 bytes. It is no bound where a request only points to its input (an
            image's address, an earlier response's id, a built-in tool that searches), or a tokenizer expands the text
            first (NFKC). More than the bound is charged as it is reported.
        output_tokens_cap: the model may not answer with more; 0 where the role sets no cap.
        price: None where the model has no known price.
        fingerprint: the same for requests that ask the same, as `fingerprint_of` makes it; `""` where nobody can tell.
        transfer_timeout: seconds of one attempt in the place of the gate's, for a request that moves a whole file;
            None for the gate's.
    """

    role: str
    provider: str
    model: str
    method: str
    path: str
    input_tokens_bound: int
    output_tokens_cap: int
    price: Price | None
    scope: CallScope
    fingerprint: str = ""
    transfer_timeout: float | None = None

    @property
    def lane(self) -> tuple[str, str]:
        """The provider and model that share its limits."""
        return self.provider, self.model

    def worst_case(self) -> tuple[int, int]:
        """Return the most tokens and micro-dollars that one attempt can cost; money is 0 without a price."""
        inputs, outputs = self.input_tokens_bound, self.output_tokens_cap
        return inputs + outputs, 0 if self.price is None else self.price.worst_case_micro_usd(inputs, outputs)


def fingerprint_of(*asked: str, content: bytes) -> str:
    """Return what two requests share that ask the same of the same.

    Args:
        asked: who is asked, and how.
        content: what.
    """
    return hashlib.sha256("\0".join((*asked, "")).encode() + content).hexdigest()


@dataclass(slots=True, eq=False)
class Attempt:
    """What one attempt is told (its number and ids), and what it tells while it goes on.

    Attributes:
        number: from 1; a 429 does not raise it.
        attempt_id: of this attempt alone.
        call_id: shared by all attempts of one call.
        is_again: whether one of these before it left.
        dispatched: whether bytes may have left; set by `dispatch`.
        usage: set by the sender as soon as the answer reports it, before the answer is judged.
        rate_headers: what the answer says about limits per minute; set by the sender, None where it says nothing.
        handed_on: whether a part of the answer is with the caller already; set by the sender. Then no other attempt
            follows, which would begin anew.
        timeout: seconds of this attempt, None for no limit; set by the gate.
        deadline: its end on Trio's clock; likewise.
        waits: seconds between asking and sending, by reason; set by the gate.
        on_dispatch: called once, as the first byte is about to leave; set by the gate.
    """

    number: int
    attempt_id: str = ""
    call_id: str = ""
    is_again: bool = False
    dispatched: bool = field(default=False, init=False)
    status_code: int | None = None
    provider_request_id: str | None = None
    usage: Usage | None = None
    rate_headers: RateHeaders | None = None
    handed_on: bool = False
    timeout: float | None = None
    deadline: float = math.inf
    waits: dict[WaitReason, float] = field(default_factory=dict)
    on_dispatch: Callable[[], None] | None = None

    def dispatch(self) -> None:
        """Tell that the first byte is about to leave; every sender calls it, and sends nothing before.

        What it raises (a ledger that can't be written) must keep the request from leaving; the attempt then counts
        as not dispatched. Calling it again does nothing.
        """
        if self.dispatched:
            return
        if self.on_dispatch is not None:
            self.on_dispatch()
        self.dispatched = True

    def followed_by(self, number: int, attempt_id: str) -> "Attempt":
        """Return the next attempt of the same call."""
        return Attempt(number, attempt_id, self.call_id, self.is_again or self.dispatched)

    def was_silent(self, error: AttemptTimeoutError) -> bool:
        """Tell whether nothing came for as long as the timeout that fired; one that drips past its own is slow."""
        return error.rung == "read" or (error.rung == "attempt" and self.dispatched and self.status_code is None)


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call that the gate was asked for and has not ended; for those who watch.

    Attributes:
        since: when it was asked for, on Trio's clock.
        attempt: the newest one, None before the first.
    """

    call: Call
    since: float
    attempt: Attempt | None = None

    @property
    def is_sent(self) -> bool:
        """Whether a request is on its way now; else it waits."""
        return self.attempt is not None and self.attempt.dispatched
