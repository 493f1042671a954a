"""Where a provider may be: https anywhere, plain http on this machine only, no credentials in the address.

And where a collector of telemetry may be, which usually stands in the same network without TLS.
"""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def check_base_url(url: str) -> str:
    """Return the address as it is written.

    Raises:
        ValueError: it can't be used; the message never repeats the address, which may hold a password.
    """
    parts = _parts(url, "https:// (or http:// on this machine)", "name the variable that holds the key in `env_key`")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("plain http:// is allowed on this machine only (localhost, 127.0.0.1, [::1]); use https://")
    return url


def check_otlp_endpoint(url: str) -> str:
    """Return the address as it is written; plain http is allowed anywhere.

    Raises:
        ValueError: it can't be used; the message never repeats the address.
    """
    _parts(url, "http:// or https://", "put what it stands for into OTEL_EXPORTER_OTLP_HEADERS")
    return url


def _parts(url: str, beginning: str, instead: str) -> SplitResult:
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ValueError("an address has no blanks")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a valid address") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"an address begins with {beginning} and names a host")
    if "@" in parts.netloc:
        raise ValueError(f"no user or password in the address; {instead}")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("no ?query and no #fragment in the address")
    return parts


def is_loopback(host: str) -> bool:
    """Tell whether a host, as written in an address, is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
