"""What is heard of one exchange as it goes on, and what of that is kept."""

from dataclasses import dataclass, field
from datetime import datetime

import httpx2

from agent_pipeline.control.scope import CallScope
from agent_pipeline.errors import AnswerTooLargeError, ModelProtocolError
from agent_pipeline.gateway.asker import Asker
from agent_pipeline.gateway.body import BodyDecoder
from agent_pipeline.gateway.failures import read_retry_after
from agent_pipeline.gateway.recording.asked import Likeness
from agent_pipeline.gateway.recording.breaks import Break
from agent_pipeline.gateway.recording.cleaning import cleaned
from agent_pipeline.gateway.recording.exchanges import Exchange
from agent_pipeline.telemetry import SecretValues

_KEPT_HEADERS = ("content-type", "x-request-id")
_KEPT_PREFIX = "x-ratelimit-"


@dataclass(slots=True, eq=False)
class Heard:
    """One exchange as it goes on.

    Attributes:
        begun: when it began, on Trio's clock.
        at: the same on the wall.
        chunks: of the answer's body, as they came off the wire.
        ended: when it ended, on Trio's clock.
        broken: what ended it, None where all of the answer came.
    """

    asker: Asker
    scope: CallScope
    request: httpx2.Request
    begun: float
    at: datetime
    response: httpx2.Response | None = None
    chunks: list[bytes] = field(default_factory=list)
    ended: float = 0.0
    broken: Break | None = None

    def exchange(self, likeness: Likeness, session: int) -> Exchange:
        """Return what is kept of it."""
        scope, request, response = self.scope, self.request, self.response
        headers = {} if response is None else _kept(response.headers, likeness.secrets)
        body, broken = ("", None) if response is None else _unpacked(response, self.chunks)
        clean = cleaned(body, headers.get("content-type", ""), likeness.secrets)
        return Exchange(
            document_id=scope.document_id,
            stage=scope.stage,
            cycle=scope.cycle,
            role=self.asker.role,
            session=session,
            attempt=self.asker.attempt.number,
            at=self.at.isoformat(),
            request=likeness.asked(
                self.asker.provider, request.method, request.url.raw_path.decode("ascii"), request.content
            ),
            latency=self.ended - self.begun,
            sent=self.asker.attempt.dispatched,
            status=None if response is None else response.status_code,
            headers=headers,
            body=clean,
            broken=self.broken or broken,
            is_redacted=clean != body,
        )


def _kept(headers: httpx2.Headers, secrets: SecretValues) -> dict[str, str]:
    """Return the headers that decide anything; a date to wait for becomes seconds, which mean the same later."""
    kept = {
        name: secrets.text(value)
        for name, value in headers.items()
        if name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIX)
    }
    pause = read_retry_after(headers)
    return kept if pause is None else kept | {"retry-after": repr(pause)}


def _unpacked(response: httpx2.Response, chunks: list[bytes]) -> tuple[str, Break | None]:
    """Return a body as text, as far as it can be unpacked, and what is wrong with it."""
    broken = None
    try:
        decoder = BodyDecoder(response.headers.get("content-encoding"))
    except ModelProtocolError as exc:
        return "", Break(type(exc).__name__, str(exc))
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    except (AnswerTooLargeError, ModelProtocolError) as exc:
        broken = Break(type(exc).__name__, str(exc))
    return decoder.read_so_far().decode("utf-8", "surrogateescape"), broken
