"""`report`: a page about a run, for a browser."""

import os
from dataclasses import asdict
from pathlib import Path

from agent_pipeline.amounts import counted
from agent_pipeline.cli.commands.config_file import logs_here
from agent_pipeline.cli.commands.looking.looked_at import only_reading
from agent_pipeline.cli.output import one_line, out, print_json, say
from agent_pipeline.cli.summary import reason_in_words
from agent_pipeline.config.environment import environment_secrets, load_env
from agent_pipeline.errors import InputError, RunDirectoryError
from agent_pipeline.ledger import open_reader
from agent_pipeline.report import Written, write_report
from agent_pipeline.runs.directory import RunDirectory, find_run
from agent_pipeline.telemetry import Redactor

_NOT_ENDED = {
    "running": "the run still goes on: the page tells what was on record just now",
    "killed": "the run was killed: the page tells what it had on record",
}


def report_run(run: str, other: str | None, *, output: Path | None, as_json: bool) -> int:
    """Write the page and print where it is; return 0.

    Raises:
        RunDirectoryError: there is no such run, it can't be read, or it is compared with itself.
        InputError: the page can't be written there.
    """
    directory = find_run(run, logs_here())
    second = None if other is None else find_run(other, logs_here())
    if second is not None and second.path == directory.path:
        raise RunDirectoryError(f"{directory.run_id} can't be compared with itself; name another run")
    _check_output(output)
    with only_reading():
        clean = _redactor(directory, second)
        written = write_report(directory, second, output=output, clean=clean, reason_in_words=reason_in_words)
    if as_json:
        print_json({**asdict(written), "path": str(written.path), "run_id": directory.run_id, "exit_code": 0})
        return 0
    if written.state in _NOT_ENDED:
        say(_NOT_ENDED[written.state])
    out().line(one_line(str(written.path), most=4000))
    say(_size(written))
    return 0


def _check_output(output: Path | None) -> None:
    """Refuse to replace a file that is no page: a slip of the finger must not cost a ledger."""
    if output is None or not output.is_file():
        return
    with output.open("rb") as file:
        if not file.read(200).lstrip().lower().startswith(b"<!doctype html"):
            raise InputError(f"{output} is there already and no HTML page, so it is left alone; name another file")


def _redactor(*directories: RunDirectory | None) -> Redactor:
    """Return one that knows the keys of this environment, and of the `.env` files the runs may have had theirs from."""
    environment = dict(os.environ)
    folders = [Path.cwd()]
    for directory in directories:
        if directory is not None:
            with open_reader(directory.ledger) as ledger:
                folders += [] if ledger.run.config_path is None else [Path(ledger.run.config_path).parent]
    load_env(*folders, environ=environment)
    return Redactor(environment_secrets(environment))


def _size(written: Written) -> str:
    parts = counted(written.documents, "document")
    if written.rows < written.documents:
        parts += f", {written.rows:,} of them listed"
    if written.detailed < written.rows:
        parts += f", {written.detailed:,} with their requests"
    return f"{parts}; {max(written.size_bytes // 1000, 1):,} kB; open it in a browser"
