"""Batches: requests that are uploaded, answered later, and fetched as a file of results."""

import json
from collections.abc import Sequence

import openai
import pytest
import trio
from openai.types import Batch
from tests.simulator.asking import CHAT, RESPONSES, TEXT, asking, both_apis, post
from tests.simulator.clients import Start, openai_of
from tests.simulator.uploading import call, create, jsonl, line_of, look, response_of, results, simulating, upload
from trio.testing import MockClock

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import Simulator, batches, file_store
from agent_pipeline.simulator.json_values import JsonObject

EMBEDDINGS = "/v1/embeddings"


@both_apis
async def test_a_batch_is_answered_when_its_time_has_come(autojump_clock: MockClock, path: str) -> None:
    """Not at once: who polls must wait, in virtual time or in real."""
    simulator = simulating(batch_delay=90)
    made = create(simulator, path, jsonl(*(line_of(f"n{n}", path, asking(path, f"Text {n}.")) for n in range(3))))
    seen = [Batch.model_validate_json(made.body).status]

    for pause in (0, 89, 1):
        await trio.sleep(pause)
        seen.append(look(simulator, made).status)

    assert seen == ["validating", "validating", "validating", "completed"]
    batch = look(simulator, made)
    assert batch.request_counts is not None
    assert batch.usage is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (3, 3, 0)
    assert (batch.error_file_id, batch.errors) == (None, None)
    found = results(simulator, batch.output_file_id)
    assert [one["custom_id"] for one in found] == ["n0", "n1", "n2"]
    assert {response_of(one)["status_code"] for one in found} == {200}
    assert len({one["id"] for one in found}) == 3
    statistics = simulator.statistics
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (statistics.input_tokens, statistics.output_tokens)
    assert batch.usage.total_tokens > 0


@both_apis
def test_a_line_has_the_answer_a_request_has(path: str) -> None:
    """But for its ids."""
    simulator = simulating(batch_delay=0)
    made = create(simulator, path, jsonl(line_of("one", path, asking(path))))

    (found,) = results(simulator, look(simulator, made).output_file_id)

    alone, batched = json.loads(post(path, asking(path)).body), response_of(found)["body"]
    assert isinstance(batched, dict)
    assert batched["usage"] == alone["usage"]
    assert batched.get("output_text", TEXT) == alone.get("output_text", TEXT)
    assert batched["model"] == "small-simulator"


def test_what_a_line_gets_wrong_is_in_the_file_of_errors() -> None:
    """Others are answered: one bad document never spoils a batch."""
    simulator = simulating({"kind": "status", "status": 500, "match": {"contains": "unlucky"}}, batch_delay=0)
    lines = [
        line_of("good", RESPONSES, asking(RESPONSES)),
        line_of("no model", RESPONSES, {"input": "text"}),
        line_of("streamed", RESPONSES, asking(RESPONSES, stream=True)),
        line_of("struck", RESPONSES, asking(RESPONSES, "An unlucky text.")),
    ]

    made = create(simulator, RESPONSES, jsonl(*lines))

    batch = look(simulator, made)
    failed = results(simulator, batch.error_file_id)
    assert batch.status == "completed"
    assert [one["custom_id"] for one in results(simulator, batch.output_file_id)] == ["good"]
    assert [(one["custom_id"], response_of(one)["status_code"]) for one in failed] == [
        ("no model", 400),
        ("streamed", 400),
        ("struck", 500),
    ]
    assert all("error" in json.dumps(response_of(one)["body"]) for one in failed)
    assert simulator.statistics.faults == {"status": 1}


def test_faults_with_a_rate_or_script_strike_lines_as_they_strike_requests() -> None:
    """And only those that are a status: a line has no connection to reset, and no limits of its own."""
    simulator = simulating(
        {"kind": "reset_before_body", "match": {"path": CHAT}},
        {"kind": "rate_limit", "requests_per_minute": 1, "match": {"path": CHAT}},
        {"kind": "status", "status": 503, "script": [2, 3], "match": {"model": "small"}},
        {"kind": "status", "status": 500, "script": [3], "match": {"model": "small"}},
        batch_delay=0,
    )

    made = create(simulator, CHAT, jsonl(*(line_of(f"n{n}", CHAT, asking(CHAT, str(n))) for n in range(4))))

    batch = look(simulator, made)
    struck = [(one["custom_id"], response_of(one)["status_code"]) for one in results(simulator, batch.error_file_id)]
    assert struck == [("n1", 503), ("n2", 503)]


