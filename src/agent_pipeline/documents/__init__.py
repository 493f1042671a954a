"""Documents in and artifacts out: readers of every source format, and files that are written whole or not at all."""

from agent_pipeline.documents.artifacts import ArtifactWriter, remove_artifacts, write_rejected
from agent_pipeline.documents.sources import Source, SourceSpec, open_source

__all__ = ["ArtifactWriter", "Source", "SourceSpec", "open_source", "remove_artifacts", "write_rejected"]
