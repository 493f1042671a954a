"""Notebooks run as they are, in a real kernel with its own asyncio loop."""

import json
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
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


INTERRUPTED = """
from agent_pipeline import Pipeline
from agent_pipeline.cli import main
from agent_pipeline.compose import RunOptions

main(["init", "notes"])
open("faults.yaml", "w").write("latency: 60")
await Pipeline.from_config("notes/pipeline.yaml", options=RunOptions(offline=True, faults="faults.yaml")).run_async()
"""


@pytest.mark.slow
def test_a_cell_that_is_interrupted_ends_its_run_first(tmp_path: Path) -> None:
    """The stop button of a notebook; the next cell finds all files complete."""
    manager, client = start_new_kernel(cwd=str(tmp_path))
    try:
        cell = client.execute(INTERRUPTED)
        while not list(tmp_path.glob("notes/logs/notes-*/events.jsonl")):
            time.sleep(0.1)
        time.sleep(1)
        manager.interrupt_kernel()

        while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != cell:
            pass  # what was asked as the kernel began

        assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "CancelledError")
        (run,) = tmp_path.glob("notes/logs/notes-*")
        assert json.loads((run / "manifest.json").read_text(encoding="utf-8"))["result"]["reason"] == "cancelled"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
