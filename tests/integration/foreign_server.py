"""Somebody else's OpenAI-compatible server: plain `http.server`, chat completions only, fixed answers."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLAIN = "Fixed words."
STRUCTURED = '{"title": "Fixed title", "word_count": 7}'


class ForeignServer(ThreadingHTTPServer):
    """Answers with fixed values and remembers what it was asked."""

    daemon_threads = True
    request_queue_size = 128  # the default of 5 resets connections, which looks like a client's fault

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def base_url(self) -> str:
        """Its address; the path is its own choice."""
        return f"http://127.0.0.1:{self.server_address[1]}/api/v2"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _fake(self) -> ForeignServer:
        assert isinstance(self.server, ForeignServer)
        return self.server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._fake.seen.append((self.path, self.headers["authorization"], body))
        if self.path != "/api/v2/chat/completions":
            self._send(404, "application/json", b'{"error": {"message": "chat completions only"}}')
        elif body.get("stream"):
            self._send(200, "text/event-stream", _events(_message(body)))
        else:
            choice = {"index": 0, "finish_reason": _reason(body), "message": _message(body)}
            self._send(200, "application/json", json.dumps(_completion(body, "chat.completion", [choice])).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Stay quiet."""


def _wants_tool(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) and not any(message["role"] == "tool" for message in body["messages"])


def _reason(body: dict[str, Any]) -> str:
    return "tool_calls" if _wants_tool(body) else "stop"


def _message(body: dict[str, Any]) -> dict[str, Any]:
    if not _wants_tool(body):
        return {"role": "assistant", "content": STRUCTURED if "response_format" in body else PLAIN}
    function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"text": "three small words"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _completion(body: dict[str, Any], kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    return {"id": "x1", "object": kind, "created": 1, "model": body["model"], "choices": choices, "usage": usage}


def _events(message: dict[str, Any]) -> bytes:
    """Stream the message in two pieces, then the reason, then usage without a choice, as OpenAI does."""
    if message["content"] is None:
        deltas = [{**message, "tool_calls": [{"index": 0, **message["tool_calls"][0]}]}]
        reason = "tool_calls"
    else:
        half = len(message["content"]) // 2
        deltas = [{"role": "assistant", "content": message["content"][:half]}, {"content": message["content"][half:]}]
        reason = "stop"
    choices: list[list[dict[str, Any]]] = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices += [[{"index": 0, "delta": {}, "finish_reason": reason}], []]
    chunks = [_completion({"model": "m"}, "chat.completion.chunk", one) for one in choices]
    for chunk in chunks[:-1]:
        chunk["usage"] = None
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"


@contextmanager
def open_foreign_server() -> Generator[ForeignServer]:
    """Serve in a thread until the block ends."""
    with ForeignServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
