"""Names the finished document: slug, extension, title."""

from typing import Literal

from pydantic import BaseModel, Field

from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import stage
from agent_pipeline.stages.prompt import with_document


class NamingResult(BaseModel):
    """The namer's answer."""

    file_slug: str = Field(max_length=120)
    extension: Literal["md", "py"]
    title: str = Field(max_length=300)


@stage(role="namer")
async def name(document: Document, context: StageContext) -> Document:
    """Set the fields `file_slug`, `extension` and `title`, which name the artifact."""
    kind = "a Python script (py)" if document.fields.get("route") == "notebook" else "markdown (md)"
    prompt = with_document(f"Name this document, {kind}: a short slug, the extension and a title.", document)
    named = await context.run_agent("namer", prompt, NamingResult)
    return document.with_fields(file_slug=named.file_slug, extension=named.extension, title=named.title)
