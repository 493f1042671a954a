"""The paths of files and batches, and what is answered there."""

from typing import Final
from urllib.parse import parse_qsl

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.batches import Batches, Execute
from agent_pipeline.simulator.conversation import missing, parse_body
from agent_pipeline.simulator.file_store import MOST_FILES, FileStore, StoredFile
from agent_pipeline.simulator.identity import Identity
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.multipart import form_of
from agent_pipeline.simulator.plan import FaultPlan
from agent_pipeline.simulator.wire import BadRequestError, SimulatorReply, SimulatorRequest, json_reply, plain_reply

STORED: Final = {
    "/v1/files": ("GET", "POST"),
    "/v1/files/{id}": ("GET", "DELETE"),
    "/v1/files/{id}/content": ("GET",),
    "/v1/batches": ("GET", "POST"),
    "/v1/batches/{id}": ("GET",),
    "/v1/batches/{id}/cancel": ("POST",),
}
"""Methods by path, with `{id}` in the place of an id."""


def without_id(path: str) -> str:
    """Return the path with `{id}` in the place of the id, unchanged where there is none.

    >>> without_id("/v1/files/file_1/content"), without_id("/v1/files"), without_id("/v1/models/simulator")
    ('/v1/files/{id}/content', '/v1/files', '/v1/models/simulator')
    """
    parts = path.split("/")
    if len(parts) > 3 and parts[3]:
        parts[3] = "{id}"
    return "/".join(parts) if "/".join(parts) in STORED else path


_PAGE: Final = 100
"""Batches of one list, at the most."""


class Storage:
    """Files and batches, in memory."""

    def __init__(self, execute: Execute, plan: FaultPlan) -> None:
        self._files = FileStore()
        self._batches = Batches(self._files, execute, plan)

    def respond(self, request: SimulatorRequest, path: str, identity: Identity, now: float) -> SimulatorReply:
        """Answer a request to one of the paths, with a method it has; `path` is the one with `{id}`.

        Raises:
            BadRequestError: the API refuses it.
        """
        parts = request.path.partition("?")[0].split("/")
        the_id = parts[3] if len(parts) > 3 else ""
        if path.startswith("/v1/batches"):
            return json_reply(self._batch(request, path, the_id, identity, now))
        if path == "/v1/files/{id}/content":
            return plain_reply(200, "application/octet-stream", self._files.get(the_id).data)
        return json_reply(self._file(request, the_id, identity))

    def _file(self, request: SimulatorRequest, the_id: str, identity: Identity) -> JsonObject:
        if request.method == "POST":
            return self._upload(request, identity).as_json()
        if request.method == "DELETE":
            return self._files.delete(the_id)
        if the_id:
            return self._files.get(the_id).as_json()
        files = reversed(self._files.files.values())
        purpose = _query(request).get("purpose")
        return _page(request, [file.as_json() for file in files if purpose in {None, file.purpose}], MOST_FILES)

    def _upload(self, request: SimulatorRequest, identity: Identity) -> StoredFile:
        form = form_of(request)
        for name in ("file", "purpose"):
            if name not in form:
                raise missing(name)
        purpose = form["purpose"].data.decode("utf-8", "replace")[:64]
        file = form["file"]
        return self._files.add(StoredFile(identity.name("file"), file.filename[:255], purpose, file.data))

    def _batch(self, request: SimulatorRequest, path: str, the_id: str, identity: Identity, now: float) -> JsonObject:
        if path == "/v1/batches/{id}/cancel":
            return self._batches.cancel(the_id)
        if the_id:
            return self._batches.get(the_id, now)
        if request.method == "POST":
            return self._batches.create(parse_body(request.body), identity, now)
        return _page(request, self._batches.list(), _PAGE)


def _query(request: SimulatorRequest) -> dict[str, str]:
    return dict(parse_qsl(request.path.partition("?")[2]))


def _page(request: SimulatorRequest, objects: list[JsonObject], usual: int) -> JsonObject:
    """Return as many objects as the request wants, those after the one it names.

    Raises:
        BadRequestError: it names none that is there.
    """
    query = _query(request)
    after, limit = query.get("after"), query.get("limit", "")
    ids = [one["id"] for one in objects]
    if after is not None and after not in ids:
        raise BadRequestError(f"There is no '{after[:200]}' to go on after.", param="after")
    begin = 0 if after is None else ids.index(after) + 1
    end = begin + (min(int(limit), usual) if limit.isdecimal() and int(limit) else usual)
    data: list[JsonValue] = [*objects[begin:end]]
    return {
        "object": "list",
        "data": data,
        "first_id": ids[begin] if data else None,
        "last_id": ids[begin + len(data) - 1] if data else None,
        "has_more": end < len(objects),
    }
