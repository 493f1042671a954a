"""Artifacts of documents that end together, one of which is cancelled at that moment."""

import os
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agent_pipeline.documents import ArtifactWriter
from agent_pipeline.documents.artifacts import GATHER_DELAY
from agent_pipeline.domain.document import Document


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("[!.]*"))


async def test_who_is_cancelled_while_others_gather_around_him_takes_no_other_artifact_along(tmp_path: Path) -> None:
    """Whose turn it is writes for all that wait."""
    writer = ArtifactWriter(tmp_path)
    written: list[str] = []
    cancelled = trio.CancelScope()

    async def write(document_id: str, scope: trio.CancelScope) -> None:
        with scope:
            written.append((await writer.write(Document(document_id, "text"))).document_id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, "next", cancelled)
        await wait_all_tasks_blocked()
        nursery.start_soon(write, "other", trio.CancelScope())
        await wait_all_tasks_blocked()
        cancelled.cancel()

    assert written == _names(tmp_path) == ["other"]


async def test_who_is_cancelled_as_he_is_given_the_turn_passes_it_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He was woken to write, and does not: those behind him would wait for ever."""
    writer = ArtifactWriter(tmp_path)
    written: list[str] = []
    cancelled, has_begun, goes_on, sync = trio.CancelScope(), trio.Event(), threading.Event(), os.fsync

    def held_sync(descriptor: int) -> None:
        trio.from_thread.run_sync(has_begun.set)
        goes_on.wait(30)
        sync(descriptor)

    async def write(document_id: str, scope: trio.CancelScope) -> None:
        with scope:
            written.append((await writer.write(Document(document_id, "text"))).document_id)
        if document_id == "first":
            cancelled.cancel()

    monkeypatch.setattr(os, "fsync", held_sync)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, "first", trio.CancelScope())
        await has_begun.wait()  # who comes now waits for his turn
        for document_id, scope in (("next", cancelled), ("other", trio.CancelScope())):
            nursery.start_soon(write, document_id, scope)
            await wait_all_tasks_blocked()
        goes_on.set()

    assert written == _names(tmp_path) == ["first", "other"]


async def test_who_is_cancelled_while_his_group_waits_for_the_thread_takes_nobody_along(tmp_path: Path) -> None:
    """What was taken to be written is written by whoever took it, or by nobody."""
    writer = ArtifactWriter(tmp_path)
    written: list[str] = []
    cancelled = trio.CancelScope()

    async def write(document_id: str, scope: trio.CancelScope) -> None:
        with scope:
            written.append((await writer.write(Document(document_id, "text"))).document_id)

    async with trio.open_nursery() as nursery, writer._thread:
        nursery.start_soon(write, "first", cancelled)
        await wait_all_tasks_blocked()
        nursery.start_soon(write, "other", trio.CancelScope())
        await wait_all_tasks_blocked(2 * GATHER_DELAY)
        cancelled.cancel()
        await wait_all_tasks_blocked()

    assert sorted(written) == _names(tmp_path) == ["first", "other"]
