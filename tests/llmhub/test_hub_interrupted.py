"""Ctrl-C in a program that waits for an answer, in each flavour, as a real process."""

import signal
import subprocess
import sys
import time

import pytest

from agent_pipeline.testing import SimulatorThread

PROGRAM = """
import asyncio, sys, trio
from agent_pipeline.llmhub import LLMHub, parse_runtime_config

flavour, url = sys.argv[1:]
role = {"provider": "local", "model": "m"}
config = {"project": "p", "env": "e", "providers": {"local": {"base_url": url}}, "roles": {"r": role}}
hub = LLMHub(config_obj=parse_runtime_config(config), on_after_call=lambda result: print("ended", result.success))
asked = [{"role": "user", "content": "x"}]
try:
    match flavour:
        case "sync":
            hub.completion("r", asked)
        case "asyncio":
            asyncio.run(hub.acompletion("r", asked))
        case "trio":
            trio.run(hub.acompletion, "r", asked)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("flavour", ["sync", "asyncio", "trio"])
def test_an_interrupt_ends_the_call_and_the_program(flavour: str) -> None:
    """At once: the server would take a minute."""
    with SimulatorThread(latency=60.0) as simulator:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, flavour, simulator.base_url], stdout=subprocess.PIPE, text=True
        )
        try:
            while not simulator.statistics.requests_in_flight:
                time.sleep(0.02)
            program.send_signal(signal.SIGINT)
            told, _ = program.communicate(timeout=30)
        finally:
            program.kill()
            program.wait()

    assert told.split() == ["ended", "False", "interrupted"]
    assert program.returncode == 0
