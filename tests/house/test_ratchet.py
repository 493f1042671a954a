"""Sizes that may only shrink: lines per module, lines per function, `no cover` pragmas (complexity is ruff's C901)."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house.tracked import relative, tracked

MODULE_LINES = 400
FUNCTION_LINES = 50
RATCHET = tomllib.loads((Path(__file__).parent / "ratchet.toml").read_text(encoding="utf-8"))

Sizes = dict[str, int]


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield the dotted name and the length in lines of every function, nested ones too; decorators do not count."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}.{child.name}" if prefix else child.name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, (child.end_lineno or child.lineno) - child.lineno + 1
        yield from functions(child, name)


def complaints(found: Sizes, allowed: Sizes, gate: int) -> list[str]:
    """Say what is over the gate and not allowed, what grew, and what the allowlist still holds in vain.

    >>> complaints({"a": 60, "b": 10}, {}, 50)
    ['a: 60 lines, the gate is 50']
    >>> complaints({"a": 60}, {"a": 60}, 50)
    []
    >>> complaints({"a": 61}, {"a": 60}, 50)
    ['a: 61 lines, it was 60 and may only shrink']
    >>> complaints({"a": 55}, {"a": 60}, 50)
    ['a: 55 lines now, write that into ratchet.toml']
    >>> complaints({"a": 50}, {"a": 60, "gone": 70}, 50)
    ['a: within the gate, remove it from ratchet.toml', 'gone: within the gate, remove it from ratchet.toml']
    """
    said = []
    for name in sorted(found.keys() | allowed.keys()):
        size, limit = found.get(name, 0), allowed.get(name)
        if limit is None:
            if size > gate:
                said.append(f"{name}: {size} lines, the gate is {gate}")
        elif size <= gate:
            said.append(f"{name}: within the gate, remove it from ratchet.toml")
        elif size > limit:
            said.append(f"{name}: {size} lines, it was {limit} and may only shrink")
        elif size < limit:
            said.append(f"{name}: {size} lines now, write that into ratchet.toml")
    return said


def test_no_module_is_longer_than_the_gate() -> None:
    """A giant file starts as a long one that nobody stopped."""
    found = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in tracked("*.py")}

    assert found
    assert not complaints(found, RATCHET["module_lines"], MODULE_LINES)


def test_no_function_is_longer_than_the_gate() -> None:
    """What does not fit a screen can't be reviewed for what it holds on cancellation."""
    found = {
        f"{relative(path)}:{name}": lines
        for path in tracked("*.py")
        for name, lines in functions(ast.parse(path.read_text(encoding="utf-8")))
    }

    assert found
    assert not complaints(found, RATCHET["function_lines"], FUNCTION_LINES)


def test_pragmas_that_hide_lines_from_coverage_are_counted() -> None:
    """Each pragma lowers what the coverage gate means, so that their number is written down."""
    pragma = re.compile(r"#\s*pragma:\s*no\s*(cover|branch)")
    found = sum(len(pragma.findall(path.read_text(encoding="utf-8"))) for path in tracked("src/*.py"))

    assert found == RATCHET["no_cover_pragmas"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    pass\n", [("f", 2)]),
        ("class C:\n    @x\n    async def m(self):\n        def inner(): ...\n", [("C.m", 2), ("C.m.inner", 1)]),
        ("if True:\n    def f():\n        pass\n", [("f", 2)]),
    ],
)
def test_a_function_is_found_wherever_it_stands(source: str, expected: list[tuple[str, int]]) -> None:
    """A gate that overlooks methods, nested or conditional functions is passed by moving the code there."""
    assert list(functions(ast.parse(source))) == expected
