"""What goes wrong at a provider is told of the items it concerns, and charged for what it may have cost."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import trio
from tests.batch_api.world import PRICE, Twist, items, job, requests, resumed, simulator
from trio.testing import MockClock

from agent_pipeline.batch.results import BatchResult, WorkItemResult
from agent_pipeline.domain.usage import Usage


def endings(result: BatchResult[object, object]) -> list[str | None]:
    """Return how each item ended."""
    return [one.error_code for one in result.results]


def cost(results: list[WorkItemResult[object, object]]) -> int:
    """Return what the items cost at half the price."""
    usages = [Usage(one.token_usage["input_tokens"], one.token_usage["output_tokens"]) for one in results]
    return -(-sum(map(PRICE.cost_micro_usd, usages)) // 2)


def twisting_lines(change: Callable[[list[bytes]], list[bytes]]) -> Twist:
    """Change the lines of each file of results."""

    def twist(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        if not request.url.path.endswith("/content"):
            return response
        headers = {"content-type": "application/octet-stream"}
        return httpx2.Response(
            200, headers=headers, content=b"".join(change(response.content.splitlines(keepends=True)))
        )

    return twist


def replacing(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Replace bytes in every line."""
    return lambda lines: [line.replace(old, new) for line in lines]


async def test_an_error_of_one_line_is_that_items_error(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A request that was refused costs nothing; one that timed out at the provider may have cost all it could."""
    provider = simulator(
        {"kind": "status", "status": 400, "message": "No fruit.", "match": {"contains": "Apple 1"}},
        {"kind": "status", "status": 504, "match": {"contains": "Apple 3"}},
    )
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(4))
        result = await processor.process_all()
        charge = processor.charge
    lines = [json.loads(line) for line in (tmp_path / "part-0001.jsonl").read_text().splitlines()]
    bound = len(json.dumps(lines[3]["body"], separators=(",", ":")))

    assert endings(result) == [None, "request_rejected", None, "server_error"]
    assert "No fruit" in (result.results[1].error or "")
    assert [one.attempts for one in result.results] == [1, 0, 1, 1]
    assert charge is not None
    assert charge.micro_usd == cost(list(result.results))
    assert (charge.unknown_tokens, result.unknown_tokens) == (bound + 100, bound + 100)
    assert charge.unknown_micro_usd == -(-(bound * 2 + 100 * 10) // 2)


async def test_a_batch_that_expires_keeps_what_was_answered(autojump_clock: MockClock, tmp_path: Path) -> None:
    """One line in ten seconds, and three and a half of them: the others were never worked on."""
    provider = simulator(batch_delay=0, batch_line_delay=10, batch_expires=35)
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(5))
        result = await processor.process_all()
        charge = processor.charge

    assert endings(result) == [None, None, None, "batch_expired", "batch_expired"]
    assert charge is not None
    assert (charge.micro_usd, charge.unknown_tokens) == (cost(list(result.results)), 0)
    assert result.termination == "completed"


async def test_a_batch_that_is_cancelled_keeps_what_was_answered(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It is asked to stop at once, not at the next look."""
    provider = simulator(batch_delay=0, batch_line_delay=10)
    async with job(tmp_path, provider) as processor, trio.open_nursery() as nursery:
        await processor.add_all(items(5))
        found: list[BatchResult[object, object]] = []

        async def process() -> None:
            found.append(await processor.process_all())

        nursery.start_soon(process)
        await trio.sleep(25)  # looked at after 0 and 10 seconds: one line was answered then
        await processor.cancel()

    assert endings(found[0]) == [None, *["batch_request_cancelled"] * 4]
    assert found[0].termination == "cancelled"
    assert trio.current_time() == 25


async def test_a_job_cancelled_before_it_was_sent_sends_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Each item has its result all the same."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        await processor.cancel()
        result = await processor.process_all()

    assert endings(result) == ["batch_request_cancelled"] * 2
    assert provider.statistics.requests == 0


async def test_a_batch_that_is_refused_as_a_whole_says_which_line(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Nothing was worked on, so nothing is charged."""
    provider = simulator()
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(3))
        # The provider has rules of its own about lines.
        await processor._hosted.run(lambda opened: opened.seal())
        path = tmp_path / "part-0001.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"item 1", "method": "POST"', b'"item 1", "method": "GET!"'))
        result = await processor.process_all()
        charge = processor.charge

    assert endings(result) == ["batch_failed"] * 3
    assert ": invalid_method: The method must be POST." in (result.results[1].error or "")
    assert "for its line 2" in (result.results[0].error or "")
    assert charge is not None
    assert (charge.usage.total_tokens, charge.unknown_tokens) == (0, 0)


async def test_a_full_queue_is_waited_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Five files, one of which is taken at a time."""
    provider = simulator(batch_delay=30, batch_queue=1)
    async with job(tmp_path, provider, max_requests=1) as processor:
        await processor.add_all(items(5))
        result = await processor.process_all()

    assert result.succeeded == 5
    assert requests(provider, "/v1/files") == 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: [line for line in lines if b'"item 1"' not in line], [None, "batch_failed", None]),
        (replacing(b'"custom_id":"item 1"', b'"custom'), [None, "batch_failed", None]),
        (replacing(b"item 1", b"item x"), [None, "batch_failed", None]),
        (lambda lines: lines + lines, [None, None, None]),
        (lambda lines: lines[::-1], [None, None, None]),
        (lambda lines: [lines[0], b"\n", lines[1], b"<html>\n", lines[2].rstrip()], [None, None, None]),
        (replacing(b'"output":[', b'"output":7,"x":['), ["bad_answer"] * 3),
        (replacing(b'"status_code":200', b'"status_code":0'), ["batch_failed"] * 3),
        (replacing(b'"completed"', b'"incomplete"'), ["incomplete_answer"] * 3),
    ],
)
async def test_a_file_of_results_is_taken_for_what_it_is(
    autojump_clock: MockClock,
    tmp_path: Path,
    change: Callable[[list[bytes]], list[bytes]],
    expected: list[str | None],
) -> None:
    """Lines that are missing, damaged, twice there, in another order, or no answers: each item has one result."""
    provider = simulator()
    async with job(tmp_path, provider, twist=twisting_lines(change)) as processor:
        await processor.add_all(items(3))
        result = await processor.process_all()
        charge = processor.charge

    assert endings(result) == expected
    assert charge is not None
    lost = [one for one in result.results if not one.success and not one.token_usage["total_tokens"]]
    assert (charge.unknown_tokens > 0) == bool(lost)
    known = [one for one in result.results if one.token_usage["total_tokens"]]
    assert charge.micro_usd == cost(known)


