"""What is known of a batch job, on disk before it matters: who goes on after a crash reads it and repeats nothing."""

import fcntl
import math
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar, TypeVarTuple

import trio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_pipeline.documents.folder import opened, reporting
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import BatchJobError, RunInUseError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STATE_NAME = "job.json"

Step = Literal["written", "uploading", "uploaded", "creating", "created", "collected", "settled", "dropped"]
"""How far a part is. `uploading` and `creating` are written down before the request leaves: found on resume, the
provider is asked first whether it has the file or the batch already. `dropped` was cancelled before it was made."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", validate_assignment=False)


class Problem(_Kept):
    """What the provider said was wrong with a batch; `line` from 1."""

    line: int | None = None
    code: str = ""
    message: str = ""


class Charge(_Kept):
    """What a part was charged in the end; money is discounted, None without a known price."""

    usage: Usage = Usage()
    micro_usd: int | None = None
    unknown_tokens: int = 0
    unknown_micro_usd: int = 0


class PartState(_Kept):
    """One input file and its batch.

    Attributes:
        number: from 1.
        requests: lines of it.
        size_bytes: of its file.
        worst_tokens: it can't use more.
        worst_micro_usd: nor cost more, before the discount; None without a known price.
        ordinal: how often a batch was asked for; a provider with a full queue refuses the first ones.
        status: of the batch at its end.
        counted: requests the provider says it answered.
    """

    number: int
    requests: int
    size_bytes: int
    worst_tokens: int
    worst_micro_usd: int | None
    step: Step = "written"
    ordinal: int = 1
    file_id: str | None = None
    batch_id: str | None = None
    status: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    counted: int | None = None
    problems: list[Problem] = Field(default_factory=list)
    charge: Charge | None = None


class JobState(_Kept):
    """A whole job; `sealed` once all of its input is on disk: nothing is sent before."""

    version: Literal[1] = 1
    job_id: str
    role: str
    provider: str
    model: str
    endpoint: str
    discount: float
    sealed: bool = False
    cancel_requested: bool = False
    parts: list[PartState] = Field(default_factory=list)

    @property
    def requests(self) -> int:
        """Of all parts."""
        return sum(part.requests for part in self.parts)


def discounted(micro_usd: int, discount: float) -> int:
    """Return a price less the discount, rounded up.

    >>> discounted(101, 0.5), discounted(100, 0.1)
    (51, 90)
    """
    # By way of its shortest text, so that 0.1 is a tenth and not the nearest binary fraction.
    return math.ceil(micro_usd * (1 - Fraction(str(discount))))


class JobFolder:
    """The directory of one job; at most one process works in it.

    Args:
        path: made when it is needed.
        threaded: sync files in worker threads; False where time is virtual, which can't wait for them.
    """

    def __init__(self, path: Path, *, threaded: bool = True) -> None:
        self.path = path
        self._threaded = threaded
        self._saving = trio.Lock()

    def input(self, number: int) -> Path:
        """Return where the requests of a part are."""
        return self.path / f"part-{number:04}.jsonl"

    def result(self, number: int, kind: Literal["output", "error"]) -> Path:
        """Return where the answers, or the errors, of a part are."""
        return self.path / f"part-{number:04}.{kind}.jsonl"

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep others out.

        Raises:
            RunInUseError: somebody else works in it.
            ArtifactError: it can't be used.
        """
        with reporting(self.path, "the job's directory can't be used"):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunInUseError(f"another process works on the batch job in {self.path}") from None
            yield
        finally:
            os.close(descriptor)

    def load(self) -> JobState | None:
        """Return what is known, None where there is no job.

        Raises:
            BatchJobError: the file is damaged, or of a later version.
        """
        path = self.path / STATE_NAME
        try:
            return JobState.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as exc:
            raise BatchJobError(
                f"{path} is no batch job that this version can read: {exc.error_count()} errors"
            ) from exc

    async def save(self, state: JobState) -> None:
        """Replace what is on disk, synced; not interrupted by cancellation, one at a time."""
        with trio.CancelScope(shield=True):
            async with self._saving:
                await self.on_disk(self._write, state.model_dump_json(indent=1).encode())

    async def on_disk(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """Do what waits for the disk, away from the loop.

        Raises:
            ArtifactError: it fails.
        """
        with reporting(self.path, "the batch job can't be written"):
            if self._threaded:
                return await trio.to_thread.run_sync(fn, *args)
            return fn(*args)

    def _write(self, content: bytes) -> None:
        target, temporary = self.path / STATE_NAME, self.path / f"{STATE_NAME}.new"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, target)


def publish(temporary: Path, target: Path) -> None:
    """Give a synced file its name, so that it is there after a crash."""
    temporary.rename(target)
    with opened(target.parent) as folder:
        os.fsync(folder)


def sync(path: Path) -> None:
    """Have a file's content on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
