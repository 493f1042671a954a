"""Whatever a provider does on the wire is recorded, and comes again without it: answers, refusals, breaks, silence."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
import trio
from tests.gateway.bodies import good
from tests.gateway.wire_server import Play, answer, drip, hang, http, reset_after, say, wait_until, wire_server
from tests.gateway.world import KEY, World, closed_port, open_world, well
from tests.recording.world import lines_of

from agent_pipeline.control.call import Attempt
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.gateway import ConnectionPool, Replay, at_once, open_recorder, recording_pool, replay_pool
from agent_pipeline.gateway.asker import ASKER, Asker
from agent_pipeline.gateway.recording import (
    Index,
    Likeness,
    RecordedSecrets,
    begin_recording,
    open_recording,
)
from agent_pipeline.gateway.recording.heard import Heard
from agent_pipeline.gateway.recording.replay import ReplayTransport

LIKENESS = Likeness(RecordedSecrets([KEY]))
INDEX = Index(run_id="r", pipeline="p", config_sha256="", created_at="", simulator=False)

PLAYS: dict[str, Play | tuple[Play, ...]] = {
    "an answer": well("responses"),
    "a packed answer": answer(gzip.compress(good("responses")), headers=["content-encoding: gzip"]),
    "a packed answer without its end": answer(
        gzip.compress(good("responses"))[:-9], headers=["content-encoding: gzip"]
    ),
    "bytes that are no text": answer(b'{"id": "\xff\xfe"}'),
    "HTML": answer(b"<html>Sign in</html>", content_type="text/html"),
    "too many requests": (
        answer(b'{"error": {"message": "slow"}}', status=429, headers=["retry-after: 0.02"]),
        well("responses"),
    ),
    "a refusal": answer(b'{"error": {"message": "no such model", "code": "model_not_found"}}', status=404),
    "an error without a body": answer(b"", status=503),
    "a reset before the answer": reset_after(b""),
    "a reset in the answer": reset_after(http(good("responses"))[:-5]),
    "an unknown encoding": answer(b"x", headers=["content-encoding: br"]),
    "no HTTP": say(b"what?\r\n\r\n", hang_up=True),
}


async def _ask(world: World) -> str:
    try:
        return str(await world.role.ask("Well?"))
    except AgentPipelineError as exc:
        return f"{exc.code}: {exc}"


def _told(world: World) -> list[tuple[object, ...]]:
    return [
        (one.number, one.sent, one.outcome, one.status_code, one.error_code, one.usage, one.charged_tokens)
        for one in world.records
    ]


async def _recorded(
    url: str, directory: Path, *, attempt_timeout: float = 30.0, read_timeout: float = 20.0
) -> tuple[str, World]:
    recording = begin_recording(directory, INDEX)
    async with (
        open_recorder(recording, LIKENESS, threaded=True) as recorder,
        open_world(
            url,
            make_pool=lambda: recording_pool(ConnectionPool, recorder),
            attempt_timeout=attempt_timeout,
            read_timeout=read_timeout,
        ) as world,
    ):
        return await _ask(world), world


async def _replayed(url: str, directory: Path) -> tuple[str, World]:
    replay = Replay(open_recording(directory), LIKENESS, threaded=True, pace=at_once)
    async with open_world(url, make_pool=lambda: replay_pool(replay)) as world:
        return await _ask(world), world


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
async def test_what_came_over_the_wire_comes_again(play: Play | tuple[Play, ...], tmp_path: Path) -> None:
    """The same answer or the same error, word for word, and the same charge; the server is gone by then."""
    script = play if isinstance(play, tuple) else (play,)
    async with wire_server(*script) as server:
        before = await _recorded(server.url, tmp_path / "recording")
        asked = len(server.seen)
    after = await _replayed(server.url, tmp_path / "recording")

    assert asked == len(script)
    assert after[0] == before[0]
    assert _told(after[1]) == _told(before[1])


async def test_a_refused_connection_comes_again_as_one_that_sent_nothing(tmp_path: Path) -> None:
    """Nothing left then, so that nothing is charged or counted now."""
    url = f"http://127.0.0.1:{await closed_port()}/v1"

    before = await _recorded(url, tmp_path / "recording")
    after = await _replayed(url, tmp_path / "recording")

    assert after[0] == before[0]
    assert "efused" in after[0]
    assert _told(after[1]) == _told(before[1])
    assert after[1].records[0].sent is False


@pytest.mark.parametrize(
    ("play", "limits", "words"),
    [
        (hang(), {"attempt_timeout": 0.1}, "attempt_timeout: attempt 1 exceeded its 0.1 s attempt timeout"),
        (drip(http(good("responses")), 0.05), {"attempt_timeout": 0.2}, "exceeded its 0.2 s attempt timeout"),
        (hang(), {"read_timeout": 0.1}, "attempt_timeout: attempt 1 exceeded its 0.1 s read timeout"),
    ],
)
async def test_silence_comes_again_without_the_wait(
    play: Play, limits: dict[str, float], words: str, tmp_path: Path
) -> None:
    """The attempt that was cut off was paid for; a replay that left it out would have other usage."""
    async with wire_server(play) as server:
        before = await _recorded(server.url, tmp_path / "recording", **limits)
    begun = trio.current_time()
    after = await _replayed(server.url, tmp_path / "recording")

    assert words in before[0]
    assert trio.current_time() - begun < 5  # the limits of the replay are 20 and 30 s
    assert (
        after[0].partition(" s ")[0].partition("exceeded")[0] == before[0].partition(" s ")[0].partition("exceeded")[0]
    )
    assert _told(after[1]) == _told(before[1])


async def test_what_was_cancelled_from_above_is_not_on_record(tmp_path: Path) -> None:
    """Nobody knows what would have been answered."""
    recording = begin_recording(tmp_path / "recording", INDEX)
    async with (
        wire_server(hang()) as server,
        open_recorder(recording, LIKENESS, threaded=True) as recorder,
        open_world(server.url, make_pool=lambda: recording_pool(ConnectionPool, recorder)) as world,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(world.role.ask, "Well?")
        await wait_until(lambda: server.seen)
        nursery.cancel_scope.cancel()

    assert [one.outcome for one in world.records] == ["cancelled"]
    assert lines_of(tmp_path / "recording") == {}
    assert open_recording(tmp_path / "recording").index.exchanges == 0


async def test_only_headers_that_decide_anything_are_written(tmp_path: Path) -> None:
    """Cookies, organisations and whatever else a provider adds say who asked; the request's own are left out whole."""
    headers = [
        "set-cookie: session=secret",
        "openai-organization: acme",
        "x-request-id: req_1",
        "x-ratelimit-remaining-requests: 9",
        "retry-after: Fri, 20 Nov 2026 09:00:30 GMT",
        "date: Fri, 20 Nov 2026 09:00:00 GMT",
    ]
    async with wire_server(answer(b"{}", status=503, headers=headers)) as server:
        await _recorded(server.url, tmp_path / "recording")

    [line] = lines_of(tmp_path / "recording")["outside"]
    assert line["headers"] == {
        "content-type": "application/json",
        "x-request-id": "req_1",
        "x-ratelimit-remaining-requests": "9",
        "retry-after": "30.0",  # a date would mean another pause at another time
    }
    assert datetime.fromisoformat(line["at"]).tzinfo is UTC
    assert KEY not in (tmp_path / "recording" / "outside.jsonl").read_text(encoding="utf-8")


