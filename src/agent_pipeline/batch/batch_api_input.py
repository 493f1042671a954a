"""The input of a batch job: one line per item, in files that a provider takes; written as items come."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from agent_pipeline.batch.batch_api_state import JobFolder, JobState, PartState
from agent_pipeline.batch.given import told
from agent_pipeline.documents.folder import reporting
from agent_pipeline.errors import DuplicateItemError
from agent_pipeline.gateway.batch_lines import AskedLine, Named, RequestLine, make_line
from agent_pipeline.gateway.batches import BatchEndpoint
from agent_pipeline.gateway.outputs import OutputSchema
from agent_pipeline.gateway.shapes import read_shape

TContext = TypeVar("TContext")

MOST_REQUESTS = 50_000
"""Lines of one input file, by OpenAI's documentation."""

LINES_AT_A_TIME = 100
"""So many lines are read before others get their turn."""

MOST_BYTES = 200_000_000
"""Its bytes, likewise."""


@dataclass(frozen=True, slots=True)
class BatchRequest(Generic[TContext]):
    """One item of a batch job.

    Attributes:
        item_id: not empty; once per job. The provider sees it.
        prompt: for the role; this or `messages`.
        messages: as the role's API takes them.
        params: in the place of the role's, key by key.
        context: handed to the result as it is, the same object; kept in memory, so a job that is resumed in another
            process has none.

    Raises:
        ValueError: there is no id, or not exactly one of prompt and messages.
        TypeError: an attribute is not what it says above.

    >>> BatchRequest("a")
    Traceback (most recent call last):
    ValueError: item 'a' needs exactly one of prompt and messages
    """

    item_id: str
    prompt: str | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    context: TContext | None = None

    def __post_init__(self) -> None:
        item_id: object = self.item_id  # whoever has no type checker may give anything
        if not isinstance(item_id, str) or not item_id.strip():
            msg = f"item_id is a text that is not empty, not {told(item_id)}"
            raise ValueError(msg)
        if (self.prompt is None) == (self.messages is None):
            msg = f"item {self.item_id!r} needs exactly one of prompt and messages"
            raise ValueError(msg)
        self._check_kinds()

    def _check_kinds(self) -> None:
        prompt: object = self.prompt
        if prompt is not None and not isinstance(prompt, str):
            msg = f"item {self.item_id!r}: prompt is a text, not {told(prompt)}; a conversation is messages="
            raise TypeError(msg)
        messages: object = self.messages
        if messages is not None and not _are_messages(messages):
            msg = f"item {self.item_id!r}: messages is a list of mappings, not {told(messages)}; a text is prompt="
            raise TypeError(msg)
        params: object = self.params
        if not isinstance(params, Mapping):
            msg = f"item {self.item_id!r}: params is a mapping, not {told(params)}"
            raise TypeError(msg)


def _are_messages(messages: object) -> bool:
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Sequence):
        return False
    return all(isinstance(message, Mapping) for message in messages)


class InputFiles:
    """Writes items into the input files of a job; a new one begins where the next item would pass a limit.

    Memory does not grow with what is written, but for 16 bytes of hash per item, by which ids are known to be unique.

    Args:
        folder: of the job.
        state: of the job; takes a part for each file.
        endpoint: of the role.
        schema: what answers have to fit; None for text.
        most_requests: lines of one file.
        most_bytes: bytes of one file.
    """

    def __init__(
        self,
        folder: JobFolder,
        state: JobState,
        endpoint: BatchEndpoint,
        *,
        schema: OutputSchema[Any] | None,
        most_requests: int,
        most_bytes: int,
    ) -> None:
        self._folder = folder
        self._state = state
        self._endpoint = endpoint
        self._schema = schema
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._file: BufferedWriter | None = None
        self._known: set[bytes] = set()

    async def add(self, item: BatchRequest[Any]) -> None:
        """Write one item.

        Raises:
            DuplicateItemError: its id was used; it was not taken.
            ConfigError: its params make no sense; likewise.
            ValueError: it is no JSON, or too long for any file; likewise.
            ArtifactError: it can't be written.
        """
        digest = hashlib.blake2b(item.item_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._known:
            raise DuplicateItemError(f"there are two items {item.item_id!r}; the second was not taken")
        asked = item.prompt if item.prompt is not None else item.messages or ()
        line = make_line(self._endpoint, item.item_id, asked, item.params, self._schema)
        if len(line.content) > self._most_bytes:
            msg = f"item {item.item_id!r} has {len(line.content)} bytes, more than a file of a batch may have"
            raise ValueError(msg)
        if self._file is not None and self._is_full(self._state.parts[-1], line):
            await self._end_file()
        if self._file is None:
            self._file = self._begin_file()
        with reporting(self._folder.path, "the batch job can't be written"):
            self._write(self._file, line)
        self._known.add(digest)

    async def seal(self) -> None:
        """Have all of it on disk, and say so: from now on it is sent."""
        await self._end_file()
        self._state.sealed = True
        await self._folder.save(self._state)

    def close(self) -> None:
        """Leave the file under way as it is."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_full(self, part: PartState, line: RequestLine) -> bool:
        return part.requests >= self._most_requests or part.size_bytes + len(line.content) > self._most_bytes

    def _begin_file(self) -> BufferedWriter:
        price = self._endpoint.binding.price
        number = len(self._state.parts) + 1
        with reporting(self._folder.path, "the batch job can't be written"):
            file = self._folder.input(number).open("wb")
        self._state.parts.append(
            PartState(
                number=number,
                requests=0,
                size_bytes=0,
                worst_tokens=0,
                worst_micro_usd=None if price is None else 0,
            )
        )
        return file

    def _write(self, file: BufferedWriter, line: RequestLine) -> None:
        file.write(line.content)
        part, price = self._state.parts[-1], self._endpoint.binding.price
        part.requests += 1
        part.size_bytes += len(line.content)
        part.worst_tokens += line.input_tokens_bound + line.output_tokens_cap
        if price is not None and part.worst_micro_usd is not None:
            part.worst_micro_usd += price.worst_case_micro_usd(line.input_tokens_bound, line.output_tokens_cap)

    async def _end_file(self) -> None:
        file = self._file
        if file is None:
            return

        def sync() -> None:
            file.flush()
            os.fsync(file.fileno())
            file.close()

        await self._folder.on_disk(sync)
        self._file = None


def item_ids(path: Path) -> Iterator[str]:
    """Yield the ids of the items in an input file, in order."""
    with path.open("rb") as file:
        for line in file:
            yield read_shape(Named, line).custom_id


def asked_lines(path: Path) -> Iterator[AskedLine]:
    """Yield the requests in an input file, in order."""
    with path.open("rb") as file:
        for line in file:
            yield read_shape(AskedLine, line)


async def part_of(path: Path, size_bytes: int, endpoint: BatchEndpoint) -> PartState:
    """Return the first part of a job whose input another process wrote, with its worst case added up.

    Raises:
        ModelProtocolError: it is no input of a batch.
    """
    price = endpoint.binding.price
    part = PartState(number=1, requests=0, size_bytes=size_bytes, worst_tokens=0, worst_micro_usd=0)
    for number, asked in enumerate(asked_lines(path)):
        if number % LINES_AT_A_TIME == 0:
            await trio.lowlevel.checkpoint()
        worst = asked.worst_case()
        part.requests += 1
        part.worst_tokens += sum(worst)
        if price is not None:
            part.worst_micro_usd = (part.worst_micro_usd or 0) + price.worst_case_micro_usd(*worst)
    if price is None:
        part.worst_micro_usd = None
    return part
