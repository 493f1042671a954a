"""Providers that are no OpenAI-compatible servers, or whose address only any-llm knows."""

from agent_pipeline.gateway.foreign.providers import ForeignProviders, RunInAsyncio

__all__ = ["ForeignProviders", "RunInAsyncio"]
