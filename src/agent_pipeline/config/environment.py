"""Keys from the environment: read `.env` files for a command, look up a provider's key."""

import io
import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from agent_pipeline.config.key_guard import ends_in_secret_name, is_placeholder, looks_like_key
from agent_pipeline.config.role_models import ProviderConfig
from agent_pipeline.config.text_file import read_text_file
from agent_pipeline.errors import ConfigError, EnvVarMissingError

_HEADER_PARTS = re.compile(r"[\s,;:=]+")

IN_A_PROGRAM = "Set it in the environment (export {}=<the key>)"
"""What to do about a key that is missing, by the variable's name; the same in a program, and for a command."""

FOR_A_COMMAND = "Set it (export {}=<the key>, or a line in .env beside the config), or go on with --offline"


def load_env(*directories: str | Path, environ: MutableMapping[str, str] | None = None) -> tuple[str, ...]:
    """Read `.env` of each directory into the environment; variables that exist, even empty ones, are left alone.

    Of two files the one of the earlier directory wins. Only commands call this; importing the package does not.

    Returns:
        The names of the variables that were set.

    Raises:
        ConfigError: a `.env` file is there but can't be read; nothing of that file was set.
    """
    target = os.environ if environ is None else environ
    names: list[str] = []
    for directory in directories:
        path = Path(directory) / ".env"
        if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists it also answers for impossible names
            continue
        for name, value in dotenv_values(stream=io.StringIO(read_text_file(path))).items():
            if value is None or name in target:
                continue
            try:
                target[name] = value
            except ValueError:
                raise ConfigError("a name or value that no environment can hold", place=str(path), key=name) from None
            names.append(name)
    return tuple(names)


def environment_secrets(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return what the environment holds under names of secrets, whoever uses it, and in headers for HTTP clients.

    Values that may be ordinary words are left out.
    """
    found: list[str] = []
    for name, value in (os.environ if environ is None else environ).items():
        upper = name.upper()
        if ends_in_secret_name(name) or upper.endswith(("_TOKEN", "_ADMIN_KEY")):
            found.append(value.strip())
        elif upper.endswith("_HEADERS"):  # OPENAI_CUSTOM_HEADERS and its like: names and values in some form
            found += [part for part in _HEADER_PARTS.split(value) if any(char.isdigit() for char in part)]
        elif upper.endswith("_KEY"):
            found += [value.strip()] if looks_like_key(value) else []
    return tuple(value for value in found if not is_placeholder(value))


def resolve_api_key(provider: ProviderConfig, environ: Mapping[str, str] | None = None) -> SecretStr | None:
    """Return a provider's key, None where it has none or its variable is unset or blank.

    Raises:
        ConfigError: the variable holds what no HTTP header can carry.
    """
    if provider.env_key is None:
        return None
    key = (os.environ if environ is None else environ).get(provider.env_key, "").strip()
    if not _is_sendable(key):
        raise ConfigError(f"the variable {provider.env_key} holds characters that no key has", key=provider.env_key)
    return SecretStr(key) if key else None


def given_api_key(key: SecretStr | str) -> SecretStr | None:
    """Return a key that a program gives, without the spaces and line ends around it; None where that leaves nothing.

    Raises:
        ConfigError: it is no text, or holds what no HTTP header can carry; libraries would quote it in their errors.
    """
    text: object = key.get_secret_value() if isinstance(key, SecretStr) else key
    if text is None:
        raise ConfigError('None is no key; is the variable set? "" sends none', key="api_key")
    if not isinstance(text, str):
        raise ConfigError(f"a text is wanted, not {type(text).__name__}", key="api_key")
    text = text.strip()
    if not _is_sendable(text):
        raise ConfigError("it holds characters that no key has", key="api_key")
    return SecretStr(text) if text else None


def _is_sendable(key: str) -> bool:
    return key.isascii() and key.isprintable()


def require_api_key(
    provider_id: str,
    provider: ProviderConfig,
    environ: Mapping[str, str] | None = None,
    *,
    hint: str = IN_A_PROGRAM,
) -> SecretStr | None:
    """Return a provider's key, None only for a provider that needs none.

    Args:
        provider_id: for the message.
        provider: names the variable.
        environ: in the place of this process's.
        hint: what to do where it is missing, with `{}` for the variable.

    Raises:
        EnvVarMissingError: the variable that should hold the key is unset or blank.
    """
    key = resolve_api_key(provider, environ)
    if key is None and provider.env_key is not None:
        raise EnvVarMissingError(
            f"no key for the provider {provider_id!r}: the environment variable {provider.env_key} is not set. "
            + hint.format(provider.env_key)
        )
    return key
