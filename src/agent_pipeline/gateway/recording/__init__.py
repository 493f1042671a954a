"""Exchanges with providers kept in a directory, and given again from there, when no provider shall be asked."""

from agent_pipeline.gateway.recording.directory import (
    Index,
    Recording,
    begin_recording,
    check_recordable,
    open_recording,
)

__all__ = ["Index", "Recording", "begin_recording", "check_recordable", "open_recording"]
