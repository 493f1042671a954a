"""What a batch job is opened with, and what is open then."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from agent_pipeline.batch.batch_api_input import MOST_BYTES, MOST_REQUESTS, BatchRequest, InputFiles, part_of
from agent_pipeline.batch.batch_api_job import BatchJob, new_state
from agent_pipeline.batch.batch_api_options import BatchAPIOptions, check_limits, check_options
from agent_pipeline.batch.batch_api_part import FIRST_PAUSE, JOB_KEY, MOST_PAUSE, Pace
from agent_pipeline.batch.batch_api_state import STATE_NAME, JobFolder, JobState
from agent_pipeline.config.limits import LimitsConfig
from agent_pipeline.config.prices import find_price
from agent_pipeline.config.role_models import RuntimeConfig
from agent_pipeline.config.roles import load_runtime_config
from agent_pipeline.errors import BatchClosedError, BatchJobError, CallFailedError
from agent_pipeline.gateway import ConnectionPool, Gateway, open_gateway
from agent_pipeline.gateway.batch_lines import content_of
from agent_pipeline.gateway.batches import BatchEndpoint
from agent_pipeline.gateway.endpoints import real_endpoints
from agent_pipeline.gateway.outputs import OutputSchema, output_schema

DISCOUNT = 0.5
"""What OpenAI takes off the price of a request in a batch."""


@dataclass(slots=True, eq=False)
class Opened:
    """An open job."""

    job: BatchJob
    inputs: InputFiles

    async def add(self, item: BatchRequest[Any]) -> None:
        """Write one item; errors as `BatchAPIProcessor.add_work`."""
        if self.job.state.sealed:
            raise BatchClosedError(f"the input of this job is complete; item {item.item_id!r} was not taken")
        await trio.lowlevel.checkpoint()
        await self.inputs.add(item)

    async def seal(self) -> None:
        """Have the whole input on disk; it takes no more.

        Raises:
            ValueError: there is none, and nobody cancelled the job; items can still be added.
        """
        state = self.job.state
        if state.sealed:
            return
        if not state.parts and not state.cancel_requested:
            msg = "no items were added; was `await` forgotten before add_all?"
            raise ValueError(msg)
        await self.inputs.seal()

    async def cancel(self) -> None:
        """End the job early."""
        await self.job.cancel()


@dataclass(frozen=True, slots=True)
class Opening:
    """All that is needed to open a job; knows nothing of who uses it."""

    role: str
    directory: Path
    options: BatchAPIOptions
    discount: float = DISCOUNT
    max_requests: int = MOST_REQUESTS
    max_bytes: int = MOST_BYTES
    is_resumed: bool = False
    batch_id: str | None = None
    schema: OutputSchema[Any] | None = field(init=False, default=None)
    token: trio.lowlevel.TrioToken | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        check_limits(self.role, self.discount, max_requests=self.max_requests, max_bytes=self.max_bytes)
        check_options(self.options)
        if trio.lowlevel.in_trio_run():
            object.__setattr__(self, "token", trio.lowlevel.current_trio_token())
        if (self.options.get("runtime") is None) == (self.options.get("gateway") is None):
            msg = "exactly one of runtime and gateway is needed"
            raise ValueError(msg)
        if self.options.get("output_type") is not None:
            if self.options.get("read_answer") is not None:
                msg = "output_type and read_answer exclude each other"
                raise ValueError(msg)
            object.__setattr__(self, "schema", output_schema(self.options["output_type"]))

    def output(self, body: Mapping[str, Any], endpoint: BatchEndpoint) -> Any:  # noqa: ANN401 - of the user's type
        """Return an item's output.

        Raises:
            OutputInvalidError: the answer does not fit the output type.
            CallFailedError: `read_answer` raised.
        """
        read = self.options.get("read_answer")
        if read is None:
            content = content_of(body, endpoint.endpoint)
            return content if self.schema is None else self.schema.validate(str(content))
        try:
            return read(body)
        except Exception as exc:
            raise CallFailedError(f"read_answer raised {type(exc).__name__}: {exc}") from exc

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Opened]:
        """Open the job under Trio; its directory is held until the end."""
        options = self.options
        folder = JobFolder(self.directory, threaded=options.get("threaded", True))
        async with AsyncExitStack() as stack:
            if self.is_resumed and self.batch_id is None and not (self.directory / STATE_NAME).exists():
                raise BatchJobError(f"there is no batch job in {self.directory} that anything was sent of")
            stack.enter_context(folder.held())
            known = folder.load()
            gateway = options.get("gateway")
            if gateway is not None and trio.lowlevel.current_trio_token() is not self.token:
                msg = "with a gateway of your own, use `async with` in the Trio run it was opened in"
                raise RuntimeError(msg)
            if gateway is None:
                gateway = await stack.enter_async_context(self._gateway())
            endpoint = gateway.batches(self.role if known is None else known.role)
            state = await self._state(folder, known, endpoint)
            inputs = InputFiles(
                folder,
                state,
                endpoint,
                schema=self.schema,
                most_requests=self.max_requests,
                most_bytes=self.max_bytes,
            )
            stack.callback(inputs.close)
            first = options.get("poll_interval", FIRST_PAUSE)
            pace = Pace(first, max(first, options.get("max_poll_interval", MOST_PAUSE)))
            yield Opened(BatchJob(folder, state, endpoint, pace), inputs)

    @asynccontextmanager
    async def _gateway(self) -> AsyncGenerator[Gateway]:
        options = self.options
        runtime = options.get("runtime")
        if not isinstance(runtime, RuntimeConfig):
            runtime = load_runtime_config(runtime or "")
        limits, budget = options.get("limits") or LimitsConfig(), options.get("budget")
        endpoints = options.get("endpoints")
        async with open_gateway(
            runtime,
            real_endpoints(runtime) if endpoints is None else endpoints,
            limits if budget is None else limits.model_copy(update={"budget": budget}),
            make_pool=options.get("make_pool", ConnectionPool),
            price_of=options.get("price_of", find_price),
        ) as gateway:
            yield gateway

    async def _state(self, folder: JobFolder, known: JobState | None, endpoint: BatchEndpoint) -> JobState:
        if known is None:
            return await self._adopted(folder, endpoint) if self.batch_id else new_state(endpoint, self.discount)
        if not self.is_resumed:
            raise BatchJobError(
                f"{self.directory} holds a batch job; take it up by BatchAPIProcessor.resume, or give a new directory"
            )
        binding = endpoint.binding
        asked, made = (
            (binding.provider, binding.model, endpoint.endpoint),
            (known.provider, known.model, known.endpoint),
        )
        if asked != made:
            raise BatchJobError(
                f"the job was made for {' '.join(made)}, and role {known.role} is {' '.join(asked)} now"
            )
        if self.batch_id is not None and all(part.batch_id != self.batch_id for part in known.parts):
            raise BatchJobError(f"{self.directory} holds the job of other batches than {self.batch_id}")
        return known

    async def _adopted(self, folder: JobFolder, endpoint: BatchEndpoint) -> JobState:
        """Make a job of a batch at the provider: its requests are fetched from there."""
        state = new_state(endpoint, self.discount)
        batch = await endpoint.retrieve(self.batch_id or "")
        state.job_id = (batch.metadata or {}).get(JOB_KEY, state.job_id)
        size_bytes = await endpoint.download(batch.input_file_id or "", folder.input(1))
        part = await part_of(folder.input(1), size_bytes, endpoint)
        part.step, part.batch_id, part.file_id = "created", batch.id, batch.input_file_id
        state.parts.append(part)
        state.sealed = True
        await folder.save(state)
        return state