async def test_a_file_that_is_not_whole_is_fetched_once_more(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The provider says how many lines there are."""
    fetched: list[int] = []

    def first_without(lines: list[bytes]) -> list[bytes]:
        fetched.append(len(lines))
        return lines[:1] if len(fetched) == 1 else lines

    async with job(tmp_path, simulator(), twist=twisting_lines(first_without)) as processor:
        await processor.add_all(items(3))
        result = await processor.process_all()

    assert endings(result) == [None] * 3
    assert fetched == [3, 3]


async def test_a_provider_that_is_down_for_an_hour_is_asked_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The batch goes on there whether or not it can be looked at."""
    looks = {"path": "/v1/batches/{id}"}
    provider = simulator(
        {"kind": "status", "status": 503, "script": list(range(2, 100)), "match": looks}, batch_delay=1
    )
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(1))
        result = await processor.process_all()

    assert result.succeeded == 1
    assert trio.current_time() > 2000


async def test_what_has_not_come_in_time_is_pending_and_can_be_resumed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Nothing is sent twice, and the second wait begins anew."""
    provider = simulator(batch_delay=500)
    async with job(tmp_path, provider, timeout=100) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()
    assert trio.current_time() == 100
    assert endings(result) == ["batch_pending"] * 2
    assert result.termination == "batch_timeout"

    async with resumed(tmp_path, provider) as processor:
        again = await processor.process_all()

    assert endings(again) == [None, None]
    assert 500 <= trio.current_time() <= 560
    assert requests(provider, "/v1/files") == requests(provider, "/v1/files/{id}/content") == 1


async def test_a_refused_key_fails_all_items_until_it_is_right(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What was not sent is sent by whoever resumes."""
    provider = simulator({"kind": "status", "status": 401, "script": [1]})
    async with job(tmp_path, provider) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()
    assert endings(result) == ["credentials_rejected"] * 2

    async with resumed(tmp_path, provider) as processor:
        again = await processor.process_all()

    assert endings(again) == [None, None]


async def test_an_answer_that_is_missing_may_have_been_paid_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The provider counts three lines it answered before the batch expired, and the files hold two of them."""

    def without_one(lines: list[bytes]) -> list[bytes]:
        return [line for line in lines if b'"item 1"' not in line]

    provider = simulator(batch_delay=0, batch_line_delay=10, batch_expires=35)
    twist = twisting_lines(without_one)
    async with job(tmp_path, provider, twist=twist) as processor:
        await processor.add_all(items(4))
        result = await processor.process_all()
        charge = processor.charge

    assert endings(result) == [None, "batch_expired", None, "batch_expired"]
    assert charge is not None
    assert 100 < charge.unknown_tokens < 300


async def test_of_two_answers_to_one_item_the_first_counts(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Once, also in money."""

    def twice(lines: list[bytes]) -> list[bytes]:
        return [*lines, *(line.replace(b"lies on", b"is under") for line in lines)]

    async with job(tmp_path, simulator(), twist=twisting_lines(twice)) as processor:
        await processor.add_all(items(2))
        result = await processor.process_all()
        charge = processor.charge

    assert [one.output for one in result.results] == [f"Apple {n} lies on a table." for n in range(2)]
    assert charge is not None
    assert charge.micro_usd == cost(list(result.results))
