"""Events of what limits a run: how they change by themselves and by hand, and who answers in whose place."""

from dataclasses import dataclass

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.domain.events import Event


@dataclass(frozen=True, slots=True)
class LimitChanged(Event):
    """As many requests as `new` may be in flight to one provider and model from now on.

    `reason` is `doubled` (all goes well), `rate_limited` (an episode of 429s), `recovered` (back towards what went
    well before), `probed` (one try above that), `confirmed` (it went well, so on to the next) or `configured`.
    """

    name = "LIMIT_CHANGED"
    provider: str
    model: str
    old: int
    new: int
    reason: str


@dataclass(frozen=True, slots=True)
class FallbackUsed(Event):
    """A role can't answer a request, which is put to its fallback.

    `reason` is `unavailable`, `context_length` or `refused`; `error_code` is that of the error the role ended with.
    """

    name = "FALLBACK"
    level = "warning"
    document_id: str | None
    stage: str | None
    role: str
    fallback: str
    reason: str
    error_code: str


@dataclass(frozen=True, slots=True)
class UsageAboveBound(Event):
    """A provider reported more tokens than a request could cost by its size: all of them are charged.

    A budget may be passed by the difference. Told at the first such request of a role and model.
    """

    name = "USAGE_ABOVE_BOUND"
    level = "warning"
    role: str
    provider: str
    model: str
    document_id: str | None
    reserved_tokens: int
    charged_tokens: int


@dataclass(frozen=True, slots=True)
class LiveValueChanged(Event):
    """The live file, or its end, changed a value that holds from now on; `revision` counts such edits from 1."""

    name = "LIVE_CHANGED"
    key: str
    old: JsonValue
    new: JsonValue
    revision: int


@dataclass(frozen=True, slots=True)
class LiveEditRefused(Event):
    """The live file can't be used as it is; what held before still holds."""

    name = "LIVE_REFUSED"
    level = "warning"
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerChanged(Event):
    """A provider fails for all, and requests to it wait (`open`), one is tried (`half_open`), all go again (`closed`).

    `down` is the end: the run stops.
    """

    name = "BREAKER"
    level = "warning"
    provider: str
    model: str
    state: str
    reason: str
