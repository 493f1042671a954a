"""What holds for every test: no network but loopback, and how hard Hypothesis tries."""

import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sniffio
from hypothesis import settings

# Light by default, with the same examples in every run; `--hypothesis-profile=thorough` (`just check-all`) explores.
# No deadline: a busy machine must not decide a test.
settings.register_profile("light", max_examples=30, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile("light")

# Under nohup SIGHUP is ignored, in a script's background job SIGINT, and so they would be in every process that a test
# starts.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As in an activated environment, whatever started the tests: what commands print to be typed is the same then.
os.environ.pop("UV_RUN_RECURSION_DEPTH", None)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

_refused: list[str] = []


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _refuse(what: str) -> None:
    _refused.append(what)
    raise PermissionError(f"a test may reach loopback only, not {what}")


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse what would leave this machine; the operating system is asked nothing before this has looked."""
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        connection, address = arguments[0], arguments[1]
        internet = isinstance(connection, socket.socket) and connection.family in {socket.AF_INET, socket.AF_INET6}
        if internet and isinstance(address, tuple) and not _is_local(str(address[0])):
            _refuse(f"{address[0]}:{address[1]}")
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if not isinstance(host, str) or host == "" or _is_local(host) or _is_number(host):
            return
        if host == "invalid" or host.endswith(".invalid"):
            # RFC 6761: never resolves. Answered here, so that a test of a wrong name asks no name server.
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        _refuse(host)


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    """Fail a test that tried to leave this machine, also where the code under test swallowed the refusal."""
    before = len(_refused)
    yield
    assert not _refused[before:], f"this test tried to reach {', '.join(_refused[before:])}"


@pytest.fixture(autouse=True)
def _nobody_seems_to_run_us() -> Iterator[None]:
    """Let a test fail that leaves the mark of an event loop on this thread, and not all those after it."""
    yield
    left = sniffio.thread_local.name or sniffio.current_async_library_cvar.get()
    sniffio.thread_local.name = None
    sniffio.current_async_library_cvar.set(None)
    assert left is None, f"this test left a thread that seems to be run by {left}"
