"""Files of lines read back one by one, in constant memory; a line torn by a kill is told from a broken one."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Generic, TypeVar

from agent_pipeline.telemetry.opening import open_regular

_LONGEST = 64 * 1024 * 1024
"""Bytes of a line that are held in memory; no sink of ours writes nearly as much."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadLine(Generic[T]):
    """One line of a file, or what is wrong with it: exactly one of `value` and `problem` is set.

    Attributes:
        number: from 1.
        offset: of its first byte.
        torn: it is the last one and was cut off, as a kill or a power loss leaves it: what `continue_file` takes away.
    """

    number: int
    offset: int
    value: T | None
    problem: str | None = None
    torn: bool = False


def read_lines(path: Path, parse: Callable[[str], T]) -> Iterator[ReadLine[T]]:
    """Yield every line of a file, each read when it is asked for: `read_lines(run.events, parse_json_object)`.

    Args:
        path: of a regular file; it may still grow.
        parse: `parse_line` for run logs, `parse_json_object` for JSON Lines; raises ValueError for what is none.

    Raises:
        OSError: it can't be read.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        number = offset = 0
        while line := file.readline(_LONGEST):
            number += 1
            yield _read(file, line, number, offset, parse)
            offset = file.tell()


def parse_json_object(line: str) -> dict[str, object]:
    """Read a line of a JSON Lines file.

    Raises:
        ValueError: it holds no JSON object.
    """
    value = json.loads(line)
    if not isinstance(value, dict):
        message = f"a JSON object is wanted, not {type(value).__name__}"
        raise ValueError(message)  # noqa: TRY004 - of the text, not of an argument
    return value


def _read(file: BufferedReader, line: bytes, number: int, offset: int, parse: Callable[[str], T]) -> ReadLine[T]:
    if not line.endswith(b"\n"):
        if not file.peek(1):
            return ReadLine(number, offset, None, "the line has no end", torn=True)
        while line and not line.endswith(b"\n"):
            line = file.readline(_LONGEST)
        problem = f"the line is longer than {_LONGEST} bytes"
        return ReadLine(number, offset, None, problem, torn=not line.endswith(b"\n"))
    if b"\0" in line:
        return ReadLine(number, offset, None, "the line has NUL bytes", torn=not file.peek(1))
    try:
        return ReadLine(number, offset, parse(line.decode()))
    except (ValueError, RecursionError) as exc:
        return ReadLine(number, offset, None, str(exc) or type(exc).__name__)
