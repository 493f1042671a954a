"""Reads what answers say about limits: the `x-ratelimit-*` headers; what makes no sense counts as unsaid."""

import math
import re
from collections.abc import Mapping

from agent_pipeline.control.allowance import Allowance, RateHeaders

_MOST = 1_000_000_000_000
_LONGEST_RESET = 86_400.0

_COUNT = re.compile(r"[0-9]{1,13}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def read_rate_headers(headers: Mapping[str, str]) -> RateHeaders | None:
    """Return the limits that an answer tells, None where it tells none.

    >>> headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}
    >>> read_rate_headers(headers | {"x-ratelimit-reset-requests": "1m0.5s"})
    RateHeaders(requests=Allowance(limit=60, remaining=0, reset=60.5),
                tokens=Allowance(limit=None, remaining=None, reset=None))
    """
    read = RateHeaders(_allowance(headers, "requests"), _allowance(headers, "tokens"))
    return None if read == RateHeaders() else read


def _allowance(headers: Mapping[str, str], what: str) -> Allowance:
    return Allowance(
        limit=_count(headers.get(f"x-ratelimit-limit-{what}")) or None,
        remaining=_count(headers.get(f"x-ratelimit-remaining-{what}")),
        reset=read_duration(headers.get(f"x-ratelimit-reset-{what}", "")),
    )


def _count(text: str | None) -> int | None:
    if text is None or not _COUNT.fullmatch(text):
        return None
    count = int(text)
    return count if count <= _MOST else None


def read_duration(text: str) -> float | None:
    """Return a duration such as `6m0s`, `1.5s`, `20ms` or `12` in seconds; None where it is none, or over a day.

    >>> read_duration("1h2m3s"), read_duration("-1s"), read_duration("soon")
    (3723.0, None, None)
    """
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        parts = _PART.findall(text)
        if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text:
            return None
        seconds = math.fsum(float(number) * _UNITS[unit] for number, unit in parts)
    return seconds if seconds <= _LONGEST_RESET else None
