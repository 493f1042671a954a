"""Starts command lines as processes of their own without paying their imports: forks a process that has them.

A program, not a module: it reads one JSON object per line on stdin, forks, and writes one per line on stdout. A child
is what `agent-pipeline` is after its imports: its own process, output, working directory, environment and signals.
"""

import gc
import importlib
import json
import os
import resource
import runpy
import sys
import threading

from agent_pipeline.cli import main

IMPORTED_ONCE = (
    "agent_pipeline.bridge.agents",
    "agent_pipeline.bridge.tracing",
    "agent_pipeline.cli.commands.before.check",
    "agent_pipeline.cli.commands.running.run",
    "agent_pipeline.cli.commands.running.simulate",
    "agent_pipeline.cli.smoke",
    "agent_pipeline.compose.runtime",
    "agent_pipeline.gateway.gateway",
    "openai.resources.chat.completions",
    "openai.resources.responses",
)
"""Modules that take seconds; each child would import them itself otherwise."""

AUDITED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")


def _audit(path: str) -> None:
    """Record what the process asks of the network, as lines of JSON."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event in AUDITED:
            family = repr(getattr(arguments[0], "family", None))
            line = json.dumps({"event": event, "family": family, "arguments": [repr(one) for one in arguments]})
            os.write(descriptor, f"{line}\n".encode())

    sys.addaudithook(note)


def _become(order: dict[str, object]) -> int:
    """Be the process that was asked for; return its exit code."""
    os.setpgid(0, 0)
    for name in ("stdin", "stdout", "stderr"):
        number = ("stdin", "stdout", "stderr").index(name)
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(str(order[name]), flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(order["cwd"]))
    environment = order["env"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    soft, hard = order["descriptors"] if isinstance(order["descriptors"], list) else (0, 0)
    if soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if order["audit"]:
        _audit(str(order["audit"]))
    command = order["command"]
    assert isinstance(command, list)
    if order["script"]:
        sys.argv = [str(order["script"]), *command]
        runpy.run_path(str(order["script"]), run_name="__main__")
        return 0
    sys.argv = ["agent-pipeline", *command]
    return main()


def _answer(value: dict[str, object]) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 - how a program answers


def _serve() -> int | None:
    """Take orders until stdin ends; only a child returns its exit code."""
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # else the first collection of each child copies every page
    _answer({"threads": threading.active_count()})
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        if "wait" in order:
            pid, status = os.waitpid(order["wait"], os.WNOHANG)
            _answer({"exit": os.waitstatus_to_exitcode(status) if pid else None})
            continue
        pid = os.fork()
        if pid == 0:
            return _become(order)
        _answer({"pid": pid})
    return None


if __name__ == "__main__":
    sys.exit(_serve())
