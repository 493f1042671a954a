"""What the tests of live values share."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a config's file is to be."""
    return tmp_path / "live.json"
