"""Clients of any-llm are told not to try again, for every provider that can be told."""

from any_llm import AnyLLM
from pydantic import SecretStr

from agent_pipeline.errors import LLMHubRuntimeError
from agent_pipeline.gateway.foreign.clients import known_ids, make_client

TIMEOUTS = {"connect": 3.0, "read": 4.0}


def _made_without_another_library() -> list[str]:
    """Return the providers whose clients any-llm itself brings along."""
    names = []
    for name in sorted(known_ids()):
        try:
            kind = AnyLLM.get_provider_class(name)
        except ImportError:
            continue
        if kind.MISSING_PACKAGES_ERROR is None:
            names.append(name)
    return names


def test_every_client_that_comes_along_tries_nothing_again() -> None:
    """One request too many is one that nobody counted."""
    unbound = []
    names = _made_without_another_library()
    for name in names:
        try:
            client = make_client(name, SecretStr("k" * 20), "http://127.0.0.1:1/v1", TIMEOUTS)
        except LLMHubRuntimeError:
            unbound.append(name)
            continue
        inner = getattr(client.any_llm, "client", None)
        if inner is None:
            unbound.append(name)
            continue
        assert inner.max_retries == 0, name
        assert (inner.timeout.connect, inner.timeout.read) == (3.0, 4.0), name
        assert inner._client.follow_redirects is False, name
        assert client.timeouts == TIMEOUTS

    assert len(names) > 30
    assert unbound == ["liner", "vertexaianthropic"]
