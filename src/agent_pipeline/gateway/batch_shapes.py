"""What a provider says of files and batches, as far as anybody reads it."""

from typing import Literal

from agent_pipeline.gateway.shapes import Shape

BatchStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]


class RemoteFile(Shape):
    """A file at the provider."""

    id: str
    filename: str = ""
    bytes: int | None = None


class BatchProblem(Shape):
    """What is wrong with a batch; `line` counts the lines of its input from 1, None speaks of all."""

    line: int | None = None
    code: str | None = None
    message: str | None = None


class BatchProblems(Shape):
    """All that is wrong with it."""

    data: list[BatchProblem] | None = None


class RequestCounts(Shape):
    """How many of a batch's requests are where."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class RemoteBatch(Shape):
    """A batch at the provider."""

    id: str
    status: BatchStatus
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: BatchProblems | None = None
    request_counts: RequestCounts | None = None
    metadata: dict[str, str] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.status in {"failed", "completed", "expired", "cancelled"}

    @property
    def problems(self) -> list[BatchProblem]:
        """What is wrong with it."""
        return [] if self.errors is None else self.errors.data or []


class FilePage(Shape):
    """Some of the files, the newest first."""

    data: list[RemoteFile]
    has_more: bool = False


class BatchPage(Shape):
    """Some of the batches, the newest first."""

    data: list[RemoteBatch]
    has_more: bool = False
