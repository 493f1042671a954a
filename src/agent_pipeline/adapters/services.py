"""OpenAI, and services that answer Chat Completions like it."""

from typing import ClassVar

from agent_pipeline.adapters.chat import ChatAdapter, Service
from agent_pipeline.gateway import OPENAI_URL


class OpenAIAdapter(ChatAdapter):
    """Asks OpenAI, or any server that speaks its Chat Completions by way of `base_url`; see `ChatAdapter`."""

    service: ClassVar[Service] = Service("openai", OPENAI_URL, "OPENAI_API_KEY")


class GeminiAdapter(ChatAdapter):
    """Asks Google's Gemini on its OpenAI-compatible endpoint; see `ChatAdapter`.

    https://ai.google.dev/gemini-api/docs/openai
    """

    service: ClassVar[Service] = Service(
        "gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"
    )


class OpenRouterAdapter(ChatAdapter):
    """Asks OpenRouter, which hands on to many providers; see `ChatAdapter`."""

    service: ClassVar[Service] = Service("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY")
