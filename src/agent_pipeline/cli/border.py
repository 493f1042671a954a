"""The border of every command: what goes wrong becomes one message and an exit code, never a traceback."""

import os
import signal
import sys
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

import typer
from typer.main import get_command

from agent_pipeline.cli import commands
from agent_pipeline.cli.output import err, one_line, out, print_json, say
from agent_pipeline.errors import AgentPipelineError

BUG, INTERRUPTED, TERMINATED = 70, 130, 143


def run_command(app: typer.Typer, arguments: Sequence[str] | None, *, name: str) -> int:
    """Run a command line; return the exit code of the process.

    Args:
        app: the commands.
        arguments: None takes those of the process.
        name: what usage messages call the program.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    debug = "--debug" in given or os.environ.get("AGENT_PIPELINE_DEBUG", "") not in {"", "0"}
    with _sigterm_as_interrupt() as terminated:
        try:
            command = get_command(app)
            # Not `main`: it would turn some exceptions into exit codes on its own.
            with command.make_context(name, given) as context:
                code = command.invoke(context)
            out().flush()
            return code if isinstance(code, int) else 0
        except typer.Exit as exc:
            return exc.exit_code
        except typer.TyperException as exc:
            return _usage(exc, as_json=as_json)
        except KeyboardInterrupt:
            return _interrupted(terminated, as_json=as_json)
        except Exception as exc:  # noqa: BLE001 - the border of the process: a bug becomes exit code 70
            return _failed(exc, as_json=as_json, debug=debug)
        except BaseExceptionGroup as group:
            if any(isinstance(leaf, KeyboardInterrupt) for leaf in _leaves(group)):
                return _interrupted(terminated, as_json=as_json)
            raise


@contextmanager
def _sigterm_as_interrupt() -> Generator[Event, None, None]:
    """Let SIGTERM arrive as KeyboardInterrupt, which Trio delivers at a checkpoint only; set the event when it does.

    While a run listens for signals itself, that comes first. This is for the seconds before (imports) and after:
    the default would end the process without any `finally`.
    """
    terminated = Event()

    def interrupt(_number: int, _frame: object) -> None:
        terminated.set()
        signal.raise_signal(signal.SIGINT)

    ours = current_thread() is main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield terminated
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _usage(exc: typer.TyperException, *, as_json: bool) -> int:
    message = exc.format_message()
    context = getattr(exc, "ctx", None)
    if type(exc).__name__ == "NoArgsIsHelpError":
        err().line(message)
        return exc.exit_code
    if context is not None:
        err().line(context.get_usage())
        err().line(f"Try '{context.command_path} --help' for help.")
    _report("usage", message, exc.exit_code, as_json=as_json)
    return exc.exit_code


def _interrupted(terminated: Event, *, as_json: bool) -> int:
    word, code = ("terminated", TERMINATED) if terminated.is_set() else ("interrupted", INTERRUPTED)
    say(word)
    if as_json:
        print_json({"error": {"code": word, "message": word}, "exit_code": code})
    return code


def _failed(exc: Exception, *, as_json: bool, debug: bool) -> int:
    error = _of_ours(exc)
    if debug:
        # Without locals: they may hold keys and documents.
        err().write("".join(traceback.format_exception(exc)))
    if error is not None:
        code = commands.exit_code_of(error.code)
        _report(error.code, str(error), code, as_json=as_json)
        return code
    leaf = next(_leaves(exc), exc)
    notes = " ".join([*getattr(exc, "__notes__", ()), *(getattr(leaf, "__notes__", ()) if leaf is not exc else ())])
    message = f"internal error: {type(leaf).__name__}: {one_line(str(leaf))}\nThis is a bug of agent-pipeline. {notes}"
    advice = "" if debug else "\nFor the traceback, set AGENT_PIPELINE_DEBUG=1 and run the command again."
    _report("internal_error", message.rstrip() + advice, BUG, as_json=as_json)
    return BUG


def _of_ours(exc: BaseException) -> AgentPipelineError | None:
    """Return the one error of ours that this is, also where nurseries wrapped it."""
    leaves = list(_leaves(exc))
    ours = [leaf for leaf in leaves if isinstance(leaf, AgentPipelineError)]
    return ours[0] if ours and len(ours) == len(leaves) else None


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _leaves(inner)
    else:
        yield exc


def _report(code: str, message: str, exit_code: int, *, as_json: bool) -> None:
    say(f"error: {message}")
    if as_json:
        print_json({"error": {"code": code, "message": message}, "exit_code": exit_code})
