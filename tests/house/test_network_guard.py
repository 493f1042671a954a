"""The guard of tests/conftest.py: a test that leaves this machine fails, one on loopback does not notice."""

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parent.parent / "conftest.py"

# 192.0.2.1 and 2001:db8::1 are addresses for documentation (RFC 5737, RFC 3849): nobody's, should the guard fail.
TESTS = '''
"""Each name says how it has to end."""
import asyncio
import contextlib
import socket

import pytest
import trio


def test_fails_on_a_foreign_address():
    with socket.socket() as connection:
        connection.settimeout(0.01)
        connection.connect(("192.0.2.1", 9))


def test_fails_though_the_refusal_is_swallowed():
    with socket.socket() as connection, contextlib.suppress(OSError):
        connection.settimeout(0.01)
        connection.connect(("192.0.2.1", 9))


def test_fails_on_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection, contextlib.suppress(OSError):
        connection.sendto(b"x", ("192.0.2.1", 9))


def test_fails_on_ipv6():
    with socket.socket(socket.AF_INET6) as connection, contextlib.suppress(OSError):
        connection.settimeout(0.01)
        connection.connect(("2001:db8::1", 9))


def test_fails_on_a_foreign_name():
    with contextlib.suppress(OSError):
        socket.getaddrinfo("example.org", 443)


async def test_fails_under_trio():
    with contextlib.suppress(BaseExceptionGroup, OSError):
        with trio.move_on_after(0.05):
            await trio.open_tcp_stream("192.0.2.1", 9)


def test_fails_under_asyncio():
    async def connect():
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("192.0.2.1", 9), 0.05)

    asyncio.run(connect())


def test_passes_on_a_name_that_never_resolves():
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("provider.invalid", 443)


async def test_passes_on_loopback_under_trio():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with await trio.open_tcp_stream("localhost", port), listeners[0]:
        pass


def test_passes_on_a_pair_of_local_sockets():
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")
'''


def test_only_loopback_can_be_reached(tmp_path: Path) -> None:
    """A suite that passes because it reached a real provider proves nothing, and could cost money."""
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_reach.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n", encoding="utf-8")

    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--tb=no", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    summary = run.stdout.partition("short test summary info")[2]
    bad = {line.split("::")[1].split(" ")[0] for line in summary.splitlines() if line.startswith(("FAILED", "ERROR"))}
    names = {line.split("(")[0].split(" ")[-1] for line in TESTS.splitlines() if "def test_" in line}
    assert len(names) == 10
    assert bad == {name for name in names if name.startswith("test_fails")}, run.stdout
