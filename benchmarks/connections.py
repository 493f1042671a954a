"""Connections, TLS handshakes and what they cost: a run over TLS on loopback, with connections kept alive and without.

A relay of its own process speaks TLS and passes the bytes on to the simulator, one connection for each, so that the
simulator's count of connections is that of handshakes, and the CPU of the other side is nobody's.

    uv run python benchmarks/connections.py --documents 1000 --in-flight 25 --rounds 5
"""

import argparse
import functools
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Table
from per_document_cpu import WARM_UP, write_project
from side_by_side import LATENCY, measure_all, open_server, run_server, seen_by_server, table_of, take_all

if TYPE_CHECKING:
    from agent_pipeline.gateway.pool import ConnectionPool

ROOT = Path(__file__).resolve().parent.parent
WANTED_OF_KEEP_ALIVE = 0.7


def run_relay(port: int, certificate: Path) -> None:
    """Speak TLS, pass everything on to the port, until killed; write the certificate to trust, print our own port."""
    import trio  # noqa: PLC0415 - the other processes do without
    from tests.gateway.certificates import certificate_pem, server_context  # noqa: PLC0415 - as above

    context = server_context()
    certificate.write_bytes(certificate_pem())

    async def copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever left, both connections end
        scope.cancel()

    async def relay(plain: trio.SocketStream) -> None:
        secret = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        async with plain:
            await secret.do_handshake()
            async with await trio.open_tcp_stream("127.0.0.1", port) as target, trio.open_nursery() as nursery:
                nursery.start_soon(copy, secret, target, nursery.cancel_scope)
                nursery.start_soon(copy, target, secret, nursery.cancel_scope)

    async def main() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)
        print(listener.socket.getsockname()[1], flush=True)
        await trio.serve_listeners(relay, [listener])

    trio.run(main)


@contextmanager
def open_relay(url: str, certificate: Path) -> Generator[str]:
    """Start a relay to the server at `url`; give its own address, end it at the end."""
    port = url.removesuffix("/v1").rpartition(":")[2]
    relay = subprocess.Popen(
        [sys.executable, __file__, "relay", port, str(certificate)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # the tests know how to make a certificate
    )
    try:
        yield f"https://127.0.0.1:{(relay.stdout.readline() if relay.stdout else '').strip()}/v1"
    finally:
        relay.terminate()
        relay.wait()


def pool(context: ssl.SSLContext, kept: int) -> "ConnectionPool":
    """Return the pool of a run that trusts the relay, and keeps so many idle connections for each place."""
    from agent_pipeline.gateway.pool import ConnectionPool, one_connection  # noqa: PLC0415

    return ConnectionPool(lambda: one_connection(context, keepalive=kept))


def run(folder: Path, documents: int, *, over: str) -> dict[str, float]:
    """Run the pipeline twice, the first time to warm up; return CPU and connections of the second.

    Args:
        folder: where the project is.
        documents: how many.
        over: `tcp`, `tls`, or `tls-anew` for a connection per request.
    """
    from agent_pipeline.compose import Pipeline, RunOptions  # noqa: PLC0415 - the other processes do without

    options = RunOptions(own_process=True, clean=True)
    if over != "tcp":
        context = ssl.create_default_context(cafile=folder / "certificate.pem")
        kept = 0 if over == "tls-anew" else 1
        options = RunOptions(own_process=True, clean=True, make_pool=functools.partial(pool, context, kept))
    server = folder.joinpath("server").read_text(encoding="utf-8")
    Pipeline.from_config(folder / "bench.yaml", options=options).run_sync(limit=WARM_UP)
    before, begun = seen_by_server(server)["connections_opened"], time.process_time()
    result = Pipeline.from_config(folder / "bench.yaml", options=options).run_sync(limit=documents)
    spent = time.process_time() - begun
    if result.documents.succeeded != documents:
        raise SystemExit(f"only {result.documents} succeeded: {result.failures[:1]}")
    opened = seen_by_server(server)["connections_opened"] - before
    return {"CPU": spent / documents * 1000, "connections": opened}


def once(documents: int, in_flight: int) -> dict[str, float]:
    """Measure all three ways, each in a process of its own."""
    with open_server(__file__) as url, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.joinpath("server").write_text(url, encoding="utf-8")
        taken = {}
        with open_relay(url, folder / "certificate.pem") as secret:
            for over, address in (("tcp", url), ("tls", secret), ("tls-anew", secret)):
                write_project(folder, address, documents, in_flight)
                taken[over] = measure_all(__file__, "run", temporary, str(documents), over)
    return {
        "TCP: connections": taken["tcp"]["connections"],
        "TLS: handshakes": taken["tls"]["connections"],
        "TLS, a connection per request: handshakes": taken["tls-anew"]["connections"],
        "TLS: CPU ms per document": taken["tls"]["CPU"],
        "TLS, a connection per request: CPU ms per document": taken["tls-anew"]["CPU"],
    }


def compare(documents: int, in_flight: int, rounds: int) -> Table:
    """Return the table."""
    figures = take_all(rounds, functools.partial(once, documents, in_flight))
    title = f"Connections: {documents} agent documents, {in_flight} in flight, {LATENCY * 1000:g} ms latency"
    kept, anew = "TLS: CPU ms per document", "TLS, a connection per request: CPU ms per document"
    wanted = {"TCP: connections": float(in_flight), "TLS: handshakes": float(in_flight)}
    return table_of(title, figures, [(kept, anew, WANTED_OF_KEEP_ALIVE)], wanted)


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["serve"]:
            run_server()
        case ["relay", port, certificate]:
            run_relay(int(port), Path(certificate))
        case ["run", folder, documents, over]:
            print(json.dumps(run(Path(folder), int(documents), over=over)))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--documents", type=int, default=1000)
            parser.add_argument("--in-flight", type=int, default=25)
            parser.add_argument("--rounds", type=int, default=5)
            given = parser.parse_args()
            print(compare(given.documents, given.in_flight, given.rounds).as_text())


if __name__ == "__main__":
    main()
