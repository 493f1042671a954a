"""A recording's directory: made for one run, private, and refused in one sentence where it can't be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.recording.world import ONE_CALL, documents, record, replay, write_project

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError, RecordingError
from agent_pipeline.gateway.recording import (
    Index,
    Likeness,
    RecordedSecrets,
    begin_recording,
    check_recordable,
    folders_of,
    open_recording,
)

Change = Callable[[dict[str, Any]], object]

INDEX = Index(run_id="run-1", pipeline="p", config_sha256="0", created_at="now", simulator=True)


def test_files_are_private_and_the_index_says_what_was_recorded(tmp_path: Path) -> None:
    """Prompts and answers are in it."""
    ran = record(write_project(tmp_path / "project", documents(2), stages=ONE_CALL), tmp_path / "a" / "recording")

    recording = tmp_path / "a" / "recording"
    modes = {path.relative_to(recording).as_posix(): path.stat().st_mode & 0o777 for path in recording.rglob("*")}
    assert modes == {
        "recording.json": 0o600,
        "documents": 0o700,
        "documents/d01.jsonl": 0o600,
        "documents/d02.jsonl": 0o600,
    }
    assert recording.stat().st_mode & 0o777 == 0o700
    index = open_recording(recording).index
    assert (index.run_id, index.exchanges, index.simulator) == (ran.result.run_id, 2, True)
    assert index.providers == {"openai": "http://simulator.invalid/v1"}


@pytest.mark.parametrize("name", ["../../etc/passwd", "CON", "a/b", "ä\u202eb", "x" * 3000, " ", ".", "a\nb", "A", "a"])
def test_no_id_of_a_document_leads_out_of_the_directory(name: str, tmp_path: Path) -> None:
    """Ids come from whoever wrote the source."""
    recording = begin_recording(tmp_path / "recording", INDEX)

    lane = recording.lane(name)

    assert lane.parent == recording.directory / "documents"
    assert len(lane.name.encode()) <= 255
    assert lane != recording.lane(f"{name}2")
    assert recording.lane("A").name.casefold() != recording.lane("a").name.casefold()


def test_requests_for_no_document_have_a_file_that_no_document_has(tmp_path: Path) -> None:
    """Else a document of that name would be given their answers."""
    recording = begin_recording(tmp_path / "recording", INDEX)

    assert recording.lane(None).parent == recording.directory
    assert recording.lane("outside").parent == recording.directory / "documents"


def _file(path: Path) -> None:
    path.write_text("mine", encoding="utf-8")


def _foreign(path: Path) -> None:
    path.mkdir()
    (path / "holiday.jpg").write_text("mine", encoding="utf-8")


def _other_run(path: Path) -> None:
    begin_recording(path, Index(run_id="run-0", pipeline="p", config_sha256="", created_at="", simulator=False))


def _link(path: Path) -> None:
    _foreign(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (_file, "is a file; a recording needs a directory of its own"),
        (_foreign, "holds other files, such as 'holiday.jpg'; record into a new directory"),
        (_link, "holds other files, such as 'holiday.jpg'"),
        (_other_run, "already holds a recording, of run run-0; remove it to record again, or record into"),
    ],
)
def test_a_run_is_recorded_where_nothing_else_is(there: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    """Nothing is written over, and no run begins that could not be recorded."""
    there(tmp_path / "recording")
    project = write_project(tmp_path / "project", documents(1), stages=ONE_CALL)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(RecordingError) as caught:
        record(project, tmp_path / "recording")

    assert words in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_directory_will_do_and_the_same_run_goes_on(tmp_path: Path) -> None:
    """A run that is resumed is recorded into the same one."""
    (tmp_path / "recording").mkdir()

    begin_recording(tmp_path / "recording", INDEX)
    again = begin_recording(tmp_path / "recording", INDEX)

    assert again.index == INDEX
    assert check_recordable(tmp_path / "recording", "run-1") == tmp_path / "recording"
    with pytest.raises(RecordingError):
        check_recordable(tmp_path / "recording", None)


def _without(*names: str) -> Change:
    def change(index: dict[str, Any]) -> object:
        return {name: value for name, value in index.items() if name not in names}

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: [], "not the index of a recording"),
        (lambda index: index | {"format": "else"}, "not the index of a recording"),
        (lambda index: index | {"version": 2}, "version 2 of recordings is not known here; record again"),
        (_without("providers"), "it has not the fields of an index"),
        (lambda index: index | {"providers": {"openai": 1}}, "it has not the fields of an index"),
        (lambda index: index | {"exchanges": True}, "it has not the fields of an index"),
        (lambda index: index | {"more": 1}, "it has not the fields of an index"),
    ],
)
def test_a_damaged_index_is_refused(change: Change, words: str, tmp_path: Path) -> None:
    """In one sentence, before a run begins."""
    path = begin_recording(tmp_path / "recording", INDEX).directory / "recording.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")

    with pytest.raises(RecordingError, match=words):
        open_recording(tmp_path / "recording")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "the recording can't be used"), ("\0", "can't be used"), ("", "not the index of a recording")],
)
def test_an_index_that_is_no_json_is_refused(text: str, words: str, tmp_path: Path) -> None:
    """What the parser says of it is told along."""
    path = begin_recording(tmp_path / "recording", INDEX).directory / "recording.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(RecordingError, match=words):
        open_recording(tmp_path / "recording")


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", "there is no recording"), ("file", "is no recording"), ("folder", "it has no recording.json")],
)
def test_what_is_no_recording_is_not_replayed(name: str, words: str, tmp_path: Path) -> None:
    """Nothing is created for such a run."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    project = write_project(tmp_path / "project", documents(1), stages=ONE_CALL)

    with pytest.raises(RecordingError, match=words):
        replay(project, tmp_path / name)

    assert not project.logs.exists()


