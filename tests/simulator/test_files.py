"""Files that clients upload: kept byte for byte, and no more of them than fits."""

import json

import pytest
from openai.types import FileObject
from tests.simulator.uploading import call, upload

from agent_pipeline.simulator import Simulator, SimulatorRequest, file_store


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
