"""Paths as people type them."""

from pathlib import Path

import pytest

from agent_pipeline.paths import near


@pytest.mark.parametrize(
    ("path", "typed"),
    [("here/logs", "logs"), ("here", "."), ("beside/logs", "../beside/logs"), ("../far/logs", "{far}/logs")],
)
def test_a_path_is_relative_unless_it_lies_far(
    path: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    (root / "here").mkdir(parents=True)
    monkeypatch.chdir(root / "here")
    given = (root / path).resolve()

    assert near(str(given)) == typed.format(far=tmp_path / "far")
