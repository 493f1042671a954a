"""Calls made from Trio, from asyncio and from ordinary code, so that one test holds for all three."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import trio

from agent_pipeline.adapters import LLMAdapter, LLMAnswer, RunConfig

Flavour = Literal["trio", "asyncio", "sync"]
FLAVOURS: tuple[Flavour, ...] = ("trio", "asyncio", "sync")

Request = tuple[LLMAdapter, str, RunConfig | None]
Outcome = LLMAnswer | Exception


def ask(flavour: Flavour, adapter: LLMAdapter, prompt: str, config: RunConfig | None = None) -> LLMAnswer:
    """Make one call."""
    (outcome,) = ask_all(flavour, [(adapter, prompt, config)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def ask_all(flavour: Flavour, requests: Sequence[Request], *, threads: int = 64) -> list[Outcome]:
    """Make all calls at once: in a nursery, by `gather`, or from so many threads; return what became of each."""
    if flavour == "trio":
        return trio.run(_in_nursery, requests)
    if flavour == "asyncio":
        return asyncio.run(_by_gather(requests))
    with ThreadPoolExecutor(min(threads, len(requests))) as pool:
        return list(pool.map(_call, requests))


def _call(request: Request) -> Outcome:
    adapter, prompt, config = request
    try:
        return adapter.execute_prompt(prompt, config)
    except Exception as exc:  # noqa: BLE001 - looked at by the test
        return exc


async def _acall(request: Request) -> Outcome:
    adapter, prompt, config = request
    try:
        return await adapter.async_execute_prompt(prompt, config)
    except Exception as exc:  # noqa: BLE001 - likewise
        return exc


async def _in_nursery(requests: Sequence[Request]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}

    async def one(number: int) -> None:
        outcomes[number] = await _acall(requests[number])

    async with trio.open_nursery() as nursery:
        for number in range(len(requests)):
            nursery.start_soon(one, number)
    return [outcomes[number] for number in range(len(requests))]


async def _by_gather(requests: Sequence[Request]) -> list[Outcome]:
    return await asyncio.gather(*map(_acall, requests))
