"""A provider that repeats what it must not: the key it was sent, in answers, errors and ids."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class EchoServer(ThreadingHTTPServer):
    """Chat completions; the path says how it answers: `/answer`, `/tool`, `/400`, `/401`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, bytes]] = []

    def base_url(self, manner: str) -> str:
        """Return the address of a provider that answers in this manner."""
        return f"http://127.0.0.1:{self.server_address[1]}/{manner}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, EchoServer)
        key = self.headers["authorization"]
        content = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((key, content))
        manner = self.path.split("/")[1]
        if manner.isdecimal():
            error = {"message": f"Incorrect API key provided. You sent Authorization: {key}", "type": "invalid"}
            self._send(int(manner), {"error": error}, key)
        else:
            self._send(200, _completion(json.loads(content), key, tool=manner == "tool"), key)

    def _send(self, status: int, value: dict[str, Any], key: str) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.send_header("x-request-id", f"req-{key.rpartition(' ')[2]}")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Stay quiet."""


def _completion(body: dict[str, Any], key: str, *, tool: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": f"I was called with\n\n    Authorization: {key}\n"}
    if tool and not any(message["role"] == "tool" for message in body["messages"]):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps({"note": key})}
        call = {"id": "call_1", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reason = "stop" if message["content"] else "tool_calls"
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    choices = [{"index": 0, "finish_reason": reason, "message": message}]
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}


@contextmanager
def open_echo_server() -> Generator[EchoServer]:
    """Serve in a thread until the block ends."""
    with EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
