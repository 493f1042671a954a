"""`export`: a run's results as a table."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from agent_pipeline.cli.commands.config_file import logs_here
from agent_pipeline.cli.commands.hidden import without_secrets
from agent_pipeline.cli.commands.looking.looked_at import only_reading
from agent_pipeline.cli.output import one_line, out, print_json, print_results, say
from agent_pipeline.errors import InputError
from agent_pipeline.runs.directory import RunDirectory, find_run
from agent_pipeline.runs.results import Rows, check_format, open_rows, write_results

STDOUT = "-"


def export_results(run: str, file: str, *, with_text: bool, overwrite: bool, as_json: bool) -> int:
    """Write one row per document of a run that ended; return 0.

    Raises:
        RunDirectoryError: there is no such run, or it can't be read.
        InputError: the file is there already, has no known format, or needs what is not installed.
        ResultsError: the file can't be written.
    """
    directory = find_run(run, logs_here())
    if file == STDOUT:
        with only_reading():
            count = _print_rows(directory, with_text=with_text)
    else:
        target = Path(file)
        check_format(target)
        if target.is_dir():
            raise InputError(f"{file} is a folder; name a file in it, such as {target / 'results.csv'}")
        if os.path.lexists(target) and not overwrite:
            raise InputError(f"{file} is there already; name another file, or say --overwrite")
        with only_reading():
            count = write_results(directory.ledger, target, with_text=with_text)
    if as_json:
        shown = {"run_id": directory.run_id, "run_dir": str(directory.path), "file": file, "rows": count}
        print_json({**shown, "exit_code": 0})
    elif file != STDOUT:
        documents = "document" if count == 1 else "documents"
        out().line(f"{one_line(file, most=4000)}: {count:,} {documents} of {directory.run_id}")
    if count == 0:
        say(f"no document of {directory.run_id} has ended yet")
    return 0


def _print_rows(directory: RunDirectory, *, with_text: bool) -> int:
    """Print JSON Lines, ASCII only, so that nothing in them can move a cursor."""
    count = 0

    def lines(rows: Rows) -> Iterator[str]:
        nonlocal count
        for row in rows:
            count += 1
            yield without_secrets(json.dumps(row, ensure_ascii=True)) + "\n"

    with open_rows(directory.ledger, with_text=with_text) as rows:
        print_results(lines(rows))
    return count
