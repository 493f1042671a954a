"""What no message of a command may show: the keys it has loaded, and what else the environment keeps secret."""

from collections.abc import Mapping
from contextvars import ContextVar

from agent_pipeline.cli.output import one_line, print_json
from agent_pipeline.config.environment import environment_secrets
from agent_pipeline.telemetry import Redactor

_loaded: ContextVar[Redactor | None] = ContextVar("loaded", default=None)


def hide(redactor: Redactor) -> Redactor:
    """Clean messages with this from now on; return it."""
    _loaded.set(redactor)
    return redactor


def without_secrets(text: str) -> str:
    """Return a message as it may be shown, also before any key was loaded."""
    return _redactor().text(text)


def _redactor() -> Redactor:
    """Return what was loaded, else what the environment keeps secret; made once for a command."""
    return _loaded.get() or hide(Redactor(environment_secrets()))


def shown(text: str, most: int = 4000) -> str:
    """Return what others wrote as one line that is fit to be shown; ids are not cut at this length."""
    return one_line(without_secrets(text), most)


def print_hidden(value: Mapping[str, object]) -> None:
    """Write one JSON object as the last line of stdout, without secrets."""
    cleaned = _redactor().value(value)
    if isinstance(cleaned, Mapping):
        print_json(cleaned)
