"""A group of commands whose `--help` needs no more than it shows."""

from typing import Any

from typer.core import TyperGroup, TyperOption


class QuickGroup(TyperGroup):
    """Flags that are not given count as False, not as unknown.

    typer looks at an unknown value with pydantic, whose import is a third of what help costs otherwise.
    """

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer does not export the types it means
        """Return the group's own flags, `--help` among them."""
        params = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperOption) and param.is_flag and param.default is None:
                param.default = False
        return params
