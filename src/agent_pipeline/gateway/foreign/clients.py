"""any-llm's client objects: made once each, with all that they would decide by themselves taken from them."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import SecretStr

from agent_pipeline.config.key_guard import HIDDEN
from agent_pipeline.errors import ConfigError, EnvVarMissingError

if TYPE_CHECKING:
    from any_llm import AnyLLM

EXTRA = "install agent-pipeline[providers] from where you have agent-pipeline (docs/optional-dependencies.md)"
"""By no command: a package of that name on the package index is somebody else's."""


@dataclass(frozen=True, slots=True)
class ForeignClient:
    """A client of one provider; used in the asyncio loop it was made in.

    Attributes:
        provider: id.
        timeouts: in seconds, by `connect` and `read`, where the client has those it was given; else it has its own.
    """

    provider: str
    any_llm: "AnyLLM" = field(repr=False)
    timeouts: Mapping[str, float | None]

    async def complete(self, arguments: dict[str, Any]) -> object:
        """Return any-llm's answer, or a stream of its parts."""
        return await self.any_llm.acompletion(**arguments)

    async def embed(self, arguments: dict[str, Any]) -> object:
        """Return any-llm's answer."""
        return await self.any_llm.aembedding(**arguments)

    async def stream(self, arguments: dict[str, Any], put: Callable[[object], None]) -> None:
        """Hand on each chunk as it comes; any-llm closes the stream at the end, also on error and cancellation."""
        stream: Any = await self.any_llm.acompletion(**arguments)
        async for chunk in stream:
            put(chunk)

    async def close(self) -> None:
        """Close the connections of those clients that can be told to."""
        client = getattr(self.any_llm, "client", None)
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if callable(close):
            ended = close()
            if inspect.isawaitable(ended):
                await ended


class MakeClient(Protocol):
    """Makes a client, in the loop it is for."""

    def __call__(
        self, provider: str, key: SecretStr | None, address: str | None, timeouts: Mapping[str, float | None], /
    ) -> ForeignClient:
        """Return the client; errors as `make_client` has them."""
        ...


def known_ids() -> frozenset[str]:
    """Return the ids of the providers that any-llm knows; the first call imports it, which takes one or two seconds.

    Raises:
        ConfigError: any-llm is not installed.
    """
    return frozenset(load_any_llm().get_supported_providers())


def load_any_llm() -> "type[AnyLLM]":
    """Import any-llm.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from any_llm import AnyLLM  # noqa: PLC0415 - an extra, and two seconds
    except ModuleNotFoundError as exc:
        msg = f"providers without a base_url need any-llm, which is not installed ({exc.name} is missing): {EXTRA}"
        raise ConfigError(msg) from exc
    return AnyLLM


def make_client(
    provider: str, key: SecretStr | None, address: str | None, timeouts: Mapping[str, float | None], /
) -> ForeignClient:
    """Make any-llm's client of a provider, which tries nothing again and follows no redirect where that can be said.

    Args:
        provider: id, one of any-llm's.
        key: None where the config names none; any-llm then looks for the provider's usual variable.
        address: None for the provider's own.
        timeouts: in seconds, by `connect` and `read`; None is unlimited.

    Raises:
        ConfigError: the provider's own library is missing, or it can't be made from what there is.
        EnvVarMissingError: it needs a key.
    """
    any_llm = load_any_llm()
    secret = None if key is None else key.get_secret_value()
    try:
        can_be_told = any_llm.get_provider_class(provider).MAX_RETRIES_SUPPORT != "unsupported"
        pinned = {"max_retries": 0} if can_be_told else _PINS.get(provider, dict)()
        made = any_llm.create(provider, api_key=secret, api_base=address, unified_exceptions=True, **pinned)
    except ImportError as exc:
        msg = f"the provider {provider!r} needs a library that is not installed: pip install 'any-llm-sdk[{provider}]'"
        raise ConfigError(msg) from exc
    except Exception as exc:  # noqa: BLE001 - clients raise what they like; told as a mistake of the config
        variable: object = getattr(exc, "env_var_name", None)
        if variable is not None:
            msg = f"no key for the provider {provider!r}: name its variable as env_key, or export {variable}"
            raise EnvVarMissingError(msg) from None
        said = str(exc) if secret is None else str(exc).replace(secret, HIDDEN)
        raise ConfigError(f"no client for the provider {provider!r}: {said}") from None
    return ForeignClient(provider, made, _bound(made, timeouts))


# --- what clients would decide by themselves ---------------------------------------------------------------------


def _no_aws_retries() -> dict[str, Any]:
    config = importlib.import_module("botocore.config")  # comes with the provider's own library
    return {"config": config.Config(retries={"total_max_attempts": 1})}


_PINS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "azure": lambda: {"retry_total": 0},
    "bedrock": _no_aws_retries,
    "sagemaker": _no_aws_retries,
    "xai": lambda: {"channel_options": [("grpc.enable_retries", 0)]},
}
"""How clients that know no `max_retries` are told; those of huggingface, liner, lmstudio, mistral, ollama never retry.

Those of otari and watsonx do, and can't be told."""


def _bound(made: object, timeouts: Mapping[str, float | None]) -> Mapping[str, float | None]:
    """Give the clients in any-llm's that Stainless made (OpenAI's, Anthropic's, Groq's and their like) our timeouts.

    And no redirects: one would take Anthropic's key along to wherever it leads. A whole request is bounded by the gate.
    """
    ours = {name: timeouts.get(name) for name in ("connect", "read")}
    bound = [inner for inner in vars(made).values() if _is_bound(inner, **ours)]
    return ours if any(inner is vars(made).get("client") for inner in bound) else {}


def _is_bound(client: Any, *, connect: float | None, read: float | None) -> bool:  # noqa: ANN401 - whatever any-llm holds
    timeout: Any = getattr(client, "timeout", None)
    http: Any = getattr(client, "_client", None)
    is_stainless = all(hasattr(timeout, name) for name in ("connect", "read", "write", "pool"))
    if not is_stainless or not hasattr(http, "follow_redirects"):
        return False
    http.follow_redirects = False
    client.timeout = type(timeout)(connect=connect, read=read, write=read, pool=None)
    return True
