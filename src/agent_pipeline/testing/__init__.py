"""Fakes for tests of pipelines: in memory, no threads, so that virtual time drives them."""

from agent_pipeline.testing.scripted_provider import ScriptedProvider, Step

__all__ = ["ScriptedProvider", "Step"]
