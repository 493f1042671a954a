"""Small stages for simulated worlds: each reaches the provider in another way, or does not end well."""

import trio
from pydantic import BaseModel, Field

from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import stage

STUMBLES = "this one stumbles"
"""Words of a document at which `stumble` raises."""


class Note(BaseModel):
    """A title and what the document says."""

    title: str = Field(max_length=300)
    summary: str = Field(max_length=1200)


class Judgement(BaseModel):
    """A reviewer's answer."""

    approved: bool
    issues: str = Field(max_length=1200)


def _task(words: str, document: Document) -> str:
    return f"{words}\n\n<document>\n{document.text}\n</document>"


@stage(role="writer")
async def note(document: Document, context: StageContext) -> Document:
    """Make one plain call with structured output."""
    made = await context.ask(_task("Give this document a title and a summary.", document), Note)
    return document.with_fields(title=made.title, summary=made.summary)


@stage(role="writer")
async def compare(document: Document, context: StageContext) -> Document:
    """Make two plain calls at once; the second role is another lane of the gate."""
    answers: dict[str, str] = {}

    async def ask(role: str) -> None:
        answers[role] = await context.ask(_task(f"Say in one sentence what {role} should know.", document), role=role)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "writer")
        nursery.start_soon(ask, "clerk")
    return document.with_fields(**dict(sorted(answers.items())))


@stage(role="writer")
async def tidy(document: Document, context: StageContext) -> Document:
    """Rewrite the text with a plain call; with feedback, on the second pass."""
    feedback = f"\nPlease address the feedback: {document.fields.get('issues')}" if context.cycle > 1 else ""
    return document.with_text(await context.ask(_task(f"Tidy this markdown and keep all of it.{feedback}", document)))


@stage(role="judge")
async def judge(document: Document, context: StageContext) -> Document:
    """Give a verdict by a plain call; what is not approved goes back."""
    verdict = await context.ask(_task("Review this document: is it complete and well formed?", document), Judgement)
    context.review(approved=verdict.approved, issues=verdict.issues)
    return document.with_fields(issues=verdict.issues)


async def look_up(topic: str) -> str:
    """Look up a topic in the library; it takes its time."""
    await trio.sleep(0.75)
    return f"The library has {len(topic)} pages on it."


@stage(role="clerk")
async def consult(document: Document, context: StageContext) -> Document:
    """Run an agent with a tool that waits on Trio's clock."""
    task = _task("Look up the topic of this document in the library, then answer.", document)
    made = await context.run_agent("clerk", task, Note, tools=[look_up])
    return document.with_fields(found=made.summary)


@stage(role="clerk")
async def debate(document: Document, context: StageContext) -> Document:
    """Run two agents at once in the document's one loop."""
    answers: dict[str, str] = {}

    async def ask(role: str) -> None:
        answers[role] = (await context.run_agent(role, _task(f"Argue as the {role}.", document), Note)).title

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "clerk")
        nursery.start_soon(ask, "judge")
    return document.with_fields(**{f"as_{role}": title for role, title in sorted(answers.items())})


@stage
async def rest(document: Document, context: StageContext) -> Document:
    """Wait for as long as the options say, and ask nobody."""
    await trio.sleep(float(str(context.options.get("seconds", 1))))
    return document


@stage
async def stumble(document: Document, context: StageContext) -> Document:
    """Fail as code of users does, for the documents that say so."""
    if STUMBLES in document.text:
        message = f"document {context.document_id} stumbled"
        raise ValueError(message)
    return document
