"""Output types: the strict JSON schema a model is given, and the value its answer becomes."""

import functools
import re
from collections.abc import Hashable
from typing import Any, Generic, TypeVar, cast

import pydantic
from openai.lib._pydantic import to_strict_json_schema

from agent_pipeline.errors import OutputInvalidError

OutputT = TypeVar("OutputT")

_WRAPPED = "response"

_NOT_STRICT = frozenset(
    {"allOf", "not", "if", "then", "else", "patternProperties", "propertyNames", "prefixItems", "uniqueItems"}
)
"""What pydantic may write and strict mode refuses."""


class OutputSchema(Generic[OutputT]):
    """One output type: a pydantic model, or anything pydantic can validate (wrapped in an object where it is none).

    Attributes:
        form: name, schema and whether strict mode can hold to it, as both APIs want them.
    """

    def __init__(self, output_type: type[OutputT]) -> None:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(output_type)
        # A recursive model is a mere reference at its root, which strict mode refuses: it is wrapped like a list.
        self._wrapped = adapter.json_schema().get("type") != "object"
        if self._wrapped:
            fields: dict[str, Any] = {_WRAPPED: (output_type, ...)}
            adapter = pydantic.TypeAdapter(pydantic.create_model("Wrapped", **fields))
        self._adapter = adapter
        self.name = re.sub(r"[^A-Za-z0-9_-]", "_", getattr(output_type, "__name__", "output"))[:64]
        schema = _plain(to_strict_json_schema(adapter))
        self.form: dict[str, Any] = {"name": self.name, "schema": schema, "strict": _is_strict(schema)}

    def validate(self, text: str) -> OutputT:
        """Turn the model's JSON text into a value.

        Raises:
            OutputInvalidError: the text is not JSON or does not fit the type.
        """
        try:
            value = self._adapter.validate_json(text)
        except pydantic.ValidationError as exc:
            problems = "; ".join(f"{_place(e['loc'])}: {e['msg']}" for e in exc.errors(include_input=False)[:3])
            raise OutputInvalidError(f"the model's answer does not fit {self.name}: {problems}") from None
        result: OutputT = getattr(value, _WRAPPED) if self._wrapped else value
        return result


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "answer"


_NAMED = frozenset({"properties", "$defs"})
"""Below these, keys are a user's own names."""


def _plain(schema: Any, *, named: bool = False) -> Any:  # noqa: ANN401  (JSON of any form)
    """Say the same without `default` (all properties are required) and `oneOf`, which strict mode refuses."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if named:
        return {name: _plain(item) for name, item in schema.items()}
    kept = {name: item for name, item in schema.items() if name not in {"default", "discriminator"}}
    if "oneOf" in kept:
        kept["anyOf"] = kept.pop("oneOf")
    return {
        name: item if name in {"enum", "const"} else _plain(item, named=name in _NAMED) for name, item in kept.items()
    }


def _is_strict(schema: Any, *, named: bool = False) -> bool:  # noqa: ANN401  (JSON of any form)
    """Whether strict mode takes the schema: every object closed, and nothing it does not know."""
    if isinstance(schema, list):
        return all(_is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if named:
        return all(_is_strict(item) for item in schema.values())
    is_open = schema.get("type") == "object" and schema.get("additionalProperties") is not False
    # An empty schema allows anything.
    if not schema or is_open or _NOT_STRICT & schema.keys():
        return False
    return all(_is_strict(item, named=name in _NAMED) for name, item in schema.items() if name not in {"enum", "const"})


@functools.lru_cache(maxsize=256)
def _cached(output_type: Hashable) -> OutputSchema[Any]:
    return OutputSchema(cast("type[Any]", output_type))


def output_schema(output_type: type[OutputT]) -> OutputSchema[OutputT]:
    """Return the schema of a type; making one costs more than a call, so they are kept."""
    return _cached(cast("Hashable", output_type))