@pytest.mark.parametrize("use", [open_recording, lambda path: check_recordable(path, None)])
def test_a_name_that_no_directory_can_have_is_refused(use: Callable[[Path], object]) -> None:
    """A NUL would be an error of Python's else."""
    with pytest.raises(RecordingError):
        use(Path("a\0b"))


@pytest.mark.parametrize("options", [{"record": "a", "replay": "b"}, {"replay": "b", "offline": True}])
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    """From Python as on the command line."""
    project = write_project(tmp_path / "project", documents(1), stages=ONE_CALL)

    with pytest.raises(ConfigError):
        Pipeline.from_config(project.config, options=RunOptions(**options)).run_sync()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{broken\n", ":2: "),
        ("[]\n", ":2: "),
        ('{"document_id": "d01"}\n', ":2: it is no exchange"),
        ("\0\0\n{}\n", ":2: the line has NUL bytes"),
    ],
)
def test_a_damaged_line_ends_the_run_and_is_named(line: str, words: str, tmp_path: Path) -> None:
    """What stands behind it would be replayed for something else."""
    project = write_project(tmp_path / "project", documents(1), stages=ONE_CALL)
    record(project, tmp_path / "recording")
    path = tmp_path / "recording" / "documents" / "d01.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + line + "{}\n", encoding="utf-8")

    ended = replay(write_project(tmp_path / "again", documents(1), stages=ONE_CALL), tmp_path / "recording")

    assert (ended.result.exit_code, ended.result.reason) == (3, "recording_invalid")
    log = (ended.run / "trial.log").read_text(encoding="utf-8")
    assert f"d01.jsonl{words}" in log


def test_a_file_of_another_document_is_not_taken(tmp_path: Path) -> None:
    """Somebody copied it there by hand: its answers are about something else."""
    record(write_project(tmp_path / "project", documents(2), stages=ONE_CALL), tmp_path / "recording")
    folder = tmp_path / "recording" / "documents"
    (folder / "d01.jsonl").write_bytes((folder / "d02.jsonl").read_bytes())

    ended = replay(write_project(tmp_path / "again", documents(1), stages=ONE_CALL), tmp_path / "recording")

    assert ended.result.reason == "recording_invalid"
    assert "d01.jsonl:1: it is of document" in (ended.run / "trial.log").read_text(encoding="utf-8")


def test_an_exchange_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    """Its answer was paid for; each further one would be lost like it."""
    recording = tmp_path / "recording"
    meddle: JsonValue = {"tests.recording.stages:meddle": {"path": str(recording / "documents" / "d02.jsonl")}}
    project = write_project(tmp_path / "project", documents(4), stages=(meddle, *ONE_CALL), documents_in_flight=1)

    ended = record(project, recording)

    assert (ended.result.exit_code, ended.result.reason) == (3, "recording_invalid")
    assert (ended.result.documents.succeeded, ended.result.documents.cancelled) == (1, 1)
    assert "d02.jsonl: the exchange can't be recorded" in (ended.run / "trial.log").read_text(encoding="utf-8")
    assert open_recording(recording).index.exchanges == 1


def test_requests_are_alike_wherever_the_project_is() -> None:
    """A prompt names the file it is about; a clone has it elsewhere."""
    secrets = RecordedSecrets()
    here = Likeness(secrets, folders_of(Path("/srv/ann/project"), Path("/srv/ann/project")))
    there = Likeness(secrets, folders_of(Path("/ci/work/project"), Path("/ci/work")))
    body = '{"input": "Source: %s/notes/a.md", "model": "m"}'

    first = here.asked("p", "POST", "/v1/responses", (body % "/srv/ann/project").encode())
    second = there.asked("p", "POST", "/v1/responses", (body % "/ci/work/project").encode())

    assert first == second
    assert first.body == {"input": "Source: {project}/notes/a.md", "model": "m"}


def test_requests_are_alike_whatever_the_order_of_names_and_the_key_of_the_cache() -> None:
    """The Agents SDK draws the latter anew in each run."""
    likeness = Likeness(RecordedSecrets())
    texts = [
        '{"b": 1, "a": {"y": 2, "x": 3}, "prompt_cache_key": "agents-sdk:run:1"}',
        '{"a":{"x":3,"y":2},"b":1,"prompt_cache_key":"agents-sdk:run:2"}',
    ]

    first, second = (likeness.asked("p", "POST", "/x", text.encode()).digest() for text in texts)

    assert first == second


@pytest.mark.parametrize(
    "other",
    [
        ("q", "POST", "/x", b'{"a": 1}'),
        ("p", "GET", "/x", b'{"a": 1}'),
        ("p", "POST", "/y", b'{"a": 1}'),
        ("p", "POST", "/x", b'{"a": 1.5}'),
        ("p", "POST", "/x", b'{"a": [1]}'),
        ("p", "POST", "/x", b"{'a': 1}"),
    ],
)
def test_requests_that_ask_something_else_are_not_alike(other: tuple[str, str, str, bytes]) -> None:
    """Provider, method, path and every value count."""
    likeness = Likeness(RecordedSecrets())

    assert likeness.asked("p", "POST", "/x", b'{"a": 1}').digest() != likeness.asked(*other).digest()
