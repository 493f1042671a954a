"""The source of documents that a config file names."""

from agent_pipeline.config.pipeline import PipelineConfig, SourceConfig
from agent_pipeline.documents import SourceSpec


def source_spec(source: SourceConfig) -> SourceSpec:
    """Return the source of a config file as what opens it wants it."""
    return SourceSpec(path=source.path, glob=source.glob, stdin=source.stdin, root=source.directory)


def source_name(config: PipelineConfig) -> str:
    """Return the source as people name it."""
    source = config.source
    return "standard input" if source.stdin else str(source.path or source.glob)
