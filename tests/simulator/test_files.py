"""Files: what is kept of uploads and results, for how long, and what is refused."""

import json

import openai
import pytest
import trio
from openai.types import FileObject
from tests.simulator.asking import CHAT, RESPONSES, asking
from tests.simulator.clients import Start, openai_of
from tests.simulator.uploading import (
    EMBEDDINGS,
    call,
    create,
    jsonl,
    line_of,
    look,
    simulating,
    upload,
)

from agent_pipeline.simulator import Simulator, SimulatorRequest, batches, file_store


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\n--xyz\n", b"a\r\nb\r\n\r\n", bytes(range(256)), b"-xyz--"])
def test_a_file_is_kept_byte_for_byte(data: bytes) -> None:
    """Whatever is in it, also what looks like the frame around it."""
    simulator = Simulator()

    made = FileObject.model_validate_json(upload(simulator, data).body)

    assert (made.filename, made.purpose, made.bytes) == ("in.jsonl", "batch", len(data))
    assert call(simulator, "GET", f"/v1/files/{made.id}/content").body == data
    assert json.loads(call(simulator, "GET", f"/v1/files/{made.id}").body)["id"] == made.id


def test_a_deleted_file_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its room is there again."""
    monkeypatch.setattr(file_store, "MOST_BYTES", 2)
    simulator = Simulator()
    first, second = (json.loads(upload(simulator, data).body)["id"] for data in (b"1", b"2"))

    deleted = call(simulator, "DELETE", f"/v1/files/{first}")

    assert json.loads(deleted.body)["deleted"] is True
    assert [call(simulator, method, f"/v1/files/{first}").status for method in ("GET", "DELETE")] == [404, 404]
    listed = json.loads(call(simulator, "GET", "/v1/files").body)
    assert [one["id"] for one in listed["data"]] == [second]
    assert (listed["first_id"], listed["has_more"]) == (second, False)
    assert [upload(simulator, data).status for data in (b"3", b"4")] == [200, 400]


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


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        ("application/json", b"{}"),
        ("multipart/form-data", b"--xyz--"),
        ("multipart/form-data; boundary=xyz", b""),
        ("multipart/form-data; boundary=xyz", b"--xyz\r\n\r\nabc"),
        ("multipart/form-data; boundary=xyz", b"--xyz\r\nno colon\r\n\r\nabc\r\n--xyz--"),
        (
            "multipart/form-data; boundary=xyz",
            b'--xyz\r\ncontent-disposition: form-data; name="file"\r\n\r\n\r\n--xyz--',
        ),
    ],
)
def test_what_is_no_upload_is_refused(content_type: str, body: bytes) -> None:
    """And kept nowhere."""
    simulator = Simulator()

    reply = simulator.respond(SimulatorRequest("POST", "/v1/files", (("content-type", content_type),), body))

    assert reply.status == 400
    assert not json.loads(call(simulator, "GET", "/v1/files").body)["data"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("PUT", "/v1/files", 405, "GET, POST"),
        ("POST", "/v1/files/x", 405, "GET, DELETE"),
        ("GET", "/v1/batches/x/cancel", 405, "POST"),
        ("GET", "/v1/files/", 404, None),
        ("GET", "/v1/files/x/y", 404, None),
        ("GET", "/v1/batches/x", 404, None),
        ("GET", "/v1/files/x/content", 404, None),
    ],
)
def test_what_is_not_there_is_said(method: str, path: str, status: int, allowed: str | None) -> None:
    """With the methods that are."""
    reply = call(Simulator(), method, path)

    assert (reply.status, reply.header("allow")) == (status, allowed)


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
