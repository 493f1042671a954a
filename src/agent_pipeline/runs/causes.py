"""What led to a document's ending, from its own error down to the last request: the chain that `why` tells."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent_pipeline.domain.usage import AttemptRecord
from agent_pipeline.runs.happenings import Happening
from agent_pipeline.runs.story import DocumentStory


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain.

    Attributes:
        kind: `document`, `reviewer`, `fallback` or `attempt`.
        place: where that was: a stage, and its cycle.
        code: of an error; None for what is none.
        text: in the words of whoever said it.
    """

    kind: str
    place: str
    code: str | None
    text: str


def causes_of(story: DocumentStory, events: Sequence[Happening]) -> list[Link]:
    """Return the chain, the nearest cause first; of a document that ended well only what stood in its way."""
    return [*_own(story), *_reviews(events), *_fallbacks(events), *_requests(story)]


def _own(story: DocumentStory) -> Iterator[Link]:
    document = story.document
    if document.error_code is not None or document.error is not None:
        yield Link("document", document.failed_stage or "", document.error_code, document.error or "")


def _reviews(events: Sequence[Happening]) -> Iterator[Link]:
    """Yield the last verdict of each reviewer, where it was no approval."""
    last = {one.text("stage"): one for one in events if one.event == "REVIEW"}
    for stage, one in last.items():
        if one.values.get("approved") is not True:
            said = "; ".join(part for part in (one.text("issues"), one.text("suggestions")) if part)
            yield Link("reviewer", f"{stage}, cycle {one.text('cycle')}", None, said or "it gave no reason")


def _fallbacks(events: Sequence[Happening]) -> Iterator[Link]:
    for one in events:
        if one.event == "FALLBACK":
            said = f"role {one.text('role')} could not answer ({one.text('reason')}), {one.text('fallback')} was asked"
            yield Link("fallback", one.text("stage"), one.text("error_code") or None, said)


def _requests(story: DocumentStory) -> Iterator[Link]:
    """Yield how the last session's last request ended, where not well, and what went wrong before in the same call."""
    calls = [call for one in story.passes if one.session == story.document.session for call in one.calls]
    if not calls:
        return
    last = max(calls, key=lambda call: call[-1].started_at)
    seen: set[tuple[str | None, str | None]] = set()
    document = story.document
    seen.add((document.error_code, document.error))  # it is told already
    for attempt in reversed(last):
        said = attempt.error_code, attempt.error
        if last[-1].outcome == "succeeded" or attempt.outcome == "succeeded" or said in seen:
            continue
        seen.add(said)
        yield Link("attempt", _place(attempt), attempt.error_code, attempt.error or _state(attempt))


def _place(attempt: AttemptRecord) -> str:
    return f"{attempt.stage or 'outside of any stage'}, attempt {attempt.number}"


def _state(attempt: AttemptRecord) -> str:
    return "it was sent, and has no end on record" if attempt.outcome is None else attempt.outcome
