"""Durations, money, counts and times as people read them; the same in commands, displays and reports.

`report/page/charts.js` has the first two again.
"""

from datetime import UTC, datetime


def seconds_text(seconds: float | None) -> str:
    """Return a duration, whole seconds (an int) as such; `-` where there is none.

    >>> [seconds_text(one) for one in (None, 0.0042, 0.25, 9.96, 12.34, 59.96, 725, 7380, 400_000)]
    ['-', '4 ms', '250 ms', '9.96 s', '12.3 s', '1 min 00 s', '12 min 05 s', '2 h 03 min', '111 h 06 min']
    >>> [seconds_text(one) for one in (0, 7, 7.0, 61)]
    ['0 s', '7 s', '7.00 s', '1 min 01 s']
    """
    if seconds is None:
        return "-"
    if seconds < 59.95:
        return f"{seconds} s" if isinstance(seconds, int) else _below_a_minute(seconds)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"


def _below_a_minute(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"


def dollars(micro_usd: int | None, *, known: bool = True) -> str:
    """Return an amount; where it, or some of it, is not known, it says so, and is never nothing.

    >>> [dollars(one) for one in (None, 0, 49, 21_600, 1_234_567, 1_234_560_000)]
    ['unknown', '$0', '$0.000049', '$0.0216', '$1.2346', '$1,234.56']
    >>> dollars(0, known=False), dollars(1200, known=False)
    ('unknown', 'unknown, above $0.0012')
    """
    if micro_usd is None or not (known or micro_usd):
        return "unknown"
    digits = 6 if 0 < micro_usd < 1000 else 4 if micro_usd < 10_000_000 else 2
    amount = f"${micro_usd / 1_000_000:,.{digits}f}" if micro_usd else "$0"
    return amount if known else f"unknown, above {amount}"


def moment(at: datetime | None) -> str:
    """Return a time in UTC, to the second.

    >>> moment(datetime(2026, 11, 21, 18, 4, 15, 900_000, tzinfo=UTC))
    '2026-11-21 18:04:15'
    """
    return "?" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return how many of something.

    >>> counted(1, "attempt"), counted(1200, "attempt"), counted(2, "pass", "passes")
    ('1 attempt', '1,200 attempts', '2 passes')
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def listed(parts: list[str]) -> str:
    """Return several things in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
