"""CPU per one-call agent document with its spans sent to an OTLP endpoint on loopback, beside without.

Each measurement is a process of its own, warmed up first; the two take turns. The receiver is in the process that
starts them, so its CPU is nobody's. Prints one table; asserts nothing.

    uv run python benchmarks/export_cpu.py --documents 600 --in-flight 100 --rounds 5
"""

import argparse
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from per_document_cpu import ours, write_project
from side_by_side import LATENCY, measure, open_server, print_table, run_server, scratch_folder, take_turns

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def open_receiver() -> Generator[str]:
    """Take whatever is posted, while the block lasts; give the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Read it and say so."""
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def with_endpoint(endpoint: str, *arguments: str) -> float:
    """Measure in a process that is told of this endpoint; an empty one is none."""
    os.environ[ENDPOINT] = endpoint
    return measure(__file__, *arguments)


def compare(documents: int, in_flight: int, rounds: int) -> None:
    """Take turns, then print the table."""
    with open_server(__file__) as url, open_receiver() as endpoint:
        folder = scratch_folder()
        write_project(folder, url, documents, in_flight)
        figures = take_turns(
            rounds,
            {
                "spans sent": lambda: with_endpoint(endpoint, "ours", str(folder), str(documents)),
                "no endpoint": lambda: with_endpoint("", "ours", str(folder), str(documents)),
            },
        )
    title = f"CPU ms a document: {documents} documents, {in_flight} in flight, {LATENCY * 1000:g} ms, {rounds} rounds"
    print_table(title, figures, "no endpoint")


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["serve"]:
            run_server()
        case ["ours", folder, documents]:
            print(ours(Path(folder), int(documents)))
        case _:
            parser = argparse.ArgumentParser(description="CPU per document, with and without an OTLP endpoint.")
            parser.add_argument("--documents", type=int, default=600)
            parser.add_argument("--in-flight", type=int, default=100)
            parser.add_argument("--rounds", type=int, default=5)
            chosen = parser.parse_args()
            compare(chosen.documents, chosen.in_flight, chosen.rounds)


if __name__ == "__main__":
    main()
