"""One simulated world: everything that happens in it comes from one seed."""

import gc
import random
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipeline.compose import RunOptions
from agent_pipeline.compose.runtime import load_libraries
from agent_pipeline.config.pipeline import load_pipeline_config
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.testing.worlds.books import NOTHING
from agent_pipeline.testing.worlds.files import put_back, tear_logs
from agent_pipeline.testing.worlds.invariants import broken_by, broken_in_files, doubted_by_verify
from agent_pipeline.testing.worlds.projects import WriteProject, draw_project
from agent_pipeline.testing.worlds.session import Process, Session, WatchedPipeline
from agent_pipeline.testing.worlds.story import Story, story_sha256
from agent_pipeline.testing.worlds.troubles import Interruption, draw_troubles
from agent_pipeline.testing.worlds.witness import Witness

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


@dataclass(frozen=True, slots=True)
class WorldReport:
    """What became of a world.

    Attributes:
        seed: makes the same world again.
        violations: invariants that did not hold, with the session in which that was seen.
        sessions: how each process of the run ended, in words.
        outcomes: documents by outcome, at the end.
        requests: as the provider counted them.
        steps: of Trio's scheduler.
        seconds: virtual ones.
        story: what happened, one line of JSON per event.
        story_sha256: of these lines; equal for two tellings of one seed.
    """

    seed: int
    violations: tuple[str, ...]
    sessions: tuple[str, ...]
    outcomes: dict[str, int]
    requests: int
    steps: int
    seconds: float
    story: tuple[str, ...]
    story_sha256: str


def simulate_world(seed: int, folder: Path, *, write_project: WriteProject = draw_project) -> WorldReport:
    """Let a whole run happen in virtual time, with faults, interruptions and crashes, and see what holds.

    Blocks, for some tenths of a second; use it in the main thread, where no Trio runs. Nothing outside `folder` is
    written; inside, the last session's files stay.

    Args:
        seed: decides everything.
        folder: an empty one of its own.
        write_project: writes the project that runs; the default draws one from the seed.
    """
    load_libraries()
    world = _World(seed, folder, write_project)
    with _left_behind(world.violations):
        world.run()
    return world.report()


class _World:
    def __init__(self, seed: int, folder: Path, write_project: WriteProject) -> None:
        self.seed = seed
        self.violations: list[str] = []
        self._folder = folder
        self._project = folder / "project"
        self._project.mkdir()
        rng = random.Random(seed)
        self._config = load_pipeline_config(write_project(rng, self._project))
        for path in (self._config.artifacts, self._config.logs):
            if not path.is_relative_to(self._project.absolute()):
                message = (
                    f"{path} is outside the world; a project keeps its artifacts and logs in the folder it is given"
                )
                raise ValueError(message)
        self._troubles = draw_troubles(rng)
        self._witness = Witness(seed=seed, faults=self._troubles.faults)
        self._sessions: list[Session] = []
        self._books = NOTHING

    def run(self) -> None:
        """Let one process after the other work on the run, until one is not interrupted."""
        for number, interruption in enumerate((*self._troubles.interruptions, None), 1):
            session = self._session(number, interruption)
            if not session.struck:
                break

    def _session(self, number: int, interruption: Interruption | None) -> Session:
        lost = self._sessions[-1].lost if self._sessions else 0
        session = Session(number, interruption, Story(self._folder), self._books, lost)
        self._sessions.append(session)
        kept = self._folder / "kept"
        process = Process(session, project=self._project, kept=kept, witness=self._witness)
        process.run(self._pipeline(session), seed=f"{self.seed} {number}")
        if session.has_died:
            put_back(kept, self._project)
        found = list(broken_by(session, self._witness.exchanges))
        if session.has_died and interruption is not None:
            if not any(self._config.logs.glob("*/manifest.json")):  # it is written when all logs are closed
                tear_logs(self._config.logs, interruption.torn)
        else:
            found += broken_in_files(session, artifacts=self._config.artifacts, logs=self._config.logs)
        for row in session.books.runs:
            found += doubted_by_verify(self._config.logs / row.run_id)
        self.violations += [f"session {number}: {problem}" for problem in found]
        self._books = session.books
        return session

    def _pipeline(self, session: Session) -> WatchedPipeline:
        """Open the run where it was left, or a new one where nothing of it is left."""
        options = RunOptions(
            offline=True,
            virtual=True,
            make_pool=lambda: simulator_pool(self._witness),
            sinks=(session.story,),
            seed=self.seed,
        )
        if not self._books.runs:
            return WatchedPipeline(self._config, options)
        return WatchedPipeline.from_run(self._config.logs / self._books.runs[0].run_id, options=options)

    def report(self) -> WorldReport:
        """Say what became of it."""
        lines = [line for session in self._sessions for line in (f"session {session.number}", *session.story.lines)]
        return WorldReport(
            seed=self.seed,
            violations=tuple(self.violations),
            sessions=tuple(session.told() for session in self._sessions),
            outcomes=dict(sorted(Counter(str(row.outcome) for row in self._books.documents).items())),
            requests=len(self._witness.exchanges),
            steps=sum(session.steps for session in self._sessions),
            seconds=sum(session.seconds for session in self._sessions),
            story=tuple(lines),
            story_sha256=story_sha256(lines),
        )


@contextmanager
def _left_behind(violations: list[str]) -> Generator[None]:
    """Add what the block leaves open, or leaves to the garbage collector.

    The collector rests inside the block: when it ran would depend on what ran before, and what it finds could act.
    """
    was_enabled, was_frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.disable()
    gc.freeze()  # so that only what the block makes is looked at
    before = _open_things()
    try:
        with _complaints(violations):
            yield
            while gc.collect():  # finalizers of what is found may let go of more
                continue
        for what, count in _open_things().items():
            if count > before[what]:
                violations.append(f"{count - before[what]} {what} left behind")
    finally:
        if not was_frozen:
            gc.unfreeze()
        if was_enabled:
            gc.enable()


def _open_things() -> Counter[str]:
    loops = sum(type(one).__name__ in {"TrioEventLoop", "Runner", "Task"} for one in gc.get_objects())
    return Counter(
        {
            "file descriptors": sum(1 for _ in Path("/dev/fd").iterdir()),
            "threads": threading.active_count(),
            "loops or tasks": loops,
        }
    )


@contextmanager
def _complaints(violations: list[str]) -> Generator[None]:
    """Add what Python can only complain of: coroutines never awaited, errors in finalizers, files left open."""

    def note(unraisable: "UnraisableHookArgs") -> None:
        violations.append(f"unraisable in {unraisable.object!r}: {unraisable.exc_value!r}")

    hook, sys.unraisablehook = sys.unraisablehook, note
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ResourceWarning)
            warnings.simplefilter("always", RuntimeWarning)
            yield
        violations += [f"{one.category.__name__}: {one.message}" for one in caught]
    finally:
        sys.unraisablehook = hook