async def test_an_answer_whose_request_was_held_back_is_not_used_up(tmp_path: Path) -> None:
    """A pause that begins at the last moment sends the request back into the queue; it comes again."""
    async with wire_server(well("responses", "once")) as server:
        await _recorded(server.url, tmp_path / "recording")
    replay = Replay(open_recording(tmp_path / "recording"), LIKENESS, threaded=False, pace=at_once)
    [line] = lines_of(tmp_path / "recording")["outside"]
    told: list[str] = []

    async def hold_back(event: str, _info: object) -> None:
        told.append(event)
        if len(told) == 1:
            raise RuntimeError("a pause began")

    def request() -> httpx2.Request:
        extensions = {ASKER: Asker("writer", "local", Attempt(1)), "trace": hold_back}
        content = json.dumps(line["request"]["body"]).encode()
        return httpx2.Request("POST", "http://a.invalid/v1/responses", content=content, extensions=extensions)

    transport = ReplayTransport(replay)
    with pytest.raises(RuntimeError):
        await transport.handle_async_request(request())
    assert replay.totals().exchanges == 0
    response = await transport.handle_async_request(request())

    assert (response.status_code, replay.totals().exchanges, len(told)) == (200, 1, 2)


async def test_what_was_cut_off_is_recorded_whole_though_the_run_is_cancelled(tmp_path: Path) -> None:
    """The answer came, and was paid for: the line is written to its end, whoever cancels meanwhile."""
    recording = begin_recording(tmp_path / "recording", INDEX)
    async with (
        wire_server(well("responses")) as server,
        open_recorder(recording, LIKENESS, threaded=True) as recorder,
        open_world(server.url, make_pool=lambda: recording_pool(ConnectionPool, recorder)) as world,
    ):
        with trio.CancelScope() as scope:
            keep = recorder.keep

            async def cancelled_while_it_is_kept(heard: Heard) -> None:
                scope.cancel()
                await keep(heard)

            recorder.keep = cancelled_while_it_is_kept  # type: ignore[method-assign]
            await world.role.ask("Well?")

    assert len(lines_of(tmp_path / "recording")["outside"]) == 1


@pytest.mark.parametrize(
    "repeat",
    [
        lambda key: answer(good("responses", key)),
        lambda key: answer(f'{{"error": {{"message": "bad key {key}"}}}}'.encode(), status=401),
        lambda key: answer(f"<html>{key}</html>".encode(), content_type="text/html"),
        lambda key: reset_after(http(good("responses", key))[:-3]),
    ],
    ids=["in an answer", "in a refusal", "in HTML", "in half an answer"],
)
async def test_a_key_that_the_provider_repeats_is_not_written(repeat: Callable[[str], Play], tmp_path: Path) -> None:
    """Whoever gets a recording gets no key with it."""
    async with wire_server(repeat(KEY)) as server:
        await _recorded(server.url, tmp_path / "recording")

    written = (tmp_path / "recording" / "outside.jsonl").read_text(encoding="utf-8")
    assert KEY not in written
    assert "[redacted]" in written
    assert lines_of(tmp_path / "recording")["outside"][0]["is_redacted"] is True
