"""`simulate`: the OpenAI-compatible simulator as a process of its own."""

import signal
from pathlib import Path

import trio

from agent_pipeline.cli.output import out, print_json, say
from agent_pipeline.errors import InputError
from agent_pipeline.simulator import FaultPlan, Simulator, serve

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def serve_simulator(*, port: int, faults: Path | None, seed: int, as_json: bool) -> int:
    """Serve until a signal comes; return the exit code that says which.

    Raises:
        ConfigError: the faults file can't be used; nothing was opened.
        InputError: the port can't be used.
    """
    plan = None if faults is None else FaultPlan.load(faults)
    simulator = Simulator(seed=seed, faults=plan)
    return trio.run(
        _serve, simulator, port, as_json, restrict_keyboard_interrupt_to_checkpoints=True, strict_exception_groups=True
    )


async def _serve(simulator: Simulator, port: int, as_json: bool) -> int:  # noqa: FBT001 - trio.run passes by position
    with trio.open_signal_receiver(*EXIT_CODES) as signals:
        async with trio.open_nursery() as nursery:
            try:
                bound = await nursery.start(serve, simulator, "127.0.0.1", port)
            except* OSError as group:
                cause = next(exc for exc in group.exceptions if isinstance(exc, OSError))
                raise InputError(
                    f"port {port} can't be used: {cause.strerror or cause}; --port 0 takes a free one"
                ) from cause
            _announce(bound, as_json=as_json)
            code = 0
            async for number in signals:
                code = EXIT_CODES[signal.Signals(number)]
                break
            nursery.cancel_scope.cancel()
    seen = simulator.statistics
    say(f"simulator stopped: {seen.requests} requests on {seen.connections_opened} connections")
    return code


def _announce(port: int, *, as_json: bool) -> None:
    base_url = f"http://127.0.0.1:{port}/v1"
    say("this is a simulator: it answers by rules and is no model; stop it with Ctrl-C")
    if as_json:
        print_json({"base_url": base_url, "port": port})
    else:
        out().line(base_url)
