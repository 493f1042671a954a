"""Batches: a file of requests is answered later, line by line, into a file of results."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from agent_pipeline.simulator import file_store
from agent_pipeline.simulator.apis import APIS
from agent_pipeline.simulator.batch_lines import lines_of, problem, problems_of
from agent_pipeline.simulator.file_store import FileStore, StoredFile
from agent_pipeline.simulator.identity import CREATED_AT, Identity
from agent_pipeline.simulator.json_values import JsonObject, as_object, as_text, dumps, loads
from agent_pipeline.simulator.plan import FaultPlan
from agent_pipeline.simulator.wire import BadRequestError

MOST_BATCHES: Final = 1000
LINES_PER_LOOK: Final = 1000
"""So many lines are answered each time somebody looks at the batch, so that no look takes long."""
WINDOW: Final = "24h"

Status = Literal["validating", "failed", "in_progress", "completed", "expired", "cancelling", "cancelled"]

_NEVER_RUN: Final = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "The batch was cancelled before this request was executed."),
}
"""What is said of the lines that a batch did not come to, by how it ended."""


@dataclass(frozen=True, slots=True)
class LineReply:
    """What became of one request of a batch; `body` is the answer, or the error in OpenAI's words."""

    status: int
    request_id: str
    body: JsonObject
    input_tokens: int = 0
    output_tokens: int = 0


Execute = Callable[[str, JsonObject], LineReply]
"""Answers one line: its endpoint and body."""


@dataclass(slots=True)
class _Batch:
    identity: Identity
    endpoint: str
    input_file_id: str
    metadata: JsonObject | None
    started: float
    total: int = 0
    lines: Iterator[JsonObject] = field(default_factory=lambda: iter(()))
    problems: list[JsonObject] = field(default_factory=list)
    status: Status = "validating"
    results: dict[str, list[bytes]] = field(default_factory=lambda: {"output": [], "error": []})
    results_bytes: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    file_ids: dict[str, str] = field(default_factory=dict)

    @property
    def batch_id(self) -> str:
        return self.identity.name("batch")

    @property
    def is_over(self) -> bool:
        return self.status in {"failed", "completed", "expired", "cancelled"}

    def as_json(self) -> JsonObject:
        at = CREATED_AT  # every reply of the simulator is dated the same
        return {
            "id": self.batch_id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": {"object": "list", "data": [*self.problems]} if self.problems else None,
            "input_file_id": self.input_file_id,
            "completion_window": WINDOW,
            "status": self.status,
            "output_file_id": self.file_ids.get("output"),
            "error_file_id": self.file_ids.get("error"),
            "created_at": at,
            "in_progress_at": at if self.status in {"in_progress", "completed"} else None,
            "expires_at": at + 24 * 3600,
            "completed_at": at if self.status == "completed" else None,
            "expired_at": at if self.status == "expired" else None,
            "failed_at": at if self.status == "failed" else None,
            "cancelling_at": at if self.status in {"cancelling", "cancelled"} else None,
            "cancelled_at": at if self.status == "cancelled" else None,
            "request_counts": {
                "total": self.total,
                "completed": self.completed,
                "failed": self.failed,
            },
            "usage": {
                "input_tokens": self.input_tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": self.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": self.input_tokens + self.output_tokens,
            },
            "metadata": self.metadata,
        }


