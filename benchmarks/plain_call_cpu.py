"""CPU per plain call: `context.ask`, pool and hub beside bare `AsyncOpenAI` and litellm, same server, one run.

Bare is one keep-alive client on asyncio without retries, limits, checks or budget. Ours has its gate with all of them,
and `context.ask` all that a run records; a document makes 20 calls there, so that it is calls that are measured.
litellm runs in an environment of its own.
Each measurement is a process of its own, warmed up first; they take turns.

    uv run python benchmarks/plain_call_cpu.py --calls 2000 --in-flight 25 --rounds 5
"""

import argparse
import asyncio
import functools
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from figures import Table
from others import LITELLM, LITELLM_PACKAGES
from others import __file__ as others
from per_document_cpu import write_project
from side_by_side import LATENCY, measure, open_server, own_copy, run_server, scratch_folder, table_of, take_turns

WARM_UP = 100
WANTED = 1.15
"""The most that `context.ask` and the pool may cost of what bare costs."""
WANTED_OF_LITELLM = 0.65
CALLS_A_DOCUMENT = 20
PARAMS: dict[str, Any] = {"temperature": 0.2, "max_tokens": 200}

Ask = Callable[[int], Awaitable[object]]


def messages(number: int) -> list[dict[str, str]]:
    """Return the conversation of one call."""
    return [{"role": "user", "content": f"Document {number}. The quick brown fox jumps over the lazy dog. " * 4}]


async def under_trio(ask: Ask, calls: int, in_flight: int) -> float:
    """Ask under Trio; return CPU milliseconds per call after a warm-up."""
    import trio  # noqa: PLC0415 - the other processes do without

    async def ask_all(count: int) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await ask(number)

        async with trio.open_nursery() as nursery:
            for _ in range(in_flight):
                nursery.start_soon(work)

    await ask_all(WARM_UP)
    begun = time.process_time()
    await ask_all(calls)
    return (time.process_time() - begun) / calls * 1000


async def under_asyncio(ask: Ask, calls: int, in_flight: int) -> float:
    """Ask under asyncio; return CPU milliseconds per call after a warm-up."""

    async def ask_all(count: int) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await ask(number)

        await asyncio.gather(*(work() for _ in range(in_flight)))

    await ask_all(WARM_UP)
    begun = time.process_time()
    await ask_all(calls)
    return (time.process_time() - begun) / calls * 1000


async def bare(url: str, calls: int, in_flight: int) -> float:
    """Ask with a client and nothing else."""
    import httpx2  # noqa: PLC0415 - the other processes do without
    from openai import AsyncOpenAI  # noqa: PLC0415 - the other processes do without

    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    http = httpx2.AsyncClient(limits=limits, trust_env=False)
    client = AsyncOpenAI(api_key="none", base_url=url, http_client=http, max_retries=0)

    async def ask(number: int) -> object:
        conversation: Any = messages(number)
        return await client.chat.completions.create(model="m", messages=conversation, **PARAMS)

    spent = await under_asyncio(ask, calls, in_flight)
    await client.close()
    return spent


async def pool(url: str, calls: int, in_flight: int) -> float:
    """Ask through `LLMPool`, from whatever runs this."""
    from agent_pipeline.utils import LLMPool  # noqa: PLC0415 - the other processes do without

    async with LLMPool(base_url=url, api_key="none", model="m", max_inflight=in_flight) as opened:
        return await _measured(lambda number: opened.request(messages=messages(number), **PARAMS), calls, in_flight)


async def hub(url: str, calls: int, in_flight: int) -> float:
    """Ask through `LLMHub`, from whatever runs this."""
    from agent_pipeline.llmhub import LLMHub, parse_runtime_config  # noqa: PLC0415 - the other processes do without

    role = {"provider": "local", "model": "m", "params": PARAMS}
    config = parse_runtime_config(
        {"project": "bench", "env": "bench", "providers": {"local": {"base_url": url}}, "roles": {"writer": role}}
    )
    async with LLMHub(config_obj=config, limits={"requests_in_flight": in_flight}) as opened:
        return await _measured(lambda number: opened.acompletion("writer", messages(number)), calls, in_flight)


