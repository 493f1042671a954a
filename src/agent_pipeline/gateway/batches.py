"""A provider's files and batches: each request passes the gate, reserves nothing, and moves files piece by piece."""

import json
from collections.abc import Awaitable, Callable, Mapping
from io import FileIO
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import httpx2
import trio

from agent_pipeline.config.rates import Rates
from agent_pipeline.config.role_models import Api, LLMMode
from agent_pipeline.control.call import Attempt, Call
from agent_pipeline.control.gate import Gate
from agent_pipeline.control.scope import current_scope
from agent_pipeline.documents.folder import reporting
from agent_pipeline.errors import (
    AgentPipelineError,
    AnswerTooLargeError,
    BatchUncertainError,
    ModelProtocolError,
    ProviderError,
    RateLimitedError,
)
from agent_pipeline.gateway.batch_shapes import BatchPage, FilePage, RemoteBatch, RemoteFile
from agent_pipeline.gateway.binding import Binding
from agent_pipeline.gateway.body import abandon, read_answer, read_refusal, stream_of
from agent_pipeline.gateway.exchange import exchanged
from agent_pipeline.gateway.failures import from_status, quoted
from agent_pipeline.gateway.pool import ConnectionPool
from agent_pipeline.gateway.shapes import Shape, read_shape
from agent_pipeline.gateway.upload import FileForm
from agent_pipeline.telemetry import NO_SECRETS, SecretValues

LANE = "batches"
"""Stands for the model in the limits and records of these requests: a provider counts them apart from any model's."""

WINDOW = "24h"
"""How long a provider may take; the only one there is."""

MOST_FILE_BYTES = 4 * 1024**3
"""Longest file of results that is taken, unless it is said otherwise."""

_PAGE = 100
_MOST_PAGES = 1000
_FREE = Rates(0, 0, 0, 0)
_CONFLICT = 409
_UNWRITABLE = "results can't be written"

T = TypeVar("T")
ShapeT = TypeVar("ShapeT", bound=Shape)

_ENDPOINTS: Mapping[Api, str] = {"responses": "/v1/responses", "chat": "/v1/chat/completions"}


