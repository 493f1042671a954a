"""Notebooks run as they are, in a real kernel with its own asyncio loop."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
PRINTED = {
    "pipeline.ipynb": ("completed 2 of 2", "# ", "manifests: 2"),
    "pool_and_hub.ipynb": ("40 answers, at most 8 at once", "True True"),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_to_its_end(path: Path, tmp_path: Path) -> None:
    """A cell that raises, and a name that is missing, end it with an error."""
    notebook = nbformat.read(path, as_version=4)

    NotebookClient(notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()

    printed = "".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    for words in PRINTED[path.name]:
        assert words in printed


def test_notebooks_are_kept_without_outputs() -> None:
    """What a run printed is no part of an example."""
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs")
            assert not cell.get("execution_count")