async def adapter(url: str, calls: int, in_flight: int) -> float:
    """Ask through `OpenAIAdapter` with a shared tracker, from whatever runs this."""
    from agent_pipeline.adapters import (  # noqa: PLC0415 - the other processes do without
        BudgetTracker,
        OpenAIAdapter,
        RunConfig,
    )

    config = RunConfig(budget_tracker=BudgetTracker(total=10**9), **PARAMS)
    limits = {"requests_in_flight": in_flight}
    async with OpenAIAdapter("m", base_url=url, api_key="none", limits=limits) as opened:
        return await _measured(
            lambda number: opened.async_execute_prompt(messages(number)[0]["content"], config), calls, in_flight
        )


def ask_in_a_run(url: str, calls: int, in_flight: int) -> float:
    """Ask through `context.ask`, in the second of two runs; return CPU milliseconds per call."""
    from agent_pipeline.compose import Pipeline, RunOptions  # noqa: PLC0415 - the bare process does without

    documents = calls // CALLS_A_DOCUMENT
    folder = scratch_folder()
    write_project(folder, url, documents, in_flight)
    roles = folder / "roles.yaml"
    roles.write_text(roles.read_text(encoding="utf-8").replace("api: responses", "api: chat"), encoding="utf-8")
    stage = folder / "bench_stage.py"
    many = f"[await context.ask(document.text, role='writer') for _ in range({CALLS_A_DOCUMENT})][-1]"
    once = 'await context.run_agent("writer", document.text)'
    stage.write_text(stage.read_text(encoding="utf-8").replace(once, many), encoding="utf-8")
    options = RunOptions(own_process=True)
    Pipeline.from_config(own_copy(folder) / "bench.yaml", options=options).run_sync(limit=WARM_UP // CALLS_A_DOCUMENT)
    config = own_copy(folder) / "bench.yaml"
    begun = time.process_time()
    result = Pipeline.from_config(config, options=options).run_sync()
    spent = time.process_time() - begun
    if result.usage.requests != documents * CALLS_A_DOCUMENT:
        raise SystemExit(f"only {result.usage.requests} calls were made: {result.failures[:1]}")
    return spent / result.usage.requests * 1000


async def _measured(ask: Ask, calls: int, in_flight: int) -> float:
    from agent_pipeline.bridge import current_flavour  # noqa: PLC0415 - the bare process does without

    measured = under_trio if current_flavour() == "trio" else under_asyncio
    return await measured(ask, calls, in_flight)


def run_one(name: str, url: str, calls: int, in_flight: int) -> float:
    """Make one measurement."""
    import trio  # noqa: PLC0415 - only here

    if name == "context.ask":
        return ask_in_a_run(url, calls, in_flight)
    what, _, flavour = name.partition("-")
    ask = {"bare": bare, "pool": pool, "hub": hub, "adapter": adapter}[what]
    if flavour == "trio":
        return trio.run(ask, url, calls, in_flight)
    return asyncio.run(ask(url, calls, in_flight))


def compare(calls: int, in_flight: int, rounds: int) -> Table:
    """Take turns; return the table."""
    with open_server(__file__) as url:
        given = (url, str(calls), str(in_flight))
        ours = ("context.ask", "pool-trio", "hub-trio", "adapter-trio", "pool-asyncio", "adapter-asyncio")
        measures = {name: functools.partial(measure, __file__, name, *given) for name in ("bare", *ours)}
        measures[LITELLM] = functools.partial(measure, others, LITELLM, *given, packages=LITELLM_PACKAGES)
        figures = take_turns(rounds, measures)
    title = f"CPU ms per plain call: {calls} calls, {in_flight} in flight, {LATENCY * 1000:g} ms latency"
    wanted = dict.fromkeys(("context.ask", "pool-trio", "pool-asyncio"), WANTED)
    beside_bare = [(name, "bare", wanted.get(name)) for name in ours]
    beside_litellm = [(name, LITELLM, WANTED_OF_LITELLM) for name in wanted]
    return table_of(title, figures, [*beside_bare, *beside_litellm], program=__doc__)


def main() -> None:
    """Read the command line."""
    match sys.argv[1:]:
        case ["serve"]:
            run_server()
        case [name, url, calls, in_flight] if not name.startswith("-"):
            print(run_one(name, url, int(calls), int(in_flight)))
        case _:
            parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
            parser.add_argument("--calls", type=int, default=2000)
            parser.add_argument("--in-flight", type=int, default=25)
            parser.add_argument("--rounds", type=int, default=5)
            given = parser.parse_args()
            print(compare(given.calls, given.in_flight, given.rounds).as_text())


if __name__ == "__main__":
    main()
