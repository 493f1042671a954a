"""Exchanges with providers kept in a directory, and given again from there, when no provider shall be asked."""

from agent_pipeline.gateway.recording.asked import Likeness, folders_of
from agent_pipeline.gateway.recording.cleaning import RecordedSecrets
from agent_pipeline.gateway.recording.directory import (
    Index,
    Recording,
    begin_recording,
    check_recordable,
    open_recording,
)

__all__ = [
    # the directory
    "Index",
    "Recording",
    "begin_recording",
    "check_recordable",
    "open_recording",
    # what is compared, and what is in neither
    "Likeness",
    "RecordedSecrets",
    "folders_of",
]