def test_lines_are_no_requests() -> None:
    """What the provider saw of requests is what came over the wire."""
    simulator = simulating(batch_delay=0)

    look(simulator, create(simulator, EMBEDDINGS, jsonl(line_of("one", EMBEDDINGS, {"model": "m", "input": "text"}))))

    assert simulator.statistics.ends == {
        ("/v1/files", "200"): 1,
        ("/v1/batches", "200"): 1,
        ("/v1/batches/{id}", "200"): 1,
    }
    assert not simulator.statistics.models
    assert simulator.statistics.input_tokens == 1


def test_a_long_batch_takes_several_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No single request may hold the server for as long as fifty thousand answers take."""
    monkeypatch.setattr(batches, "LINES_PER_LOOK", 2)
    simulator = simulating(batch_delay=0)
    made = create(simulator, RESPONSES, jsonl(*(line_of(f"n{n}", RESPONSES, asking(RESPONSES)) for n in range(5))))

    seen = []
    for _ in range(4):
        batch = look(simulator, made)
        assert batch.request_counts is not None
        seen.append((batch.status, batch.request_counts.completed, batch.output_file_id is not None))

    assert seen == [
        ("in_progress", 2, False),
        ("in_progress", 4, False),
        ("completed", 5, True),
        ("completed", 5, True),
    ]


def test_a_cancelled_batch_keeps_what_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was paid for."""
    monkeypatch.setattr(batches, "LINES_PER_LOOK", 1)
    simulator = simulating(batch_delay=0)
    made = create(simulator, RESPONSES, jsonl(*(line_of(f"n{n}", RESPONSES, asking(RESPONSES)) for n in range(3))))
    path = f"/v1/batches/{look(simulator, made).id}/cancel"

    cancelling = Batch.model_validate_json(call(simulator, "POST", path).body)
    batch = look(simulator, made)
    again = call(simulator, "POST", path)

    assert (cancelling.status, batch.status, again.status) == ("cancelling", "cancelled", 409)
    assert len(results(simulator, batch.output_file_id)) == 1


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        (b"", [(None, "empty_file")]),
        (b"\n \n", [(None, "empty_file")]),
        (b"{\n[]\n", [(1, "invalid_json_line"), (2, "invalid_json_line")]),
        (jsonl({"method": "POST"}), [(1, "missing_required_parameter")]),
        (jsonl(line_of("a", CHAT, {}), line_of("b", RESPONSES, {})), [(2, "invalid_url")]),
        (jsonl(line_of("a", CHAT, {}, method="GET")), [(1, "invalid_method")]),
        (jsonl(line_of("a", CHAT, [])), [(1, "invalid_body")]),
        (jsonl(line_of("a", CHAT, {}), line_of("a", CHAT, {})), [(2, "duplicate_custom_id")]),
        (jsonl(*[0] * 50), [(number, "invalid_json_line") for number in range(1, 21)]),
    ],
)
def test_a_file_that_is_no_batch_fails_as_a_whole(data: bytes, problems: Sequence[tuple[int | None, str]]) -> None:
    """When it is looked at, as the API does; nothing was answered."""
    simulator = simulating(batch_delay=0)

    batch = look(simulator, create(simulator, CHAT, data))

    assert batch.status == "failed"
    assert batch.errors is not None
    assert [(one.line, one.code) for one in batch.errors.data or []] == problems
    assert batch.output_file_id is None
    assert simulator.statistics.input_tokens == 0


