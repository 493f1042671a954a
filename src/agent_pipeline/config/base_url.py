"""Where a provider may be: https anywhere, plain http on this machine only, no credentials in the address."""

import ipaddress
from urllib.parse import urlsplit


def check_base_url(url: str) -> str:
    """Return the address as it is written.

    Raises:
        ValueError: it can't be used; the message never repeats the address, which may hold a password.
    """
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ValueError("an address has no blanks")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a valid address") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("an address begins with https:// (or http:// on this machine) and names a host")
    if "@" in parts.netloc:
        raise ValueError("no user or password in the address; name the variable that holds the key in `env_key`")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("no ?query and no #fragment in the address")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("plain http:// is allowed on this machine only (localhost, 127.0.0.1, [::1]); use https://")
    return url


def is_loopback(host: str) -> bool:
    """Tell whether a host, as written in an address, is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
