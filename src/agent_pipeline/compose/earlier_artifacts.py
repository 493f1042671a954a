"""What earlier runs of a pipeline wrote, removed before a new one where `--clean` asks for it."""

import re

from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.documents import remove_artifacts
from agent_pipeline.ledger import recorded_artifacts


def clean_artifacts(config: PipelineConfig) -> list[str]:
    """Remove the artifacts that earlier runs of this pipeline wrote and nobody changed since; return their paths."""
    own = re.compile(re.escape(config.name) + r"-\d{4}-\d\d-\d\d_\d\dh\d\dm\d\ds-[0-9a-f]{6}")
    ledgers = sorted(one for one in config.logs.glob("*/ledger.sqlite3") if own.fullmatch(one.parent.name))
    written = [(artifact.path, artifact.sha256) for ledger in ledgers for artifact in recorded_artifacts(ledger)]
    return remove_artifacts(written, directory=config.artifacts)
