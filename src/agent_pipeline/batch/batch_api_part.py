"""One input file's way through the provider: upload, create, poll, collect, settle; each step is written down.

A step whose request can't be repeated without harm is written down before it leaves. So whoever goes on after a crash
looks whether the provider has its file, or its batch, already.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import trio

from agent_pipeline.batch.batch_api_results import Found, charge_of, find_lines, lines_missing
from agent_pipeline.batch.batch_api_state import (
    JobFolder,
    JobState,
    PartState,
    Problem,
    Step,
    discounted,
    publish,
    sync,
)
from agent_pipeline.control.commitment import Commitment
from agent_pipeline.errors import AgentPipelineError, BatchUncertainError, ProviderError
from agent_pipeline.failpoints import reach
from agent_pipeline.gateway.batch_shapes import RemoteBatch, RequestCounts
from agent_pipeline.gateway.batches import BatchEndpoint

_logger = logging.getLogger("agent_pipeline.batch")

JOB_KEY, PART_KEY = "agent_pipeline_job", "agent_pipeline_part"
"""Metadata by which a batch is found again."""

_QUEUE_FULL = frozenset({"token_limit_exceeded", "request_limit_exceeded"})
"""Why a provider refuses a batch for now: so much of others is waiting there."""

_LOOKS = 2
"""How often a batch that may have been made is looked for, before it is asked for again."""

FIRST_PAUSE, MOST_PAUSE = 5.0, 300.0
"""Seconds between the first two looks at a batch, and between later ones."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a provider is asked, in seconds: `first` after the first look, then doubling up to `most`."""

    first: float
    most: float


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """One look at a batch.

    Attributes:
        part: number of its input file, from 1.
        batch_id: the provider's.
        status: in the provider's words.
        total: its requests; of them `completed` were answered and `failed` got an error.
    """

    part: int
    batch_id: str
    status: str
    total: int
    completed: int
    failed: int


