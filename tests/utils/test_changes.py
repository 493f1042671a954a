"""Who subscribed to a config is told of every change, whoever makes it."""

import itertools
import logging
import threading
from pathlib import Path

import pytest
from tests.utils.live_file import DEFAULTS, edit, held

from agent_pipeline.utils import RuntimeConfig
from agent_pipeline.utils.subscribers import Changes


def test_subscribers_are_told_of_every_change(path: Path) -> None:
    config = RuntimeConfig(path, defaults=DEFAULTS)
    told: list[Changes] = []
    unsubscribe = config.subscribe(told.append)

    config.PAUSE = 0.5
    config.PAUSE = 1
    edit(path, DEFAULTS | {"MAX_CONCURRENT_REQUESTS": 5, "MODEL": "other"})
    config.reload()
    unsubscribe()
    config.PAUSE = 2

    assert told == [{"PAUSE": (0.5, 1.0)}, {"MAX_CONCURRENT_REQUESTS": (25, 5), "MODEL": ("gpt-oss", "other")}]


def test_a_subscriber_sees_the_new_values_and_may_change_some(path: Path) -> None:
    config = RuntimeConfig(path, defaults=DEFAULTS)
    seen: list[object] = []

    def answer(changes: Changes) -> None:
        seen.append((dict(changes), config.PAUSE))
        if "MODEL" in changes:
            config.PAUSE = 9
            config.save()
            config.reload()

    config.subscribe(answer)
    config.MODEL = "other"

    assert seen == [({"MODEL": ("gpt-oss", "other")}, 0.5), ({"PAUSE": (0.5, 9.0)}, 9.0)]
    assert held(path) == DEFAULTS | {"MODEL": "other", "PAUSE": 9.0}


def test_one_that_fails_is_counted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = RuntimeConfig(path, defaults=DEFAULTS)
    config.subscribe(lambda changes: changes["no such"])

    with caplog.at_level(logging.ERROR):
        config.PAUSE = 2

    assert config.subscriber_failures == 1
    assert len(caplog.records) == 1
    assert config.PAUSE == 2


def test_a_setter_follows_its_value(path: Path) -> None:
    """As a pool's number of requests in flight does: from the first value on."""
    config = RuntimeConfig(path, defaults=DEFAULTS)
    limits: list[int] = []
    unfollow = config.follow("MAX_CONCURRENT_REQUESTS", limits.append)

    config.PAUSE = 3
    config.MAX_CONCURRENT_REQUESTS = 5
    edit(path, {"MAX_CONCURRENT_REQUESTS": 6})
    config.reload()
    unfollow()
    config.MAX_CONCURRENT_REQUESTS = 7

    assert limits == [25, 5, 6]
    with pytest.raises(AttributeError, match="did you mean"):
        config.follow("MAX_CONCURRENT_REQUEST", limits.append)
    with pytest.raises(AttributeError, match="no value is called 'reload'"):
        config.follow("reload", limits.append)


def test_threads_may_do_all_of_it_at_once(path: Path) -> None:
    """Every change is told of once and in order: each begins with what the one before it ended with."""
    config = RuntimeConfig(path, defaults={"A": 0, "B": 0})
    told: dict[str, list[tuple[object, object]]] = {"A": [], "B": []}

    def note(changes: Changes) -> None:
        for key, change in changes.items():
            told[key].append(change)

    def assign(key: str) -> None:
        for number in range(1, 31):
            setattr(config, key, number)
            config.save()
            config.reload()

    config.subscribe(note)
    threads = [threading.Thread(target=assign, args=(key,)) for key in "AABB"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for steps in told.values():
        assert steps[0][0] == 0
        assert all(before[1] == after[0] for before, after in itertools.pairwise(steps))
    assert held(path) == config.as_dict() == {"A": told["A"][-1][1], "B": told["B"][-1][1]}
    assert config.subscriber_failures == 0
