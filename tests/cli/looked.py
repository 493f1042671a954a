"""A run that commands look at, and ways to read what they print."""

import re
from typing import Any

from tests.runs.sample import Sample, kill

HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202e"


def lines(text: str) -> list[str]:
    """Return the lines of a text."""
    return text.splitlines()


def labelled(text: str, label: str) -> str:
    """Return the line behind a label."""
    return next(line.removeprefix(label).strip() for line in lines(text) if line.startswith(label))


def killed_in_flight(past: Sample) -> None:
    """Let the run look as SIGKILL leaves it while document 6 waited for an answer of its first stage."""
    kill(past)
    past.sql(
        "UPDATE documents SET outcome = NULL, ended_at = NULL, artifact_path = NULL WHERE document_id = '6'",
        "DELETE FROM stage_results WHERE document_id = '6'",
        "DELETE FROM attempts WHERE document_id = '6' AND (stage <> 'route' OR number > 1)",
        "UPDATE attempts SET outcome = NULL, status_code = NULL, input_tokens = NULL WHERE document_id = '6'",
    )
    past.run.sdk_traces.write_text("", encoding="utf-8")  # spans are written as they end
    last = re.compile('"event":"(DOCUMENT|STAGE)_STARTED".*"document_id":"6"(,"stage":"route"|,"position")')
    past.edit(past.run.events, lambda before: [line for line in before if '"6"' not in line or last.search(line)])


def listed(value: object) -> list[Any]:
    """Return what is a list in an object for programs."""
    assert isinstance(value, list)
    return value
