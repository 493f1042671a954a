"""Files and batches at the simulator, without any I/O."""

import json

from openai.types import Batch
from tests.simulator.asking import post

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import FaultPlan, Simulator, SimulatorReply, SimulatorRequest
from agent_pipeline.simulator.json_values import JsonObject


def simulating(*faults: object, **more: object) -> Simulator:
    return Simulator(faults=FaultPlan.from_mapping({"faults": list(faults), **more}))


def call(simulator: Simulator, method: str, path: str) -> SimulatorReply:
    return simulator.respond(SimulatorRequest(method, path))


def line_of(name: str, path: str, body: JsonValue, **more: JsonValue) -> JsonObject:
    return {"custom_id": name, "method": "POST", "url": path, "body": body, **more}


def jsonl(*lines: JsonValue) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def upload(simulator: Simulator, data: bytes, purpose: str = "batch") -> SimulatorReply:
    parts = (
        b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + purpose.encode(),
        b'\r\n--xyz\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + data,
        b"\r\n--xyz--\r\n",
    )
    headers = (("content-type", "multipart/form-data; boundary=xyz"),)
    return simulator.respond(SimulatorRequest("POST", "/v1/files", headers, b"".join(parts)))


def create(simulator: Simulator, path: str, data: bytes, **more: JsonValue) -> SimulatorReply:
    file_id = json.loads(upload(simulator, data).body)["id"]
    body: JsonObject = {"endpoint": path, "completion_window": "24h", "input_file_id": file_id, **more}
    return post("/v1/batches", body, simulator)


def look(simulator: Simulator, made: SimulatorReply) -> Batch:
    reply = call(simulator, "GET", f"/v1/batches/{json.loads(made.body)['id']}")
    return Batch.model_validate_json(reply.body)


def results(simulator: Simulator, file_id: str | None) -> list[JsonObject]:
    reply = call(simulator, "GET", f"/v1/files/{file_id}/content")
    assert reply.status == 200, reply.body
    return [json.loads(line) for line in reply.body.splitlines()]


def response_of(result: JsonObject) -> JsonObject:
    response = result["response"]
    assert isinstance(response, dict)
    return response
