"""A request that was not recorded ends its document, and the error says what differs from what was."""

from pathlib import Path

from tests.integration.project import Project
from tests.recording.world import ONE_CALL, OWN, Ran, documents, lines_of, record, replay, write_project

from agent_pipeline.domain.document import JsonValue


def _project(root: Path, count: int = 2, stages: tuple[JsonValue, ...] = ONE_CALL) -> Project:
    return write_project(root, documents(count), stages=stages)


def _edit(project: Project, old: str, new: str) -> None:
    source = project.documents
    text = source.read_text(encoding="utf-8")
    assert old in text
    source.write_text(text.replace(old, new), encoding="utf-8")


def _only_failure(ran: Ran) -> str:
    [failure] = ran.result.failures
    assert failure.code == "replay_miss"
    return failure.error


def test_an_edited_prompt_is_told_with_the_field_and_both_values(tmp_path: Path) -> None:
    """The whole request is long; what a person needs is the place where it parts from the recording."""
    record(_project(tmp_path / "first"), tmp_path / "recording")
    changed = _project(tmp_path / "second")
    _edit(changed, "# Note 2", "# Ticket 2")

    after = replay(changed, tmp_path / "recording")

    assert (after.result.documents.succeeded, after.result.documents.failed, after.result.exit_code) == (1, 1, 1)
    assert _only_failure(after) == (
        "document d02: its request to /v1/responses was not recorded; nearest is exchange 1 of 1 "
        "(role writer, stage note), where body.input differs: "
        "recorded '…mary.  <document> # Note 2  It says litt…', asked '…mary.  <document> # Ticket 2  It says li…'; "
        "undo the change, or record again"
    )


def test_a_miss_sends_charges_and_counts_nothing(tmp_path: Path) -> None:
    """There is no row of an attempt without a request."""
    record(_project(tmp_path / "first", 1), tmp_path / "recording")
    changed = _project(tmp_path / "second", 1)
    _edit(changed, "little", "a lot")

    after = replay(changed, tmp_path / "recording")

    usage, totals = after.result.usage, after.result.recording
    assert (usage.attempts, usage.charged_tokens, after.result.cost_usd, after.rows("attempt_id")) == (0, 0, 0.0, [])
    assert totals is not None
    assert (totals.exchanges, totals.missed, totals.unused) == (0, 1, 1)


def test_the_nearest_is_the_one_with_the_fewest_differences(tmp_path: Path) -> None:
    """Of several stages' requests, it is the one of the stage that was changed."""
    stages = (f"{OWN}note", f"{OWN}judge", f"{OWN}tidy")
    record(_project(tmp_path / "first", 1, stages), tmp_path / "recording")
    changed = _project(tmp_path / "second", 1, stages)
    roles = changed.roles.read_text(encoding="utf-8")
    role = '"roles": {"judge": {"provider": "openai", "model": "gpt-5-mini", "params": {"max_tokens": 999}}}'
    changed.roles.write_text(roles.replace('"roles": {}', role), encoding="utf-8")

    error = _only_failure(replay(changed, tmp_path / "recording"))

    assert "nearest is exchange 2 of 3 (role judge, stage judge)" in error
    assert "body.max_output_tokens differs: recorded 2000, asked 999;" in error


def test_what_was_asked_more_often_is_told_from_what_is_different(tmp_path: Path) -> None:
    """Nothing has drifted then: the recording is too short, as that of a run that was cut off."""
    record(_project(tmp_path / "first", 1), tmp_path / "recording")
    twice = _project(tmp_path / "second", 1, (f"{OWN}note", "tests.recording.stages:note_again"))

    error = _only_failure(replay(twice, tmp_path / "recording"))

    assert "its request to /v1/responses was recorded once, and is asked once more" in error
    assert "differs" not in error


def test_a_document_without_recording_is_told_with_a_similar_name(tmp_path: Path) -> None:
    """A renamed document is the likeliest reason."""
    record(_project(tmp_path / "first", 3), tmp_path / "recording")
    changed = _project(tmp_path / "second", 3)
    _edit(changed, '"d02"', '"d02b"')

    error = _only_failure(replay(changed, tmp_path / "recording"))

    assert error == (
        f"document d02b: its request to /v1/responses was not recorded: {tmp_path / 'recording'} has nothing of it, "
        "but of 3 others, such as d02; record again"
    )


def test_what_a_hostile_document_says_stays_one_line(tmp_path: Path) -> None:
    """It is quoted in the error, and that goes to a terminal; a key does not even get into the comparison."""
    record(_project(tmp_path / "first", 1), tmp_path / "recording")
    changed = _project(tmp_path / "second", 1)
    _edit(changed, "# Note 1", r"# \u001b[31mRed\u0007 sk-proj-0123456789abcdefghij")

    error = _only_failure(replay(changed, tmp_path / "recording"))

    assert error.isprintable()
    assert "asked '…mary.  <document> #  [31mRed  [redacted]" in error
    assert "sk-proj" not in error


def test_calls_of_one_document_may_come_in_another_order(tmp_path: Path) -> None:
    """Two calls at once have no order: each finds its own answer."""
    stages = (f"{OWN}compare",)
    before = record(_project(tmp_path / "first", 1, stages), tmp_path / "recording")
    path = tmp_path / "recording" / "documents" / "d01.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(reversed(lines)), encoding="utf-8")

    after = replay(_project(tmp_path / "second", 1, stages), tmp_path / "recording")

    assert after.artifacts() == before.artifacts()
    assert after.result.usage == before.result.usage


def test_what_is_left_over_is_told(tmp_path: Path) -> None:
    """A replay of fewer documents is fine, and says that there was more."""
    record(_project(tmp_path / "first", 3), tmp_path / "recording")

    after = replay(_project(tmp_path / "second", 1), tmp_path / "recording")

    assert after.result.recording is not None
    assert (after.result.exit_code, after.result.recording.unused) == (0, 2)
    assert len(lines_of(tmp_path / "recording")) == 3