OnProgress = Callable[[BatchProgress], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class JobContext:
    """What all parts of a job share.

    Attributes:
        folder: where everything is.
        state: of the whole job.
        endpoint: of the role's provider.
        pace: of polling.
        cancelled: set once somebody wants it to end early.
        on_progress: told of each look at a batch; must not raise.
        charged: numbers of the parts that this job's budgets know of.
    """

    folder: JobFolder
    state: JobState
    endpoint: BatchEndpoint
    pace: Pace
    cancelled: trio.Event
    on_progress: OnProgress
    charged: set[int] = field(default_factory=set)

    async def save(self) -> None:
        """Write the job's state down."""
        await self.folder.save(self.state)


class _Amounts(TypedDict):
    tokens: int
    micro_usd: int


class PartRun:
    """Takes one part from where it is to its end.

    Args:
        context: of the job.
        part: its state, changed in place.

    Attributes:
        part: likewise.
    """

    def __init__(self, context: JobContext, part: PartState) -> None:
        self._context = context
        self._endpoint = context.endpoint
        self.part = part
        self._commitment: Commitment | None = None

    def take_over(self) -> None:
        """Hold the worst case of a batch that an earlier process may have made, whether or not it fits the budgets."""
        is_under_way = self.part.step not in {"written", "uploading", "uploaded", "dropped"}
        if is_under_way and self.part.number not in self._context.charged:
            self._commitment = self._endpoint.gate.take_over(self._endpoint.binding.role, **self._worst_case())

    async def run(self) -> Found | None:
        """Bring the part to its end; return where its results are, None where it was dropped before it was sent.

        The worst case is held from before the batch is made until it is settled.

        Raises:
            AgentPipelineError: nothing more can be done now; the state says from where to go on.
        """
        if self.part.step == "dropped":
            return None
        if self.part.number in self._context.charged:
            return await self._found()
        if self._commitment is None:
            self._commitment = await self._endpoint.gate.commit(self._endpoint.binding.role, **self._worst_case())
        found = await self._advance()
        if found is not None:
            await self._settle(self._commitment, found)
        return found

    def leave(self) -> None:
        """End what is still held: a batch that may have been made is charged in full, for it goes on."""
        if self._commitment is not None and self._commitment.is_open:
            may_go_on = self.part.step in {"creating", "created", "collected"}
            self._commitment.forfeit() if may_go_on else self._commitment.release()

    def _worst_case(self) -> _Amounts:
        micro_usd = discounted(self.part.worst_micro_usd or 0, self._context.state.discount)
        return {"tokens": self.part.worst_tokens, "micro_usd": micro_usd}

    async def _advance(self) -> Found | None:
        part = self.part
        while True:
            if part.step in {"written", "uploading", "uploaded"} and self._context.cancelled.is_set():
                await self._to("dropped")
                return None
            if part.step in {"written", "uploading"}:
                await self._upload()
            if part.step in {"uploaded", "creating"}:
                await self._create()
            if part.step == "created":
                batch = await self._poll()
                if _is_refused_for_now(batch):
                    await self._ask_later(batch)
                    continue
                await self._collect(batch)
            return await self._found()

    # --- steps -------------------------------------------------------------------------------------------------------

    async def _upload(self) -> None:
        part, filename = self.part, f"agent-pipeline-{self._context.state.job_id}-{self.part.number}.jsonl"
        file = None
        if part.step == "uploading":
            there = await self._endpoint.find_files(filename)
            file = next((one for one in there if one.bytes == part.size_bytes), None)
        if file is None:
            await self._to("uploading")
            reach("batch.uploading")
            file = await self._endpoint.upload(self._context.folder.input(part.number), filename)
        reach("batch.uploaded")
        part.file_id = file.id
        await self._to("uploaded")

    async def _create(self) -> None:
        part = self.part
        batch = await self._look_for() if part.step == "creating" else None
        for _ in range(_LOOKS):
            if batch is not None:
                break
            await self._to("creating")
            reach("batch.creating")
            try:
                batch = await self._endpoint.create(part.file_id or "", self._metadata())
            except BatchUncertainError as exc:
                _logger.warning("part %d of job %s: %s", part.number, self._context.state.job_id, exc)
                batch = await self._look_for()
            except AgentPipelineError:
                await self._to("uploaded")  # surely none was made
                raise
        if batch is None:
            raise BatchUncertainError("the provider neither makes a batch nor says why; resume the job later")
        reach("batch.created")
        part.batch_id = batch.id
        await self._to("created")

    async def _look_for(self) -> RemoteBatch | None:
        """Return the batch of this part if there is one; of several the first, and the others are cancelled."""
        for look in range(_LOOKS):
            if look:
                await trio.sleep(self._context.pace.first)
            found = await self._endpoint.find(self._metadata())
            for other in found[1:]:
                if not other.is_over:
                    await self._endpoint.cancel(other.id)
            if found:
                return found[0]
        return None

    async def _poll(self) -> RemoteBatch:
        """Return the batch when it is over; a provider that can't be asked for a while is asked again later."""
        pause, asked_to_end = self._context.pace.first, False
        while True:
            try:
                if self._context.cancelled.is_set() and not asked_to_end:
                    await self._endpoint.cancel(self.part.batch_id or "")
                    asked_to_end, pause = True, self._context.pace.first
                batch = await self._endpoint.retrieve(self.part.batch_id or "")
                reach("batch.polled")
                await self._tell(batch)
                if batch.is_over:
                    return batch
            except ProviderError as exc:
                if exc.disposition != "retry":
                    raise
                _logger.warning("batch %s can't be looked at: %s", self.part.batch_id, exc)
            await self._pause(pause, until_cancelled=not asked_to_end)
            pause = min(2 * pause, self._context.pace.most)

    async def _tell(self, batch: RemoteBatch) -> None:
        counts = batch.request_counts or RequestCounts()
        total = counts.total or self.part.requests
        progress = BatchProgress(self.part.number, batch.id, batch.status, total, counts.completed, counts.failed)
        _logger.info(
            "batch %s: %s, %d of %d answered, %d failed", batch.id, batch.status, counts.completed, total, counts.failed
        )
        await self._context.on_progress(progress)

    async def _pause(self, seconds: float, *, until_cancelled: bool) -> None:
        if not until_cancelled:
            await trio.sleep(seconds)
            return
        with trio.move_on_after(seconds):
            await self._context.cancelled.wait()

    async def _ask_later(self, batch: RemoteBatch) -> None:
        """Go back to before the batch was made, after a while; the file is still there."""
        _logger.info("batch %s was refused for now: %s", batch.id, batch.problems)
        self.part.ordinal += 1
        self.part.batch_id = None
        await self._to("uploaded")
        await self._pause(self._context.pace.most, until_cancelled=not self._context.cancelled.is_set())

    async def _collect(self, batch: RemoteBatch) -> None:
        """Have all results on disk, then say so; what an earlier attempt left is written over."""
        part, counts = self.part, batch.request_counts
        part.status = batch.status
        part.output_file_id, part.error_file_id = batch.output_file_id, batch.error_file_id
        part.counted = None if counts is None else counts.completed
        part.problems = [
            Problem(line=one.line, code=one.code or "", message=self._endpoint.binding.hide(one.message or ""))
            for one in batch.problems
        ]
        await self._download()
        found = await self._found()
        if lines_missing(part, found) or found.unreadable:
            _logger.warning("the files of batch %s are not whole; they are fetched once more", batch.id)
            await self._download()
        await self._to("collected")
        reach("batch.collected")

    async def _download(self) -> None:
        kinds: tuple[tuple[Literal["output", "error"], str | None], ...] = (
            ("output", self.part.output_file_id),
            ("error", self.part.error_file_id),
        )
        for kind, file_id in kinds:
            target = self._context.folder.result(self.part.number, kind)
            if file_id is None:
                target.unlink(missing_ok=True)
                continue
            temporary = target.with_suffix(".new")
            await self._endpoint.download(file_id, temporary)
            await self._context.folder.on_disk(sync, temporary)
            await self._context.folder.on_disk(publish, temporary, target)
            reach("batch.collecting")

    async def _found(self) -> Found:
        return await find_lines(self._context.folder, self.part)

    async def _settle(self, commitment: Commitment, found: Found) -> None:
        """Charge what the results say; a part that was settled by an earlier process is charged the same again."""
        part = self.part
        charge = part.charge
        if charge is None:
            context = self._context
            charge = await charge_of(context.folder, part, self._endpoint, found, context.state.discount)
        commitment.settle(
            charge.usage,
            micro_usd=charge.micro_usd,
            unknown_tokens=charge.unknown_tokens,
            unknown_micro_usd=charge.unknown_micro_usd,
        )
        self._context.charged.add(part.number)
        if part.step != "settled":
            part.charge = charge
            await self._to("settled")
            reach("batch.settled")

    async def _to(self, step: Step) -> None:
        self.part.step = step
        await self._context.save()

    def _metadata(self) -> dict[str, str]:
        part = self.part
        return {JOB_KEY: self._context.state.job_id, PART_KEY: f"{part.number}.{part.ordinal}"}


def _is_refused_for_now(batch: RemoteBatch) -> bool:
    codes = {one.code for one in batch.problems}
    return batch.status == "failed" and bool(codes) and codes <= _QUEUE_FULL
