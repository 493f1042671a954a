"""Values that change while a run goes on: their file watched, each edit checked as a whole and applied at once."""

from collections.abc import AsyncGenerator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import trio

from agent_pipeline.config.live import LiveSettings, load_live_settings, settings_of
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.config.watched_file import LOOK_PERIOD, watch_file
from agent_pipeline.domain.limit_events import LiveEditRefused, LiveValueChanged
from agent_pipeline.domain.ports import Emit
from agent_pipeline.errors import ConfigError


class LiveTarget(Protocol):
    """The running parts that take new values; no call waits or fails, and what is in flight goes on."""

    def set_documents_in_flight(self, count: int) -> None:
        """Admit at most so many documents at once."""
        ...

    def set_limits(
        self, *, requests_in_flight: tuple[int, int], requests_per_minute: int | None, tokens_per_minute: int | None
    ) -> None:
        """Bound requests at once (lower and upper bound) and per minute, and tokens per minute."""
        ...

    def set_attempt_timeout(self, seconds: float | None) -> None:
        """Bound attempts that begin from now on."""
        ...

    def set_budget(self, *, tokens: int | None, micro_usd: int | None) -> None:
        """Cap what the run may spend in all, with what it has spent already."""
        ...

    def set_roles(self, runtime: RuntimeConfig) -> None:
        """Let documents that begin from now on ask these models."""
        ...


class LiveValuesControl:
    """Holds a run's values to its live file; used by one task.

    Attributes:
        revision: edits that were applied; each change tells its own.
        settings: what holds.
    """

    def __init__(self, path: Path, config: PipelineConfig, target: LiveTarget, emit: Emit) -> None:
        self.revision = 0
        self.settings = settings_of(config)
        self._path = path
        self._config = config
        self._target = target
        self._emit = emit
        self._refusal: str | None = None
        self._asked: list[RuntimeConfig] = []  # so far; documents keep the models they began with

    def take(self) -> None:
        """Read the file and apply it; a file that can't be used changes nothing, and is told of once."""
        self._answer(self._read())

    def _read(self) -> LiveSettings | ConfigError:
        """Read and check; touches nothing of the run, so that it may happen in a thread."""
        try:
            return load_live_settings(self._path, self._config, tuple(self._asked))
        except ConfigError as exc:
            return exc

    def _answer(self, read: LiveSettings | ConfigError) -> None:
        self._take_over(read)
        if self.settings.runtime not in self._asked:
            self._asked.append(self.settings.runtime)

    def _take_over(self, read: LiveSettings | ConfigError) -> None:
        if isinstance(read, ConfigError):
            if str(read) != self._refusal:
                self._refusal = str(read)
                self._emit(LiveEditRefused(self._refusal))
            return
        self._refusal = None
        changes = self.settings.changes_to(read)
        if changes:
            self.revision += 1
            self.settings = read
            self._apply(read, changes.keys())
            for key, (old, new) in changes.items():
                self._emit(LiveValueChanged(key, old, new, self.revision))

    def _apply(self, settings: LiveSettings, changed: AbstractSet[str]) -> None:
        """Hand over what changed, without a checkpoint: nobody runs under half of an edit."""
        target = self._target
        if changed & {"requests_in_flight", "requests_per_minute", "tokens_per_minute"}:
            target.set_limits(
                requests_in_flight=settings.requests_in_flight,
                requests_per_minute=settings.requests_per_minute,
                tokens_per_minute=settings.tokens_per_minute,
            )
        if "attempt_timeout" in changed:
            target.set_attempt_timeout(settings.attempt_timeout)
        if changed & {"budget_tokens", "budget_usd"}:
            target.set_budget(tokens=settings.budget_tokens, micro_usd=settings.budget.micro_usd)
        if any(key.startswith("roles.") for key in changed):
            target.set_roles(settings.runtime)
        if "documents_in_flight" in changed:
            target.set_documents_in_flight(settings.documents_in_flight)

    async def watch(self) -> None:
        """Apply each edit of the file, until cancelled; then the thread that looks has ended, and nothing is open."""
        await watch_file(self._path, self._take_in_thread)

    async def look(self) -> None:
        """Apply edits as they are found, every `LOOK_PERIOD`, until cancelled."""
        while True:
            await trio.sleep(LOOK_PERIOD)
            self.take()

    async def _take_in_thread(self) -> None:
        # Parsing, and the price list at first, take longer than the other tasks should wait.
        self._answer(await trio.to_thread.run_sync(self._read))


@asynccontextmanager
async def open_live(*, threaded: bool) -> AsyncGenerator[Callable[[LiveValuesControl], None]]:
    """Yield what holds a run to its live file, from the call on, until the block ends.

    Args:
        threaded: watch with a thread; without one, as in virtual time, the file is looked at now and then.
    """
    async with trio.open_nursery() as nursery:

        def start(control: LiveValuesControl) -> None:
            control.take()
            nursery.start_soon(control.watch if threaded else control.look)

        try:
            yield start
        finally:
            nursery.cancel_scope.cancel()
