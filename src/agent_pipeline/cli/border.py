"""The border of every command: what goes wrong becomes one message and an exit code, never a traceback."""

import atexit
import os
import signal
import sys
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from threading import current_thread, main_thread

import typer
from typer.main import get_command

from agent_pipeline.cli import commands
from agent_pipeline.cli.output import err, one_line, open_standard_streams, out, print_json, say
from agent_pipeline.errors import AgentPipelineError

BUG = 70

_ENDINGS = {
    signal.SIGINT: ("interrupted", 130),
    signal.SIGTERM: ("terminated", 143),
    signal.SIGHUP: ("hung_up", 129),
}
"""Signals that end a command: the word for it, and the exit code."""


class _Signals:
    """Lets SIGTERM and SIGHUP arrive as KeyboardInterrupt, which Trio delivers at a checkpoint only.

    While a run listens for signals itself, that comes first. This is for the seconds before (imports) and after: the
    default would end the process without any `finally`. What somebody else handles or ignores (nohup) stays so.
    """

    def __init__(self) -> None:
        ours = current_thread() is main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        others = [one for one in (signal.SIGTERM, signal.SIGHUP) if ours and signal.getsignal(one) is signal.SIG_DFL]
        # SIGINT first: once it ends the process, so does what is passed on as SIGINT.
        self._before: dict[signal.Signals, signal._HANDLER] = (
            {signal.SIGINT: signal.default_int_handler} if ours else {}
        )
        self._before |= dict.fromkeys(others, signal.SIG_DFL)
        self._first: signal.Signals | None = None
        for one in others:
            signal.signal(one, self._interrupt)

    def _interrupt(self, number: int, _frame: object) -> None:
        self._first = self._first or signal.Signals(number)
        signal.raise_signal(signal.SIGINT)

    def ending(self) -> tuple[str, int]:
        """Return the word and the exit code for the signal that came."""
        return _ENDINGS[self._first or signal.SIGINT]

    def leave_with(self, code: int) -> None:
        """Let one that is still to come end the process at once: all is done, an interrupt would be a traceback."""
        for one in self._before:
            signal.signal(one, lambda *_: os._exit(code))

    def ignore(self) -> None:
        """Let none have any effect: the interpreter gives up its handlers before its end, and the default one kills."""
        for one in self._before:
            signal.signal(one, signal.SIG_IGN)

    def give_back(self) -> None:
        """Let them do what they did."""
        for one, handler in self._before.items():
            signal.signal(one, handler)


@contextmanager
def _open_signals(*, give_back: bool) -> Generator[_Signals]:
    signals = _Signals()
    if not give_back:
        atexit.register(signals.ignore)  # the first to be registered is the last to be called
    try:
        yield signals
    finally:
        if give_back:
            signals.give_back()


def run_command(app: typer.Typer, arguments: Sequence[str] | None, *, name: str) -> int:
    """Run a command line; return the exit code of the process.

    Args:
        app: the commands.
        arguments: None takes those of the process, whose end this is: a signal that comes later, while the interpreter
            leaves, ends it at once, with the same exit code.
        name: what usage messages call the program.
    """
    if arguments is None:
        open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _open_signals(give_back=arguments is not None) as signals:
        code: int | None = None
        try:
            # In a context of its own: what one command keeps secret is not what the next one does.
            code = copy_context().run(_ended, app, given, signals, name=name)
            signals.leave_with(code)
        except KeyboardInterrupt:  # one more, while another was being answered, or as all was done
            code = signals.ending()[1] if code is None else code
            signals.leave_with(code)
    return code


def _ended(app: typer.Typer, given: list[str], signals: _Signals, *, name: str) -> int:
    """Run the command line, and say what went wrong; return the exit code."""
    as_json = "--json" in given
    debug = "--debug" in given or os.environ.get("AGENT_PIPELINE_DEBUG", "") not in {"", "0"}
    try:
        return _invoke(app, given, name)
    except typer.Exit as exc:
        return exc.exit_code
    except typer.TyperException as exc:
        return _usage(exc, as_json=as_json)
    except KeyboardInterrupt:
        return _interrupted(signals, as_json=as_json)
    except Exception as exc:  # noqa: BLE001 - the border of the process: a bug becomes exit code 70
        return _failed(exc, as_json=as_json, debug=debug)
    except BaseExceptionGroup as group:
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in _leaves(group)):
            return _interrupted(signals, as_json=as_json)
        raise


def _invoke(app: typer.Typer, given: list[str], name: str) -> int:
    """Carry a command line out, or answer a shell that asks what may follow it."""
    command = get_command(app)
    if os.environ.get(f"_{name}_COMPLETE".replace("-", "_").upper()):  # as typer names it
        try:
            command.main(given, prog_name=name)
        except SystemExit as exc:
            return exc.code if isinstance(exc.code, int) else BUG
    # Not `main`: it would turn some exceptions into exit codes on its own.
    try:
        with command.make_context(name, given) as context:
            code = command.invoke(context)
    except (BrokenPipeError, SystemExit) as exc:
        if not _reader_left(exc):
            raise
        return 0
    out().flush()
    return code if isinstance(code, int) else 0


def _reader_left(exc: BrokenPipeError | SystemExit) -> bool:
    """Say whether whoever read help has seen enough: typer writes that, and rich would end the process then."""
    return isinstance(exc.__context__, BrokenPipeError) if isinstance(exc, SystemExit) else out().is_left()


def _usage(exc: typer.TyperException, *, as_json: bool) -> int:
    message = exc.format_message()
    context = getattr(exc, "ctx", None)
    if type(exc).__name__ == "NoArgsIsHelpError":
        err().line(message)
        return exc.exit_code
    if context is not None:
        err().line(context.get_usage())
        err().line(f"Try '{context.command_path} --help' for help.")
    if isinstance(exc, typer.BadParameter):
        message = commands.in_our_words(message)
    _report("usage", message, exc.exit_code, as_json=as_json)
    return exc.exit_code


def _interrupted(signals: _Signals, *, as_json: bool) -> int:
    """Say what ended the command; who does not want to wait even for that ends the process with the next Ctrl-C."""
    word, code = signals.ending()
    signals.leave_with(code)
    say(word)
    if as_json:
        print_json({"error": {"code": word, "message": word}, "exit_code": code})
    return code


def _failed(exc: Exception, *, as_json: bool, debug: bool) -> int:
    error = _of_ours(exc)
    if debug:
        # Without locals: they may hold keys and documents.
        err().write(commands.without_secrets("".join(traceback.format_exception(exc))))
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
    message = commands.without_secrets(message)
    say(f"error: {message}")
    if as_json:
        print_json({"error": {"code": code, "message": message}, "exit_code": exit_code})
