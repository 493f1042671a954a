"""Who asks: what a request tells the pool of connections it goes through, and no provider."""

from dataclasses import dataclass

from agent_pipeline.control.call import Attempt

ASKER = "agent_pipeline.asker"
"""The name under which a request's extensions hold its `Asker`."""


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf one request is sent.

    Attributes:
        attempt: that it is.
    """

    role: str
    provider: str
    attempt: Attempt
