"""CPU per one-call agent document: this pipeline beside bare `asyncio.gather(Runner.run)`, same server, one run.

Ours keeps everything on that a run has: ledger, run log, typed events, SDK traces and SDK log. Bare is one keep-alive
client with an in-process trace processor and nothing else. async-batch-llm with pydantic-ai's agents keeps no record at
all; it runs in an environment of its own. Each measurement is a process of its own, warmed up first; they take turns.

    uv run python benchmarks/per_document_cpu.py --documents 600 --in-flight 100 --rounds 5
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from figures import Table
from others import BATCH, BATCH_PACKAGES
from others import __file__ as others
from side_by_side import LATENCY, measure, open_server, own_copy, run_server, scratch_folder, table_of, take_turns

WARM_UP = 60
WANTED = {100: 1.00, 1000: 0.50}
"""The most that ours may cost of what bare costs, by the documents in flight."""
WANTED_OF_BATCH = 0.70
"""The most that ours may cost of what async-batch-llm with pydantic-ai costs."""
_FLOOR = """\
the SDK's run is about half of what a document costs here. What ours has besides, a loop of its own for
each document, the gate, and the threads that write artifacts, ledger, events and traces (about a quarter), has to be
won back from the client and its HTTP. Below some hundred in flight there is less to win: the time that bare loses in
one loop grows with the documents in it."""
IN_THE_WAY = {"ours / bare": _FLOOR, f"ours / {BATCH}": _FLOOR}

PIPELINE = """\
name: bench
roles: roles.yaml
source: {{path: documents.jsonl}}
artifacts: artifacts
logs: logs
stages: ["bench_stage:answer"]
limits:
  documents_in_flight: {in_flight}
  requests_in_flight: {in_flight}
  budget: {{tokens: 1000000000}}
"""
ROLES = """\
project: bench
env: bench
providers: {{local: {{base_url: "{url}", api: responses}}}}
roles: {{writer: {{provider: local, model: gpt-5-mini, params: {{max_tokens: 200}}, instructions: "Answer briefly."}}}}
"""
STAGE = """\
from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import stage


@stage
async def answer(document: Document, context: StageContext) -> Document:
    return document.with_text(await context.run_agent("writer", document.text))
"""


def text(number: int) -> str:
    """Return the prompt of one document."""
    return f"Document {number}. The quick brown fox jumps over the lazy dog. " * 4


def write_project(folder: Path, url: str, documents: int, in_flight: int) -> None:
    """Write the project that `ours` runs."""
    lines = [json.dumps({"id": str(n), "text": text(n)}) for n in range(documents)]
    folder.joinpath("documents.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder.joinpath("bench.yaml").write_text(PIPELINE.format(in_flight=in_flight), encoding="utf-8")
    folder.joinpath("roles.yaml").write_text(ROLES.format(url=url), encoding="utf-8")
    folder.joinpath("bench_stage.py").write_text(STAGE, encoding="utf-8")


def ours(folder: Path, documents: int) -> float:
    """Run the pipeline twice, the first time to warm up; return CPU milliseconds per document of the second."""
    from agent_pipeline.compose import Pipeline, RunOptions  # noqa: PLC0415 - the other processes do without

    options = RunOptions(own_process=True)
    Pipeline.from_config(own_copy(folder) / "bench.yaml", options=options).run_sync(limit=WARM_UP)
    config = own_copy(folder) / "bench.yaml"
    begun = time.process_time()
    result = Pipeline.from_config(config, options=options).run_sync(limit=documents)
    spent = time.process_time() - begun
    if result.documents.succeeded != documents:
        raise SystemExit(f"only {result.documents} succeeded: {result.failures[:1]}")
    return spent / documents * 1000


def bare(url: str, documents: int, in_flight: int) -> float:
    """Gather plain `Runner.run` calls; return CPU milliseconds per document after a warm-up."""
    return gathered(url, documents, in_flight, time.process_time, time.process_time) / documents * 1000


def gathered(
    url: str, documents: int, in_flight: int, before: Callable[[], float], after: Callable[[], float]
) -> float:
    """Gather plain `Runner.run` calls after a warm-up; return by how much one figure is above the other."""
    import asyncio  # noqa: PLC0415 - the other processes do without

    import agents  # noqa: PLC0415 - the other processes do without
    import httpx2  # noqa: PLC0415 - the other processes do without
    from agents.tracing import TracingProcessor  # noqa: PLC0415 - the other processes do without
    from openai import AsyncOpenAI  # noqa: PLC0415 - the other processes do without

    class Count(TracingProcessor):
        ended = 0

        def on_trace_start(self, trace: object) -> None: ...
        def on_trace_end(self, trace: object) -> None: ...
        def on_span_start(self, span: object) -> None: ...
        def on_span_end(self, span: object) -> None:  # noqa: ARG002 - the SDK's signature
            self.ended += 1

        def shutdown(self) -> None: ...
        def force_flush(self) -> None: ...

    agents.set_trace_processors([Count()])

    async def main() -> float:
        limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
        http = httpx2.AsyncClient(limits=limits, trust_env=False, timeout=None)
        client = AsyncOpenAI(api_key="none", base_url=url, http_client=http, max_retries=0, timeout=None)
        model = agents.OpenAIResponsesModel(model="gpt-5-mini", openai_client=client)
        settings = agents.ModelSettings(max_tokens=200)
        agent = agents.Agent(name="writer", instructions="Answer briefly.", model=model, model_settings=settings)
        places = asyncio.Semaphore(in_flight)

        async def one(number: int) -> None:
            async with places:
                await agents.Runner.run(agent, text(number))

        await asyncio.gather(*map(one, range(WARM_UP)))
        begun = before()
        await asyncio.gather(*map(one, range(documents)))
        spent = after() - begun
        await client.close()
        return spent

    return asyncio.run(main())


def compare(documents: int, in_flight: int, rounds: int) -> Table:
    """Take turns; return the table."""
    with open_server(__file__) as url:
        folder = scratch_folder()
        write_project(folder, url, documents, in_flight)
        given = (url, str(documents), str(in_flight))
        figures = take_turns(
            rounds,
            {
                "ours": lambda: measure(__file__, "ours", str(folder), str(documents)),
                "bare": lambda: measure(__file__, "bare", *given),
                BATCH: lambda: measure(others, BATCH, *given, packages=BATCH_PACKAGES),
            },
        )
    title = f"CPU ms per agent document: {documents} documents, {in_flight} in flight, {LATENCY * 1000:g} ms latency"
    pairs = [("ours", "bare", WANTED.get(in_flight)), ("ours", BATCH, WANTED_OF_BATCH)]
    return table_of(title, figures, pairs, program=__doc__, in_the_way=IN_THE_WAY)


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["serve"]:
            run_server()
        case ["ours", folder, documents]:
            print(ours(Path(folder), int(documents)))
        case ["bare", url, documents, in_flight]:
            print(bare(url, int(documents), int(in_flight)))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--documents", type=int, default=600)
            parser.add_argument("--in-flight", type=int, default=100)
            parser.add_argument("--rounds", type=int, default=5)
            given = parser.parse_args()
            print(compare(given.documents, given.in_flight, given.rounds).as_text())


if __name__ == "__main__":
    main()
