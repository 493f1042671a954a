"""A worker's Trio run beside threads that carry, without Ray."""

import threading
from collections.abc import Iterator

import pytest
from tests.engines.on_ray.toys import echo, plan_of, raise_at_once

from agent_pipeline.engines.messages import Alive, Done, Finish, Paused, Ready, Recall, Report
from agent_pipeline.engines.on_ray.worker_thread import WorkerThread


def _until_paused(batches: Iterator[list[Report]]) -> list[Report]:
    reports: list[Report] = []
    while not any(isinstance(one, Paused) for one in reports):
        reports += [one for one in next(batches) if not isinstance(one, Alive)]
    return reports


def test_commands_reach_the_worker_in_order_also_those_before_it_began() -> None:
    """Ray may bring the first command while the worker still imports what it needs."""
    worker = WorkerThread(echo, plan_of())
    worker.command(Recall("first"))
    worker.command(Recall("second"))

    batches = worker.batches()
    reports = _until_paused(batches)
    worker.command(Recall("third"))
    worker.command(Finish())
    reports += [one for batch in batches for one in batch]

    assert isinstance(reports[0], Ready)
    assert [one.model for one in reports if isinstance(one, Paused)] == ["first", "second", "third"]
    assert reports[-1] == Done()


def test_a_command_for_a_worker_that_has_ended_is_no_error() -> None:
    """It crosses the worker's last word on the way."""
    worker = WorkerThread(echo, plan_of())
    worker.command(Finish())
    before = threading.active_count()

    list(worker.batches())
    worker.command(Finish())

    assert threading.active_count() == before


def test_what_was_reported_before_an_error_comes_before_it() -> None:
    """It may be the end of a document that was paid for."""
    batches = WorkerThread(raise_at_once, plan_of()).batches()

    first = next(batches)
    with pytest.raises(ExceptionGroup) as raised:
        list(batches)

    assert isinstance(first[0], Ready)
    assert isinstance(raised.value.exceptions[0], ValueError)
