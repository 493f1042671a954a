"""Where a provider's requests go; free of the OpenAI client, whose import takes over a second."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from agent_pipeline.config.role_models import KNOWN_ADDRESSES, Api

OPENAI_URL = KNOWN_ADDRESSES["openai"]

_OFFICIAL = ("api.openai.com", "openai.azure.com")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider's requests go.

    Attributes:
        api_key: None sends no authorization (a local server).
    """

    base_url: str
    api: Api
    api_key: SecretStr | None

    @property
    def is_official(self) -> bool:
        """Whether OpenAI itself answers there, also by its regional addresses or by Azure."""
        host = urlsplit(self.base_url).hostname or ""
        return any(host == one or host.endswith(f".{one}") for one in _OFFICIAL)
