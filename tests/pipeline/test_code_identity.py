"""What is read of a function's code and values: what differs is told apart, what is the same is the same."""

import copy
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pipeline.code_reading import digest, made_by

from agent_pipeline.pipeline.hasher import Hasher

# --- values ------------------------------------------------------------------------------------------------------

_HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    _HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(_HASHABLE, inner, max_size=3)
        | st.sets(_HASHABLE, max_size=3)
        | st.binary().map(bytearray)
    ),
    max_leaves=8,
)


def strictly(value: object) -> object:
    """Return what is equal only for values equal in every type; the order of a set is chance, that of a dict is not."""
    kind = type(value).__name__
    match value:
        case list() | tuple():
            return (kind, tuple(map(strictly, value)))
        case dict():
            return (kind, tuple((strictly(key), strictly(one)) for key, one in value.items()))
        case set() | frozenset():
            return (kind, frozenset(map(strictly, value)))
        case _:
            return (kind, repr(value))


@given(one=VALUES, other=VALUES)
def test_values_have_the_same_hash_only_if_they_are_the_same(one: object, other: object) -> None:
    """1 is not True, "1" or 1.0, and ("a", "b") is not ("ab",)."""
    assert digest(copy.deepcopy(one)) == digest(one)
    assert (digest(one) == digest(other)) == (strictly(one) == strictly(other))


@given(numbers=st.lists(st.integers(0, 7).map(lambda one: one * 2**20), unique=True), seed=st.integers())
def test_order_within_a_set_does_not_count(numbers: list[int], seed: int) -> None:
    """It is chance, and another chance in each process; these numbers collide."""
    other = list(numbers)
    random.Random(seed).shuffle(other)

    assert digest(set(numbers)) == digest(set(other))
    assert digest(frozenset(map(str, numbers))) == digest(frozenset(map(str, other)))


def test_parts_do_not_run_into_each_other() -> None:
    """A text may hold what looks like the beginning of another part."""
    one, other = Hasher(), Hasher()
    one.put_text("str", "astr b")
    other.put_text("str", "a")
    other.put_text("str", "b")
    first, second = Hasher(), Hasher()
    first.put("set", b"aset b")
    second.put("set", b"a")
    second.put("set", b"b")

    assert len({one.digest(), other.digest(), first.digest(), second.digest()}) == 4


def test_text_is_read_in_pieces() -> None:
    """A prompt with a book in it; each piece counts, and where one ends does not."""
    book = "tide\ud800\U0001f30a" * 500_000

    assert len({digest(book), digest(book[:-1]), digest(book[:-1] + "x"), digest("x" + book[1:])}) == 4
    assert digest(book) == digest("".join(list(book)))


# --- code --------------------------------------------------------------------------------------------------------

ABSTRACT_DISPATCH = """
from collections.abc import Set, Sized
from functools import singledispatch
@singledispatch
def f(x): pass
@f.register
def _(x: Sized): return 1
Set.register(type('X', (), {}))
"""

