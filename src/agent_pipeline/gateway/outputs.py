"""Output types: the strict JSON schema a model is given, and the value its answer becomes."""

import functools
import inspect
import re
from typing import Any, Generic, TypeVar

import pydantic
from openai.lib._pydantic import to_strict_json_schema

from agent_pipeline.errors import OutputInvalidError

OutputT = TypeVar("OutputT")

_WRAPPED = "response"


class OutputSchema(Generic[OutputT]):
    """One output type: a pydantic model, or anything pydantic can validate (wrapped in an object where it is none).

    Built once per type by `output_schema`: making a schema costs more than a call.
    """

    def __init__(self, output_type: type[OutputT]) -> None:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(output_type)
        self._wrapped = adapter.json_schema().get("type") != "object"
        if self._wrapped:
            model = pydantic.create_model("Wrapped", **{_WRAPPED: (output_type, ...)})  # type: ignore[call-overload]
            adapter = pydantic.TypeAdapter(model)
        self._adapter = adapter
        is_model = inspect.isclass(output_type) and issubclass(output_type, pydantic.BaseModel)
        self.json_schema = to_strict_json_schema(output_type if is_model else adapter)
        self.name = re.sub(r"[^A-Za-z0-9_-]", "_", getattr(output_type, "__name__", "output"))[:64]

    def validate(self, text: str) -> OutputT:
        """Turn the model's JSON text into a value.

        Raises:
            OutputInvalidError: the text is not JSON or does not fit the type.
        """
        try:
            value = self._adapter.validate_json(text)
        except pydantic.ValidationError as exc:
            problems = "; ".join(f"{_place(e['loc'])}: {e['msg']}" for e in exc.errors(include_input=False)[:3])
            msg = f"the model's answer does not fit {self.name}: {problems}"
            raise OutputInvalidError(msg) from None
        result: OutputT = getattr(value, _WRAPPED) if self._wrapped else value
        return result


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "answer"


@functools.cache
def output_schema(output_type: type[OutputT]) -> OutputSchema[OutputT]:
    """Return the schema of a type, built at its first use."""
    return OutputSchema(output_type)
