"""The chunks of a streamed answer as they come, for callers who want the first words before the last.

A pipeline's answers are taken in whole (docs/decisions/0002). Here the gate's attempt tells its chunks while it goes
on: it is retried until the first of them was handed on, and judged at its end like any other.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from openai._models import construct_type
from openai._streaming import SSEDecoder
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from agent_pipeline.config.role_models import Api

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST_END = 4
_KINDS: dict[Api, Any] = {"chat": ChatCompletionChunk, "responses": ResponseStreamEvent}


class ChunkListener:
    """Makes chunks of an event stream's bytes; see `Listener` of the transport.

    What is no chunk (`[DONE]`, a failure that is reported, broken JSON) is not handed on: the gate, which reads the
    same bytes, says what is wrong with it.

    Args:
        api: whose chunks they are.
        take: given each chunk, as the OpenAI client would make it.

    Attributes:
        has_heard: whether a chunk was handed on.
    """

    def __init__(self, api: Api, take: Callable[[object], None]) -> None:
        self.has_heard = False
        self._kind = _KINDS[api]
        self._take = take
        self._rest = bytearray()

    def begin(self) -> None:
        """Forget the half of an event that an attempt left."""
        self._rest = bytearray()

    def take(self, part: bytes) -> None:
        """Hand on the chunks that are whole by now."""
        # Looked through once: a long event in small parts would hold the loop for minutes otherwise.
        seen = max(0, len(self._rest) - _LONGEST_END + 1)
        self._rest += part
        ends = [found.end() for found in _EVENT_END.finditer(self._rest, seen)]
        if ends:
            whole = bytes(self._rest[: ends[-1]])
            del self._rest[: ends[-1]]
            self._hand_on(whole)

    def end(self) -> None:
        """Hand on the last chunk, which counts also where the blank line after it is missing."""
        self._hand_on(bytes(self._rest) + b"\n\n")

    def _hand_on(self, events: bytes) -> None:
        for event in SSEDecoder().iter_bytes(iter([events])):
            data = _read_object(event.data)
            if data is not None and not data.get("error"):
                self.has_heard = True
                self._take(construct_type(type_=self._kind, value=data))


def _read_object(text: str) -> dict[str, Any] | None:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
