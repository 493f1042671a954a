"""Writing artifacts: whole or not at all, on disk before anybody is told, never over another file."""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from agent_pipeline.documents.names import candidate_names, folded
from agent_pipeline.domain.document import Artifact, Document
from agent_pipeline.errors import ArtifactError

_TEMPORARY = re.compile(r"\.agent-pipeline-[0-9a-f]{16}\.part")
_ORPHAN_AGE = 60.0
"""Seconds after which a temporary file that nobody holds is the remains of a killed run."""

GATHER_DELAY = 0.01
"""Seconds the first of a group waits for others."""

MOST_TOGETHER = 16
"""Artifacts of one group; each holds a file descriptor meanwhile."""

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True, eq=False)
class _Job:
    """One document to write, and what became of it."""

    document: Document
    artifact: Artifact | None = None
    error: ArtifactError | None = None
    content: bytes = b""
    temporary: str = ""
    descriptor: int = -1

    def fill(self, folder: int, files: ExitStack) -> None:
        """Write the text into a temporary file, which is gone when `files` are closed."""
        self.temporary, self.descriptor = files.enter_context(temporary_file(folder))
        # Half a character can't be encoded; the rest of what was paid for is worth keeping.
        self.content = _SURROGATE.sub("\ufffd", self.document.text).encode()
        _write_all(self.descriptor, self.content)

    def result(self) -> Artifact:
        if self.error is not None or self.artifact is None:
            raise self.error or ArtifactError(f"the artifact of document {self.document.id!r} was not written")
        return self.artifact


class ArtifactWriter:
    """Writes the artifacts of one run into one folder, from any number of tasks and beside other runs.

    An artifact appears under its name complete and synced, or not at all. Names that some file system takes for one
    (case, composed letters) count as the same; the later one gets its document's id.

    Attributes:
        directory: the folder, absolute; made with the first artifact.
    """

    def __init__(self, directory: Path, *, threaded: bool = True) -> None:
        """Remember the folder; nothing is touched.

        Args:
            directory: where the artifacts go.
            threaded: write in a thread; False writes on the Trio thread, for virtual time.
        """
        self.directory = Path(os.path.abspath(directory))  # noqa: PTH100 - without `..`, but links stay as they are named
        self._threaded = threaded
        self._lock = threading.Lock()
        self._taken: set[str] | None = None
        self._waiting: list[_Job] = []
        self._turn = trio.Lock()

    def prepare(self) -> None:
        """Make the folder, see that files can be written there, and remove what a killed run left half-written.

        Raises:
            ArtifactError: the folder can't be made or written to.
        """
        with self._reporting("the artifacts folder can't be used"), _opened(self.directory) as folder:
            _remove_orphans(folder)
            with temporary_file(folder):
                pass

    async def write(self, document: Document) -> Artifact:
        """Write the document's text as UTF-8 and return where it is, once it is on disk.

        What waits meanwhile is written together, with one hop to a thread and one sync of the folder.

        Cancelled before it began, nothing is written; once begun it is carried through.

        Raises:
            ArtifactError: it could not be written; no part of it is left.
        """
        await trio.lowlevel.checkpoint()
        job = _Job(document)
        self._waiting.append(job)
        if not self._threaded:
            self._write_group(self._take_waiting())
            return job.result()
        try:
            await self._turn.acquire()
        except trio.Cancelled:
            if job in self._waiting:
                self._waiting.remove(job)
                raise
            with trio.CancelScope(shield=True):  # whose turn it is writes this one too
                await self._turn.acquire()
        try:
            if job in self._waiting:
                await self._gather(job)
                with trio.CancelScope(shield=True):  # cancelled now, those that were taken would be written by nobody
                    await trio.to_thread.run_sync(self._write_group, self._take_waiting())
        finally:
            self._turn.release()
        return job.result()

    async def _gather(self, job: "_Job") -> None:
        """Let others join: a hop to a thread and a sync cost more CPU than the rest of the writing."""
        try:
            await trio.sleep(GATHER_DELAY)
        except trio.Cancelled:
            self._waiting.remove(job)
            raise

    def _take_waiting(self) -> "list[_Job]":
        group, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        return group

    def _write_group(self, group: "list[_Job]") -> None:
        """Write these, maybe in a thread; what goes wrong with one job is told to that one."""
        names = ", ".join(repr(job.document.id) for job in group)
        problem = f"the artifact of document {names} can't be written"
        try:
            with self._reporting(problem), _opened(self.directory) as folder, ExitStack() as files:
                # All are written before the first is synced: that one sync takes most of the others' work along.
                for job in group:
                    self._attempt(job, partial(job.fill, folder, files))
                for job in group:
                    self._attempt(job, partial(self._finish, folder, job))
                os.fsync(folder)
        except ArtifactError as exc:
            for job in group:
                job.error = job.error or exc

    def _attempt(self, job: "_Job", step: Callable[[], None]) -> None:
        """Take one job's next step, unless an earlier one failed."""
        if job.error is None:
            try:
                with self._reporting(f"the artifact of document {job.document.id!r} can't be written"):
                    step()
            except ArtifactError as exc:
                job.error = exc

    def _finish(self, folder: int, job: "_Job") -> None:
        os.fsync(job.descriptor)
        name = self._publish(folder, job.temporary, job.document)
        sha256 = hashlib.sha256(job.content).hexdigest()
        job.artifact = Artifact(job.document.id, str(self.directory / name), sha256, len(job.content))

    def _publish(self, folder: int, temporary: str, document: Document) -> str:
        for name in candidate_names(document):
            if not self._take(folder, name):
                continue
            try:
                move_without_overwrite(folder, temporary, name)
            except FileExistsError:
                continue  # it came into being after the folder was listed: somebody else's, so the name stays taken
            return name
        raise AssertionError("names never run out")

    def _take(self, folder: int, name: str) -> bool:
        with self._lock:
            if self._taken is None:
                self._taken = {folded(known) for known in os.listdir(folder)}
            if folded(name) in self._taken:
                return False
            self._taken.add(folded(name))
            return True

    @contextmanager
    def _reporting(self, problem: str) -> Generator[None]:
        try:
            yield
        except OSError as exc:
            raise ArtifactError(f"{self.directory}: {problem}: {exc.strerror or exc}") from exc
        except ValueError as exc:  # a NUL in the path
            raise ArtifactError(f"{str(self.directory)!r}: {problem}: {exc}") from exc


