"""A stage that asks without an agent."""

from agent_pipeline import Document, StageContext, stage


@stage(role="writer")
async def remark(document: Document, context: StageContext) -> Document:
    """Ask for a remark."""
    return document.with_fields(remark=await context.ask("A remark, please."))
