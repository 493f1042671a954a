"""One process of a simulated run, from opening to its end or its death, with all that can be seen from outside."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.runtime import Runtime
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.control.budget import BudgetStatistics
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.testing.worlds.books import NOTHING, Books, newest_books
from agent_pipeline.testing.worlds.files import copy_files
from agent_pipeline.testing.worlds.story import Story
from agent_pipeline.testing.worlds.troubles import Interruption
from agent_pipeline.testing.worlds.watch import Watch, at_failpoints, seeded_scheduler
from agent_pipeline.testing.worlds.witness import Witness


class WatchedPipeline(Pipeline):
    """A pipeline that shows its open parts to who watches it."""

    def __init__(self, config: PipelineConfig, options: RunOptions | None = None) -> None:
        super().__init__(config, options)
        self.show: Callable[[Runtime], None] | None = None

    def _on_open(self, runtime: Runtime) -> None:
        if self.show is not None:
            self.show(runtime)


@dataclass(slots=True)
class Session:
    """One process, and what became of it.

    Attributes:
        number: from 1.
        before: the ledger as it found it.
        known_lost: requests that earlier crashes left without a row, less rows that they left without a request.
        seen: requests the provider had seen when it ended or died.
        in_flight: requests under way when it died.
        struck: whether the interruption came before the end.
        error: code and words of what the run raised.
        tokens: the budget at the end, None where it was never open.
        document_tokens: the cap of each document, None for none.
        books: the ledger as it was at the end or death.
        held: what was still held or open at the end.
        failures: what was found by watching.
    """

    number: int
    interruption: Interruption | None
    story: Story
    before: Books
    known_lost: int
    seen: int = 0
    in_flight: int = 0
    struck: bool = False
    result: RunResult | None = None
    error: tuple[str, str] | None = None
    tokens: BudgetStatistics | None = None
    micro_usd: BudgetStatistics | None = None
    document_tokens: int | None = None
    books: Books = NOTHING
    held: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0

    @property
    def in_run(self) -> int:
        """Its number among the sessions of its run; 0 where it did not get as far as that."""
        known = len(self.before.sessions)
        return known + 1 if len(self.books.sessions) > known else 0

    @property
    def lost(self) -> int:
        """Requests without a row, less rows without a request, as it left them."""
        return self.seen - len(self.books.attempts)

    @property
    def has_died(self) -> bool:
        """Whether it ended by a crash."""
        return self.struck and self.interruption is not None and self.interruption.kind == "crash"

    def told(self) -> str:
        """Return how it ended, in words."""
        due = self.interruption
        cause = f"{due.kind} at {due.clock} {due.moment}" if due is not None and self.struck else ""
        end = "" if self.error is None else self.error[0]
        if self.result is not None:
            end = f"{self.result.outcome} {self.result.reason or ''}".rstrip()
        return ": ".join(part for part in (cause, end) if part)


class Process:
    """Runs one session as if it were a process of its own.

    Args:
        session: is filled in.
        project: the folder that survives a crash.
        kept: where the files go that a crash leaves.
        witness: the provider.
    """

    def __init__(self, session: Session, *, project: Path, kept: Path, witness: Witness) -> None:
        self._session = session
        self._project = project
        self._kept = kept
        self._witness = witness
        self._scope = trio.CancelScope()
        self._runtime: Runtime | None = None
        self._patience = math.inf
        self._over_cap: set[str] = set()

    def run(self, pipeline: WatchedPipeline, *, seed: str) -> None:
        """Run to the end, or to the moment of death, in an order that depends on the seed."""
        session = self._session
        watch = Watch(session.interruption, strike=self._strike, look=self._look)
        pipeline.show = self._see
        with seeded_scheduler(seed), at_failpoints(watch.at_failpoint):
            trio.run(
                self._main,
                pipeline,
                watch,
                clock=MockClock(autojump_threshold=0),
                instruments=[watch],
                restrict_keyboard_interrupt_to_checkpoints=True,
                strict_exception_groups=True,
            )
        # Trio's runner knows the watch, and in Python 3.11 the collector can't follow an async generator to its runner.
        self._runtime = watch.main = None
        session.steps = watch.steps
        session.failures += watch.failures
        self._witness.is_deaf = False
        if session.has_died:
            session.result = session.error = None  # nobody was left to be told
        else:
            session.seen = len(self._witness.exchanges)
            session.books = newest_books(self._project)

    def _see(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def _main(self, pipeline: WatchedPipeline, watch: Watch) -> None:
        session = self._session
        watch.main = trio.lowlevel.current_task()
        tasks = trio.lowlevel.current_statistics().tasks_living
        with self._scope:
            try:
                session.result = await pipeline.run()
            except AgentPipelineError as exc:
                session.error = (exc.code, str(exc))  # itself, it would hold on to all it passed
            except Exception as exc:  # noqa: BLE001 - whatever it is, the seed must be told with it
                session.failures.append(f"the run raised {exc!r}")
        session.seconds = trio.current_time()
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        if not session.has_died:
            session.held += [f"{left} tasks"] if left else []
            if self._runtime is not None:
                self._take_stock(self._runtime)

    def _take_stock(self, runtime: Runtime) -> None:
        session, budget, pool = self._session, runtime.gate.budget, runtime.pool.statistics()
        session.tokens, session.micro_usd = budget.tokens.statistics(), budget.micro_usd.statistics()
        session.document_tokens = runtime.itinerary.document_caps.tokens
        roles_hold = sum(role.tokens.statistics().reserved for role in budget.roles.values())
        session.held += [
            f"{count} {what}"
            for what, count in (
                ("tokens", session.tokens.reserved),
                ("tokens of roles", roles_hold),
                ("micro-dollars", session.micro_usd.reserved),
                ("connections", pool.active),
                ("asyncio loops", runtime.bridge.loops_opened - runtime.bridge.loops_closed),
                ("places among the requests", sum(one.in_flight for one in runtime.gate.statistics().lanes.values())),
                ("requests at the provider", self._witness.statistics.requests_in_flight),
            )
            if count
        ]

    def _look(self) -> None:
        """See that no cap is passed at this instant; lose patience with a run that was asked to stop."""
        runtime = self._runtime
        if runtime is None:
            return
        if trio.current_time() >= self._patience:
            self._patience = math.inf
            runtime.stop.request("signal:SIGTERM", "SIGTERM received again", cancel=True)
        budget = runtime.gate.budget
        watched = [("tokens", budget.tokens), ("micro-dollars", budget.micro_usd)]
        watched += [(f"tokens of role {name}", role.tokens) for name, role in budget.roles.items()]
        for unit, tracker in watched:
            now = tracker.statistics()
            if now.total is not None and now.spent + now.reserved > now.total and unit not in self._over_cap:
                self._over_cap.add(unit)
                self._session.failures.append(
                    f"{now.spent} {unit} spent and {now.reserved} held pass the cap of {now.total}"
                )

    def _strike(self) -> bool:
        """Let the interruption happen; tell whether it could."""
        session, due, runtime = self._session, self._session.interruption, self._runtime
        if due is None or session.struck or (due.kind == "stop" and runtime is None):
            return False
        session.struck = True
        if due.kind == "stop" and runtime is not None:
            runtime.stop.request("signal:SIGTERM", "SIGTERM received", cancel=False)
            self._patience = math.inf if due.again is None else trio.current_time() + due.again
            return True
        if due.kind == "crash":
            self._die()
        self._scope.cancel()
        return True

    def _die(self) -> None:
        """Keep the files as they are at this instant; what this process does from now on was never done."""
        session = self._session
        copy_files(self._project, self._kept)
        session.seen = len(self._witness.exchanges)
        session.in_flight = self._witness.statistics.requests_in_flight
        session.books = newest_books(self._kept)
        session.story.is_over = self._witness.is_deaf = True
