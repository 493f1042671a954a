"""Judges the transformed text; what is not approved goes back with the reviewer's feedback."""

from pydantic import BaseModel, Field

from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import stage
from agent_pipeline.stages.prompt import with_document


class ReviewResult(BaseModel):
    """The reviewer's answer."""

    approved: bool
    issues: str = Field(max_length=1200)
    suggestions: str = Field(max_length=800)


@stage(role="reviewer")
async def review(document: Document, context: StageContext) -> Document:
    """Give a verdict; the fields `review_*` carry it back to the specialist."""
    task = "Review this document against its original: is it complete, correct and well formed?"
    prompt = f"<original>\n{context.original.text}\n</original>\n\n{with_document(task, document)}"
    result = await context.run_agent("reviewer", prompt, ReviewResult)
    context.review(approved=result.approved, issues=result.issues, suggestions=result.suggestions)
    return document.with_fields(
        review_approved=result.approved, review_issues=result.issues, review_suggestions=result.suggestions
    )
