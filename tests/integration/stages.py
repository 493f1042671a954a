"""A stage of a project's own: one agent call per document."""

from pydantic import BaseModel

from agent_pipeline import Document, StageContext, stage


class Summary(BaseModel):
    """What the agent answers."""

    summary: str


@stage(role="writer")
async def summarise(document: Document, context: StageContext) -> Document:
    """Let the agent summarise."""
    answer = await context.run_agent("writer", document.text, Summary)
    return document.with_fields(summary=answer.summary)
