"""Troubleshooting has every error, and quotes messages that the code really says."""

import ast
import re
from collections.abc import Iterator

from tests.docs.test_facts import first_cells, prose, subclasses
from tests.house.tracked import tracked

from agent_pipeline import errors

PAGE = "docs/troubleshooting.md"
_MESSAGE = re.compile(r"(?P<ticks>`{1,2})(?P<text>.+?)(?P=ticks)(?=<br>| \(|$)")


def messages(page: str) -> list[str]:
    """Return the messages that the second column of a page's tables quotes."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line.startswith("| ")]
    cells = [cell.strip() for row in rows if len(row) == 4 for cell in row[1].split("<br>")]
    return [found["text"].strip() for cell in cells for found in [_MESSAGE.match(cell)] if found]


def literals() -> Iterator[str]:
    """Yield the texts of the package's code; those of an f-string stand together, `…` for its values."""
    for path in tracked("src/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def test_every_error_is_there_and_no_other() -> None:
    """Somebody will search for the code that is missing."""
    base = errors.AgentPipelineError
    codes = {base.code, *(one.code for one in subclasses(base))}

    listed = first_cells(prose(PAGE))

    assert sorted(listed) == sorted(codes)


def test_every_quoted_message_is_one_the_code_says() -> None:
    """Messages are reworded; whoever searches for the new words finds nothing then."""
    said = "\n".join(literals())
    quoted = messages(prose(PAGE))

    parts = {part.strip(" :;,.()") for message in quoted for part in message.split("…")}
    unsaid = sorted(part for part in parts if part not in said)

    assert len(quoted) > 70
    assert not unsaid


def test_a_table_has_four_columns_in_every_row() -> None:
    """A message with a bar in it would move its meaning out of the table."""
    tables = re.findall(r"(?:^\|.*\n)+", prose(PAGE), re.MULTILINE)
    widths = [{row.count("|") for row in table.splitlines()} for table in tables]

    assert widths == [{3}, *[{5}] * 7]
