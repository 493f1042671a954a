"""What became of each item of a part: its line in the provider's files, in the order in which items were added."""

import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import trio

from agent_pipeline.batch.batch_api_input import LINES_AT_A_TIME, asked_lines, item_ids
from agent_pipeline.batch.batch_api_state import Charge, JobFolder, PartState, discounted
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    AgentPipelineError,
    BatchExpiredError,
    BatchFailedError,
    BatchRequestCancelledError,
    ModelProtocolError,
)
from agent_pipeline.gateway.batch_lines import LineResult, Named, read_result
from agent_pipeline.gateway.batches import BatchEndpoint
from agent_pipeline.gateway.body import DECODED_BYTES_CAP
from agent_pipeline.gateway.shapes import read_shape

_logger = logging.getLogger("agent_pipeline.batch")

_KINDS = ("output", "error")
_Place = tuple[int, int]
"""Which file, and where in it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where each item's line is in the files of one part; the first where there are several.

    Attributes:
        lines: by the item's id.
        unreadable: lines that are none.
    """

    lines: dict[str, _Place]
    unreadable: int


async def find_lines(folder: JobFolder, part: PartState) -> Found:
    """Look through the files of a part that has been collected; a checkpoint now and then."""
    lines: dict[str, _Place] = {}
    unreadable = 0
    for kind, path in enumerate(_files(folder, part)):
        if not path.exists():
            continue
        with path.open("rb") as file:
            for number, (position, line) in enumerate(_positions(file)):
                if number % LINES_AT_A_TIME == 0:
                    await trio.lowlevel.checkpoint()
                try:
                    lines.setdefault(read_shape(Named, line).custom_id, (kind, position))
                except ModelProtocolError as exc:
                    unreadable += 1
                    _logger.warning("%s, byte %d: %s", path, position, exc)
    return Found(lines, unreadable)


def results_of(folder: JobFolder, part: PartState, endpoint: BatchEndpoint, found: Found) -> Generator[LineResult]:
    """Yield what became of each item, in the order of adding; whoever stops early closes the generator."""
    may_be_lost = part.status == "completed" or lines_missing(part, found) > 0 or found.unreadable > 0
    with ExitStack() as stack:
        files: list[BinaryIO | None] = [
            stack.enter_context(path.open("rb")) if path.exists() else None for path in _files(folder, part)
        ]
        for number, item_id in enumerate(item_ids(folder.input(part.number)), 1):
            place = found.lines.get(item_id)
            file = None if place is None else files[place[0]]
            if place is None or file is None:
                yield _absent(part, item_id, number, may_be_lost=may_be_lost)
                continue
            file.seek(place[1])
            line = file.readline(DECODED_BYTES_CAP + 1)
            try:
                yield read_result(line, endpoint)
            except ModelProtocolError as exc:
                yield LineResult(item_id, None, None, exc, may_be_billed=True)


async def charge_of(
    folder: JobFolder, part: PartState, endpoint: BatchEndpoint, found: Found, discount: float
) -> Charge:
    """Add up what a part used: what was reported, and the worst case of requests that nobody reports on."""
    price, usage, cost = endpoint.binding.price, Usage(), 0
    unknown: set[str] = set()
    with closing(results_of(folder, part, endpoint, found)) as results:
        for number, one in enumerate(results):
            if number % LINES_AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
            if one.usage is not None:
                usage += one.usage
                cost += 0 if price is None else price.cost_micro_usd(one.usage)
            elif one.may_be_billed:
                unknown.add(one.item_id)
    unknown_tokens, unknown_cost = 0, 0
    for asked in asked_lines(folder.input(part.number)) if unknown else ():
        if asked.custom_id in unknown:
            worst = asked.worst_case()
            unknown_tokens += sum(worst)
            unknown_cost += 0 if price is None else price.worst_case_micro_usd(*worst)
    return Charge(
        usage=usage,
        micro_usd=None if price is None else discounted(cost, discount),
        unknown_tokens=unknown_tokens,
        unknown_micro_usd=discounted(unknown_cost, discount),
    )


def failures_of(folder: JobFolder, part: PartState, error: AgentPipelineError) -> Generator[LineResult]:
    """Yield the same ending for every item of a part that has no batch, or none that is over."""
    for item_id in item_ids(folder.input(part.number)):
        yield LineResult(item_id, None, None, error, may_be_billed=False)


def lines_missing(part: PartState, found: Found) -> int:
    """Return how many answers the provider says it has given that are not in the file of answers."""
    there = sum(kind == 0 for kind, _ in found.lines.values())
    return 0 if part.counted is None else max(0, part.counted - there)


def _absent(part: PartState, item_id: str, number: int, *, may_be_lost: bool) -> LineResult:
    """Say what became of an item that no file names.

    Of a batch that ended early it was never run, unless the provider says it answered more than is there.
    """
    own = next((one for one in part.problems if one.line == number), None)
    told = own or next(iter(part.problems), None)
    why = f": {told.code}: {told.message}" if told is not None else ""
    if told is not None and own is None and told.line is not None:
        why = f" for its line {told.line}{why}"
    kind = {"expired": BatchExpiredError, "cancelled": BatchRequestCancelledError}.get(part.status or "")
    error = (kind or BatchFailedError)(
        f"the batch {part.batch_id} is {part.status}{why}; it has no answer to this request"
    )
    return LineResult(item_id, None, None, error, may_be_billed=may_be_lost)


def _files(folder: JobFolder, part: PartState) -> list[Path]:
    return [folder.result(part.number, "output"), folder.result(part.number, "error")]


def _positions(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each line that is not empty, and where it begins; of one that is too long, its beginning."""
    while True:
        position = file.tell()
        line = file.readline(DECODED_BYTES_CAP + 1)
        if not line:
            return
        if line.strip():
            yield position, line
        while len(line) > DECODED_BYTES_CAP and not line.endswith(b"\n"):
            line = file.readline(DECODED_BYTES_CAP + 1)
