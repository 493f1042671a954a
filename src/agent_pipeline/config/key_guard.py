"""Recognise what looks like a pasted key, so that config files can refuse it without repeating it."""

import re
from collections.abc import Iterator
from itertools import pairwise

from agent_pipeline.domain.document import JsonValue

HIDDEN = "<hidden>"

# What providers' keys look like. A run of letters alone is no key: `sk-placeholder` stays a text.
_KNOWN = re.compile(
    r"""
    \b(?:
        sk-(?=[\w-]*\d)[\w-]{12,}               # OpenAI, Anthropic, OpenRouter, DeepSeek
      | (?:AIza|ya29\.)[\w-]{20,}               # Google
      | (?:gsk_|hf_|r8_|xai-|nvapi-|pplx-|glpat-|ghp_|gho_|ghu_|ghs_|ghr_|github_pat_)[\w-]{16,}
      | xox[abeoprs]-[\w-]{10,}                 # Slack
      | (?:AKIA|ASIA)[0-9A-Z]{16}               # AWS
      | eyJ[\w-]{8,}\.eyJ[\w-]{8,}              # a JSON web token
    )
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY
    | \bBearer[ ]+[\w.~+/-]{16,}
    """,
    re.VERBOSE,
)
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SECRET_NAMES = frozenset(
    {"apikey", "xapikey", "authorization", "proxyauthorization", "password", "passwd", "secret", "clientsecret"}
    | {"accesstoken", "authtoken", "bearertoken", "secretkey", "privatekey", "accesskey", "secretaccesskey"}
)


def looks_like_known_key(text: str) -> bool:
    """Tell whether a provider's key, by its known form, is anywhere in the text."""
    return _KNOWN.search(text) is not None


def looks_like_key(text: str) -> bool:
    """Tell whether the text holds a known key or a long random token.

    A token counts as random when it keeps changing between digits, small and capital letters: written names do that
    seldom, keys about every second character. UUIDs are names.

    >>> looks_like_key("gpt-5-nano-2025-08-07"), looks_like_key("9f86d081884c7d659a2feaa0c55ad015")
    (False, True)
    """
    return looks_like_known_key(text) or any(_is_random(match.group()) for match in _TOKEN.finditer(text))


def is_secret_name(name: str) -> bool:
    """Tell whether a value under this name would be a secret (`api_key`, `Authorization`)."""
    return re.sub(r"[^a-z]", "", name.lower()) in _SECRET_NAMES


def shown(name: str) -> str:
    """Return the name as it may be shown: a key pasted in the place of a name is not repeated."""
    return HIDDEN if looks_like_key(name) else name


def texts_in(value: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every text in a value with its path: keys first, then values; depth is the caller's business."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key
            yield from texts_in(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts_in(item, (*path, index))


def _is_random(token: str) -> bool:
    if _UUID.fullmatch(token):
        return False
    kinds = ["d" if char.isdigit() else "u" if char.isupper() else "l" for char in token if char.isalnum()]
    changes = sum(left != right for left, right in pairwise(kinds))
    return len(set(kinds)) > 1 and changes * 5 >= len(token)
