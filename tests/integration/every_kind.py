"""Stages of every kind: what a worker does with them is what one process does."""

import json

import trio
from pydantic import BaseModel

from agent_pipeline import Document, RequestRejectedError, StageContext, stage


class Facts(BaseModel):
    """What is asked for."""

    title: str
    word_count: int


def _marked(document: Document) -> str:
    return f"<document>\n{document.text}\n</document>"


@stage(role="writer")
async def plainly(document: Document, context: StageContext) -> Document:
    """Ask for a text, without an agent."""
    return document.with_fields(plain=await context.ask(f"Summarise.\n\n{_marked(document)}"))


@stage(role="writer")
async def structured(document: Document, context: StageContext) -> Document:
    """Ask for a structure, without an agent."""
    facts = await context.ask(f"State the facts.\n\n{_marked(document)}", Facts)
    return document.with_fields(title=facts.title, words=facts.word_count)


@stage(role="writer")
async def with_a_tool(document: Document, context: StageContext) -> Document:
    """Let an agent call a function that runs under Trio, and look at the documents it was called for."""
    calls = []

    async def count_words(text: str) -> str:
        """Count the words of a text."""
        await trio.sleep(0.5)
        calls.append(text)
        return json.dumps({"word_count": 4242})

    found = await context.run_agent("writer", f"Count the words.\n\n{_marked(document)}", Facts, tools=[count_words])
    return document.with_fields(agent=found.word_count, calls=len(calls))


@stage(role="writer")
async def at_once(document: Document, context: StageContext) -> Document:
    """Ask three times at once."""
    found: dict[str, str] = {}

    async def ask(what: str) -> None:
        found[what] = await context.ask(f"Say something of its {what}.\n\n{_marked(document)}")

    async with trio.open_nursery() as nursery:
        for what in ("beginning", "middle", "end"):
            nursery.start_soon(ask, what)
    context.log("ASKED", count=len(found))
    return document.with_fields(**{what: found[what] for what in ("beginning", "middle", "end")})


@stage
async def without_a_model(document: Document, context: StageContext) -> Document:
    """Ask nobody."""
    await trio.sleep(0.1)
    return document.with_text(document.text.upper()).with_fields(seen=context.original.id, cycle=context.cycle)


@stage
async def disapprove(document: Document, context: StageContext) -> Document:
    """Approve of odd documents; of the others those that were sent back once, but for every fourth."""
    number = int(document.id[1:])
    approved = number % 2 == 1 or (context.cycle > 1 and number % 4 != 0)
    context.review(approved=approved, issues="" if approved else f"number {number} is even")
    return document.with_text(f"{document.text}\nLooked at {context.cycle} times.")


class OwnError(RequestRejectedError):
    """An error that a stage made of one of ours."""

    code = "own_code"
    disposition = "fail_document"

    def __init__(self, document_id: str) -> None:
        super().__init__(f"number {document_id} is not liked", status_code=400)
        self.seen = {document_id}


@stage
async def dislike(document: Document, context: StageContext) -> Document:
    """Raise an error of its own of every third document."""
    del context
    await trio.sleep(0.01)
    if int(document.id[1:]) % 3 == 0:
        raise OwnError(document.id)
    return document


@stage
async def broken(document: Document, context: StageContext) -> Document:
    """Fail on every third document, by an error that is nobody's of ours."""
    del context
    await trio.sleep(0.01)
    if int(document.id[1:]) % 3 == 0:
        raise ExceptionGroup("several", [KeyError(document.id), ValueError("line\nbreak")])
    return document