DIFFERENT = [
    ("def f(): return 1", "1", "2"),
    ("def f(): return 1", "1", "1.0"),
    ("def f(): return 1", "1", "True"),
    ("def f(a): return a.b", ".b", ".c"),
    ("def f(a): return a + 1", "+", "-"),
    ("def f(a=1): return a", "1", "2"),
    ("def f(*, a=1): return a", "1", "2"),
    ("def f(a, b): return a", "a, b", "b, a"),
    ('def f():\n "told to the model"', "told", "said"),
    ("def f(x) -> int: pass", "int", "str"),
    ("def f(x): return x in {1, 2}", "2", "3"),
    ("def f(x): return [y for y in x if y]", "if y", ""),
    ("def f(x):\n try: x()\n except ValueError: pass", "ValueError", "KeyError"),
    ("def f(x, y):\n try:\n  x()\n  y()\n except ValueError: pass",
     "  y()\n except ValueError: pass", " except ValueError: pass\n else: y()"),
    ("f = lambda x: x", ": x", ": -x"),
    ("X = 1\ndef f(): return X", "1", "2"),
    ("X = 1\ndef f():\n def g(): return X\n return g", "1", "2"),
    ("X = 1\ndef f():\n return [X for _ in 'a']", "1", "2"),
    ("X = {'a': 1, 'b': 2}\ndef f(): return X", "'a': 1, 'b': 2", "'b': 2, 'a': 1"),
    ("def g(): return 1\ndef f(): return g()", "1", "2"),
    ("def g(): return 1\ndef h(): return g()\ndef f(): return h()", "1", "2"),
    ("def g(x):\n return lambda: x\nf = g(1)", "g(1)", "g(2)"),
    ("def g(x):\n def h(): return x()\n return h\nf = g(lambda: 1)", "1", "2"),
    ("X = [lambda: 1, lambda: 2]\ndef f(): return X", "lambda: 1, lambda: 2", "lambda: 2, lambda: 1"),
    ("X = {lambda: 1, lambda: 2}\ndef f(): return X", "2", "3"),
    ("from functools import partial\nf = partial(print, 1, end='')", "1", "2"),
    ("from functools import partial\nf = partial(print, 1, end='')", "''", "'.'"),
    ("from functools import lru_cache\n@lru_cache\ndef f(): return 1", "1", "2"),
    ("from contextlib import contextmanager\n@contextmanager\ndef f(): yield 1", "1", "2"),
    ("from functools import singledispatch as s\n@s\ndef f(x): pass\n@f.register\ndef _(x: int): 1+x", "1", "2"),
    (ABSTRACT_DISPATCH, "1", "2"),
    ("X = 'Say {}.'.format\ndef f(): return X", "Say", "Tell"),
    ("from string import Template\nX = Template('Say $x.')\ndef f(): return X", "Say", "Tell"),
    ("from jinja2 import Template\nX = Template('Say {{x}}.')\ndef f(): return X", "Say", "Tell"),
    ("from types import SimpleNamespace as N\nX = N(a=1)\ndef f(): return X.a", "a=1", "a=2"),
    ("from operator import attrgetter\nX = attrgetter('a')\ndef f(): return X", "'a'", "'b'"),
    ("import re\nX = re.compile('a').match\ndef f(): return X", "'a'", "'b'"),
    ("import re\nX = re.compile('a')\ndef f(): return X", "'a'", "'a', re.I"),
    ("from pathlib import Path\nX = Path('a')\ndef f(): return X", "'a'", "'b'"),
    ("from datetime import timedelta\nX = timedelta(1)\ndef f(): return X", "1", "2"),
    ("from collections import deque\nX = deque([1])\ndef f(): return X", "1", "2"),
    ("class C:\n x = 1\ndef f(): return C", "1", "2"),
    ("class C:\n def m(self): return 1\ndef f(): return C().m()", "1", "2"),
    ("class C:\n @staticmethod\n def m(): return 1\ndef f(): return C.m()", "1", "2"),
    ("class C:\n @classmethod\n def m(cls): return 1\ndef f(): return C.m()", "1", "2"),
    ("class C:\n @property\n def m(self): return 1\ndef f(): return C().m", "1", "2"),
    ("from functools import cached_property as p\nclass C:\n @p\n def m(self): return 1\nf = C", "1", "2"),
    ("class B:\n x = 1\nclass C(B): pass\ndef f(): return C", "1", "2"),
    ("class M(type):\n x = 1\nclass C(metaclass=M): pass\ndef f(): return C", "1", "2"),
    ("class C(dict): pass\ndef f(): return C", "dict", "list"),
    ("class C:\n x: int\ndef f(): return C", "int", "str"),
    ("class C:\n def __init__(self, x): self.x = x\nX = C(1)\ndef f(): return X", "C(1)", "C(2)"),
    ("class C:\n __slots__ = ('x',)\nX = C()\nX.x = 1\ndef f(): return X", "= 1", "= 2"),
    ("class C(str):\n def m(self): return 1\nX = C('a')\ndef f(): return X", "1", "2"),
    ("class C(str):\n pass\nX = C('a')\ndef f(): return X", "'a'", "'b'"),
    ("class C:\n def __call__(self): return 1\nf = C()", "1", "2"),
    ("class C:\n def __init__(self, x): self.x = x\n def m(self): return self.x\nf = C(1).m", "C(1)", "C(2)"),
    ("class C:\n def m(self): return 1\nf = C().m", "1", "2"),
    ("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n x: int\nf = C(1)", "C(1)", "C(2)"),
    ("from dataclasses import dataclass\n@dataclass\nclass C:\n x: int = 1\nf = C", "1", "2"),
    ("from typing import NamedTuple\nclass C(NamedTuple):\n x: int\nf = C(1)", "C(1)", "C(2)"),
    ("from typing import TypedDict\nclass C(TypedDict):\n x: int\nf = C", "int", "str"),
    ("from enum import Enum\nclass E(Enum):\n a = 1\n b = 2\nf = E.a", "f = E.a", "f = E.b"),
    ("from enum import Enum\nclass E(Enum):\n a = 1\n b = 2\nf = E.a", "b = 2", "b = 3"),
    ("from enum import Enum\nclass E(Enum):\n a = 1\n def m(self): return 2\nf = E.a", "2", "3"),
    ("from enum import Enum\nclass E(Enum):\n a = 1\n @classmethod\n def _missing_(cls, v): return 2\nf = E", "2", "3"),
    ("from enum import IntEnum\nclass E(IntEnum):\n a = 1\n b = 2\nf = E", "a = 1\n b = 2", "b = 2\n a = 1"),
    ("from typing import Literal\nX = Literal['a']\ndef f(): return X", "'a'", "'b'"),
    ("from typing import Annotated\nX = Annotated[int, 'a']\ndef f(): return X", "'a'", "'b'"),
    ("class C:\n x = 1\nX = list[C]\ndef f(): return X", "1", "2"),
    ("class C:\n x = 1\nX = C | None\ndef f(): return X", "1", "2"),
    ("class C:\n x = 1\ndef f(a: 'C'): pass", "= 1", "= 2"),
    ("class C:\n x = 1\ndef f(a: 'list[C] | None'): pass", "= 1", "= 2"),
    ("from typing import Optional\nclass C:\n x = 1\ndef f(a: Optional['C']): pass", "= 1", "= 2"),
    ("class C:\n x = 1\nclass D:\n y: 'list[C]'\n def m(self): pass\nf = D", "= 1", "= 2"),
    ("class C:\n x = 1\nclass D:\n y: 'list[C]'\n def m(self): pass\nf = D", "list", "set"),
    ("from pydantic import BaseModel, Field\nclass M(BaseModel):\n x: int = Field(gt=1)\nf = M", "1", "2"),
    ("from pydantic import BaseModel\nclass M(BaseModel):\n x: int\nf = M(x=1)", "x=1", "x=2"),
    ("from pydantic import BaseModel as B, Field as F\nclass M(B):\n x: int = F(default_factory=lambda: 1)\nf = M",
     "1", "2"),
    ("from pydantic import BaseModel as B\nclass N(B):\n __module__ = 'json.m'\n y: int\nclass M(B):\n x: N\nf = M",
     "int", "str"),
    ("from pydantic import BaseModel as B\nclass M(B):\n x: 'N'\nclass N(B):\n y: int\nf = M", "int", "str"),
    ("from pydantic import TypeAdapter as T\nX = T(list[int])\ndef f(): return X", "int", "str"),
    (("from pydantic import TypeAdapter as T, AfterValidator as V\nfrom typing import Annotated as A\n"
     "f = T(A[int, V(lambda x: x + 1)])"), "1", "2"),
    ("def g(): pass\ng.x = 1\ndef f(): return g", "1", "2"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "old", "new"), DIFFERENT)
