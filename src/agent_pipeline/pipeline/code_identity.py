"""Everything of the project's own that a function reaches, read into one hash.

Functions, classes, objects and containers get a number where they are first met and are read once, in that order. So
circles end, and every process reads in the same order: that of the code.
"""

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from importlib.machinery import ModuleSpec
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Annotated, ForwardRef, Literal, TypeVar, get_args, get_origin

from agent_pipeline.pipeline.code_facts import CodeFacts, Import, read_code
from agent_pipeline.pipeline.hasher import PLAIN, Hasher
from agent_pipeline.pipeline.module_files import code_of, modules_named
from agent_pipeline.pipeline.object_parts import class_parts, fields_of, parts_of, qualified_name, state_of
from agent_pipeline.pipeline.own_code import OwnCode

MOST_NESTED = 40
"""Values within values that are read in one go; deeper ones come later, so that the stack stays small."""
MOST_READ = 1_000_000
"""Things that are read; of any more only the type counts."""
MOST_WRAPPED = 1000
"""Objects of other packages that are read for what they wrap; any more count by their type."""
MOST_SETS = 3
"""Sets within elements of sets that are read; of elements further in only the type counts."""

Scope = Mapping[str, object]
T = TypeVar("T")


class CodeReader:
    """Reads values, and the project's own code that they reach. What is strange is read as far as it can be.

    Args:
        own: what the project's own is.
        words: texts to look out for.

    Attributes:
        found: the words that were met as values.
    """

    def __init__(self, own: OwnCode, words: Collection[str] = (), *, _within: frozenset[int] = frozenset()) -> None:
        self.found: set[str] = set()
        self._own = own
        self._words = frozenset(words)
        self._within = _within
        self._hasher = Hasher()
        self._numbers: dict[object, int] = {}
        self._things: list[object] = []
        self._depth = 0
        self._wrapped = 0

    def read(self, *values: object) -> bytes:
        """Read values and all that they reach; return their hash. To be called once."""
        for value in values:
            self._value(value)
        for thing in self._things:  # grows meanwhile
            self._hasher.put("thing")
            self._guarded(self._thing, thing)
        return self._hasher.digest()

    def _guarded(self, read: Callable[[T], None], item: T) -> None:
        try:
            read(item)
        except Exception:  # noqa: BLE001 - an object may run any code when it is looked at
            self._hasher.put_text("unreadable", qualified_name(type(item)))

    # --- values, where they stand ------------------------------------------------------------------------------------

    def _value(self, item: object) -> None:
        self._depth += 1
        self._guarded(self._number if self._depth > MOST_NESTED else self._here_or_later, item)
        self._depth -= 1

    def _here_or_later(self, item: object) -> None:
        """Number what may be part of a circle, read the rest."""
        kind = type(item)
        if kind is str:
            self._text(str(item))
        elif kind in PLAIN:
            self._hasher.put_plain(item)
        elif isinstance(item, type):
            self._number_own(item, is_own=self._own.has_class(item), name=qualified_name(item))
        elif isinstance(item, ModuleType):
            self._number_own(item, is_own=self._own.has_module(item), name=item.__name__)
        elif issubclass(kind, _NUMBERED) or hasattr(kind, "__dataclass_fields__") or self._own.has_class(kind):
            self._number(item)
        else:
            self._object(item)

    def _number_own(self, item: object, *, is_own: bool, name: str) -> None:
        if is_own:
            self._number(item)
        else:
            self._hasher.put_text("foreign", name)

    def _number(self, item: object, key: object = None) -> None:
        """Refer to something that is read once, later."""
        number = self._numbers.setdefault(id(item) if key is None else key, len(self._things))
        if number == MOST_READ:
            self._hasher.put_text("one too many", qualified_name(type(item)))
            return
        self._hasher.put_plain(number)
        if number == len(self._things):
            self._things.append(item)  # also keeps it alive, so that no other gets its id

    def _text(self, text: str) -> None:
        if text in self._words:
            self.found.add(text)
        self._hasher.put_text("str", self._own.portable(text))

    def _sequence(self, items: Collection[object]) -> None:
        self._hasher.put_plain(len(items))
        for item in items:
            self._value(item)

    def _attributes(self, attributes: Mapping[str, object]) -> None:
        self._hasher.put_plain(len(attributes))
        for name in sorted(attributes):
            self._hasher.put_text("attribute", name)
            self._value(attributes[name])

    def _set(self, items: Iterable[object]) -> None:
        """Read each element apart from all others, since their order is chance."""
        within = self._within | {id(items)}
        is_read = id(items) not in self._within and len(within) <= MOST_SETS
        digests = []
        for item in items:
            reader = CodeReader(self._own, self._words, _within=within)
            digests.append(reader.read(item if is_read else type(item)))
            self.found |= reader.found
        self._hasher.put("set", b"".join(sorted(digests)))

    # --- things, read once -------------------------------------------------------------------------------------------

    def _thing(self, item: object) -> None:
        if isinstance(item, FunctionType):
            self._function(item)
        elif isinstance(item, type):
            self._class(item)
        elif isinstance(item, ModuleType):
            self._module(item)
        elif isinstance(item, ModuleSpec):
            self._file(item)
        else:
            self._object(item)

    def _object(self, item: object) -> None:
        """Read an object: its type, its content, and its attributes where it is the project's or a dataclass."""
        kind = type(item)
        is_own = self._own.has_class(kind)
        self._number_own(kind, is_own=is_own, name=qualified_name(kind))
        is_read = self._content(item)
        attributes = state_of(item) if is_own else None if is_read else fields_of(item)
        if attributes is not None:
            self._attributes(attributes)
        if not is_own and not is_read and self._wrapped < MOST_WRAPPED:
            self._wrapped += 1
            self._value(getattr(item, "__wrapped__", None))

    def _content(self, item: object) -> bool:
        """Read what an object holds besides attributes; return False for nothing, or nothing that is known."""
        if isinstance(item, Enum):
            self._sequence((item.name, item.value))
        elif isinstance(item, str):
            self._text(str.__str__(item))
        elif isinstance(item, PurePath):
            self._hasher.put_text("path", self._own.portable(item.as_posix()))
        elif isinstance(item, dict):
            self._sequence([part for pair in dict.items(item) for part in pair])
        elif isinstance(item, list | deque):
            self._sequence(item)
        elif isinstance(item, set | frozenset):
            self._set(item)
        elif isinstance(item, CodeType):
            self._code(read_code(item), {})
        elif not self._hasher.put_plain(item):
            parts = parts_of(item)
            if parts is None:
                return False
            self._sequence(parts)
        return True

    def _function(self, function: FunctionType) -> None:
        """Read a function; of one that is not the project's its name, and what it was made with."""
        if self._own.has_function(function):
            scope = function.__globals__
            self._hasher.put_text("function", function.__name__)
            self._code(read_code(function.__code__), scope)
            self._sequence((function.__defaults__, function.__kwdefaults__, function.__doc__))
            self._annotations(function.__annotations__, scope)
            self._attributes(function.__dict__)
        else:
            self._hasher.put_text("foreign", f"{function.__module__}.{function.__qualname__}")
            self._sequence([function.__dict__.get(name) for name in ("__wrapped__", "registry")])
            if "registry" in function.__dict__:  # of `singledispatch`, whose cells hold caches
                return
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._hasher.put_text("cell", name)
            self._guarded(lambda cell: self._value(cell.cell_contents), cell)

    def _class(self, kind: type) -> None:
        self._hasher.put_text("class", kind.__name__)
        self._sequence((type(kind), *kind.__bases__))
        held = vars(kind)
        methods = (part.__globals__ for part in held.values() if isinstance(part, FunctionType))
        own = (scope for scope in methods if scope.get("__name__") == kind.__module__)
        scope = next(own, None) or getattr(sys.modules.get(kind.__module__), "__dict__", {})
        self._annotations(held.get("__annotations__", {}), scope)
        self._attributes(class_parts(kind))

    def _module(self, module: ModuleType) -> None:
        """Read all of a module that is used as a value; which of its own modules were imported is chance."""
        inside = f"{module.__name__}."
        self._attributes(
            {
                name: part
                for name, part in vars(module).items()
                if not name.startswith("__") and not (isinstance(part, ModuleType) and part.__name__.startswith(inside))
            }
        )

    def _file(self, spec: ModuleSpec) -> None:
        """Read the code of a module that a function imports, and what that imports: as on disk, imported or not."""
        code = code_of(spec)
        if code is not None:
            facts = read_code(code)
            self._code(CodeFacts(facts.digest, (), facts.imports, facts.texts), {"__package__": spec.parent})

    # --- what code names ---------------------------------------------------------------------------------------------

    def _code(self, facts: CodeFacts, scope: Scope) -> None:
        self._hasher.put("code", facts.digest)
        self.found |= self._words & facts.texts
        for path in facts.names:
            self._guarded(lambda path: self._named(path, scope), path)
        for one in facts.imports:
            self._guarded(lambda one: self._imported(one, str(scope.get("__package__"))), one)

    def _imported(self, one: Import, package: str) -> None:
        for spec in modules_named(one, package):
            if self._own.has_file(spec.name, spec.origin):
                self._hasher.put_text("import", spec.name)
                self._number(spec, key=spec.name)

    def _named(self, path: tuple[str, ...], scope: Scope) -> None:
        """Read what a dotted name stands for, through modules; of foreign ones only what leads back to the project."""
        name, *rest = path
        if name not in scope:
            return
        found = scope[name]
        while rest and isinstance(found, ModuleType):
            is_own = self._own.has_module(found)
            inner = rest.pop(0)
            found = getattr(found, inner, None) if is_own else vars(found).get(inner)
            if not is_own and not isinstance(found, ModuleType):
                return
        if isinstance(found, ModuleType) and not self._own.has_module(found):
            return
        self._hasher.put_text("named", ".".join(path))
        self._value(found)

    def _annotations(self, notes: Mapping[str, object], scope: Scope) -> None:
        for name, note in notes.items():
            self._hasher.put_text("annotation", name)
            self._annotation(note, scope)

    def _annotation(self, note: object, scope: Scope) -> None:
        """Read a type; a text is code that names it."""
        text = note.__forward_arg__ if isinstance(note, ForwardRef) else note
        if isinstance(text, str):
            self._hasher.put_text("annotation", text)
            self._guarded(lambda _: self._code(read_code(compile(text, "", "eval")), scope), text)
            return
        self._value(note)
        if get_origin(note) not in {Annotated, Literal}:
            for part in get_args(note):
                self._annotation(part, scope)


_NUMBERED = (list, dict, set, deque, FunctionType)
