"""A run in virtual time that leaves nothing behind: the user's pipeline, its files in a folder that goes with it."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio
from trio.testing import MockClock

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.compose.runtime import Runtime, load_libraries
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.documents import ArtifactWriter, Source
from agent_pipeline.domain.document import Artifact, Document
from agent_pipeline.domain.result import RunResult
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.pipeline.stage import StageFunction
from agent_pipeline.simulator import Simulator
from agent_pipeline.telemetry import Sink

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it, mode 0700


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualRun:
    """What is run, and who looks on.

    Attributes:
        config: the user's.
        options: which stages, and the seed.
        source: the documents.
        provider: answers in the place of every real one.
        sink: is told of all that happens.
        in_place_of: puts another function in the place of each stage's.
        on_open: is given the open parts before the first document begins.
    """

    config: PipelineConfig
    options: RunOptions
    source: Source
    provider: Simulator
    sink: Sink
    in_place_of: Callable[[StageFunction], StageFunction]
    on_open: Callable[[Runtime], None] = lambda _runtime: None

    def run(self) -> RunResult:
        """Run to the end; outside of Trio only, in the main thread. Nothing is left, also on error and on Ctrl-C.

        Raises:
            AgentPipelineError: as `Pipeline.run`.
        """
        load_libraries()
        with _quiet_sdk(), _folder() as folder:
            here = {"artifacts": folder / "artifacts", "logs": folder / "logs", "live": None}
            options = replace(
                self.options,
                offline=True,
                virtual=True,
                keeps_logs=False,
                make_pool=lambda: simulator_pool(self.provider),
                sinks=(self.sink,),
            )
            pipeline = _Rehearsed(self.config.model_copy(update=here), options)
            pipeline.plan = self
            return trio.run(
                pipeline.run,
                clock=MockClock(autojump_threshold=0),
                restrict_keyboard_interrupt_to_checkpoints=True,
                strict_exception_groups=True,
            )


class _Rehearsed(Pipeline):
    """A pipeline whose documents and stages are given, and whose artifacts go nowhere."""

    plan: VirtualRun

    def _open_source(self, options: RunOptions) -> Source:
        del options  # how many documents there are was decided before
        return self.plan.source

    def _on_open(self, runtime: Runtime) -> None:
        itinerary = runtime.itinerary
        # Not before: what a stage is known by is read from its own code.
        itinerary.stages = [
            replace(one, stage=replace(one.stage, function=self.plan.in_place_of(one.stage.function)))
            for one in itinerary.stages
        ]
        itinerary.records = replace(
            runtime.document_records,
            artifacts=_Unwritten(runtime.document_records.artifacts.directory, threaded=False),
            rejected=_forget,
        )
        self.plan.on_open(runtime)


class _Unwritten(ArtifactWriter):
    """Says that an artifact was written."""

    async def write(self, document: Document) -> Artifact:
        await trio.lowlevel.checkpoint()
        text = document.text.encode()
        path = str(self.directory / hashlib.sha256(document.id.encode()).hexdigest())
        return Artifact(document.id, path, hashlib.sha256(text).hexdigest(), len(text))

    def confirm(self, artifact: Artifact) -> None:
        pass


async def _forget(document: Document) -> None:
    del document
    await trio.lowlevel.checkpoint()


@contextmanager
def _quiet_sdk() -> Generator[None]:
    """Keep the SDK's logger from stderr, where it would say of each fault that it met one."""
    logger = logging.getLogger("openai.agents")
    handler, propagates = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.removeHandler(handler)


@contextmanager
def _folder() -> Generator[Path]:
    """Make a folder, in memory where that can be had: nothing in it has to outlive the block."""
    parent = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK | os.X_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="agent-pipeline-rehearsal-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