def test_what_makes_a_difference_is_told_apart(source: str, old: str, new: str) -> None:
    """Each is a way in which a stage may reach something that its result depends on."""
    assert old in source
    head, _, tail = source.rpartition(old)

    assert digest(made_by(source)) != digest(made_by(f"{head}{new}{tail}"))


@pytest.mark.parametrize("source", [source for source, _, _ in DIFFERENT])
def test_the_same_source_has_the_same_hash_wherever_it_stands(source: str) -> None:
    """Made again and further down, with all that it reaches at other addresses."""
    assert digest(made_by(source)) == digest(made_by("# moved\n\n\n" + source))


MANY_NAMES = (
    "from types import ModuleType\nM = ModuleType('m')\nM.x = 1\nM.y = 1\ndef f(a):\n"
    + "".join(f" a.n{number}\n" for number in range(300))
    + " return M.x"
)

SAME = [
    ("def f(a):\n return a", "return a", "# why\n\n return a"),
    ("def f(a):\n return a + 1", "a + 1", "(a +\n  1)"),
    ("def f(a): return a.text\ntext = 1", "text = 1", "text = 2"),
    ("def f(a): return a.x()\ndef x(): return 1", "1", "2"),
    ("def f(x): return x\nx = 1", "x = 1", "x = 2"),
    ("from types import ModuleType\nM = ModuleType('json.made_up')\nM.x = 1\ndef f(): return M.x", "1", "2"),
    ("from typing import Annotated\nX = 1\ndef f(a: Annotated[int, 'X']): pass", "= 1", "= 2"),
    (MANY_NAMES, "M.y = 1", "M.y = 2"),
    ("def f():\n class C:\n  def m(self): pass\n return C", "def f", "\n\ndef f"),
    ("def f():\n class C:\n  __firstlineno__ = 7\n return C", "7", "8"),
    ("def f():\n class C:\n  __static_attributes__ = ('a', 'b')\n return C", "'a', 'b'", "'b', 'a'"),
    ("class C:\n def a(self): pass\n def b(self): pass\nf = C",
     "def a(self): pass\n def b(self): pass", "def b(self): pass\n def a(self): pass"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "old", "new"), SAME)
def test_what_makes_no_difference_does_not_count(source: str, old: str, new: str) -> None:
    """Remarks, places, and names that only look alike."""
    assert old in source

    assert digest(made_by(source)) == digest(made_by(source.replace(old, new)))
