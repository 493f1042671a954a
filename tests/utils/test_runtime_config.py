"""Values by name above a file: filled, typed, kept, saved, and told of."""

import copy
import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest
from tests.utils.live_file import DEFAULTS, edit, held

from agent_pipeline.errors import ConfigError
from agent_pipeline.utils import RuntimeConfig
from agent_pipeline.utils.subscribers import Changes

# --- the beginning -----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_made_of_the_defaults(path: Path) -> None:
    config = RuntimeConfig(str(path), defaults=DEFAULTS)

    assert held(path) == DEFAULTS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config.as_dict() == DEFAULTS
    assert config.problems == ()
    assert config.path == path


def test_keys_that_are_left_out_are_the_defaults(path: Path) -> None:
    """And the file stays as it was written."""
    edit(path, {"PAUSE": 2})
    before = path.read_bytes()

    config = RuntimeConfig(path, defaults=DEFAULTS)

    assert (config.MAX_CONCURRENT_REQUESTS, config.PAUSE, config.MODEL) == (25, 2.0, "gpt-oss")
    assert isinstance(config.PAUSE, float)
    assert path.read_bytes() == before


def test_without_defaults_there_are_those_of_a_pool(path: Path) -> None:
    config = RuntimeConfig(path)

    assert config.MAX_CONCURRENT_REQUESTS == 25
    assert config.LLM_REQUEST_TIMEOUT_SECONDS == 300
    assert config.EXECUTION_TIMEOUT_SECONDS == 30


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"MODEL": "x",\n "MAX_CONCURRENT_REQUESTS": "ten"}', "whole number"),
        ('{"MAX_CONCURRENT_REQUESTS": 10', "not valid"),
        ("", "empty"),
    ],
)
def test_a_file_that_is_wrong_from_the_start_leaves_the_defaults(
    path: Path, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    """All of them; it is told of, and stays for whoever is writing it."""
    edit(path, text)

    config = RuntimeConfig(path, defaults=DEFAULTS)

    assert config.as_dict() == DEFAULTS
    (problem,) = config.problems
    assert words in problem.problem
    assert problem.place.startswith(str(path))
    assert [record.getMessage() for record in caplog.records] == [str(problem)]
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "name", ["with-dash", "", "1", "_hidden", "class", "reload", "save", "problems", "path", "watch", "as_dict"]
)
def test_a_name_that_cant_be_read_as_an_attribute_is_refused(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        RuntimeConfig(path, defaults={name: 1})

    assert not path.exists()


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone/live\.json: the file can't be written: No such file"):
        RuntimeConfig(path.parent / "gone" / "live.json", defaults=DEFAULTS)


def test_a_place_that_is_no_file_is_told_and_left_alone(path: Path) -> None:
    """What is there is not ours."""
    path.mkdir()
    for place, words in ((path, "not a regular file"), (path / "x" / "\0", "not a usable file name")):
        config = RuntimeConfig(place, defaults=DEFAULTS)

        assert config.as_dict() == DEFAULTS
        assert words in config.problems[0].problem
        with pytest.raises(ConfigError, match=words):
            config.save()


# --- reload ------------------------------------------------------------------------------------------------------


def test_reload_returns_what_changed(path: Path) -> None:
    config = RuntimeConfig(path, defaults=DEFAULTS)
    assert not config.reload()

    edit(path, {"MAX_CONCURRENT_REQUESTS": 5, "PAUSE": 0.5})

    changes = config.reload()
    assert changes == {"MAX_CONCURRENT_REQUESTS": (25, 5)}
    assert changes["MAX_CONCURRENT_REQUESTS"].new == 5
    assert config.MAX_CONCURRENT_REQUESTS == 5
    assert not config.reload()


def test_a_wrong_edit_changes_nothing_and_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not even what is right in it; once it is mended, it counts."""
    config = RuntimeConfig(path, defaults=DEFAULTS)
    edit(path, {"MAX_CONCURRENT_REQUESTS": 5, "PAUSE": "long", "MODEL": 1})

    for _ in range(3):
        assert config.reload() == {}
    assert config.as_dict() == DEFAULTS
    assert [problem.key for problem in config.problems] == ["PAUSE", "MODEL"]
    assert len(caplog.records) == 2

    edit(path, {"MAX_CONCURRENT_REQUESTS": 5, "PAUSE": 1})
    assert config.reload() == {"MAX_CONCURRENT_REQUESTS": (25, 5), "PAUSE": (0.5, 1.0)}
    assert config.problems == ()

    edit(path, {"MAX_CONCURRENT_REQUESTS": 5, "PAUSE": "long", "MODEL": 1})
    config.reload()
    assert len(caplog.records) == 4


def test_a_file_or_key_that_is_gone_gives_way_to_the_defaults(path: Path) -> None:
    edit(path, {"MAX_CONCURRENT_REQUESTS": 5, "PAUSE": 2.0})
    config = RuntimeConfig(path, defaults=DEFAULTS)

    edit(path, {"PAUSE": 2.0})
    assert config.reload() == {"MAX_CONCURRENT_REQUESTS": (5, 25)}
    path.unlink()
    assert config.reload() == {"PAUSE": (2.0, 0.5)}
    assert not path.exists()


def test_an_assignment_that_is_not_saved_outlives_other_edits(path: Path) -> None:
    """But not one of the same key, which is later."""
    config = RuntimeConfig(path, defaults=DEFAULTS)
    config.MAX_CONCURRENT_REQUESTS = 7

    edit(path, DEFAULTS | {"MODEL": "other"})
    assert config.reload() == {"MODEL": ("gpt-oss", "other")}
    assert config.MAX_CONCURRENT_REQUESTS == 7
    edit(path, DEFAULTS | {"MAX_CONCURRENT_REQUESTS": 9})
    assert config.reload() == {"MODEL": ("other", "gpt-oss"), "MAX_CONCURRENT_REQUESTS": (7, 9)}


# --- assignment --------------------------------------------------------------------------------------------------


def test_an_assignment_has_its_values_type(path: Path) -> None:
    """It changes the memory, not the file."""
    config = RuntimeConfig(path, defaults=DEFAULTS)

    config.PAUSE = 2
    with pytest.raises(TypeError, match="PAUSE: a number is wanted"):
        config.PAUSE = True
    with pytest.raises(ValueError, match="finite"):
        config.PAUSE = float("nan")
    with pytest.raises(AttributeError, match="did you mean 'PAUSE'"):
        config.PAUSES = 3
    with pytest.raises(AttributeError, match="did you mean 'MAX_CONCURRENT_REQUESTS'"):
        _ = config.MAX_CONCURENT_REQUESTS

    assert repr(config.PAUSE) == "2.0"
    assert held(path) == DEFAULTS


def test_lists_and_mappings_are_copies(path: Path) -> None:
    """Else a value could change without anybody being told."""
    given = {"WORDS": ["a"], "LIMITS": {"low": 1}}
    config = RuntimeConfig(path, defaults=given)
    assigned = ["b"]

    given["WORDS"] = []
    config.WORDS.append("x")
    config.LIMITS["low"] = 2
    config.as_dict()["WORDS"].append("x")
    assert config.as_dict() == {"WORDS": ["a"], "LIMITS": {"low": 1}}
    config.WORDS = assigned
    assigned.append("x")
    assert config.WORDS == ["b"]


def test_names_are_offered_and_secrets_not_shown(path: Path) -> None:
    """A notebook completes names and prints objects."""
    config = RuntimeConfig(path, defaults=DEFAULTS | {"OPENAI_API_KEY": "not-shown"})

    assert {"MAX_CONCURRENT_REQUESTS", "reload"} <= set(dir(config))
    assert "MAX_CONCURRENT_REQUESTS=25" in repr(config)
    assert "not-shown" not in repr(config)
    assert not hasattr(config, "_repr_html_")
    with pytest.raises(TypeError):  # it has locks
        copy.deepcopy(config)


# --- save --------------------------------------------------------------------------------------------------------


def test_save_keeps_what_is_not_ours(path: Path) -> None:
    edit(path, '{"theirs": {"x": "\\u0085"}, "PAUSE": 1}')
    config = RuntimeConfig(path, defaults=DEFAULTS)

    config.MODEL = "other"
    config.save()

    assert held(path) == {
        "theirs": {"x": "\x85"},
        "PAUSE": 1.0,
        "MAX_CONCURRENT_REQUESTS": 25,
        "MODEL": "other",
    }
    assert not config.reload()
    assert os.listdir(path.parent) == ["live.json"]  # noqa: PTH208 - names


def test_save_takes_over_what_others_edited(path: Path) -> None:
    """Two programs with one file, each of which saves its own value, both keep it; what both set is the later one's."""
    one, other = RuntimeConfig(path, defaults=DEFAULTS), RuntimeConfig(path, defaults=DEFAULTS)
    told: list[Changes] = []
    other.subscribe(told.append)

    one.PAUSE = 3.0
    one.MODEL = "ours"
    one.save()
    other.MAX_CONCURRENT_REQUESTS = 4
    other.MODEL = "theirs"
    other.save()

    assert held(path) == other.as_dict() == {"MAX_CONCURRENT_REQUESTS": 4, "PAUSE": 3.0, "MODEL": "theirs"}
    assert told[2:] == [{"PAUSE": (0.5, 3.0)}]
    assert one.reload() == {"MAX_CONCURRENT_REQUESTS": (25, 4), "MODEL": ("ours", "theirs")}


def test_what_was_saved_is_no_assignment_any_more(path: Path) -> None:
    config = RuntimeConfig(path, defaults=DEFAULTS)
    config.PAUSE = 3.0
    config.save()

    edit(path, DEFAULTS | {"PAUSE": 4.0})
    config.save()

    assert config.PAUSE == 4.0


def test_what_is_assigned_while_somebody_saves_is_kept(path: Path) -> None:
    """In memory, for the next time: the values to be written are those of the moment `save` was called."""
    config = RuntimeConfig(path, defaults=DEFAULTS)
    config.MAX_CONCURRENT_REQUESTS = 5
    with path.open("rb") as other_writer:
        fcntl.flock(other_writer, fcntl.LOCK_EX)
        saving = threading.Thread(target=config.save)
        saving.start()
        saving.join(0.1)
        config.PAUSE = 3
    saving.join(5)

    assert held(path) == DEFAULTS | {"MAX_CONCURRENT_REQUESTS": 5}
    assert config.PAUSE == 3
    config.save()
    assert held(path) == DEFAULTS | {"MAX_CONCURRENT_REQUESTS": 5, "PAUSE": 3.0}


@pytest.mark.parametrize("text", ['{"PAUSE": 1', '{"PAUSE": "long"}', ""])
def test_a_file_that_cant_be_used_is_not_saved_over(path: Path, text: str) -> None:
    """Somebody is editing it; what was assigned is still there to be saved."""
    config = RuntimeConfig(path, defaults=DEFAULTS)
    config.PAUSE = 3.0
    edit(path, text)

    with pytest.raises(ConfigError):
        config.save()
    assert path.read_text(encoding="utf-8") == text
    path.unlink()
    config.save()
    assert held(path) == DEFAULTS | {"PAUSE": 3.0}
