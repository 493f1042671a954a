"""A JSON file is read exactly, and replaced whole, whoever writes and reads at the same time."""

import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_pipeline.config.json_file import create, json_text, load_json_map, rewrite
from agent_pipeline.config.source_map import SourceMap
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def read(path: Path) -> JsonValue:
    """Read by a parser that is not ours."""
    value: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    return value


# --- reading and writing -----------------------------------------------------------------------------------------


@given(value=st.dictionaries(TEXTS, PLAIN, max_size=5))
@example(value={"A": "\x7f \x00 \u2028"})
def test_what_is_written_is_read_back(value: dict[str, JsonValue], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the texts hold: control characters, line separators, quotes."""
    path = tmp_path_factory.mktemp("written") / "some.json"

    path.write_text(json_text(value), encoding="utf-8")

    assert json.dumps(load_json_map(path).value) == json.dumps(read(path)) == json.dumps(value)


@example(value={"A": "\x85 \u2028"}, indent=None)
@given(value=st.dictionaries(TEXTS, PLAIN, max_size=5), indent=st.sampled_from([None, 1, "\t"]))
def test_what_others_write_is_read_as_json_has_it(
    value: dict[str, JsonValue], indent: int | str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Texts with line separators of Unicode are no YAML; where it is read at all, it is read exactly."""
    path = tmp_path_factory.mktemp("others") / "some.json"
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False), encoding="utf-8", newline="")

    try:
        found = load_json_map(path).value
    except ConfigError as exc:
        assert "control character" in exc.problem  # noqa: PT017 - either is right
    else:
        assert json.dumps(found) == json.dumps(value)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "", ""),
        ("A: 1\n", ":1:1", "Expecting value"),
        ('{"A": 1, # why\n "B": 2}', ":1:10", "Expecting property name"),
        ('{"A": 1,}', ":1:9", "not valid JSON"),
        ('{\n"A": "NaN", "B": -Infinity}', ":2:18", "a finite number"),
        ('{\n"A": NaN}', ":2:6", "a finite number"),
        ('{"A": 010}', ":1:8", "not valid JSON"),
        ('{"A": 1} {"B": 2}', ":1:10", "not valid"),
        ('{"A": 1,\n "A": 2}', ":2:2", "the key is there twice"),
        ('{"A": 1e999}', ":1:7", "finite"),
        ('{"A": ' + "9" * 5000 + "}", ":1:7", "more than 64"),
        ('{"A": ' + "[" * 50 + "]" * 50 + "}", ":1:", "nested deeper"),
        ('{"A": "half', ":1:12", "not valid"),
        ('{"A": 1' + " " * 1024 * 1024 + "}", "", "larger than"),
    ],
)
def test_what_is_no_json_is_refused_at_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    """Also what YAML would take: it would be lost when a program writes the file."""
    path = tmp_path / "some.json"
    path.write_text(text, encoding="utf-8")

    if not text:
        assert load_json_map(path).value is None
        return
    with pytest.raises(ConfigError, match=words) as caught:
        load_json_map(path)
    assert caught.value.place.startswith(f"{path}{place}")


@pytest.mark.parametrize("value", [10**64, "\ud800", "\ud83d\ude00", "x" * 1024 * 1024, {"k" * 2000: 1}])
def test_what_could_not_be_read_back_is_not_written(value: JsonValue) -> None:
    """The next start would stand before a file it refuses."""
    with pytest.raises(ConfigError) as caught:
        json_text({"A": value})

    assert not caught.value.place


# --- replacing ---------------------------------------------------------------------------------------------------


def count_up(found: SourceMap | None) -> Mapping[str, JsonValue]:
    """Add one."""
    count = found.value["count"] if found is not None and isinstance(found.value, dict) else 0
    assert isinstance(count, int)
    return {"count": count + 1}


