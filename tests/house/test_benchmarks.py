"""Benchmarks that nobody runs stop working unseen."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.tracked import ROOT

SMALL = ["benchmarks/all_of_it.py", "--small", "--page"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_benchmark_runs_with_few_documents(tmp_path: Path) -> None:
    """All measurements, with others beside them, and the page; figures of such a run mean nothing."""
    page = tmp_path / "performance.md"

    ended = subprocess.run(
        [sys.executable, *SMALL, str(page)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=880
    )

    assert ended.returncode == 0, ended.stderr[-2000:]
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == 7
    for measured in (
        "ours / bare",
        "ours / async-batch-llm",
        "context.ask / litellm",
        "wall / ideal",
        "TLS: handshakes",
        "kept alive: CPU ms / keep-alive off: CPU ms",
    ):
        assert f"| {measured} |" in text
    for measured in ("kB per document", "resumed: seconds until the first request", "--help"):
        assert f"| {measured} |" in text
