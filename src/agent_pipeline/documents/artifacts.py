"""Writing artifacts: whole or not at all, on disk before anybody is told, never over another file."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from agent_pipeline.documents.folder import absolute, opened, reporting
from agent_pipeline.documents.publishing import Job, Publisher
from agent_pipeline.documents.recorded import Recorded, artifacts_are_whole, claimed_names, remove_artifacts
from agent_pipeline.documents.remains import Recovered, remove_orphans, remove_remains
from agent_pipeline.documents.temporary import check_tag, temporary_file
from agent_pipeline.domain.document import Artifact, Document

ResultT = TypeVar("ResultT")

GATHER_DELAY = 0.01
"""Seconds the first of a group waits for others."""

MOST_TOGETHER = 32
"""Artifacts of one group; each holds a file descriptor meanwhile."""


class ArtifactWriter:
    """Writes the artifacts of one run into one folder, from any number of tasks and beside other runs.

    An artifact appears under its name complete and synced, or not at all. Names that some file system takes for one
    (case, composed letters) count as the same; the later one gets its document's id.

    Until `confirm` says that an artifact is on record, it keeps its temporary name beside its own: should the process
    be killed in between, `recover` knows by it what was published and not recorded.

    Attributes:
        directory: the folder, absolute; made with the first artifact.
    """

    def __init__(self, directory: Path, *, run_tag: str | None = None, threaded: bool = True) -> None:
        """Remember the folder; nothing is touched.

        Args:
            directory: where the artifacts go.
            run_tag: 6 to 16 hex digits in the names of temporary files, the same in every session of a run and in no
                other run (`tag_of_run`); random where nothing is ever to be recovered.
            threaded: write in a thread; False writes on the Trio thread, for virtual time.

        Raises:
            ValueError: the tag can't be used.
        """
        self.directory = absolute(directory)
        self._run_tag = check_tag(secrets.token_hex(8) if run_tag is None else run_tag)
        self._threaded = threaded
        self._publisher = Publisher(self.directory, self._run_tag)
        self._waiting: list[Job] = []
        self._has_writer = False
        self._thread = trio.CapacityLimiter(1)  # its own, so that stages whose threads hang hold up no artifact

    def prepare(self) -> None:
        """Make the folder, see that files can be written there, and remove what killed runs left half-written.

        A temporary file that has an artifact beside it stays, however old: a run that was killed may be resumed at any
        later time, and only this tells its unrecorded artifact from a file somebody else put there. It takes no room
        on the disk, goes when its run is resumed, and here, once the artifact itself is removed.

        Raises:
            ArtifactError: the folder can't be made or written to.
        """
        with self._reporting("the artifacts folder can't be used"), opened(self.directory) as folder:
            remove_orphans(folder)
            with temporary_file(folder, self._run_tag):
                pass

    def recover(self, recorded: Iterable[str]) -> Recovered:
        """Remove what earlier sessions of this run left when they were killed.

        All temporary files of this run go, and artifacts that were published but not recorded, so that their names are
        free again. Call it before anything is written, and only where no other process works on this run. Blocks.

        Args:
            recorded: paths of artifacts as the ledger has them; read only where something was published and maybe not
                recorded.

        Raises:
            ArtifactError: something can't be looked at or removed; called again, it goes on.
        """
        problem = "what an earlier session left can't be removed"
        with self._reporting(problem), opened(self.directory) as folder:
            return remove_remains(
                folder, self._run_tag, lambda names: claimed_names(names, recorded, directory=self.directory)
            )

    async def write(self, document: Document) -> Artifact:
        """Write the document's text as UTF-8 and return where it is, once it is on disk.

        What waits meanwhile is written together, with one hop to a thread and one sync of the folder.

        Cancelled before it began, nothing is written; once begun it is carried through.

        Raises:
            DiskFullError: the disk takes no more; no part of it is left.
            ArtifactError: it could not be written; no part of it is left.
        """
        job = Job(document)
        if not self._threaded:
            await trio.lowlevel.checkpoint()
            self._publisher.write([job])
            return job.result()
        self._waiting.append(job)  # whatever follows waits, and a cancelled one is taken out again there
        if self._has_writer:
            await self._wait_for_turn(job)
        if self._waiting[:1] == [job]:  # its turn, since nobody has written it
            self._has_writer = True
            group: list[Job] = []
            try:
                await self._gather(job)
                with trio.CancelScope(shield=True):  # cancelled now, those that were taken would be written by nobody
                    group = self._take_waiting()
                    await trio.to_thread.run_sync(self._publisher.write, group, limiter=self._thread)
            finally:
                self._pass_turn(group)
        return job.result()

    async def whole(self, many: Sequence[Recorded]) -> list[Recorded]:
        """Return those of recorded artifacts whose files are in the folder as they were recorded.

        Raises:
            ArtifactError: one is there, but can't be read.
        """
        answers = await self._apart(partial(artifacts_are_whole, many, self.directory))
        return [recorded for recorded, is_whole in zip(many, answers, strict=True) if is_whole]

    async def remove(self, artifact: Artifact) -> None:
        """Take a recorded artifact away, since its document is worked on again; one that somebody changed stays.

        Raises:
            ArtifactError: it can't be removed.
        """
        recorded = [(artifact.path, artifact.sha256)]
        if await self._apart(partial(remove_artifacts, recorded, directory=self.directory)):
            self._publisher.give_back(Path(artifact.path).name)

    async def _apart(self, work: Callable[[], ResultT]) -> ResultT:
        """Do what blocks in the writer's own thread, where it has one; carried through when cancelled."""
        await trio.lowlevel.checkpoint()
        return await trio.to_thread.run_sync(work, limiter=self._thread) if self._threaded else work()

    def confirm(self, artifact: Artifact) -> None:
        """Say that the ledger has this artifact on disk: its temporary name may go, with the next group or `aclose`.

        Only notes it. One that was not written by this writer, or has no temporary name, is no matter.
        """
        self._publisher.confirm(artifact.path)

    async def aclose(self) -> None:
        """Remove the temporary names of what was confirmed; what never was keeps its own, as evidence.

        Shielded: it takes as long as these names and a group that is being written just now.
        """
        with trio.CancelScope(shield=True):
            if self._publisher.has_confirmed:
                await self._apart(self._publisher.remove_confirmed)

    async def _wait_for_turn(self, job: Job) -> None:
        """Wait until the job is written, or is the first of those that are not and nobody writes."""
        try:
            await job.woken.wait()
        except trio.Cancelled:
            if job in self._waiting:
                self._waiting.remove(job)
                if job.woken.is_set():  # it was given the turn when it was cancelled already
                    self._pass_turn(())
                raise
            with trio.CancelScope(shield=True):  # whose turn it is writes this one too
                await job.woken.wait()

    def _pass_turn(self, written: Sequence[Job]) -> None:
        """Wake those that were written, all at once, and the one whose turn it is."""
        for job in (*written, *self._waiting[:1]):
            job.woken.set()
        self._has_writer = bool(self._waiting)

    async def _gather(self, job: Job) -> None:
        """Let others join: a hop to a thread and a sync cost more CPU than the rest of the writing."""
        try:
            await trio.sleep(GATHER_DELAY)
        except trio.Cancelled:
            self._waiting.remove(job)
            raise

    def _take_waiting(self) -> list[Job]:
        group, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        return group

    def _reporting(self, problem: str) -> AbstractContextManager[None]:
        return reporting(self.directory, problem)
