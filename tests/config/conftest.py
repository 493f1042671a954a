"""A pipeline's files in a folder of their own."""

from pathlib import Path

import pytest
from tests.config.pipeline_files import ROLES, Load

from agent_pipeline.config.pipeline import Overrides, PipelineConfig, load_pipeline_config


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write both files into a folder of their own and load the pipeline."""
    folder = tmp_path / "configs"
    folder.mkdir()

    def load_texts(text: str, *, roles: str = ROLES, overrides: Overrides | None = None) -> PipelineConfig:
        (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
        (folder / "roles.yaml").write_text(roles, encoding="utf-8")
        return load_pipeline_config(folder / "pipeline.yaml", overrides)

    return load_texts
