"""Publishing artifacts, in whichever thread: filled, synced, given a name nobody has, and taken back if that fails."""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from agent_pipeline.documents.folder import error_of, exists, id_of, opened, unlink, unlink_same
from agent_pipeline.documents.names import candidate_names, folded
from agent_pipeline.documents.temporary import TemporaryFile, fill, leave, make, publish
from agent_pipeline.domain.document import Artifact, Document
from agent_pipeline.errors import ArtifactError
from agent_pipeline.failpoints import reach

_SURROGATE = re.compile("[\ud800-\udfff]")


def text_bytes(document: Document) -> bytes:
    """Return a document's text as UTF-8."""
    try:
        return document.text.encode()
    except UnicodeEncodeError:  # half a character can't be; the rest of what was paid for is worth keeping
        return _SURROGATE.sub("\ufffd", document.text).encode()


@dataclass(slots=True, eq=False)
class Job:
    """One document to write, and what became of it.

    Attributes:
        woken: set when it is written, or when nobody writes and it is the next.
    """

    document: Document
    content: bytes = b""
    temporary: TemporaryFile | None = None
    name: str | None = None
    artifact: Artifact | None = None
    error: ArtifactError | None = None
    woken: trio.Event = field(default_factory=trio.Event)

    def result(self) -> Artifact:
        """Return the artifact.

        Raises:
            ArtifactError: there is none.
        """
        if self.error is not None or self.artifact is None:
            raise self.error or ArtifactError(f"the artifact of document {self.document.id!r} was not written")
        return self.artifact


class Publisher:
    """Puts the artifacts of one run into their folder, one group at a time, whichever thread that happens in."""

    def __init__(self, directory: Path, run_tag: str) -> None:
        self._directory = directory
        self._run_tag = run_tag
        # Folded names of artifacts whose own names are others. All else the folder itself knows, however many it holds.
        self._unlike: set[str] | None = None
        self._evidence: dict[str, str] = {}
        self._confirmed: deque[str] = deque()

    @property
    def has_confirmed(self) -> bool:
        """Whether there are temporary names to remove."""
        return bool(self._confirmed)

    def confirm(self, path: str) -> None:
        """Note that an artifact is on record, from any thread: its temporary name goes with the next group."""
        name = self._evidence.pop(path, None)
        if name is not None:
            self._confirmed.append(name)

    def remove_confirmed(self) -> None:
        """Remove the temporary names of artifacts that are on record."""
        with suppress(OSError), opened(self._directory) as folder:
            self._remove_confirmed(folder)

    def write(self, group: Sequence[Job]) -> None:
        """Write these; what goes wrong with one job is told to that one."""
        try:
            with opened(self._directory) as folder, ExitStack() as files:
                # Each step with all before the next: a file's data are on their way to the disk while others are
                # filled, and no file is synced with a folder that has just got another name.
                self._attempt(folder, group, partial(self._fill, folder, files))
                self._attempt(folder, group, self._sync)
                self._attempt(folder, group, partial(self._finish, folder))
                try:
                    os.fsync(folder)
                    reach("artifact.synced")
                except OSError:
                    for job in group:
                        self._withdraw(folder, job)
                    raise
                self._remove_confirmed(folder)
        except (OSError, ValueError) as exc:
            error = self._error_of(exc, group)
            for job in group:
                if job.artifact is None:  # what is published and synced stays so, whatever is said as files are closed
                    job.error = job.error or error

    def _attempt(self, folder: int, group: Sequence[Job], step: Callable[[Job], None]) -> None:
        """Take the next step with all jobs for which no earlier one failed."""
        for job in group:
            if job.error is None:
                try:
                    step(job)
                except (OSError, ValueError) as exc:
                    job.error = self._error_of(exc, [job])
                    self._withdraw(folder, job)

    def _fill(self, folder: int, files: ExitStack, job: Job) -> None:
        job.temporary = make(folder, self._run_tag)
        files.callback(leave, folder, job.temporary)
        job.content = text_bytes(job.document)
        fill(job.temporary, job.content)
        reach("artifact.filled")

    @staticmethod
    def _sync(job: Job) -> None:
        if job.temporary is not None:
            os.fsync(job.temporary.descriptor)

    def _finish(self, folder: int, job: Job) -> None:
        temporary = job.temporary
        if temporary is None:
            return
        job.name = self._publish(folder, temporary, job.document)
        path = self._path_of(job.name)
        if temporary.is_evidence:
            self._evidence[path] = temporary.name
        sha256 = hashlib.sha256(job.content).hexdigest()
        job.artifact = Artifact(job.document.id, path, sha256, len(job.content))
        reach("artifact.linked")

    def _publish(self, folder: int, temporary: TemporaryFile, document: Document) -> str:
        for name in candidate_names(document):
            if not self._take(folder, name):
                continue
            try:
                publish(folder, temporary, name)
            except FileExistsError:
                continue  # it came into being after the folder was listed: somebody else's, so the name stays taken
            except OSError:
                self.give_back(name)
                raise
            return name
        raise AssertionError("names never run out")

    def _withdraw(self, folder: int, job: Job) -> None:
        """Take an artifact back that has its name already, since its document will be told that it has none."""
        job.artifact = None
        if job.name is None or job.temporary is None:
            return
        # Where not even this can be done, the evidence stays, and the next session does it.
        with suppress(OSError):
            unlink_same(folder, job.name, id_of(os.fstat(job.temporary.descriptor)))
            job.temporary.is_evidence = False
            self.give_back(job.name)
        self._evidence.pop(self._path_of(job.name), None)

    def _take(self, folder: int, name: str) -> bool:
        """Return whether nobody has this name, or one that some file system takes for it, as far as is known here."""
        if self._unlike is None:
            with os.scandir(folder) as entries:
                pairs = ((entry.name, folded(entry.name)) for entry in entries)
                self._unlike = {like for own, like in pairs if own != like}
        like = folded(name)
        if like in self._unlike:
            return False
        if like == name:
            return True  # whether it is there itself, publishing it tells
        if exists(folder, like):
            return False
        self._unlike.add(like)
        return True

    def give_back(self, name: str) -> None:
        """Let a name be used again: its file is gone."""
        if self._unlike is not None and folded(name) != name:
            self._unlike.discard(folded(name))

    def _remove_confirmed(self, folder: int) -> None:
        # A name that stays costs nothing, and its artifact is on record: the next session removes the name alone.
        with suppress(OSError):
            while self._confirmed:
                unlink(folder, self._confirmed.popleft())

    def _path_of(self, name: str) -> str:
        return os.path.join(self._directory, name)  # noqa: PTH118 - once for each artifact

    def _error_of(self, exc: OSError | ValueError, jobs: Sequence[Job]) -> ArtifactError:
        names = ", ".join(repr(job.document.id) for job in jobs)
        return error_of(exc, self._directory, f"the artifact of document {names} can't be written")
