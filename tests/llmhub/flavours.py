"""One suite for every flavour: ordinary code, Trio and asyncio ask the same hub the same things."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import trio

from agent_pipeline.llmhub import LLMHub

Flavour = Literal["sync", "trio", "asyncio", "trio-opened", "asyncio-opened"]
FLAVOURS: tuple[Flavour, ...] = ("sync", "trio", "asyncio", "trio-opened", "asyncio-opened")

Answer: TypeAlias = Any
Messages = Sequence[Mapping[str, Any]]


class Asker:
    """Asks a hub in one flavour; each call is a run of its own, and the hub is the same."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour

    def completion(
        self, hub: LLMHub, role: str, messages: Messages, override: Mapping[str, Any] | None = None
    ) -> Answer:
        if self.flavour == "sync":
            return hub.completion(role, messages, override)
        return self._run(hub, lambda: hub.acompletion(role, messages, override))

    def embedding(
        self, hub: LLMHub, role: str, given: str | Sequence[str], override: Mapping[str, Any] | None = None
    ) -> Answer:
        if self.flavour == "sync":
            return hub.embedding(role, given, override)
        return self._run(hub, lambda: hub.aembedding(role, given, override))

    def stream(self, hub: LLMHub, role: str, messages: Messages) -> list[Any]:
        if self.flavour == "sync":
            return list(hub.stream_completion(role, messages))

        async def collect() -> list[Any]:
            return [chunk async for chunk in hub.astream_completion(role, messages)]

        chunks: list[Any] = self._run(hub, collect)
        return chunks

    def _run(self, hub: LLMHub, ask: Callable[[], Awaitable[object]]) -> Answer:
        async def main() -> Answer:
            if self.flavour.endswith("-opened"):
                async with hub:
                    return await ask()
            return await ask()

        return trio.run(main) if self.flavour.startswith("trio") else asyncio.run(main())
