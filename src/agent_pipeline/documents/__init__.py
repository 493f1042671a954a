"""Documents in and artifacts out: readers of every source format, and files that are written whole or not at all."""

from agent_pipeline.documents.artifacts import ArtifactWriter
from agent_pipeline.documents.recorded import Recorded, artifact_is_whole, artifacts_are_whole, remove_artifacts
from agent_pipeline.documents.rejected import RejectedTexts, rejected_text_of
from agent_pipeline.documents.remains import Recovered
from agent_pipeline.documents.sources import Source, SourceSpec, is_in_source, open_source
from agent_pipeline.documents.temporary import tag_of_run

__all__ = [
    "ArtifactWriter",
    "Recorded",
    "Recovered",
    "RejectedTexts",
    "Source",
    "SourceSpec",
    "artifact_is_whole",
    "artifacts_are_whole",
    "is_in_source",
    "open_source",
    "rejected_text_of",
    "remove_artifacts",
    "tag_of_run",
]
