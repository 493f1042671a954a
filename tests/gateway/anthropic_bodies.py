"""What Anthropic's Messages API says, as bytes: whole answers, streams and errors."""

import json

from tests.gateway.wire_server import http

EVENT_STREAM = "text/event-stream"
USAGE = {"input_tokens": 11, "output_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0}


def message(text: str = "hello", *, stop: str = "end_turn", usage: dict[str, int] | None = None) -> bytes:
    """Return a whole answer."""
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE if usage is None else usage,
    }
    return json.dumps(body).encode()


def refusal(status: int, kind: str, words: str, *headers: str) -> bytes:
    """Return an error as a whole HTTP response."""
    body = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_1"}
    return http(json.dumps(body).encode(), status=status, headers=headers)


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def head() -> bytes:
    """Return the head of a stream's response, which ends with its connection."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def beginning(*words: str) -> bytes:
    """Return the events up to and with these words."""
    start = json.loads(message(""))
    start |= {"stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
    events = _event("message_start", message=start)
    events += _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in words:
        events += _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    return events


def end() -> bytes:
    """Return the events that end an answer well."""
    return (
        _event("content_block_stop", index=0)
        + _event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 5})
        + _event("message_stop")
    )


def trouble(kind: str, words: str) -> bytes:
    """Return an error inside a stream."""
    return _event("error", error={"type": kind, "message": words})
