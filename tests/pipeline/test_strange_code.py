"""Code and objects that are strange, or in use, or another package's: the rest is read all the same."""

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.pipeline.code_reading import digest, made_by

from agent_pipeline.pipeline import code_identity
from agent_pipeline.pipeline.code_facts import read_code
from agent_pipeline.pipeline.code_identity import CodeReader
from agent_pipeline.pipeline.own_code import OwnCode


class Hostile:
    """Fails whenever it is looked at."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class Endless:
    """Is wrapped without end, by a package."""

    __module__ = "agent_pipeline.made_up"
    looked = 0

    @property
    def __wrapped__(self) -> "Endless":
        Endless.looked += 1
        return Endless()


def _circle() -> object:
    one: list[object] = []
    one.append({"again": (one, {"deeper": one})})
    return one


def _set_within_itself() -> object:
    return made_by("X = {lambda: (X, Y), lambda: (Y, 1)}\nY = {lambda: (X, 2), lambda: Y}\ndef f(): return X")


def _deep() -> object:
    inner: object = 1
    for _ in range(20_000):
        inner = (inner,)
    return inner


STRANGE: dict[str, Callable[[], object]] = {
    "a builtin": lambda: len,
    "a method of a builtin": lambda: "a".join,
    "a slot": lambda: int.__add__,
    "a bare object": object,
    "a module": lambda: sys,
    "a generator": lambda: (one for one in "a"),
    "a circle": _circle,
    "functions that call each other": lambda: made_by("def f(): return g()\ndef g(): return f()"),
    "a class that knows itself": lambda: made_by("class C:\n def m(self): return C\nC.c = C()\nf = C"),
    "sets that hold themselves": _set_within_itself,
    "very deep": _deep,
    "no source": lambda: eval("lambda: 1"),  # noqa: S307
    "no names": lambda: eval("lambda: print", {}),  # noqa: S307
    "an empty cell": lambda: made_by("def g():\n def h(): return x\n return h\n x = 1\nf = g()"),
    "no such module": lambda: made_by("def f():\n import no_such_module_anywhere\n from ... import x"),
    "an annotation that is no code": lambda: made_by("def f(x: 'no code'): pass"),
    "hostile": Hostile,
    "endless": Endless,
    "a class with a strange metaclass": lambda: made_by(
        "class M(type):\n def __getattribute__(cls, n): raise ValueError(n)\nclass C(metaclass=M): pass\nf = [C]"
    ),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_strange_code_is_read_as_far_as_it_can_be(make: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it gets a run; and its hash holds no address, nor how deep the reader's own stack was."""
    monkeypatch.setattr(code_identity, "MOST_WRAPPED", 100)
    beside = "read as well"

    def from_below(frames: int) -> str:
        return from_below(frames - 1) if frames else digest(make(), beside)

    assert digest(make(), beside) == from_below(100)
    assert digest(make(), beside) != digest(make(), "other")


def test_a_class_is_read_in_the_module_it_was_made_in() -> None:
    """Another project in the same process may have a module of that name by now."""
    source = "class C:\n x = 1\nclass D:\n y: 'list[C]'\n def m(self): pass\nf = D"
    kind = made_by(source)
    before = digest(kind)

    made_by(source.replace("x = 1", "x = 2"))

    assert digest(kind) == before


def test_reading_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is without end a part counts, always the same."""
    monkeypatch.setattr(code_identity, "MOST_READ", 10)
    monkeypatch.setattr(code_identity, "MOST_WRAPPED", 10)
    lists = [[number] for number in range(50)]
    late, early = copy.deepcopy(lists), copy.deepcopy(lists)
    late[40][0] = early[5][0] = -1

    assert digest(lists) == digest(late) != digest(early)
    Endless.looked = 0
    digest(Endless())
    assert Endless.looked == 10


def test_use_changes_nothing() -> None:
    """Python and pydantic keep notes in the classes they work with."""
    flag: Any = made_by("from enum import Flag\nclass F(Flag):\n a = 1\n b = 2\nf = F")
    model: Any = made_by("from pydantic import BaseModel as B\nclass M(B):\n x: 'N'\nclass N(B):\n y: int\nf = M")
    before = digest(flag), digest(model)

    assert flag(3).name == "a|b"
    assert model(x={"y": 1}).x.y == 1

    assert (digest(flag), digest(model)) == before


def test_of_a_strange_function_the_rest_counts() -> None:
    """One bad name among its names takes away nothing else."""
    source = "class H:\n def __getattribute__(self, n): raise ValueError(n)\nX, Y = H(), 1\ndef f(): return X, Y"

    assert digest(made_by(source)) != digest(made_by(source.replace("H(), 1", "H(), 2")))


def test_code_that_has_run_is_the_same_code() -> None:
    """Python rewrites a function's instructions as it runs warm."""
    function: Any = made_by("def f(a):\n b = 0\n for one in a: b += one\n return b")
    before = digest(function)
    for _ in range(200):
        function(range(50))

    read_code.cache_clear()
    assert digest(function) == before


@pytest.mark.parametrize("wrapping", ["from functools import wraps as w", "def w(g): return lambda h: h"])
def test_what_another_package_wraps_counts(wrapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decorator from a package: its own code does not count, what it was given does."""

    def decorated(own: str, foreign: str) -> object:
        scope: dict[str, Any] = {"__name__": "json.decorators"}
        exec(f"{wrapping}\ndef d(g):\n @w(g)\n def h(): return {foreign}, g()\n return h", scope)  # noqa: S102
        decorator = scope["d"]
        return decorator(made_by(f"def f(): return {own}"))

    assert digest(decorated("1", "1")) == digest(decorated("1", "2"))
    assert digest(decorated("1", "1")) != digest(decorated("2", "1"))


def test_words_are_found_wherever_they_are_values() -> None:
    """How a role is found that no decorator names: in code, constants, options, agents; not in names of things."""
    source = (
        "X = {'b'}\nclass C:\n y = ('c', 'no c')\ndef a(x='d'): return 'e'\n"
        "def f(g='h'):\n i = X, C, a\n return lambda: call(j=1)"
    )
    reader = CodeReader(OwnCode(digest), "abcdefghijk")
    reader.read(made_by(source))

    assert reader.found == {*"bcdehj"}