class Batches:
    """All batches. A batch begins a while after it was made, and goes on whenever somebody looks at it."""

    def __init__(self, files: FileStore, execute: Execute, plan: FaultPlan) -> None:
        self._files = files
        self._execute = execute
        self._plan = plan
        self._batches: dict[str, _Batch] = {}

    def create(self, body: JsonObject, identity: Identity, now: float) -> JsonObject:
        """Take a batch on; what is wrong with its lines is told later, as the API does.

        Raises:
            BadRequestError: it can't be taken on at all.
        """
        if len(self._batches) >= MOST_BATCHES:
            raise BadRequestError(f"The simulator takes on {MOST_BATCHES} batches.", code="storage_full")
        endpoint = as_text(body.get("endpoint"))
        if endpoint not in APIS:
            raise BadRequestError(f"Invalid value for 'endpoint': known are {', '.join(APIS)}.", param="endpoint")
        if body.get("completion_window") != WINDOW:
            raise BadRequestError(
                f"Invalid value for 'completion_window': expected '{WINDOW}'.", param="completion_window"
            )
        file = self._files.get(as_text(body.get("input_file_id")))
        if file.purpose != "batch":
            raise BadRequestError("The input file must have the purpose 'batch'.", param="input_file_id")
        metadata = body.get("metadata")
        batch = _Batch(identity, endpoint, file.file_id, as_object(metadata) if metadata else None, now)
        batch.problems = [*self._no_room()] or problems_of(file.data, endpoint)
        batch.total = 0 if batch.problems else sum(1 for _ in lines_of(file.data))
        batch.lines = map(as_object, map(loads, lines_of(file.data)))
        self._batches[batch.batch_id] = batch
        return batch.as_json()

    def get(self, batch_id: str, now: float) -> JsonObject:
        """Return a batch, and let it go on.

        Raises:
            BadRequestError: there is none with this id.
        """
        batch = self._find(batch_id)
        self._advance(batch, now)
        return batch.as_json()

    def list(self) -> list[JsonObject]:
        """Return all batches as they are, the newest first."""
        return [batch.as_json() for batch in reversed(self._batches.values())]

    def cancel(self, batch_id: str) -> JsonObject:
        """Let a batch answer no more lines; what it has answered is kept.

        Raises:
            BadRequestError: there is none with this id, or it is over.
        """
        batch = self._find(batch_id)
        if batch.is_over:
            raise BadRequestError(f"Cannot cancel a batch with status '{batch.status}'.", status=409)
        batch.status = "cancelling"
        return batch.as_json()

    def _find(self, batch_id: str) -> _Batch:
        if batch_id not in self._batches:
            raise BadRequestError(f"No batch found with id '{batch_id[:200]}'.", status=404, param="batch_id")
        return self._batches[batch_id]

    def _no_room(self) -> Sequence[JsonObject]:
        """Return what is said of a batch that is one too many, nothing where it is not."""
        waiting = sum(not batch.is_over and not batch.problems for batch in self._batches.values())
        if self._plan.batch_queue is None or waiting < self._plan.batch_queue:
            return []
        return [problem(None, "token_limit_exceeded", "Enqueued token limit reached; try again once others are over.")]

    def _advance(self, batch: _Batch, now: float) -> None:
        begin, end = batch.started + self._plan.batch_delay, math.inf
        if self._plan.batch_expires is not None:
            end = batch.started + self._plan.batch_expires
        if batch.is_over or (batch.status != "cancelling" and now < min(begin, end)):
            return
        if batch.problems:
            batch.status = "failed"
        elif batch.status == "cancelling":
            self._conclude(batch, "cancelled")
        else:
            batch.status = "in_progress"
            is_done = self._work(batch, min(now, end) - begin)
            if now >= end and is_done and not batch.is_over:
                self._conclude(batch, "expired")

    def _work(self, batch: _Batch, seconds: float) -> bool:
        """Answer the lines that are due so long after it began, as many as one look allows; return whether all are."""
        due, delay = batch.total, self._plan.batch_line_delay
        if delay > 0:
            due = min(due, math.floor(seconds / delay))
        for _ in range(LINES_PER_LOOK):
            if batch.results_bytes > file_store.MOST_BYTES:  # to go on would only take more memory
                self._conclude(batch, "completed")
                return True
            if batch.completed + batch.failed >= due:
                break
            self._answer(batch, next(batch.lines))
        answered = batch.completed + batch.failed
        if answered == batch.total:
            self._conclude(batch, "completed")
        return answered >= due

    def _answer(self, batch: _Batch, line: JsonObject) -> None:
        reply = self._execute(batch.endpoint, as_object(line.get("body")))
        batch.input_tokens += reply.input_tokens
        batch.output_tokens += reply.output_tokens
        response: JsonObject = {"status_code": reply.status, "request_id": reply.request_id, "body": reply.body}
        result: JsonObject = {
            "id": batch.identity.name(f"batch_req_{batch.completed + batch.failed}"),
            "custom_id": line.get("custom_id"),
            "response": response,
            "error": None,
        }
        written = dumps(result).encode() + b"\n"
        batch.results_bytes += len(written)
        batch.results["output" if reply.status == 200 else "error"].append(written)
        if reply.status == 200:
            batch.completed += 1
        else:
            batch.failed += 1

    def _pass_over(self, batch: _Batch, line: JsonObject, number: int, code: str, message: str) -> None:
        result: JsonObject = {
            "id": batch.identity.name(f"batch_req_{batch.completed + batch.failed + number}"),
            "custom_id": line.get("custom_id"),
            "response": None,
            "error": {"code": code, "message": message},
        }
        batch.results["error"].append(dumps(result).encode() + b"\n")

    def _conclude(self, batch: _Batch, status: Status) -> None:
        """End a batch; its results become files, unless there is no room for them."""
        for number, line in enumerate(batch.lines if status in _NEVER_RUN else ()):
            self._pass_over(batch, line, number, *_NEVER_RUN[status])
        try:
            for kind, lines in batch.results.items():
                if lines:
                    file_id = batch.identity.name(f"file_{kind}")
                    name = f"{batch.batch_id}_{kind}.jsonl"
                    self._files.add(StoredFile(file_id, name, "batch_output", b"".join(lines)))
                    batch.file_ids[kind] = file_id
        except BadRequestError as exc:
            batch.problems.append(problem(None, exc.code or "", exc.message))
            status = "failed"
        batch.status = status
        batch.results, batch.lines = {}, iter(())
