"""What no message of a command may show: the keys it has loaded, and what else the environment keeps secret."""

from contextvars import ContextVar

from agent_pipeline.config.environment import environment_secrets
from agent_pipeline.telemetry import Redactor

_loaded: ContextVar[Redactor | None] = ContextVar("loaded", default=None)


def hide(redactor: Redactor) -> Redactor:
    """Clean messages with this from now on; return it."""
    _loaded.set(redactor)
    return redactor


def without_secrets(text: str) -> str:
    """Return a message as it may be shown, also before any key was loaded."""
    return (_loaded.get() or Redactor(environment_secrets())).text(text)
