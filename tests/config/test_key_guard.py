"""What counts as a pasted key and what does not."""

import base64
import hashlib
import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipeline.config.key_guard import (
    ends_in_secret_name,
    is_placeholder,
    is_secret_name,
    looks_like_key,
    looks_like_known_key,
    shown,
)


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-4fGh8Jk2LmN9pQrS",
        "sk-ant-api03-AbCd1234EfGh",
        "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "gsk_1234567890abcdefghij",
        "hf_abcdefghijklmnopqrst",
        "ghp_1234567890abcdefghijABCDEFGHIJ123456",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdef",
        "Authorization: Bearer abcdefghijklmnop1234",
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_known_forms_of_keys_are_recognised_inside_any_text(key: str) -> None:
    """A key may be pasted into the middle of instructions."""
    assert looks_like_known_key(key)
    assert looks_like_known_key(f"please use {key} for this")
    assert key not in shown(key)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(min_size=24, max_size=48))
def test_hex_digests_are_recognised(data: bytes) -> None:
    """Keys of many providers are plain hexadecimal."""
    assert looks_like_key(hashlib.sha256(data).hexdigest())


def test_random_tokens_are_recognised() -> None:
    """Of a hundred keys as they are made, none passes."""
    assert all(looks_like_key(base64.b64encode(secrets.token_bytes(32)).decode()) for _ in range(100))


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5-nano-2025-08-07",
        "claude-sonnet-4-5-20250929",
        "accounts/fireworks/models/llama4-maverick-instruct-basic",
        "550e8400-e29b-41d4-a716-446655440000",
        "OPENAI_API_KEY",
        "AZURE_OPENAI_API_KEY_WEST_EUROPE_2",
        "sk-placeholder",
        "https://my-resource-2.openai.azure.com/openai/v1",
        "a-long-name-of-many-words-and-2-numbers-10",
        "text-embedding-3-small",
    ],
)
def test_names_are_not_keys(name: str) -> None:
    """Refusing a model or a variable by mistake would make the file unusable."""
    assert not looks_like_key(name)


@pytest.mark.parametrize(
    ("key", "placeholder"),
    [("ollama", True), ("not-needed", True), ("sk-no-key-required", True), ("local1", True), ("a-b-c-d-e-1", True),
     ("a-b-c-d-e-f1", False), ("abcdefghijklmnopqrs", True), ("abcdefghijklmnopqrst", False)],
)  # fmt: skip
def test_placeholder_is_what_any_text_may_hold(key: str, *, placeholder: bool) -> None:
    """A document about ollama must not be refused because a local server wants that word for a key."""
    assert is_placeholder(key) is placeholder


def test_names_may_end_in_a_secret_name() -> None:
    """Variables and headers put a provider's name in front; a longer word is another."""
    assert all(ends_in_secret_name(name) for name in ("OPENAI_API_KEY", "x-goog-api-key", "password", "DB_PASSWORD"))
    assert not any(ends_in_secret_name(name) for name in ("input_tokens", "api_keys_file", "secretary", ""))


def test_secret_names_are_recognised_in_any_spelling() -> None:
    """`max_tokens` is no secret, `X-Api-Key` is."""
    assert all(is_secret_name(name) for name in ("api_key", "API-Key", "x-api-key", "Authorization", "password"))
    assert not any(is_secret_name(name) for name in ("max_tokens", "env_key", "token_limit", "secretary", "key"))
