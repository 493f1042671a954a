"""Keys: from the environment, from `.env`, and what is said when there is none."""

from pathlib import Path

import pytest

from agent_pipeline.config.environment import (
    FOR_A_COMMAND,
    environment_secrets,
    load_env,
    require_api_key,
    resolve_api_key,
)
from agent_pipeline.config.role_models import ProviderConfig
from agent_pipeline.errors import ConfigError, EnvVarMissingError

PROVIDER = ProviderConfig(env_key="THE_KEY")
VALUE = "hunter2secret"


def test_real_variables_win_and_the_first_file_wins(tmp_path: Path) -> None:
    """Also an empty real variable: it is how one says no key."""
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, text in ((first, "A=1\nB=1\nEMPTY=1\nNOTHING\n"), (second, "# c\nB=2\nexport C='2 2'\n")):
        folder.mkdir()
        (folder / ".env").write_text(text, encoding="utf-8")
    environ = {"A": "real", "EMPTY": ""}

    names = load_env(first, second, tmp_path / "none", environ=environ)

    assert environ == {"A": "real", "EMPTY": "", "B": "1", "C": "2 2"}
    assert names == ("B", "C")


def test_an_unreadable_env_file_is_a_config_error(tmp_path: Path) -> None:
    """Going on without it would end in a puzzling message about a missing key."""
    (tmp_path / ".env").write_bytes(b"A=\xff\n")

    with pytest.raises(ConfigError, match="UTF-8"):
        load_env(tmp_path, environ={})


def test_a_key_never_shows_itself() -> None:
    """Neither in a repr nor in a string."""
    key = resolve_api_key(PROVIDER, {"THE_KEY": f" {VALUE}\n"})

    assert key is not None
    assert key.get_secret_value() == VALUE
    assert VALUE not in f"{key} {key!r}"


@pytest.mark.parametrize("environ", [{}, {"THE_KEY": ""}, {"THE_KEY": " \n"}])
def test_a_blank_key_is_a_missing_key(environ: dict[str, str]) -> None:
    """And the message says which variable, and how to go on."""
    assert resolve_api_key(PROVIDER, environ) is None
    with pytest.raises(EnvVarMissingError, match=r"'openai'.*THE_KEY.*\.env.*--offline"):
        require_api_key("openai", PROVIDER, environ, hint=FOR_A_COMMAND)


def test_a_program_is_told_of_nothing_that_only_commands_know() -> None:
    """It reads no `.env`, and has no flag to go on with."""
    with pytest.raises(EnvVarMissingError) as caught:
        require_api_key("openai", PROVIDER, {})

    assert str(caught.value).endswith("Set it in the environment (export THE_KEY=<the key>)")


def test_a_provider_without_env_key_needs_none() -> None:
    """A server on this machine, for example."""
    assert require_api_key("ollama", ProviderConfig(), {}) is None


def test_a_key_that_no_header_can_carry_is_refused_unseen() -> None:
    """A pasted line break or quote mark would fail deep inside the HTTP client."""
    with pytest.raises(ConfigError) as caught:
        resolve_api_key(PROVIDER, {"THE_KEY": f"{VALUE}\r\nX: ü"})
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("ANY_API_KEY", " letters-and-digits-1\n", ("letters-and-digits-1",)),
        ("GITHUB_TOKEN", "0123456789ab", ("0123456789ab",)),
        ("DB_PASSWORD", "correct horse battery", ("correct horse battery",)),
        ("OPENAI_ADMIN_KEY", "abcdefghijklmnopqrst", ("abcdefghijklmnopqrst",)),
        ("OPENROUTER_KEY", "9f86d081884c7d659a2feaa0c55ad015", ("9f86d081884c7d659a2feaa0c55ad015",)),
        ("OPENAI_CUSTOM_HEADERS", "X-Env: production\nAuthorization: Bearer abc-123-def-456", ("abc-123-def-456",)),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=abc123def456,x=y", ("abc123def456",)),
        ("OPENAI_API_KEY", "lm-studio", ()),
        ("DB_PASSWORD", "postgres", ()),
        ("SORT_KEY", "the-name-of-a-column-2", ()),
        ("SSH_AUTH_SOCK", "a-socket/agent.1234567890", ()),
        ("GITHUB_SHA", "9f86d081884c7d659a2feaa0c55ad0159f86d081", ()),
    ],
)
def test_what_an_environment_calls_secret_is_known(name: str, value: str, secrets: tuple[str, ...]) -> None:
    """A stage's error may quote a key that no config file names; ordinary words are no secrets."""
    assert environment_secrets({name: value, "PATH": "a/b:c/d"}) == secrets
