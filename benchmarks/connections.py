"""Connections and TLS handshakes of a run on loopback, and what they cost with connections kept alive and without.

Each way verifies the server's certificates to the root, beside those of the system (`tls_relay.py`), and makes one
request a document.

- *kept alive*: a run as it is.
- *keep-alive off*: the same run with a pool that keeps no connection; the difference is what a connection costs.
- *keep-alive off, a loop per document*: a Trio program without such a pool. One client and one TLS context serve all
  loops; it may keep no connection, as that would belong to a loop that is closed. Nothing is recorded.
- *a client per document*: the same with a client and a TLS context anew in each loop, as `AsyncOpenAI()` makes them
  where a document is worked on.

    uv run python benchmarks/connections.py --documents 1000 --in-flight 25 --rounds 5
"""

import argparse
import functools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import without_pool
from figures import Table
from per_document_cpu import WARM_UP, write_project
from side_by_side import (
    LATENCY,
    measure,
    measure_all,
    open_server,
    own_copy,
    run_server,
    scratch_folder,
    seen_by_server,
    table_of,
    take_all,
)
from tls_relay import open_relay

if TYPE_CHECKING:
    from agent_pipeline.gateway.pool import ConnectionPool

WANTED_OF_KEEP_ALIVE = 0.7
MOST_WITH_OWN_CLIENT = 200
"""Documents with a client for each: they cost so much that fewer will do."""

KEPT = "kept alive: CPU ms"
ANEW = "keep-alive off: CPU ms"
LOOPS = "keep-alive off, a loop per document: CPU ms"
CLIENTS = "a client per document: CPU ms"
OLD = """\
a connection that nobody used for 4 s is closed before the server closes it. Where the machine is so busy that fewer
requests are out than may be, the others' connections get that old and are opened again."""
IN_THE_WAY = {
    "TCP: connections": OLD,
    "TLS: handshakes": OLD,
    f"{KEPT} / {ANEW}": """\
both are the same run, so all that can be saved is the connection: with the handshake, the chain verified, it costs what
the row *a connection* says, whatever else a document costs. The ratio is d / (d + c), so it is 0.7 where a document
costs 2.3 connections, or less. What is left to lower is the document.""",
    f"{KEPT} / {LOOPS}": """\
the other program records nothing: no ledger, no events, no traces, no budget. What is saved is the connection and the
client's way, what is spent besides is the record.""",
}


def pool_that_keeps_none() -> "ConnectionPool":
    """Return a run's pool, but that each request has a connection of its own."""
    from agent_pipeline.gateway.pool import ConnectionPool, one_connection, tls_context  # noqa: PLC0415 - as below

    return ConnectionPool(lambda: one_connection(tls_context(), keepalive=0))


def run(folder: Path, documents: int, *, over: str) -> dict[str, float]:
    """Run the pipeline twice, the first time to warm up; return CPU and connections of the second.

    Args:
        folder: where the project is.
        documents: how many.
        over: `tcp`, `tls`, or `tls-anew` for a connection per request.
    """
    from agent_pipeline.compose import Pipeline, RunOptions  # noqa: PLC0415 - the other processes do without
    from agent_pipeline.gateway.pool import tls_context  # noqa: PLC0415 - as above

    tls_context().load_verify_locations(folder / "root.pem")
    options = RunOptions(own_process=True)
    if over == "tls-anew":
        options = RunOptions(own_process=True, make_pool=pool_that_keeps_none)
    server = folder.joinpath("server").read_text(encoding="utf-8")
    Pipeline.from_config(own_copy(folder) / "bench.yaml", options=options).run_sync(limit=WARM_UP)
    config = own_copy(folder) / "bench.yaml"
    before, begun = seen_by_server(server)["connections_opened"], time.process_time()
    result = Pipeline.from_config(config, options=options).run_sync(limit=documents)
    spent = time.process_time() - begun
    if result.documents.succeeded != documents:
        raise SystemExit(f"only {result.documents} succeeded: {result.failures[:1]}")
    opened = seen_by_server(server)["connections_opened"] - before
    return {"CPU": spent / documents * 1000, "connections": opened}


def once(documents: int, in_flight: int) -> dict[str, float]:
    """Measure all ways, each in a process of its own."""
    with open_server(__file__) as url:
        folder = scratch_folder()
        folder.joinpath("server").write_text(url, encoding="utf-8")
        taken = {}
        with open_relay(url, folder / "root.pem") as secret:
            for over, address in (("tcp", url), ("tls", secret), ("tls-anew", secret)):
                write_project(folder, address, documents, in_flight)
                taken[over] = measure_all(__file__, "run", str(folder), str(documents), over)
            given = (secret, str(folder / "root.pem"), str(in_flight))
            loops = measure(__file__, without_pool.SHARED, *given, str(documents))
            clients = measure(__file__, without_pool.OWN, *given, str(min(documents, MOST_WITH_OWN_CLIENT)))
    return {
        "TCP: connections": taken["tcp"]["connections"],
        "TLS: handshakes": taken["tls"]["connections"],
        "TLS, keep-alive off: handshakes": taken["tls-anew"]["connections"],
        KEPT: taken["tls"]["CPU"],
        ANEW: taken["tls-anew"]["CPU"],
        "a connection: CPU ms": taken["tls-anew"]["CPU"] - taken["tls"]["CPU"],
        LOOPS: loops,
        CLIENTS: clients,
    }


def compare(documents: int, in_flight: int, rounds: int) -> Table:
    """Return the table."""
    figures = take_all(rounds, functools.partial(once, documents, in_flight))
    much = f"{documents} agent documents, {in_flight} in flight, {LATENCY * 1000:g} ms latency"
    title = f"Connections, and CPU ms per document over TLS: {much}"
    pairs = [(KEPT, ANEW, WANTED_OF_KEEP_ALIVE), (KEPT, LOOPS, WANTED_OF_KEEP_ALIVE), (KEPT, CLIENTS, None)]
    wanted = {"TCP: connections": float(in_flight), "TLS: handshakes": float(in_flight)}
    return table_of(title, figures, pairs, wanted, program=__doc__, in_the_way=IN_THE_WAY)


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["serve"]:
            run_server()
        case ["run", folder, documents, over]:
            print(json.dumps(run(Path(folder), int(documents), over=over)))
        case [without_pool.SHARED | without_pool.OWN as name, url, root_file, in_flight, documents]:
            print(without_pool.cpu(name, url, root_file, int(documents), int(in_flight)))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--documents", type=int, default=1000)
            parser.add_argument("--in-flight", type=int, default=25)
            parser.add_argument("--rounds", type=int, default=5)
            given = parser.parse_args()
            print(compare(given.documents, given.in_flight, given.rounds).as_text())


if __name__ == "__main__":
    main()
