"""One exchange with a provider: a line of a recording, written and read back."""

import json
from dataclasses import dataclass, field, fields

from agent_pipeline.gateway.recording.asked import AskedRequest
from agent_pipeline.gateway.recording.breaks import KINDS, Break


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request, and what came of it.

    Attributes:
        document_id: of the document it was made for, None for none.
        session: of the run, that made it.
        attempt: its number in its call.
        sent: whether anything left.
        latency: seconds from asking to the last byte.
        status: None where no answer began.
        headers: of the answer, by lower-case names; what is not needed to replay it is left out.
        body: of the answer, unpacked, as far as it came; what is not UTF-8 stands there as half surrogate pairs.
        broken: how it went wrong, None where all of it came.
        is_redacted: whether the answer held what looked like a secret, which is gone now.
    """

    document_id: str | None
    stage: str | None
    cycle: int | None
    role: str
    session: int
    attempt: int
    at: str
    request: AskedRequest
    latency: float
    sent: bool
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    broken: Break | None = None
    is_redacted: bool = False

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        return self.body.encode("utf-8", "surrogateescape")


def to_line(exchange: Exchange) -> str:
    """Return the exchange as one line of JSON, without its newline."""
    # Not by `asdict`, which copies every value of a request: it would cost more than all the rest.
    value = _fields(exchange) | {"request": _fields(exchange.request)}
    return json.dumps(value | {"broken": exchange.broken and _fields(exchange.broken)}, separators=(",", ":"))


def _fields(one: Exchange | AskedRequest | Break) -> dict[str, object]:
    return {each.name: getattr(one, each.name) for each in fields(one)}


def from_line(line: str) -> Exchange:
    """Read a line back.

    Raises:
        ValueError: it is none; the message says why.
    """
    value = json.loads(line)
    try:
        request = AskedRequest(**value.pop("request"))
        broken = value.pop("broken")
        exchange = Exchange(**value, request=request, broken=None if broken is None else Break(**broken))
        is_whole = exchange.status is not None or exchange.broken is not None
        is_known = exchange.broken is None or exchange.broken.kind in KINDS
        exchange.content  # noqa: B018 - half surrogate pairs that stand for no byte are refused here
    except (TypeError, KeyError, AttributeError, UnicodeError) as exc:
        message = f"it is no exchange: {exc}"
        raise ValueError(message) from exc
    if not (is_whole and is_known):
        message = "it is no exchange: it has neither an answer nor a known break"
        raise ValueError(message)
    return exchange
