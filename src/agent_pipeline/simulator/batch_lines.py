"""The input of a batch, one request per line, and what can be wrong with it."""

from collections.abc import Iterator
from typing import Final

from agent_pipeline.simulator.json_values import JsonObject, as_text, loads

MOST_LINES: Final = 50_000
_MOST_PROBLEMS: Final = 20
_WANTED: Final = {
    "method": "The method must be POST.",
    "url": "The url must be the batch's endpoint.",
    "body": "The body must be an object.",
}


def lines_of(data: bytes) -> Iterator[bytes]:
    """Yield the lines that are not empty."""
    return (line for line in data.split(b"\n") if line.strip())


def problem(line: int | None, code: str, message: str, param: str | None = None) -> JsonObject:
    """Return what the API says is wrong with a batch, at a line or at all."""
    return {"line": line, "code": code, "message": message, "param": param}


def problems_of(data: bytes, endpoint: str) -> list[JsonObject]:
    """Return what is wrong with the lines, the first few; numbers are those of lines that are not empty."""
    found: list[JsonObject] = []
    names: set[str] = set()
    number = 0
    for number, line in enumerate(lines_of(data), 1):
        wrong = _problem_of(line, number, endpoint, names)
        if wrong is not None:
            found.append(wrong)
        if number > MOST_LINES or len(found) >= _MOST_PROBLEMS:
            break
    if number == 0:
        found.append(problem(None, "empty_file", "The input file holds no requests."))
    if number > MOST_LINES:
        found.append(problem(None, "too_many_tasks", f"The input file holds more than {MOST_LINES} requests."))
    return found


def _problem_of(line: bytes, number: int, endpoint: str, names: set[str]) -> JsonObject | None:
    try:
        value = loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return problem(number, "invalid_json_line", "This line is not a JSON object.")
    name = as_text(value.get("custom_id"))
    if not name:
        return problem(number, "missing_required_parameter", "Missing required parameter.", "custom_id")
    if name in names:
        return problem(number, "duplicate_custom_id", f"The custom_id '{name[:64]}' is there twice.", "custom_id")
    names.add(name)
    wanted = {"method": value.get("method") == "POST", "url": value.get("url") == endpoint}
    wanted["body"] = isinstance(value.get("body"), dict)
    param = next((key for key, is_right in wanted.items() if not is_right), None)
    return None if param is None else problem(number, f"invalid_{param}", _WANTED[param], param)