def test_a_file_of_too_many_lines_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API takes fifty thousand."""
    monkeypatch.setattr("agent_pipeline.simulator.batch_lines.MOST_LINES", 2)
    simulator = simulating(batch_delay=0)

    batch = look(simulator, create(simulator, CHAT, jsonl(*(line_of(str(n), CHAT, {}) for n in range(5)))))

    assert batch.errors is not None
    assert [one.code for one in batch.errors.data or []] == ["too_many_tasks"]


@pytest.mark.parametrize(
    ("more", "param", "status"),
    [
        ({"endpoint": "/v1/images"}, "endpoint", 400),
        ({"completion_window": "1h"}, "completion_window", 400),
        ({"input_file_id": "file_absent"}, "id", 404),
        ({"input_file_id": None}, "id", 404),
    ],
)
def test_a_batch_that_can_not_be_taken_on_is_refused(more: dict[str, JsonValue], param: str, status: int) -> None:
    """By the parameter that is wrong."""
    reply = create(Simulator(), CHAT, b"", **more)

    assert (reply.status, json.loads(reply.body)["error"]["param"]) == (status, param)


def test_only_files_for_batches_are_taken() -> None:
    """Results are no input."""
    simulator = Simulator()
    file_id = json.loads(upload(simulator, b"", "user_data").body)["id"]

    body: JsonObject = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": file_id}
    reply = post("/v1/batches", body, simulator)

    assert (reply.status, json.loads(reply.body)["error"]["param"]) == (400, "input_file_id")


def test_there_is_an_end_to_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory; what does not fit is refused, and a batch whose results don't fit fails."""
    simulator = simulating(batch_delay=0)
    data = jsonl(line_of("one", RESPONSES, asking(RESPONSES)))
    monkeypatch.setattr(file_store, "MOST_BYTES", len(data) + 10)

    made = create(simulator, RESPONSES, data)
    batch, refused = look(simulator, made), upload(simulator, data)

    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (400, "storage_full")
    assert batch.status == "failed"
    assert batch.errors is not None
    assert [one.code for one in batch.errors.data or []] == ["storage_full"]


def test_a_batch_whose_results_outgrow_the_store_stops_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are a thousand times the size of what asks for them: memory must not wait for the last line."""
    simulator = simulating(batch_delay=0)
    lines = (line_of(f"n{n}", EMBEDDINGS, {"model": "m", "input": "text", "dimensions": 1000}) for n in range(100))
    made = create(simulator, EMBEDDINGS, jsonl(*lines))
    monkeypatch.setattr(file_store, "MOST_BYTES", 100_000)

    batch = look(simulator, made)

    assert batch.status == "failed"
    assert batch.request_counts is not None
    assert 1 < batch.request_counts.completed < 50
    assert call(simulator, "DELETE", f"/v1/files/{batch.input_file_id}").status == 200


def test_there_is_an_end_to_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As to files."""
    monkeypatch.setattr(batches, "MOST_BATCHES", 1)
    simulator = Simulator()

    statuses = [create(simulator, CHAT, b"").status for _ in range(2)]

    assert statuses == [200, 400]
    assert len(json.loads(call(simulator, "GET", "/v1/batches").body)["data"]) == 1


async def test_the_openai_client_runs_a_batch(start: Start) -> None:
    """Upload, create, poll, download, as its documentation says; one poll meets a server error."""
    polls = {"path": "/v1/batches/{id}"}
    _, port = await start({"kind": "status", "status": 503, "script": [1], "match": polls}, batch_delay=0.05)
    data = jsonl(*(line_of(f"n{n}", EMBEDDINGS, {"model": "m", "input": f"text {n}"}) for n in range(3)))

    async with openai_of(port) as client:
        file = await client.files.create(file=("in.jsonl", data), purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", metadata={"of": "me"}
        )
        with pytest.raises(openai.InternalServerError):
            await client.batches.retrieve(batch.id)
        with trio.fail_after(5):
            while batch.status != "completed":
                await trio.sleep(0.02)
                batch = await client.batches.retrieve(batch.id)
        assert batch.output_file_id is not None
        content = await client.files.content(batch.output_file_id)
        listed = [one.id async for one in client.files.list()]
        again = [one.id async for one in client.batches.list()]

    assert [json.loads(line)["custom_id"] for line in content.text.splitlines()] == ["n0", "n1", "n2"]
    assert listed == [batch.output_file_id, file.id]
    assert (again, batch.metadata) == ([batch.id], {"of": "me"})


