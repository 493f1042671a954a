"""What one piece of code is, says and names, read from its code object.

The code object is what runs: it knows no comment, no line number and no file, it is there where the source is not, and
it is the same whether it was compiled now or read from a `.pyc`.
"""

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from types import CodeType

from agent_pipeline.pipeline.hasher import Hasher

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_PLACES = frozenset({"__firstlineno__", "__static_attributes__"})
"""What Python 3.13 keeps in the body of a class: where it stood, and names in an order of chance."""


@dataclass(frozen=True, slots=True)
class Import:
    """An import statement within the code: `from ..name import items`, the dots being its level."""

    name: str
    level: int
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What one code object, with all that are nested in it, is and names.

    Attributes:
        digest: hash of all that decides what it does.
        names: what it looks up by name, each with the attributes that follow: `("prompts", "SYSTEM")`.
        imports: what it imports when it runs.
        texts: its string constants.
    """

    digest: bytes
    names: tuple[tuple[str, ...], ...]
    imports: tuple[Import, ...]
    texts: frozenset[str]


@lru_cache(maxsize=4096)
def read_code(code: CodeType) -> CodeFacts:
    """Read a code object and those nested in it."""
    hasher = Hasher()
    _put_code(hasher, code)
    every = list(_with_nested(code))
    found = [_names_and_imports(one) for one in every]
    return CodeFacts(
        digest=hasher.digest(),
        names=tuple(dict.fromkeys(chain.from_iterable(names for names, _ in found))),
        imports=tuple(dict.fromkeys(chain.from_iterable(imports for _, imports in found))),
        texts=frozenset(chain.from_iterable(_texts(one.co_consts) for one in every)),
    )


def _put_code(hasher: Hasher, code: CodeType) -> None:
    hasher.put_text("code", code.co_name)
    for number in (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags):
        hasher.put_plain(number)
    hasher.put("instructions", code.co_code)
    hasher.put("handlers", code.co_exceptiontable)
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
        _put_constant(hasher, names)
    places = _constants_of_place(code)
    _put_constant(hasher, tuple(None if n in places else one for n, one in enumerate(code.co_consts)))


def _put_constant(hasher: Hasher, constant: object) -> None:
    if isinstance(constant, str):
        hasher.put_text("str", constant)
    elif isinstance(constant, CodeType):
        _put_code(hasher, constant)
    elif isinstance(constant, tuple):
        hasher.put_plain(len(constant))
        for one in constant:
            _put_constant(hasher, one)
    elif isinstance(constant, frozenset):
        hasher.put("frozenset", b"".join(sorted(map(_digest_of, constant))))
    else:
        hasher.put_plain(constant)


def _digest_of(constant: object) -> bytes:
    hasher = Hasher()
    _put_constant(hasher, constant)
    return hasher.digest()


def _with_nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_nested(constant)


def _texts(constants: tuple[object, ...] | frozenset[object]) -> Iterator[str]:
    for one in constants:
        if isinstance(one, str):
            yield one
        elif isinstance(one, tuple | frozenset):
            yield from _texts(one)


def _steps(code: CodeType) -> Iterator[dis.Instruction]:
    return (one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG")


def _constants_of_place(code: CodeType) -> frozenset[int]:
    """Return the indices of the constants that say where a class stood."""
    if _PLACES.isdisjoint(code.co_names):
        return frozenset()
    return frozenset(
        load.arg or 0
        for load, store in pairwise(_steps(code))
        if load.opname == "LOAD_CONST" and store.opname == "STORE_NAME" and store.argval in _PLACES
    )


def _names_and_imports(code: CodeType) -> tuple[list[tuple[str, ...]], list[Import]]:
    names: list[tuple[str, ...]] = []
    imports: list[Import] = []
    path: tuple[str, ...] = ()
    constants: list[object] = [None, None]
    for step in _steps(code):
        if path and step.opname not in _ATTRIBUTES:
            names.append(path)
            path = ()
        if step.opname in _GLOBALS:
            path = (step.argval,)
        elif path:
            path = (*path, step.argval)
        elif step.opname == "LOAD_CONST":
            constants = [constants[1], step.argval]
        elif step.opname == "IMPORT_NAME":
            level, items = constants
            imports.append(Import(step.argval, level if isinstance(level, int) else 0, tuple(_texts((items,)))))
    return names, imports
