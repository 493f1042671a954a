"""The command line: commands, exit codes, printing; nothing else prints."""

from agent_pipeline.cli.app import main

__all__ = ["main"]
