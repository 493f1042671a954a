"""The border of the process: every exception becomes an exit code and one message."""

import json
import signal

import pytest
import typer

from agent_pipeline.cli.border import run_command
from agent_pipeline.errors import BudgetExceededError, EnvVarMissingError, InputError


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


def test_sigterm_before_a_run_listens_ends_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The imports take seconds; the default action would skip every `finally`."""
    left: list[str] = []
    app = typer.Typer(add_completion=False)

    @app.command()
    def importing(*, json: bool = False) -> None:
        del json
        try:
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("the signal came to nothing")
        finally:
            left.append("in order")

    code = run_command(app, ["--json"], name="x")

    captured = capsys.readouterr()
    assert code == 143
    assert left == ["in order"]
    assert json.loads(captured.out) == {"error": {"code": "terminated", "message": "terminated"}, "exit_code": 143}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
