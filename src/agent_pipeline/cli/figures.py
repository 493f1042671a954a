"""Numbers and times as people read them; the same in every command."""

from datetime import UTC, datetime


def seconds_text(seconds: float | None) -> str:
    """Return a duration.

    >>> [seconds_text(one) for one in (None, 0.0042, 0.25, 9.96, 75, 725, 7320)]
    ['?', '4 ms', '0.25 s', '10.0 s', '75 s', '12 min 5 s', '2 h 2 min']
    """
    if seconds is None:
        return "?"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 9.95 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def dollars(micro_usd: int, *, known: bool = True) -> str:
    """Return an amount; where some of it is not known, it says so, and is never nothing.

    >>> dollars(1_234_567), dollars(49), dollars(0, known=False), dollars(1200, known=False)
    ('$1.2346', '$0.000049', 'unknown', 'unknown, above $0.0012')
    """
    amount = f"${micro_usd / 1_000_000:,.{6 if 0 < micro_usd < 1000 else 4}f}"
    if known:
        return amount
    return f"unknown, above {amount}" if micro_usd else "unknown"


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
