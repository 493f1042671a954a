"""Read a form with a file in it (multipart/form-data), as clients upload files."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

from agent_pipeline.simulator.wire import BadRequestError, SimulatorRequest


@dataclass(frozen=True, slots=True)
class FormPart:
    """One field of a form; `filename` is empty where it is no file."""

    data: bytes
    filename: str = ""


def form_of(request: SimulatorRequest) -> Mapping[str, FormPart]:
    """Return the fields of a form by name; of two with one name, the first.

    Raises:
        BadRequestError: the body is no form, or is cut off.
    """
    content_type = _header(
        "content-type", next((value for name, value in request.headers if name == "content-type"), "")
    )
    boundary = content_type.get_param("boundary")
    if content_type.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise BadRequestError("The body must be multipart/form-data with a boundary.")
    found: dict[str, FormPart] = {}
    _, *parts = (b"\r\n" + request.body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if not parts or not parts[-1].startswith(b"--"):
        raise BadRequestError("The form is cut off.")
    for part in parts[:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        for line in head.decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-disposition":
                disposition = _header("content-disposition", value.strip())
                field = disposition.get_param("name", "", "content-disposition")
                found.setdefault(str(field), FormPart(data, disposition.get_filename("")))
    return found


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message