async def test_lines_take_their_time(autojump_clock: MockClock) -> None:
    """One after the other, whether or not somebody looks."""
    simulator = simulating(batch_delay=5, batch_line_delay=10)
    made = create(simulator, CHAT, jsonl(*(line_of(f"n{n}", CHAT, asking(CHAT, str(n))) for n in range(3))))
    seen = []

    for pause in (4, 1, 9, 1, 15, 5):
        await trio.sleep(pause)
        batch = look(simulator, made)
        assert batch.request_counts is not None
        seen.append((trio.current_time(), batch.status, batch.request_counts.completed))

    assert seen == [
        (4, "validating", 0),
        (5, "in_progress", 0),
        (14, "in_progress", 0),
        (15, "in_progress", 1),
        (30, "in_progress", 2),
        (35, "completed", 3),
    ]


@pytest.mark.parametrize("looks", [(100.0,), (10.0, 24.0, 100.0)])
async def test_a_batch_that_expires_says_so_of_each_line_it_did_not_come_to(
    autojump_clock: MockClock, looks: Sequence[float]
) -> None:
    """What was due by then is answered, whenever somebody looks."""
    simulator = simulating(batch_delay=0, batch_line_delay=10, batch_expires=25)
    made = create(simulator, CHAT, jsonl(*(line_of(f"n{n}", CHAT, asking(CHAT, str(n))) for n in range(4))))
    for at in looks:
        await trio.sleep_until(at)
        look(simulator, made)
    batch = look(simulator, made)

    assert (batch.status, batch.expired_at is not None) == ("expired", True)
    assert [one["custom_id"] for one in results(simulator, batch.output_file_id)] == ["n0", "n1"]
    errors = results(simulator, batch.error_file_id)
    assert [(one["custom_id"], one["response"]) for one in errors] == [("n2", None), ("n3", None)]
    assert all('"code": "batch_expired"' in json.dumps(one["error"]) for one in errors)
    assert call(simulator, "POST", f"/v1/batches/{batch.id}/cancel").status == 409


def test_a_cancelled_batch_says_so_of_each_line_it_did_not_come_to() -> None:
    """None was begun here."""
    simulator = simulating()
    made = create(simulator, CHAT, jsonl(line_of("one", CHAT, asking(CHAT))))
    call(simulator, "POST", f"/v1/batches/{json.loads(made.body)['id']}/cancel")

    batch = look(simulator, made)

    assert (batch.status, batch.output_file_id) == ("cancelled", None)
    (error,) = results(simulator, batch.error_file_id)
    assert '"code": "batch_cancelled"' in json.dumps(error["error"])


async def test_a_batch_too_many_is_refused_for_now(autojump_clock: MockClock) -> None:
    """Until one of the others is over."""
    simulator = simulating(batch_delay=10, batch_queue=1)
    data = jsonl(line_of("one", CHAT, asking(CHAT)))
    first, second = create(simulator, CHAT, data), create(simulator, CHAT, data)
    await trio.sleep(10)

    refused = look(simulator, second)
    assert (refused.status, look(simulator, first).status) == ("failed", "completed")
    assert refused.errors is not None
    assert [one.code for one in refused.errors.data or []] == ["token_limit_exceeded"]
    third = create(simulator, CHAT, data)
    await trio.sleep(10)
    assert look(simulator, third).status == "completed"


def test_lists_come_in_pages() -> None:
    """The newest first; the cursor is the last id of the page before."""
    simulator = Simulator()
    for number in range(5):
        assert create(simulator, CHAT, f"{number}".encode(), metadata={"n": f"{number}"}).status == 200
    results_file = json.loads(upload(simulator, b"", "user_data").body)["id"]

    first = json.loads(call(simulator, "GET", "/v1/batches?limit=2").body)
    second = json.loads(call(simulator, "GET", f"/v1/batches?limit=9&after={first['last_id']}").body)
    third = json.loads(call(simulator, "GET", f"/v1/batches?after={second['last_id']}").body)
    wrong = call(simulator, "GET", "/v1/batches?after=nothing")
    files = json.loads(call(simulator, "GET", "/v1/files?purpose=batch").body)

    assert [one["metadata"]["n"] for one in first["data"]] == ["4", "3"]
    assert [one["metadata"]["n"] for one in second["data"]] == ["2", "1", "0"]
    assert [first["has_more"], second["has_more"], third["has_more"]] == [True, False, False]
    assert (third["data"], third["first_id"], third["last_id"]) == ([], None, None)
    assert wrong.status == 400
    assert len(files["data"]) == 5
    assert results_file not in [one["id"] for one in files["data"]]
