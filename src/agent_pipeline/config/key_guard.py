"""What keys look like: config files refuse it without repeating it, logs replace it."""

import re
from collections.abc import Iterator
from itertools import pairwise

from agent_pipeline.domain.document import JsonValue

HIDDEN = "<hidden>"

SHORTEST_SECRET = 8
"""Characters; a shorter value is a placeholder, and may be a part of any word."""

KEY_MARKERS = (
    *("sk-", "sk_", "AIza", "ya29.", "hf_", "r8_", "xai-", "nvapi-", "pplx-"),
    *("glpat-", "gho_", "ghp_", "ghu_", "ghs_", "ghr_", "_pat_", "xox", "AKIA", "ASIA", "eyJ", "-----BEGIN"),
)
"""One of them is in every text that `KNOWN_KEY` finds something in; looking for plain words is far cheaper."""

KNOWN_KEY = re.compile(
    r"""
    (?:(?<![A-Za-z0-9])|(?<=\\[nrt]))            # after an escaped newline, the letter before is part of the escape
    (?:
        sk-(?:proj|ant|svcacct|admin|or)-[\w-]{8,}
      | sk-(?=[\w-]{0,64}\d)[\w-]{12,}          # OpenAI and others; letters alone are no key: `sk-placeholder`
      | sk-[\w-]{0,64}\*{2,}[\w*-]*             # as a provider shows it
      | (?:gsk|hf|r8|sk_live|gh[opusr])_[A-Za-z0-9]{16,}
      | (?:AIza|ya29\.)[\w-]{20,}               # Google
      | (?:xai-|pplx-)[A-Za-z0-9]{16,}
      | (?:nvapi-|glpat-|github_pat_)[\w-]{16,}
      | xox[abeoprs]-[\w-]{10,}                 # Slack
      | (?:AKIA|ASIA)[0-9A-Z]{16}               # AWS
      | eyJ[\w-]{8,300}\.eyJ[\w-]{8,}(?:\.[\w-]+)?  # a JSON web token
    )
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY(?s:.*?)(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE,
)
"""Keys whose form tells what they are, as logs replace and config files refuse them.

Looking ahead is bounded, so that no text, however it is made, takes long.
"""

BEARER_TOKEN = re.compile(r"((?i:\bbearer)(?:\s|\\[nrt]|%20)+)(?:(?=[\w.~+/*=-]*[\d*])[\w.~+/*=-]{8,}|[\w.~+/=-]{20,})")
"""The word and, after its first group, a token; a word of prose is none."""

_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SECRET_NAMES = (
    *("apikey", "xapikey", "authorization", "proxyauthorization", "password", "passwd", "secret", "clientsecret"),
    *("accesstoken", "authtoken", "bearertoken", "secretkey", "privatekey", "accesskey", "secretaccesskey"),
)


def looks_like_known_key(text: str) -> bool:
    """Tell whether a provider's key, by its known form, is anywhere in the text."""
    return KNOWN_KEY.search(text) is not None or BEARER_TOKEN.search(text) is not None


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
    return _letters(name) in _SECRET_NAMES


def ends_in_secret_name(name: str) -> bool:
    """Tell whether a name, whatever stands before, says that its value is a secret (`OPENAI_API_KEY`)."""
    return _letters(name).endswith(_SECRET_NAMES)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def is_placeholder(key: str) -> bool:
    """Tell whether a key may be a word that local servers want in its place, and documents hold as well.

    >>> is_placeholder("lm-studio"), is_placeholder("sk-no-key-required"), is_placeholder("abcdef123456")
    (True, True, False)
    """
    return len(key) < 20 and (len(key) < 12 or not any(char.isdigit() for char in key))


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
