"""Lets the specialist of the document's route rewrite it: tidied markdown, or a runnable script."""

from pydantic import BaseModel, Field

from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import stage
from agent_pipeline.stages.prompt import strip_code_fence, with_document


class MarkdownCleanResult(BaseModel):
    """The markdown specialist's answer."""

    cleaned_markdown: str
    summary: str = Field(max_length=1200)


class NotebookRefactorResult(BaseModel):
    """The notebook specialist's answer."""

    python_script: str
    summary: str = Field(max_length=1200)


@stage(roles=("markdown_cleaner", "notebook_refactor"))
async def transform(document: Document, context: StageContext) -> Document:
    """Replace the text by the specialist's, and set the field `summary`."""
    feedback = _feedback(document) if context.cycle > 1 else ""
    if document.fields.get("route") == "notebook":
        task = "Turn this notebook or code into one runnable Python script." + feedback
        script = await context.run_agent("notebook_refactor", with_document(task, document), NotebookRefactorResult)
        return document.with_text(strip_code_fence(script.python_script)).with_fields(summary=script.summary)
    task = "Tidy this markdown; keep all of its content." + feedback
    tidied = await context.run_agent("markdown_cleaner", with_document(task, document), MarkdownCleanResult)
    return document.with_text(strip_code_fence(tidied.cleaned_markdown)).with_fields(summary=tidied.summary)


def _feedback(document: Document) -> str:
    issues, suggestions = document.fields.get("review_issues"), document.fields.get("review_suggestions")
    return f"\n\nPlease address the reviewer feedback.\nIssues: {issues}\nSuggestions: {suggestions}"