def test_a_file_is_made_and_replaced_for_its_owner_alone(tmp_path: Path) -> None:
    """And nothing else is left in the folder."""
    path = tmp_path / "some.json"

    rewrite(path, count_up)
    path.chmod(0o644)
    rewrite(path, count_up)

    assert read(path) == {"count": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["some.json"]  # noqa: PTH208 - names


def test_creating_takes_nobodys_place(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    create(path, {"A": 1})

    create(path, {"A": 2})

    assert read(path) == {"A": 1}
    assert os.listdir(tmp_path) == ["some.json"]  # noqa: PTH208


def test_a_link_stays_one(tmp_path: Path) -> None:
    """Settings are often kept elsewhere; also where the file is not there yet."""
    (tmp_path / "kept").mkdir()
    path = tmp_path / "some.json"
    path.symlink_to("kept/real.json")

    rewrite(path, count_up)
    rewrite(path, count_up)

    assert path.is_symlink()
    assert read(tmp_path / "kept" / "real.json") == {"count": 2}
    assert sorted(os.listdir(tmp_path)) == ["kept", "some.json"]  # noqa: PTH208


def test_a_file_that_cant_be_read_is_not_written_over(tmp_path: Path) -> None:
    """Somebody is in the middle of it."""
    path = tmp_path / "some.json"
    path.write_text('{"count": 1', encoding="utf-8")

    with pytest.raises(ConfigError, match="not valid"):
        rewrite(path, count_up)

    assert path.read_text() == '{"count": 1'
    assert os.listdir(tmp_path) == ["some.json"]  # noqa: PTH208


def test_a_refusal_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    create(path, {"A": 1})

    with pytest.raises(ConfigError, match="more than 64"):
        rewrite(path, lambda _: {"A": 10**64})

    assert read(path) == {"A": 1}
    assert os.listdir(tmp_path) == ["some.json"]  # noqa: PTH208


@pytest.mark.parametrize("name", ["gone/some.json", "\0", ".", "file/some.json"])
def test_a_place_that_cant_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError) as caught:
        rewrite(tmp_path / name, count_up)

    assert str(tmp_path) in caught.value.place


def test_a_file_made_in_between_is_read(tmp_path: Path) -> None:
    """Who looked and found nothing must not take the place of what came then."""
    path = tmp_path / "some.json"
    seen: list[JsonValue] = []

    def revise(found: SourceMap | None) -> Mapping[str, JsonValue]:
        seen.append(None if found is None else found.value)
        if found is None:
            create(path, {"theirs": 1})
            return {"mine": 1}
        assert isinstance(found.value, dict)
        return {**found.value, "mine": 1}

    rewrite(path, revise)

    assert seen == [None, {"theirs": 1}]
    assert read(path) == {"theirs": 1, "mine": 1}


def test_a_writer_waits_for_the_one_before_it(tmp_path: Path) -> None:
    """And reads what that one put in the file's place, not what it locked."""
    path = tmp_path / "some.json"
    create(path, {"count": 1})
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=rewrite, args=(path, count_up))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        new = tmp_path / "new.json"
        new.write_text('{"count": 10}')
        new.replace(path)
    waiting.join(5)

    assert read(path) == {"count": 11}


def test_a_writer_does_not_wait_for_ever(tmp_path: Path) -> None:
    """Somebody stopped in the debugger must not hold this process, too."""
    path = tmp_path / "some.json"
    create(path, {"count": 1})

    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process has held the file"):
            rewrite(path, count_up, patience=0.05)

    assert read(path) == {"count": 1}


def test_a_file_that_goes_while_somebody_waits_for_it_is_made_anew(tmp_path: Path) -> None:
    """What was locked has no name any more."""
    path = tmp_path / "some.json"
    create(path, {"count": 1})
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=rewrite, args=(path, count_up))
        waiting.start()
        waiting.join(0.05)
        path.unlink()
    waiting.join(5)

    assert read(path) == {"count": 1}


def refusing(number: int) -> Callable[..., NoReturn]:
    """Return what a file system says that can't do this."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_there_are_no_links_a_file_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As on exFAT."""
    monkeypatch.setattr(os, "link", refusing(number))

    create(tmp_path / "some.json", {"A": 1})

    assert read(tmp_path / "some.json") == {"A": 1}
    assert os.listdir(tmp_path) == ["some.json"]  # noqa: PTH208


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF])
def test_where_there_are_no_locks_a_file_is_still_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As on some network file systems."""
    create(tmp_path / "some.json", {"count": 1})
    monkeypatch.setattr(fcntl, "flock", refusing(number))

    rewrite(tmp_path / "some.json", count_up)

    assert read(tmp_path / "some.json") == {"count": 2}


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [(os, "fsync", errno.ENOSPC), (os, "fsync", errno.EIO), (fcntl, "flock", errno.EIO), (os, "link", errno.EIO)],
)
def test_what_the_disk_refuses_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str, number: int
) -> None:
    """A full disk, above all: the old file stays, and nothing lies beside it."""
    path = tmp_path / "some.json"
    if name != "link":
        create(path, {"count": 1})
    before = os.listdir(tmp_path)  # noqa: PTH208
    monkeypatch.setattr(module, name, refusing(number))

    with pytest.raises(ConfigError, match=re.escape(f"can't be written: {os.strerror(number)}")):
        rewrite(path, count_up)

    assert os.listdir(tmp_path) == before  # noqa: PTH208
    assert not before or read(path) == {"count": 1}


def count_often(path: Path) -> None:
    """Add one, forty times."""
    for _ in range(40):
        rewrite(path, count_up)


WRITER = """
import sys
from pathlib import Path
from tests.config.test_json_file import count_often

count_often(Path(sys.argv[1]))
"""


def test_nothing_is_lost_between_processes_and_threads(tmp_path: Path) -> None:
    """Each adds to what the one before it wrote, and a reader never sees half of it."""
    path = tmp_path / "some.json"
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, path]) for _ in range(2)]
    threads = [threading.Thread(target=count_often, args=(path,)) for _ in range(2)]
    for thread in threads:
        thread.start()

    seen: list[int] = []
    while any(process.poll() is None for process in processes) or any(thread.is_alive() for thread in threads):
        if path.exists():
            value = load_json_map(path).value
            assert isinstance(value, dict)
            assert isinstance(value["count"], int)
            seen.append(value["count"])
    for thread in threads:
        thread.join()

    assert [process.wait() for process in processes] == [0, 0]
    assert read(path) == {"count": 160}
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    assert os.listdir(tmp_path) == ["some.json"]  # noqa: PTH208
