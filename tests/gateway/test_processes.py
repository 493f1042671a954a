"""What only a process of its own can show: memory, file descriptors, what an import brings along."""

import re
import subprocess
import sys
import zlib
from collections.abc import Iterator

import pytest
import trio
from tests.gateway.wire_server import Play, wire_server
from tests.gateway.world import well

from agent_pipeline.gateway.body import DECODED_BYTES_CAP

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"


async def ask_in_a_process(how: str, *plays: Play) -> list[str]:
    """Serve the plays to a process of its own; return the lines it prints."""
    async with wire_server(*plays) as server:
        done = await trio.run_process(
            [sys.executable, "-m", "tests.gateway.ask_once", server.url, how], capture_stdout=True, capture_stderr=True
        )
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def zeros(size: int) -> Iterator[bytes]:
    """Yield the gzip form of that many zeros."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    for _ in range(size // MIB):
        yield packer.compress(bytes(MIB))
    yield packer.flush()


async def bomb(stream: trio.abc.Stream) -> None:
    """Send 100 MB of zeros as 100 kB."""
    packed = b"".join(zeros(100 * MIB))
    assert len(packed) < MIB // 5
    await stream.send_all(HEAD + f"content-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n".encode() + packed)


async def flood(stream: trio.abc.Stream) -> None:
    """Send 50 MB as they are."""
    await stream.send_all(HEAD + f"content-length: {50 * MIB}\r\n\r\n".encode())
    for _ in range(50):
        await stream.send_all(b" " * MIB)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("play", [bomb, flood])
async def test_answer_that_is_too_large_never_unfolds(play: Play) -> None:
    """Unprotected, 50 MB took 256 MB of memory, and a bomb of 100 MB 452 MB."""
    first, second, rise, counted = await ask_in_a_process("memory", well("responses"), play)

    assert first == "yes"
    assert second == f"answer_too_large: the answer is longer than {DECODED_BYTES_CAP} bytes"
    assert float(rise.removeprefix("rise=")) * MIB <= 3 * DECODED_BYTES_CAP
    assert counted.startswith("sent=[True, True]")


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
async def test_no_file_descriptor_left_is_this_machines_fault() -> None:
    """Retried as a network fault it would only take longer, and blame the wrong side."""
    first, second, counted = await ask_in_a_process("files", well("responses"))

    assert re.fullmatch(r"local_resource: .*Too many open files.*", first)
    assert second == "yes"
    assert counted == "sent=[False, True] spent=10"


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import agent_pipeline.gateway", "openai httpx2"),
        ("from agent_pipeline.gateway import OPENAI_URL, Endpoint", "openai httpx2"),
        ("from agent_pipeline.gateway import ConnectionPool, open_pool", "openai"),
        ("from agent_pipeline.gateway.parameters import body_params", "openai httpx2"),
        ("from agent_pipeline.gateway import Gateway", "agents trio_asyncio"),
    ],
)
def test_import_brings_no_more_than_it_needs(code: str, loaded: str) -> None:
    """The OpenAI client takes over a second to import, which `check` and `--help` should not wait for."""
    ask = f"{code}; import sys; print(sorted(set('{loaded}'.split()) & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
