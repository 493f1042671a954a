"""What a request asks, in the one form in which two requests that ask the same are equal."""

import functools
import hashlib
import json
from dataclasses import dataclass, field

from agent_pipeline.telemetry import Redactor

_VARYING = frozenset({"prompt_cache_key"})
"""Fields of a body that differ from run to run and change no answer: the Agents SDK draws a cache key for each of its
runs (`agents-sdk:run:<uuid>`). Everything else a client adds by itself is a header, and headers are not compared."""


@dataclass(frozen=True, slots=True)
class AskedRequest:
    """A request without what changes no answer: headers, the order of names, the key of a cache.

    Attributes:
        path: as it is asked, with its query.
        body: a JSON value; the text where the body is no JSON.
    """

    provider: str
    method: str
    path: str
    body: object = field(hash=False)

    def digest(self) -> bytes:
        """Return what two requests share that ask the same."""
        whole = [self.provider, self.method, self.path, self.body]
        return hashlib.sha256(_canonical(whole).encode()).digest()


_canonical = functools.partial(json.dumps, sort_keys=True, separators=(",", ":"))


def asked_request(provider: str, method: str, path: str, content: bytes, redactor: Redactor) -> AskedRequest:
    """Return what a request asks, with no secret in it: the same where it is recorded and where it is replayed.

    Args:
        provider: its id in the roles file.
        method: of the request.
        path: as it is asked, with its query.
        content: its body.
        redactor: takes secrets out.
    """
    text = content.decode("utf-8", "surrogateescape")
    try:
        body: object = json.loads(text)
    except (ValueError, RecursionError):
        body = redactor.text(text)
    else:
        if redactor.suspects(text):
            body = redactor.value(body)
        if isinstance(body, dict):
            body = {name: value for name, value in body.items() if name not in _VARYING}
    return AskedRequest(provider, method, redactor.text(path), body)
