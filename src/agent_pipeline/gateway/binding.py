"""A role bound to where its requests go, and the one key that goes with them."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from agent_pipeline.config.key_guard import HIDDEN, SHORTEST_SECRET
from agent_pipeline.control.call import Price


@dataclass(frozen=True, slots=True)
class Binding:
    """A role bound to where its requests go.

    Attributes:
        api_key: sent to `base_url` and nowhere else; None sends no authorization.
        output_tokens_cap: for requests that set none of their own; 0 where the role sets none either.
        takes_incomplete: whether an answer counts that the model cut short, or a refusal: as it came, by whoever asks
            for raw answers.
        timeouts: seconds by httpx2's names; None is unlimited.
    """

    role: str
    provider: str
    model: str
    base_url: str
    api_key: SecretStr | None
    output_tokens_cap: int
    price: Price | None
    timeouts: Mapping[str, float | None]
    takes_incomplete: bool = False

    @property
    def authorization(self) -> dict[str, str]:
        """The header that holds the key; none without one."""
        key = self._key()
        return {"authorization": f"Bearer {key}"} if key else {}

    def hide(self, text: str) -> str:
        """Return a text of the provider's without the key: it may repeat it, and errors quote what it says."""
        key = self._key()
        return text.replace(key, HIDDEN) if len(key) >= SHORTEST_SECRET else text

    def hide_in(self, body: bytes) -> bytes:
        """Return a body of the provider's without the key."""
        key = self._key()
        return body.replace(key.encode(), HIDDEN.encode()) if len(key) >= SHORTEST_SECRET else body

    def _key(self) -> str:
        return "" if self.api_key is None else self.api_key.get_secret_value()