class BatchEndpoint:
    """The files and batches of one role's provider, for use under Trio; made by `Gateway.batches`.

    Every method raises the gate's errors. On cancellation connections are given back; what the provider was asked
    for may have happened.

    Args:
        binding: of the role.
        api: which API the requests of a batch speak.
        mode: of the role; `embedding` has an API of its own.
        params: of the role, as its config writes them.
        official: whether OpenAI itself is asked.
        instructions: the role's system prompt.
        gate: every request passes it.
        pool: of connections.
        keys: in no line of a batch, whoever put one there.

    Attributes:
        endpoint: path of the API that the requests of a batch are for.
        transfer_timeout: seconds one attempt to move a file may take.
        most_file_bytes: longest file of results that is taken.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        api: Api,
        mode: LLMMode,
        params: Mapping[str, object],
        official: bool,
        instructions: str | None,
        gate: Gate,
        pool: ConnectionPool,
        keys: SecretValues = NO_SECRETS,
    ) -> None:
        self.binding = binding
        self.api: Api = api
        self.params = params
        self.official = official
        self.instructions = instructions
        self.gate = gate
        self.keys = keys
        self.endpoint = "/v1/embeddings" if mode is LLMMode.embedding else _ENDPOINTS[api]
        self.transfer_timeout = 3600.0
        self.most_file_bytes = MOST_FILE_BYTES
        self._pool = pool

    # --- files -------------------------------------------------------------------------------------------------------

    async def upload(self, path: Path, filename: str) -> RemoteFile:
        """Upload the input of a batch; an attempt that failed may leave a file of that name at the provider."""
        with path.open("rb") as file:

            def send(attempt: Attempt) -> Awaitable[RemoteFile]:
                form = FileForm(file.fileno(), filename=filename, purpose="batch")
                request = self._request("POST", "/files", headers=form.headers, stream=form)
                return self._answered(RemoteFile, request, attempt)

            return await self._call("POST", "/files", send, transfer=True)

    async def find_files(self, filename: str) -> list[RemoteFile]:
        """Return the files of that name, the newest first."""
        found: list[RemoteFile] = []
        query: dict[str, str] = {"purpose": "batch", "limit": str(_PAGE)}
        for _ in range(_MOST_PAGES):
            page = await self._json(FilePage, "GET", "/files", query=query)
            found += [file for file in page.data if file.filename == filename]
            if not page.has_more or not page.data:
                return found
            query["after"] = page.data[-1].id
        return found

    async def download(self, file_id: str, path: Path) -> int:
        """Write a file of the provider to `path`, over what is there; return its bytes.

        On error and cancellation a part of it may be there. It is not synced.

        Raises:
            AnswerTooLargeError: it is longer than `most_file_bytes`.
            ArtifactError: it can't be written.
        """
        at = f"/files/{quote(file_id, safe='')}/content"

        async def send(attempt: Attempt) -> int:
            request = self._request("GET", at, headers={"accept-encoding": "identity"})
            with reporting(path.parent, _UNWRITABLE):
                file = path.open("wb", buffering=0)
            with file:
                async with exchanged(request, attempt, pool=self._pool, binding=self.binding) as response:
                    if response.is_success:
                        return await _save(response, file, path.parent, self.most_file_bytes)
                    body = await read_refusal(response)
            failure = from_status(response.status_code, response.headers, self.binding.hide_in(body))
            raise failure or ModelProtocolError("the answer has no file")

        return await self._call("GET", at, send, transfer=True)

    # --- batches -----------------------------------------------------------------------------------------------------

    async def create(self, file_id: str, metadata: Mapping[str, str]) -> RemoteBatch:
        """Make a batch of an uploaded file; asked for once and never again unless the provider surely made none.

        Raises:
            BatchUncertainError: it may have been made; look for it by its metadata.
        """
        body = {
            "input_file_id": file_id,
            "endpoint": self.endpoint,
            "completion_window": WINDOW,
            "metadata": dict(metadata),
        }
        content = json.dumps(body).encode()
        may_have_arrived = False

        async def send(attempt: Attempt) -> RemoteBatch:
            nonlocal may_have_arrived
            if may_have_arrived:
                raise BatchUncertainError("the provider did not answer in time whether it made a batch")
            try:
                request = self._request("POST", "/batches", headers=_JSON_HEADERS, content=content)
                return await self._answered(RemoteBatch, request, attempt)
            except ProviderError as exc:
                if attempt.dispatched and exc.disposition == "retry" and not isinstance(exc, RateLimitedError):
                    raise BatchUncertainError(f"whether a batch was made is not known: {exc}") from exc
                raise
            except trio.Cancelled:
                may_have_arrived = attempt.dispatched
                raise

        return await self._call("POST", "/batches", send)

    async def retrieve(self, batch_id: str) -> RemoteBatch:
        """Return a batch as it is now."""
        return await self._json(RemoteBatch, "GET", f"/batches/{quote(batch_id, safe='')}")

    async def find(self, metadata: Mapping[str, str]) -> list[RemoteBatch]:
        """Return the batches with these metadata (they may have more), the oldest first."""
        found: list[RemoteBatch] = []
        query: dict[str, str] = {"limit": str(_PAGE)}
        for _ in range(_MOST_PAGES):
            page = await self._json(BatchPage, "GET", "/batches", query=query)
            found += [one for one in page.data if metadata.items() <= (one.metadata or {}).items()]
            if not page.has_more or not page.data:
                break
            query["after"] = page.data[-1].id
        return found[::-1]

    async def cancel(self, batch_id: str) -> None:
        """Ask that a batch ends early; one that is over stays as it is."""
        at = f"/batches/{quote(batch_id, safe='')}/cancel"

        async def send(attempt: Attempt) -> None:
            request = self._request("POST", at)
            status, headers, body = await self._exchange(request, attempt)
            if status != _CONFLICT:
                _read(RemoteBatch, status, headers, body)

        await self._call("POST", at, send)

    # --- one request -------------------------------------------------------------------------------------------------

    async def _json(
        self, shape: type[ShapeT], method: str, path: str, *, query: Mapping[str, str] | None = None
    ) -> ShapeT:
        asked = f"{path}?{urlencode(query)}" if query else path
        return await self._call(method, path, lambda sent: self._answered(shape, self._request(method, asked), sent))

    async def _call(
        self, method: str, path: str, send: Callable[[Attempt], Awaitable[T]], *, transfer: bool = False
    ) -> T:
        call = Call(
            role=self.binding.role,
            provider=self.binding.provider,
            model=LANE,
            method=method,
            path=httpx2.URL(self.binding.base_url).path.rstrip("/") + path,
            input_tokens_bound=0,
            output_tokens_cap=0,
            price=_FREE,
            scope=current_scope(),
            transfer_timeout=self.transfer_timeout if transfer else None,
        )
        return await self.gate.call(call, send)

    def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        stream: httpx2.AsyncByteStream | None = None,
    ) -> httpx2.Request:
        url = httpx2.URL(self.binding.base_url.rstrip("/") + path)
        usual = {"host": url.netloc.decode("ascii"), "accept-encoding": "gzip"}
        own = usual | dict(headers or {}) | self.binding.authorization
        if stream is not None:
            return httpx2.Request(method, url, headers=own, stream=stream)
        return httpx2.Request(method, url, headers=own, content=content)

    async def _answered(self, shape: type[ShapeT], request: httpx2.Request, attempt: Attempt) -> ShapeT:
        return _read(shape, *await self._exchange(request, attempt))

    async def _exchange(self, request: httpx2.Request, attempt: Attempt) -> tuple[int, httpx2.Headers, bytes]:
        async with exchanged(request, attempt, pool=self._pool, binding=self.binding) as response:
            body = await (read_answer(response) if response.is_success else read_refusal(response))
            return response.status_code, response.headers, self.binding.hide_in(body)


_JSON_HEADERS = {"content-type": "application/json"}


def _read(shape: type[ShapeT], status: int, headers: Mapping[str, str], body: bytes) -> ShapeT:
    failure = from_status(status, headers, body)
    if failure is not None:
        raise failure
    return read_shape(shape, body)


async def _save(response: httpx2.Response, file: FileIO, folder: Path, most_bytes: int) -> int:
    """Write an answer's body as it comes; return its bytes."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if kind == "text/html" or encoding != "identity":
        raise ModelProtocolError(f"the file is {quoted(kind)}, {quoted(encoding)}, not lines of JSON")
    stream = stream_of(response)
    chunks = aiter(stream)
    size_bytes = 0
    try:
        async for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > most_bytes:
                raise AnswerTooLargeError(f"the file is longer than {most_bytes} bytes")
            with reporting(folder, _UNWRITABLE):
                _write_all(file, chunk)
    except AgentPipelineError:
        await abandon(stream, chunks)
        raise
    return size_bytes


def _write_all(file: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]