async def write_rejected(directory: Path, document: Document, *, threaded: bool = True) -> Artifact:
    """Keep the last text of a document that was never approved, under its id, with the care artifacts get.

    Raises:
        ArtifactError: it could not be written; no part of it is left.
    """
    extension = document.fields.get("extension")
    plain = Document(document.id, document.text, fields={"extension": extension})
    return await ArtifactWriter(directory, threaded=threaded).write(plain)


def remove_artifacts(paths_with_hashes: Iterable[tuple[str, str]], *, directory: Path) -> list[str]:
    """Remove artifacts that earlier runs wrote into `directory` and nobody has changed since.

    What lies elsewhere, is no regular file, or has another content is left alone.

    Args:
        paths_with_hashes: path and SHA-256 as ledgers recorded them.
        directory: the only folder in which anything is removed.

    Returns:
        The paths that were removed.

    Raises:
        ArtifactError: a file that should go can't be removed; those before it are gone.
    """
    removed: list[str] = []
    inside = os.path.realpath(directory)
    for path, sha256 in paths_with_hashes:
        if "\x00" in path or os.path.realpath(Path(path).parent) != inside or _hash_file(path) != sha256:
            continue
        try:
            Path(path).unlink()
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise ArtifactError(f"{path}: can't be removed: {exc.strerror}") from exc
        removed.append(path)
    return removed


def move_without_overwrite(folder: int, temporary: str, name: str) -> None:
    """Give a finished file its name, unless there is a file of that name.

    Raises:
        FileExistsError: the name is taken; nothing has changed.
    """
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        rename_over_placeholder(folder, temporary, name)
    else:
        os.unlink(temporary, dir_fd=folder)


def rename_over_placeholder(folder: int, temporary: str, name: str) -> None:
    """Do the same where the file system has no links: claim the name with an empty file, then replace that one.

    Raises:
        FileExistsError: the name is taken; nothing has changed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o600, dir_fd=folder))
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise


@contextmanager
def _opened(directory: Path) -> Generator[int]:
    """Open the folder, made if it is not there: all that follows happens relative to this descriptor."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def temporary_file(folder: int) -> Generator[tuple[str, int]]:
    """Make a file nobody else has, held by a lock; at the end no file of that name is left."""
    name = f".agent-pipeline-{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        # Tells a run that is alive from the remains of a killed one, whose locks are gone.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield name, descriptor
    finally:
        try:
            os.close(descriptor)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove_orphans(folder: int) -> None:
    for name in os.listdir(folder):
        if _TEMPORARY.fullmatch(name) and _is_orphan(folder, name):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def _is_orphan(folder: int, name: str) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        return stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _ORPHAN_AGE
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _hash_file(path: str) -> str | None:
    """Return the SHA-256 of a regular file, None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()
