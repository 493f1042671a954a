"""Run staged LLM agents over many documents."""
