"""For notebooks and scripts: values that live in a JSON file."""

from typing import TYPE_CHECKING

from agent_pipeline.lazy import lazy_exports

if TYPE_CHECKING:
    from agent_pipeline.utils.runtime_config import RuntimeConfig as RuntimeConfig

__all__ = ["RuntimeConfig"]

__getattr__ = lazy_exports(__name__, {"RuntimeConfig": "agent_pipeline.utils.runtime_config"})


def __dir__() -> list[str]:
    return sorted(__all__)
