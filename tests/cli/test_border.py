"""The border of the process: every exception becomes an exit code and one message."""

import json
import signal
from contextvars import copy_context

import pytest
import typer

from agent_pipeline.cli import main
from agent_pipeline.cli.border import run_command
from agent_pipeline.cli.commands.hidden import hide
from agent_pipeline.config.environment import FOR_A_COMMAND, environment_secrets, require_api_key
from agent_pipeline.config.role_models import ProviderConfig
from agent_pipeline.errors import BudgetExceededError, EnvVarMissingError, InputError
from agent_pipeline.telemetry import Redactor


def _app(exc: BaseException) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command()
    def fail(*, json: bool = False, debug: bool = False) -> None:
        del json, debug
        secret = "sk-in-a-local-variable"  # noqa: F841, S105 - a local that must not be shown
        raise exc

    return app


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (InputError("x"), 3),
        (EnvVarMissingError("x"), 5),
        (ExceptionGroup("nursery", [ExceptionGroup("nursery", [InputError("x")])]), 3),
        (BudgetExceededError("x", dimension="tokens"), 4),
        (KeyError("x"), 70),
        (ExceptionGroup("nursery", [InputError("x"), KeyError("x")]), 70),
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("nursery", [KeyboardInterrupt()]), 130),
    ],
)
def test_every_exception_has_its_exit_code(exc: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs that call the command know no other channel."""
    assert run_command(_app(exc), [], name="x") == code

    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    """A bare exit code 70 would leave nothing to report."""
    exc = ZeroDivisionError("by \x1b[31mzero")
    exc.add_note("What happened until then is in logs/x.")

    run_command(_app(exc), [], name="x")

    said = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in said
    assert "logs/x" in said
    assert "AGENT_PIPELINE_DEBUG=1" in said


def test_the_traceback_is_shown_on_demand_and_without_locals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locals hold keys and documents."""
    monkeypatch.setenv("AGENT_PIPELINE_DEBUG", "1")

    run_command(_app(KeyError("x")), [], name="x")

    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "raise exc" in said
    assert said.count("sk-in-a-local-variable") == 0


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("kind", [InputError, KeyError])
def test_no_message_and_no_traceback_shows_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: type[Exception], *, debug: bool
) -> None:
    """Neither one that the command loaded, nor one of the environment, nor what looks like one."""
    loaded, environ, foreign = "loaded-key-0123", "environment-key-45", "sk-proj-0123456789ab"
    monkeypatch.setenv("SOME_TOKEN", environ)
    monkeypatch.setenv("AGENT_PIPELINE_DEBUG", "1" if debug else "")
    said = f"{loaded} {environ} {foreign}"
    app = typer.Typer(add_completion=False)

    @app.command()
    def fail(*, json: bool = False) -> None:
        del json
        hide(Redactor([loaded, *environment_secrets()]))
        raise kind(said) from ValueError(f"because of {said}")

    copy_context().run(run_command, app, ["--json"], name="x")

    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert shown.count("[redacted]") >= 6
    assert [key for key in (loaded, environ, foreign) if key in shown] == []


def test_a_key_in_the_place_of_an_argument_is_not_repeated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pasted into the wrong window; it is in the shell's history, and that is enough."""
    monkeypatch.setenv("SOME_TOKEN", "environment-key-45")

    assert main(["run", "--limit", "sk-proj-0123456789ab environment-key-45", "--json"]) == 2

    captured = capsys.readouterr()
    assert "Invalid value" in captured.err
    assert "sk-proj-0123456789ab" not in captured.out + captured.err
    assert "environment-key-45" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("number", "word", "exit_code"), [(signal.SIGTERM, "terminated", 143), (signal.SIGHUP, "hung_up", 129)]
)
def test_a_signal_before_a_run_listens_ends_in_order(
    capsys: pytest.CaptureFixture[str], number: signal.Signals, word: str, exit_code: int
) -> None:
    """The imports take seconds; the default action would skip every `finally`."""
    left: list[str] = []
    app = typer.Typer(add_completion=False)

    @app.command()
    def importing(*, json: bool = False) -> None:
        del json
        try:
            signal.raise_signal(number)
            pytest.fail("the signal came to nothing")
        finally:
            left.append("in order")

    code = run_command(app, ["--json"], name="x")

    captured = capsys.readouterr()
    assert code == exit_code
    assert left == ["in order"]
    assert json.loads(captured.out) == {"error": {"code": word, "message": word}, "exit_code": exit_code}
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    """That is how `nohup` works."""
    app = typer.Typer(add_completion=False)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @app.command()
    def work() -> None:
        signal.raise_signal(signal.SIGHUP)

    assert run_command(app, [], name="x") == 0
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN


def test_ctrl_c_is_as_it_was_after_a_command_that_was_interrupted() -> None:
    """Only while it says so the next one ends the process, without a traceback."""
    assert run_command(_app(KeyboardInterrupt()), [], name="x") == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_how_to_set_a_key_is_not_taken_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    """`export OPENAI_API_KEY=[redacted]` is no help to anybody."""
    with pytest.raises(EnvVarMissingError) as caught:
        require_api_key("openai", ProviderConfig(env_key="OPENAI_API_KEY"), {}, hint=FOR_A_COMMAND)

    assert run_command(_app(caught.value), [], name="x") == 5
    assert "export OPENAI_API_KEY=<the key>" in " ".join(capsys.readouterr().err.split())
