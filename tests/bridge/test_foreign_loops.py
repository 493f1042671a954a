"""What a program does in asyncio, before and after its pipelines."""

import subprocess
import sys

import pytest

PROBE = """
import asyncio, threading
import sniffio
from agent_pipeline.bridge import DocumentSession  # the SDK and trio-asyncio come with it


async def work():
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0
    return type(asyncio.get_running_loop()).__module__


def told():
    print(asyncio.run(work()))


told()
other = threading.Thread(target=told)
other.start()
other.join()
kept = asyncio.new_event_loop()
print(kept.run_until_complete(work()), sniffio.thread_local.name)
kept.close()
"""

OWN_POLICY = """
import asyncio
from agent_pipeline.bridge import DocumentSession


class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        print("asked")
        return super().new_event_loop()


async def work():
    pass


asyncio.set_event_loop_policy(Policy())
asyncio.run(work())
"""


def printed(program: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


def test_asyncio_outside_of_trio_is_asyncios_own_on_every_thread() -> None:
    """Not a Trio in disguise: it is slower, and a thread that it marks can't run Trio."""
    assert printed(PROBE) == ["asyncio.unix_events", "asyncio.unix_events", "asyncio.unix_events", "None"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there are no policies to set any more")
def test_a_policy_that_the_program_sets_is_the_one() -> None:
    """As without us: uvloop, say."""
    assert printed(OWN_POLICY) == ["asked"]
