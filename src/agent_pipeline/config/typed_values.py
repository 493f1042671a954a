"""Values whose types their defaults say: a file's values are taken all together, or not at all."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agent_pipeline.config.json_file import json_text
from agent_pipeline.config.key_guard import shown
from agent_pipeline.config.source_map import KeyPath, SourceMap, source_map_of
from agent_pipeline.config.validation import did_you_mean, mapping_in, nearest, wording
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError

Values = Mapping[str, JsonValue]


class Change(NamedTuple):
    """What a value was, and what it is."""

    old: JsonValue
    new: JsonValue


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says.

    Attributes:
        values: one for each default; None where the file is refused.
        others: what else is in the file; somebody else's.
        problems: why it is refused, or, with values, what is probably not meant so.
    """

    values: Values | None
    others: Values = field(default_factory=dict)
    problems: tuple[ConfigError, ...] = ()


class TypedDefaults:
    """Defaults, and with them the type of each value.

    A value is of its default's type: a bool is no number, a whole number is good where the default is a float (and
    becomes one), a list whose default holds items of one plain type holds only such, a mapping has at least its
    default's keys, each of its type. Null is a value only where the default is null, and there everything is.

    Args:
        defaults: plain values by name.

    Raises:
        ConfigError: they are no mapping of texts to what JSON can hold.
    """

    def __init__(self, defaults: Mapping[str, object]) -> None:
        self.values: Values = mapping_in(source_map_of(defaults))
        json_text(self.values)

    def read(self, source: SourceMap) -> Reading:
        """Take a file's values; what it leaves out is the default's."""
        try:
            written = mapping_in(source)
        except ConfigError as exc:
            return Reading(None, problems=(exc,))
        others = {key: value for key, value in written.items() if key not in self.values}
        wrong: list[tuple[KeyPath, str]] = []
        values = {
            key: _fitted(self.values[key], written.get(key, self.values[key]), (key,), wrong) for key in self.values
        }
        if wrong:
            return Reading(None, others, tuple(source.error(problem, path) for path, problem in wrong))
        return Reading(values, others, self._misspelt(source, others))

    def fit(self, name: str, value: object) -> JsonValue:
        """Return a value as it is kept under this name.

        Raises:
            AttributeError: there is no such name.
            TypeError: the value is of another type than the default.
            ValueError: JSON can't hold it.
        """
        if name not in self.values:
            raise AttributeError(f"no value is called {shown(name)!r}{did_you_mean(name, self.values)}")
        try:
            plain = mapping_in(source_map_of({name: value}))
            json_text(plain)
        except ConfigError as exc:
            raise ValueError(str(exc)) from None
        wrong: list[tuple[KeyPath, str]] = []
        fitted = _fitted(self.values[name], plain[name], (name,), wrong)
        for path, problem in wrong:
            raise TypeError(str(source_map_of({}).error(problem, path)))
        return fitted

    def _misspelt(self, source: SourceMap, others: Values) -> tuple[ConfigError, ...]:
        """Return a problem for each key that is probably one of ours, misspelt: the file does not have that one."""
        left_out = [key for key in self.values if key not in mapping_in(source)]
        meant = {key: nearest(key, left_out) for key in others}
        return tuple(
            source.error(f"unknown key, left alone{did_you_mean(key, [near])}", (key,))
            for key, near in meant.items()
            if near is not None
        )


def differ(one: JsonValue, other: JsonValue) -> bool:
    """Tell whether two values are not the same, to JSON: there `1`, `1.0` and `true` are three."""
    return one is not other and json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def changes_between(old: Values, new: Values) -> Mapping[str, Change]:
    """Return old and new of each value that differs, by its name; they are copies."""
    return {
        key: Change(copy.deepcopy(value), copy.deepcopy(new[key]))
        for key, value in old.items()
        if differ(value, new[key])
    }


def rebased(mine: Values, base: Values, theirs: Values) -> Values:
    """Return `theirs` with what `mine` changed of `base`."""
    return {key: mine[key] if differ(mine[key], base[key]) else value for key, value in theirs.items()}


_KINDS: Mapping[type, str] = {
    type(None): "null",
    bool: "bool_type",
    int: "int_type",
    float: "float_type",
    str: "string_type",
    list: "list_type",
    dict: "dict_type",
}
"""What JSON knows, each with the name of the words that ask for it."""


def _fitted(default: JsonValue, value: JsonValue, path: KeyPath, wrong: list[tuple[KeyPath, str]]) -> JsonValue:
    """Return the value as the default's type has it; what does not fit is noted."""
    kind = type(default)
    if default is None:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if value is None:
        wrong.append((path, "null is no value here; leave the key out to have the default"))
    elif type(value) is not kind:
        wrong.append((path, wording(_KINDS[kind], "")))
    elif isinstance(value, dict) and isinstance(default, dict):
        inner = {key: _fitted(one, value.get(key, one), (*path, key), wrong) for key, one in default.items()}
        return {**value, **inner}
    elif isinstance(value, list) and isinstance(default, list):
        return _fitted_items(default, value, path, wrong)
    return value


def _fitted_items(
    default: list[JsonValue], value: list[JsonValue], path: KeyPath, wrong: list[tuple[KeyPath, str]]
) -> JsonValue:
    kinds = {type(item) for item in default}
    if len(kinds) != 1 or kinds & {list, dict}:
        return value
    return [_fitted(default[0], item, (*path, index), wrong) for index, item in enumerate(value)]
