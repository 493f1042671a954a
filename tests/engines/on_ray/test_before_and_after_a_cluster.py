"""What is seen to before Ray is asked for anything, and before it is left; nothing here starts it."""

import os
import socket
import threading
from functools import partial
from pathlib import Path

import pytest

from agent_pipeline.engines.on_ray import check_kept, check_room_here
from agent_pipeline.engines.on_ray.address import check_answers
from agent_pipeline.engines.on_ray.library import WORKERS_PER_CORE
from agent_pipeline.engines.on_ray.visits import Visits
from agent_pipeline.errors import ConfigError


def test_one_machine_is_not_asked_for_a_thousand_workers() -> None:
    """Ray would start them all at once, and nothing else on the machine would get on."""
    most = WORKERS_PER_CORE * (os.cpu_count() or 1)

    check_room_here(most)
    with pytest.raises(ConfigError, match=f"^engine.workers: {most + 1} workers on this machine's .* at most {most}"):
        check_room_here(most + 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_at_which_nobody_listens_is_told_at_once(host: str) -> None:
    """Ray would try for minutes, and say so on the terminal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(ConfigError, match=r"^engine.address: there is no Ray cluster at .*; start one"):
        check_answers(f"{host}:{port}")


def test_an_address_at_which_somebody_listens_is_left_to_ray() -> None:
    """Whether it is a cluster's head only Ray can tell."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_answers(f"127.0.0.1:{server.getsockname()[1]}")


def test_what_would_go_with_rays_copy_of_a_folder_is_refused() -> None:
    """A job's relative paths lead there."""
    copy = Path("/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1")

    check_kept("logs", Path("/data/runtime_resources/logs"))
    with pytest.raises(ConfigError, match=r"^logs: .*_ray_pkg_1/logs is in Ray's copy of the job's folder, and goes"):
        check_kept("logs", copy / "logs")


def test_who_leaves_waits_for_all_that_are_inside() -> None:
    """One that comes back to Ray after that ends the process."""
    visits, left = Visits(), threading.Event()
    doors = [threading.Event(), threading.Event()]
    visits.begin("first visit", partial(_pass, doors[0]))
    visits.begin("second visit", partial(_pass, doors[1]))
    leaving = threading.Thread(target=_leave, args=(visits, left))
    leaving.start()

    doors[0].set()
    left_with_one_inside = left.wait(0.1)
    doors[1].set()
    leaving.join(10)

    assert (left_with_one_inside, left.is_set()) == (False, True)


def _pass(door: threading.Event) -> None:
    door.wait(10)


def _leave(visits: Visits, left: threading.Event) -> None:
    visits.wait_over()
    left.set()
