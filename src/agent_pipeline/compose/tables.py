"""The tables of results that a pipeline file names: checked before a run, written as each of its sessions ends."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent_pipeline.compose.source import source_spec
from agent_pipeline.compose.verdict import DOCUMENTS_FAILED, OK
from agent_pipeline.config.pipeline import PipelineConfig
from agent_pipeline.documents import is_in_source
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import InputError, LedgerError, ResultsError
from agent_pipeline.runs.results import check_format, write_results


def check_tables(config: PipelineConfig) -> None:
    """See that the tables can be written, as far as that can be known; nothing is made.

    Raises:
        InputError: one has no known format, needs what is not installed, is a folder, or would be read as a document.
    """
    spec = source_spec(config.source)
    for path in config.results:
        check_format(path)
        if path.is_dir():
            raise InputError(f"results: {path} is a folder; name a file in it")
        if is_in_source(spec, path):
            raise InputError(f"results: {path} is where documents are read from: the next run would read it as one")


def with_tables(result: RunResult, paths: Sequence[Path], ledger: Path) -> RunResult:
    """Write each table from a closed ledger; return the result with those that were written, and what went wrong.

    Blocks. A table that can't be written takes no other with it, but a run without it is no plain success.
    """
    written: list[str] = []
    problems: list[str] = []
    for path in paths:
        try:
            write_results(ledger, path)
        except (InputError, LedgerError, ResultsError) as exc:
            problems.append(str(exc))
        else:
            written.append(str(path))
    result = replace(result, results=tuple(written), results_problem="; ".join(problems) or None)
    if problems and result.exit_code == OK:
        return replace(result, exit_code=DOCUMENTS_FAILED, reason=ResultsError.code)
    return result
