"""Changes that damage a run: to the lines of its files, to its ledger, to its manifest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runs.sample import Sample

from agent_pipeline.documents import tag_of_run

Change = Callable[[Sample], object]


def artifact(sample: Sample, number: int = 0) -> Path:
    """Return one of the artifacts."""
    return sorted(sample.project.artifacts.iterdir())[number]


def dropped(*words: str) -> Callable[[list[str]], list[str]]:
    """Take away the first line that holds all these words."""

    def change(lines: list[str]) -> list[str]:
        place = _first(lines, words)
        return lines[:place] + lines[place + 1 :]

    return change


def doubled(*words: str) -> Callable[[list[str]], list[str]]:
    """Repeat the first line that holds all these words."""

    def change(lines: list[str]) -> list[str]:
        place = _first(lines, words)
        return [*lines[: place + 1], *lines[place:]]

    return change


def replaced(old: str, new: str, *words: str) -> Callable[[list[str]], list[str]]:
    """Replace something in the first line that holds it and all these words."""

    def change(lines: list[str]) -> list[str]:
        place = _first(lines, (old, *words))
        return [*lines[:place], lines[place].replace(old, new, 1), *lines[place + 1 :]]

    return change


def moved_up(*words: str) -> Callable[[list[str]], list[str]]:
    """Put the first line that holds all these words in the first place."""

    def change(lines: list[str]) -> list[str]:
        place = _first(lines, words)
        return [lines[place], *lines[:place], *lines[place + 1 :]]

    return change


def _first(lines: list[str], words: tuple[str, ...]) -> int:
    return next(place for place, line in enumerate(lines) if all(word in line for word in words))


def share(sample: Sample) -> None:
    """Let two documents have one artifact."""
    columns = "artifact_path, artifact_sha256, artifact_size_bytes"
    sample.sql(
        f"UPDATE documents SET ({columns}) = (SELECT {columns} FROM documents WHERE document_id = '1') "  # noqa: S608
        "WHERE document_id = '2'"
    )


def link(sample: Sample) -> None:
    """Put a link in the place of an artifact."""
    whole = artifact(sample)
    whole.rename(sample.project.root / "elsewhere")
    whole.symlink_to(sample.project.root / "elsewhere")


def folder(sample: Sample) -> None:
    """Put a folder in the place of an artifact."""
    path = artifact(sample)
    path.unlink()
    path.mkdir()


def temporary(sample: Sample) -> None:
    """Leave a temporary file of the run."""
    name = f".agent-pipeline-{tag_of_run(sample.run.run_id)}-{'0' * 16}.part"
    (sample.project.artifacts / name).write_text("half", encoding="utf-8")


def events(*changes: Callable[[list[str]], list[str]]) -> Change:
    """Change the typed events."""

    def change(sample: Sample) -> None:
        for one in changes:
            sample.edit(sample.run.events, one)

    return change


def log(change: Callable[[list[str]], list[str]]) -> Change:
    """Change the run log."""
    return lambda sample: sample.edit(sample.run.log, change)


def both(*changes: Callable[[list[str]], list[str]]) -> Change:
    """Change the run log and the typed events alike."""

    def change(sample: Sample) -> None:
        for one in changes:
            sample.both(one)

    return change


def reviews(change: Callable[[list[str]], list[str]]) -> Change:
    """Change the reviews."""
    return lambda sample: sample.edit(sample.run.reviews, change)


def traces(change: Callable[[list[str]], list[str]]) -> Change:
    """Change the traces."""
    return lambda sample: sample.edit(sample.run.sdk_traces, change)


def sql(*statements: str) -> Change:
    """Change the ledger."""
    return lambda sample: sample.sql(*statements)


def append(path: Callable[[Sample], Path], data: bytes) -> Change:
    """Write something at the end of a file."""

    def change(sample: Sample) -> None:
        with path(sample).open("ab") as file:
            file.write(data)

    return change


def set_manifest(*keys: str, to: object) -> Change:
    """Set one value of the manifest."""

    def change(content: dict[str, Any]) -> None:
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to

    return lambda sample: sample.manifest(change)


def of_nobody(sample: Sample) -> None:
    """Let the end of a document be that of another, which never was."""
    sample.edit(sample.run.events, replaced(ONE, '"document_id":"gone"', "DOCUMENT_FINISHED"))
    sample.edit(sample.run.log, replaced("doc=1 ", "doc=gone ", "DOCUMENT_FINISHED"))


AN_ATTEMPT = "attempt_id = (SELECT attempt_id FROM attempts WHERE document_id = '1' AND outcome = 'succeeded' LIMIT 1)"
"""A request whose answer was used; which one is the same each time."""


def attempt(change: str) -> Change:
    """Change one request."""
    return sql(f"UPDATE attempts SET {change} WHERE {AN_ATTEMPT}")  # noqa: S608 - our own words


ONE = '"document_id":"1"'
SPAN = '"object":"trace.span"'
