"""Spans of a process that is interrupted: they leave before it does."""

import json
import signal
from pathlib import Path

from tests.integration.command import Launcher, environment, wait_until
from tests.integration.leavings import Leavings, assert_complete
from tests.integration.project import ONE_CALL, make_project, prose
from tests.telemetry.otel.receiver import open_receiver


def test_what_two_interrupts_cut_off_has_been_sent_when_the_process_ends(launcher: Launcher, tmp_path: Path) -> None:
    """Whoever presses Ctrl-C wants to see where the time went."""
    project = make_project(tmp_path, prose(3), stages=ONE_CALL)
    faults = tmp_path / "faults.yaml"
    faults.write_text(json.dumps({"latency": {"min": 60, "max": 60}}), encoding="utf-8")

    with open_receiver() as receiver:
        env = environment(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint)
        arguments = ("run", project.config, "--offline", "--faults", faults, "--json")
        process = launcher.start(*arguments, cwd=tmp_path, env=env)

        def asked() -> int:
            logs = list(project.logs.glob("trial-*/trial.log"))
            return logs[0].read_text(encoding="utf-8").count("event=llm_start") if logs else 0

        wait_until(lambda: asked() == 3, 30, lambda: process.stderr)
        process.signal(signal.SIGINT)
        wait_until(lambda: "PIPELINE_STOPPING" in next(project.logs.glob("trial-*/trial.log")).read_text(), 10, str)
        process.signal(signal.SIGINT)
        ended = process.wait(20)

    left = Leavings(project.runs()[0])
    assert_complete(left)
    assert ended.exit_code == 130, ended.stderr
    assert ended.result["dropped"] == {}
    assert len(receiver.named("document")) == len(left.documents) == 3
    assert len(receiver.named("chat")) == len(left.attempts)
    assert [span.attributes["error.type"] for span in receiver.named("run ")] == ["signal:SIGINT"]
