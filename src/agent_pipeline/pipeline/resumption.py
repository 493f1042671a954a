"""A run that goes on: which documents earlier sessions finished for good, and which are worked on again."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial

from agent_pipeline.documents import Recorded
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import DuplicateDocumentError, ProviderDownError
from agent_pipeline.ledger import DocumentRow, KnownDocument
from agent_pipeline.pipeline.admission import Tally
from agent_pipeline.pipeline.document_records import LedgerRecords
from agent_pipeline.pipeline.itinerary import Itinerary
from agent_pipeline.pipeline.journey import identified

_AT_ONCE = 1024
_CHARACTERS_AT_ONCE = 4 * 1024 * 1024

_NOBODYS_FAULT = "provider_unreachable"
"""A failure that says nothing of the document: nothing was ever sent."""

_PROVIDERS_FAULT = frozenset(
    {"server_error", "connection_lost", "attempt_timeout", "deadline_exceeded", "wait_beyond_deadline"}
)
"""Failures that say nothing of the document where the provider was found to be down in the same session."""


class Resumption:
    """Passes on the entries of a source that need work, and counts the others as they ended before.

    A document is kept if it succeeded, its content and all that determines its result are what they were, and its
    artifact is whole; skipped, if it still is; failed, if nothing has changed and failures are not to be retried.

    Args:
        itinerary: of this session.
        records: of this session; learn which documents were begun before.
        last_position: of the entries that earlier sessions met.
        retry_failed: work on failed documents again.
        reasons: why earlier sessions ended early, by their numbers.
        left_at: when they had ended, in seconds since 1970.
        whole: returns those of many artifacts whose files are as they were recorded.
        tally: takes the endings of kept documents.
    """

    def __init__(
        self,
        itinerary: Itinerary,
        records: LedgerRecords,
        *,
        last_position: int,
        retry_failed: bool,
        reasons: Mapping[int, str],
        left_at: Mapping[int, float],
        whole: Callable[[Sequence[Recorded]], Awaitable[Collection[Recorded]]],
        tally: Tally,
    ) -> None:
        self._itinerary = itinerary
        self._records = records
        self._last_position = last_position
        self._retry_failed = retry_failed
        self._reasons = reasons
        self._left_at = left_at
        self._whole = whole
        self._tally = tally
        # By position: 1 where the entry met there is the document that the ledger has there. Two entries of one id
        # are told apart from one that moved by it; a byte each is what a million documents can spare.
        self._in_place = bytearray(last_position + 1)

    async def unfinished(self, entries: AsyncGenerator[SourceEntry]) -> AsyncGenerator[SourceEntry]:
        """Yield what needs work, in order; `entries` is closed with this.

        What earlier sessions met is read ahead a little; what is new is asked for only when it is wanted.

        Raises:
            DuplicateDocumentError: two entries have one id.
        """
        async with aclosing(entries):
            while batch := await self._take(entries):
                known = await self._records.ledger.find_documents([entry.id for entry in batch])
                kept = await self._kept(batch, known)
                seen: set[str] = set()
                for entry in batch:
                    earlier = known.get(entry.id)
                    if earlier is None:  # the ledger refuses the second of two new ones
                        yield entry
                        continue
                    self._refuse_second(entry, earlier, again=entry.id in seen)
                    seen.add(entry.id)
                    if entry.id not in kept:
                        self._records.begun_before[entry.id] = earlier.artifact
                        yield entry
                        continue
                    if earlier.position != entry.position:
                        await self._records.ledger.move_document(entry.id, entry.position)
                    self._tally.count_kept(entry, earlier)

    async def _take(self, entries: AsyncGenerator[SourceEntry]) -> list[SourceEntry]:
        batch: list[SourceEntry] = []
        characters = 0
        async for entry in entries:
            batch.append(entry)
            characters += 0 if entry.document is None else len(entry.document.text)
            is_full = len(batch) >= _AT_ONCE or characters >= _CHARACTERS_AT_ONCE
            if is_full or entry.position >= self._last_position:
                break
        return batch

    async def _kept(self, batch: Sequence[SourceEntry], known: Mapping[str, KnownDocument]) -> set[str]:
        """Return the ids of those that stay as they ended before."""
        may_be_kept = partial(
            may_keep,
            plan_sha256=self._itinerary.plan_sha256,
            reasons=self._reasons,
            retry_failed=self._retry_failed,
        )
        keepable = [known[entry.id] for entry in batch if may_be_kept(entry, known.get(entry.id))]
        kept = {one.document_id for one in keepable if one.artifact_path is None}
        written = [recorded for one in keepable if (recorded := self._recorded(one)) is not None]
        if written:
            kept |= {recorded.artifact.document_id for recorded in await self._whole(written)}
        return kept

    def _recorded(self, known: KnownDocument) -> Recorded | None:
        artifact = known.artifact
        if artifact is None or known.ended_at is None:
            return None
        begun_at, ended_at = _seconds(known.started_at), _seconds(known.ended_at)
        return Recorded(artifact, begun_at, ended_at, self._left_at.get(known.session, -math.inf))

    def _refuse_second(self, entry: SourceEntry, known: KnownDocument, *, again: bool) -> None:
        met_here = again or known.session == self._itinerary.session or entry.id in self._records.begun_before
        met_in_place = known.position != entry.position and self._in_place[known.position]
        if met_here or met_in_place:
            raise DuplicateDocumentError(
                f"two documents have the id {entry.id!r}: number {known.position} and number {entry.position} "
                f"({entry.source or 'unknown source'}); ids must be unique within a run"
            )
        if known.position == entry.position:
            self._in_place[entry.position] = 1


def may_keep(
    entry: SourceEntry,
    known: KnownDocument | DocumentRow | None,
    *,
    plan_sha256: str | None,
    reasons: Mapping[int, str],
    retry_failed: bool,
) -> bool:
    """Tell whether the ending that a document had in an earlier session holds, but for its artifact.

    Args:
        entry: as the source has it now.
        known: as the ledger has it.
        plan_sha256: what determines a document's way through all stages now.
        reasons: why earlier sessions ended early, by their numbers.
        retry_failed: work on failed documents again.
    """
    if known is None or known.outcome in {None, "cancelled"}:
        return False
    if known.outcome == "skipped" or entry.skipped is not None:
        return known.outcome == "skipped" and entry.skipped is not None
    if known.outcome == "failed" and (retry_failed or _is_nobodys_fault(known, reasons)):
        return False
    document, _, digest = identified(entry)
    if document is None:
        return known.outcome == "failed" and known.content_sha256 is None
    return known.content_sha256 == digest and known.plan_sha256 == plan_sha256


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _is_nobodys_fault(known: KnownDocument | DocumentRow, reasons: Mapping[int, str]) -> bool:
    if known.error_code in _PROVIDERS_FAULT:
        return reasons.get(known.session) == ProviderDownError.code
    return known.error_code == _NOBODYS_FAULT
