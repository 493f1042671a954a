"""Chooses the kind of a document, and with it the specialist who transforms it."""

from typing import Literal

from pydantic import BaseModel, Field

from agent_pipeline.domain.document import Document
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import stage
from agent_pipeline.stages.prompt import with_document


class RoutingDecision(BaseModel):
    """The router's answer."""

    route: Literal["markdown", "notebook"]
    rationale: str = Field(max_length=800)
    confidence: float = Field(ge=0, le=1)


@stage(role="router")
async def route(document: Document, context: StageContext) -> Document:
    """Set the field `route` to `markdown` or `notebook`."""
    prompt = with_document("Choose the route for this document: markdown or notebook.", document)
    decision = await context.run_agent("router", prompt, RoutingDecision)
    context.log("ROUTED", route=decision.route, confidence=decision.confidence)
    return document.with_fields(route=decision.route, route_rationale=decision.rationale)
