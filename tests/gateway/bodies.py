"""Answers of the two APIs, as a provider would write them."""

import json
from typing import Literal

Api = Literal["responses", "chat"]

APIS: tuple[Api, ...] = ("responses", "chat")
PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions"}

Json = dict[str, object]


def response(text: str = "yes", **changes: object) -> Json:
    """Return a finished response that used 7 + 3 tokens."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": 7,
        "output_tokens": 3,
        "total_tokens": 10,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 1},
    }
    whole: Json = {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "completed",
        "output": [item],
        "usage": usage,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    return whole | changes


def completion(text: object = "yes", *, finish: object = "stop", **changes: object) -> Json:
    """Return a finished completion that used 7 + 3 tokens."""
    message = {"role": "assistant", "content": text}
    whole: Json = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": CHAT_USAGE,
    }
    return whole | changes


CHAT_USAGE: Json = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def chunk(**changes: object) -> Json:
    """Return one event of a streamed completion."""
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []} | changes


def delta(finish: str | None = None, **words: object) -> Json:
    """Return one event that carries a piece of an answer."""
    return chunk(choices=[{"index": 0, "delta": words, "finish_reason": finish}])


def dump(value: object) -> bytes:
    """Return JSON as bytes."""
    return json.dumps(value).encode()


def events(*values: object, done: bool = False) -> bytes:
    """Return an event stream."""
    lines = [b"data: " + dump(value) + b"\n\n" for value in values]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def streamed_response(text: str = "yes") -> bytes:
    """Return a streamed response that used 7 + 3 tokens."""
    pieces = [
        {"type": "response.output_text.delta", "delta": piece, "item_id": "m1", "output_index": 0, "content_index": 0}
        for piece in text
    ]
    first = {"type": "response.created", "response": response(text, status="in_progress", output=[], usage=None)}
    return events(first, *pieces, {"type": "response.completed", "response": response(text)})


def streamed_completion(text: str = "yes") -> bytes:
    """Return a streamed completion that used 7 + 3 tokens."""
    pieces = [delta(content=piece) for piece in text]
    return events(delta(role="assistant", content=""), *pieces, delta("stop"), chunk(usage=CHAT_USAGE), done=True)


def good(api: Api, text: str = "yes", *, streamed: bool = False) -> bytes:
    """Return a whole answer of an API."""
    if streamed:
        return streamed_response(text) if api == "responses" else streamed_completion(text)
    return dump(response(text) if api == "responses" else completion(text))
