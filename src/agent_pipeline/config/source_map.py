"""Read YAML or JSON into plain values and remember the place of every key; refuse what has two meanings."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from agent_pipeline.config.key_guard import shown
from agent_pipeline.config.scalars import join_surrogates, plain_scalar
from agent_pipeline.config.text_file import read_text_file
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError

MAX_DEPTH = 32
"""Deepest nesting of mappings and lists; keeps every later walk far from the recursion limit."""

KeyPath = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, both from 1."""


@dataclass(frozen=True, slots=True)
class SourceMap:
    """The plain value of one config text, and where each of its keys stands.

    Attributes:
        name: the file as it was named, `""` for a value that came from no file.
        text: the exact text, `""` for a value that came from no file.
        value: `None`, bool, int, float, str, list or dict with text keys.
        places: key path to the place of the key (in a list: of the item).
    """

    name: str
    text: str
    value: JsonValue
    places: Mapping[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Return `file:line:column` of a key; of the nearest one around it, where it is not written down."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                line, column = self.places[path[:length]]
                return f"{self.name}:{line}:{column}"
        return self.name

    def line(self, path: KeyPath) -> int | None:
        """Return the line of a key that is written down, None for any other."""
        return self.places[path][0] if path in self.places else None

    def error(self, problem: str, path: KeyPath = ()) -> ConfigError:
        """Build the error for a key."""
        return ConfigError(problem, place=self.place(path), key=dotted(path))


def dotted(path: KeyPath) -> str:
    """Write a key path as `a.b.0`, keeping to itself a key that looks like a secret."""
    return ".".join(shown(str(part)) for part in path)


def load_source_map(path: Path) -> SourceMap:
    """Read a YAML or JSON file; nothing in it is resolved beyond the YAML 1.2 core schema.

    Raises:
        ConfigError: the file can't be read or parsed, or uses something that is refused (see `parse_source_map`).
    """
    return parse_source_map(read_text_file(path), name=str(path))


def parse_source_map(text: str, *, name: str = "") -> SourceMap:
    """Parse YAML or JSON text.

    Keys are always texts. Refused: duplicate keys, keys that are no scalars, anchors, aliases, merge keys, tags,
    directives, more than one document, nesting deeper than `MAX_DEPTH`, numbers that are not finite.

    Raises:
        ConfigError: the text is none of what is described above.
    """
    builder = _Builder(name)
    try:
        for event in _events(text):
            builder.take(event)
    except ConfigError:
        raise
    except ReaderError as exc:
        before = text[: exc.position]
        place = f"{name}:{before.count(chr(10)) + 1}:{exc.position - (before.rfind(chr(10)) + 1) + 1}"
        raise ConfigError("a control character, which text files don't hold", place=place) from None
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"
        problem = ", ".join(part for part in (exc.context, exc.problem) if part)
        raise ConfigError(f"not valid YAML or JSON: {problem}", place=place) from None
    except Exception as exc:
        # The parser answers some broken texts with whatever it trips over; to the user that is a broken text, too.
        raise ConfigError(f"not valid YAML or JSON ({type(exc).__name__})", place=name) from exc
    return SourceMap(name=name, text=text, value=builder.value, places=builder.places)


def source_map_of(data: object) -> SourceMap:
    """Take a value that is in memory already, under the same rules as a file; lists and dicts are copied.

    Raises:
        ConfigError: something in it is not plain, not finite or too deep.
    """
    return SourceMap(name="", text="", value=_plain(data, ()))


def _plain(data: object, path: KeyPath) -> JsonValue:
    if len(path) > MAX_DEPTH:
        raise ConfigError(f"nested deeper than {MAX_DEPTH} levels", key=dotted(path[:3]) + "...")
    if data is None or isinstance(data, bool | int):
        return data
    if isinstance(data, str):
        return str(data)
    if isinstance(data, float):
        if not math.isfinite(data):
            raise ConfigError("a finite number is wanted", key=dotted(path))
        return data
    if isinstance(data, Mapping):
        for key in data:
            if not isinstance(key, str):
                raise ConfigError(f"a key is a text, not {type(key).__name__}", key=dotted(path))
        return {str(key): _plain(value, (*path, str(key))) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(item, (*path, index)) for index, item in enumerate(data)]
    raise ConfigError(f"plain values are wanted, not {type(data).__name__}", key=dotted(path))


def _events(text: str) -> Iterator[Event]:
    # Events, not nodes or values: the parser keeps its own stack, while everything above it recurses.
    yield from YAML(typ="safe", pure=True).parse(text)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is not closed yet."""

    path: KeyPath
    into: dict[str, JsonValue] | list[JsonValue]
    key: str = ""
    has_key: bool = False


class _Builder:
    """Builds the value from events and notes places; raises ConfigError at the first thing refused."""

    def __init__(self, name: str) -> None:
        self.value: JsonValue = None
        self.places: dict[KeyPath, Place] = {}
        self._name = name
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, DocumentStartEvent):
            self._start_document(event)
        elif isinstance(event, AliasEvent):
            raise self._error("aliases are not allowed; write the value out", event)
        elif isinstance(event, CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, NodeEvent):
            self._start_node(event)

    def _start_document(self, event: DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._error("more than one document in the file", event)
        if event.version is not None or event.tags:
            raise self._error("directives are not allowed", event)

    def _start_node(self, event: NodeEvent) -> None:
        if event.anchor is not None:
            raise self._error("anchors are not allowed", event)
        if getattr(event, "tag", None) is not None:
            raise self._error("tags are not allowed", event)
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.into, dict) and not parent.has_key:
            parent.key, parent.has_key = self._key(event, parent), True
            return
        path = self._path(parent)
        self.places.setdefault(path, _place(event))
        if isinstance(event, ScalarEvent):
            self._add(parent, self._scalar(event))
            return
        if len(self._open) >= MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", event)
        into: dict[str, JsonValue] | list[JsonValue]
        if isinstance(event, MappingStartEvent):
            self._add(parent, into := {})
        elif isinstance(event, SequenceStartEvent):
            self._add(parent, into := [])
        else:
            raise self._error("not a value", event)
        self._open.append(_Open(path, into))

    def _key(self, event: NodeEvent, parent: _Open) -> str:
        if not isinstance(event, ScalarEvent):
            raise self._error("a key is a text, not a mapping or a list", event)
        if event.value == "<<" and event.style is None:
            raise self._error("merge keys are not allowed; write the values out", event)
        key = self._text(event)
        if key in parent.into:
            line = self.places[*parent.path, key][0]
            raise self._error("the key is there twice; the first one is on line " + str(line), event, (key,))
        self.places[*parent.path, key] = _place(event)
        return key

    def _path(self, parent: _Open | None) -> KeyPath:
        if parent is None:
            return ()
        return (*parent.path, parent.key if isinstance(parent.into, dict) else len(parent.into))

    def _add(self, parent: _Open | None, value: JsonValue) -> None:
        if parent is None:
            self.value = value
        elif isinstance(parent.into, dict):
            parent.into[parent.key] = value
            parent.has_key = False
        else:
            parent.into.append(value)

    def _scalar(self, event: ScalarEvent) -> JsonValue:
        if event.style is not None:
            return self._text(event)
        try:
            return plain_scalar(self._text(event))
        except ValueError as exc:
            raise self._error(str(exc), event) from None

    def _text(self, event: ScalarEvent) -> str:
        try:
            return join_surrogates(event.value)
        except ValueError as exc:
            raise self._error(str(exc), event) from None

    def _error(self, problem: str, event: Event, below: KeyPath = ()) -> ConfigError:
        line, column = _place(event)
        parent = self._open[-1] if self._open else None
        path: KeyPath = ()
        if parent is not None:
            path = (*parent.path, *below) if below or not parent.has_key else (*parent.path, parent.key)
        return ConfigError(problem, place=f"{self._name}:{line}:{column}", key=dotted(path))


def _place(event: Event) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1
