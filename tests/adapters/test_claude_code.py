"""The `claude` command as a real process: what it prints is counted, what it starts is ended, whatever it does."""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from tests.adapters.flavours import FLAVOURS, Flavour, ask, ask_all

from agent_pipeline.adapters import (
    BudgetTracker,
    ClaudeCodeAdapter,
    LLMAnswer,
    LLMBudgetExceededError,
    LLMConfigError,
    LLMError,
    LLMTimeoutError,
    RunConfig,
)
from agent_pipeline.domain.usage import Usage
from agent_pipeline.errors import (
    AnswerTooLargeError,
    AttemptTimeoutError,
    CommandFailedError,
    CommandNotFoundError,
    CredentialsRejectedError,
    IncompleteAnswerError,
    LocalResourceError,
    ModelProtocolError,
    QuotaExhaustedError,
    RequestRejectedError,
    ServerError,
)

FAKE = (sys.executable, str(Path(__file__).with_name("fake_claude.py")))
QUICK: Mapping[str, object] = {"retry": {"max_attempts": 3, "initial_delay": 0.001, "max_delay": 0.01}}
USED = Usage(17, 5, 10)


def adapter(
    orders: Mapping[str, object] | None = None,
    *,
    limits: Mapping[str, object] = QUICK,
    tokens_per_call: int | None = None,
    max_tokens: int | None = None,
    environment: Mapping[str, str] | None = None,
    grace: float = 0.1,
) -> ClaudeCodeAdapter:
    """Return an adapter whose command does as ordered."""
    return ClaudeCodeAdapter(
        command=FAKE,
        environment={"FAKE_CLAUDE": json.dumps(orders or {}), **(environment or {})},
        limits=limits,
        tokens_per_call=tokens_per_call,
        max_tokens=max_tokens,
        grace=grace,
    )


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def highest_descriptor() -> int:
    """Return the highest number of an open file."""
    return max(int(one.name) for one in Path("/proc/self/fd").iterdir())


def assert_gone(pids: Path) -> None:
    """The command is reaped; its child, which is not ours to reap, runs no more."""
    own, child = map(int, pids.read_text(encoding="utf-8").split())
    assert not Path(f"/proc/{own}").exists()
    wait_until(lambda: not is_running(child))


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again; the test fails where it never holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_call_returns_text_usage_cost_and_model(flavour: Flavour) -> None:
    with adapter() as claude:
        answer = ask(flavour, claude, "hello")

        assert answer == LLMAnswer("done", USED, "fake-model", 1234)
        assert claude.statistics().usage == USED
        assert claude.statistics().attempts == 1
        assert claude.statistics().cost_micro_usd == 1234


def test_the_prompt_goes_by_standard_input_and_the_rest_by_flags(tmp_path: Path) -> None:
    """A prompt may begin with a dash or be longer than a command line."""
    log = tmp_path / "log"
    prompt = "--version\n" + "ä" * 300_000
    with adapter({"log": str(log)}, max_tokens=99) as claude:
        ask("sync", claude, prompt, RunConfig(model="m", system="be brief"))

    seen = json.loads(log.read_text(encoding="utf-8"))
    assert seen["prompt"] == prompt
    assert seen["argv"] == [
        *("-p", "--output-format", "json", "--max-turns", "1", "--model", "m", "--append-system-prompt", "be brief")
    ]
    assert seen["environment"]["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "99"


def test_no_other_variable_of_this_process_reaches_the_command(tmp_path: Path) -> None:
    """Keys of other providers are none of its business."""
    log = tmp_path / "log"
    os.environ["SOME_OTHER_API_KEY"] = "sk-other"
    try:
        with adapter({"log": str(log)}, environment={"MINE": "1"}) as claude:
            ask("sync", claude, "hello")
    finally:
        del os.environ["SOME_OTHER_API_KEY"]

    names = json.loads(log.read_text(encoding="utf-8"))["environment"]
    assert "SOME_OTHER_API_KEY" not in names
    assert names["MINE"] == "1"
    assert names["PATH"] == os.environ["PATH"]


ENDS: dict[str, tuple[Mapping[str, object], type[LLMError], str, int]] = {
    "a flag it does not know": (
        {"raw": "", "exit": 2, "stderr": "unknown option"},
        CommandFailedError,
        "exit code 2: unknown option",
        1,
    ),
    "garbage": ({"raw": "Welcome!"}, ModelProtocolError, "no result object: the whole: Invalid JSON", 2),
    "nothing": ({"raw": ""}, ModelProtocolError, "no result object", 2),
    "another object": ({"raw": '{"type": "system"}'}, ModelProtocolError, "no result object: type", 2),
    "a cost that is no number": ({"prints": {"total_cost_usd": "much"}}, ModelProtocolError, "total_cost_usd", 2),
    "tokens below nothing": (
        {"prints": {"usage": {"input_tokens": -1, "output_tokens": 0}}},
        ModelProtocolError,
        "usage.input_tokens",
        2,
    ),
    "success without a result": ({"prints": {"result": None}}, ModelProtocolError, "no result", 2),
    "success and a failing exit": ({"exit": 3}, CommandFailedError, "exit code 3", 1),
    "too many turns": (
        {"prints": {"subtype": "error_max_turns", "result": None}},
        IncompleteAnswerError,
        "max_turns",
        1,
    ),
    "an error of its own": ({"prints": {"is_error": True, "result": "boom"}, "exit": 1}, CommandFailedError, "boom", 1),
    "no login": (
        {"prints": {"is_error": True, "result": "Invalid API key · Please run /login"}},
        CredentialsRejectedError,
        "login",
        1,
    ),
    "no credit": (
        {"prints": {"is_error": True, "result": "Credit balance is too low"}},
        QuotaExhaustedError,
        "Credit",
        1,
    ),
    "a prompt too long": (
        {"prints": {"is_error": True, "result": "API Error: 400 prompt is too long"}},
        RequestRejectedError,
        "400",
        1,
    ),
    "an overloaded provider": (
        {"prints": {"is_error": True, "result": "API Error: 529 overloaded"}},
        ServerError,
        "529",
        3,
    ),
}


@pytest.mark.parametrize(("orders", "error", "words", "attempts"), ENDS.values(), ids=ENDS)
def test_each_bad_end_is_an_error_of_ours(
    orders: Mapping[str, object], error: type[LLMError], words: str, attempts: int
) -> None:
    """What may pass is tried again, by the gate; what can't is not."""
    with adapter(orders) as claude:
        with pytest.raises(error, match=words) as caught:
            ask("trio", claude, "hello")

        assert isinstance(caught.value, LLMError)
        assert claude.statistics().attempts == attempts


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_rate_limit_and_a_server_error_pass(flavour: Flavour, tmp_path: Path) -> None:
    failing = {"is_error": True, "result": "API Error: 429 rate_limit_error", "usage": None, "total_cost_usd": 0.0005}
    orders = {"fails": 2, "count": str(tmp_path / "count"), "failing": failing}
    tracker = BudgetTracker(total=1000)
    with adapter(orders, tokens_per_call=600) as claude:
        answer = ask(flavour, claude, "hello", RunConfig(budget_tracker=tracker))

        assert answer.text == "done"
        assert claude.statistics().attempts == 3
        assert claude.statistics().cost_micro_usd == 1234 + 2 * 500
    assert tracker.statistics().spent == 22  # a refused request is not worked on
    assert answer.charged_to == (tracker,)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_command_that_is_not_installed_is_named(flavour: Flavour) -> None:
    tracker = BudgetTracker(total=1000)
    with ClaudeCodeAdapter(command="no-such-claude", tokens_per_call=10) as claude:
        for _ in range(2):
            with pytest.raises(CommandNotFoundError, match=r"no-such-claude .*install Claude Code"):
                ask(flavour, claude, "hello", RunConfig(budget_tracker=tracker))

        assert claude.statistics().attempts == 0
    assert tracker.statistics().spent == 0


def test_a_directory_that_is_not_there_is_named() -> None:
    claude = ClaudeCodeAdapter(command=FAKE, directory="no-such-directory")

    with claude, pytest.raises(LLMConfigError, match="no-such-directory can't be entered"):
        ask("sync", claude, "hello")


def test_a_result_may_leave_out_its_cost_and_its_tokens() -> None:
    """Then nobody knows: a tracker is charged in full."""
    tracker = BudgetTracker(total=1000)
    with adapter({"prints": {"total_cost_usd": None, "usage": None, "modelUsage": None}}, tokens_per_call=40) as claude:
        answer = ask("sync", claude, "hello", RunConfig(budget_tracker=tracker))

    assert answer == LLMAnswer("done")
    assert tracker.statistics().unknown == 40


@pytest.mark.parametrize("settings", [{"max_turns": 0}, {"grace": -1.0}, {"tokens_per_call": 0}])
def test_a_setting_that_can_not_be_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(LLMConfigError, match="positive numbers"):
        ClaudeCodeAdapter(**settings)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


def test_a_system_prompt_too_long_for_a_command_line_is_named() -> None:
    with adapter() as claude, pytest.raises(LLMConfigError, match="too long for a command"):
        ask("sync", claude, "hello", RunConfig(system="x" * 5_000_000))


async def test_a_machine_out_of_descriptors_is_not_the_commands_fault() -> None:
    async with adapter() as claude:
        await claude.async_execute_prompt("hello")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest_descriptor(), hard))
        taken: list[int] = []
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            with pytest.raises(LocalResourceError, match="no room for one more process"):
                await claude.async_execute_prompt("hello")
        finally:
            for one in taken:
                os.close(one)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_the_command_has_no_flag_for_is_refused() -> None:
    """Dropped silently, it would seem to work."""
    with adapter() as claude, pytest.raises(LLMConfigError, match="temperature"):
        ask("sync", claude, "hello", RunConfig(temperature=0.5))


def test_a_tracker_without_a_bound_is_refused() -> None:
    with adapter(max_tokens=10) as claude, pytest.raises(LLMConfigError, match="tokens_per_call"):
        ask("sync", claude, "hello", RunConfig(budget_tracker=BudgetTracker(100)))


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("rung", ["call", "attempt"])
def test_a_command_that_hangs_is_ended_with_its_children(flavour: Flavour, rung: str, tmp_path: Path) -> None:
    """Both ignore SIGTERM; both are gone, no zombie is left, and what may be billed is charged."""
    pids = tmp_path / "pids"
    tracker = BudgetTracker(total=1000)
    limits = {"retry": {"max_attempts": 1}, "timeouts": {"attempt": 1.0 if rung == "attempt" else 30.0}}
    orders = {"hang": True, "ignore_sigterm": True, "child": str(pids)}
    with adapter(orders, limits=limits, tokens_per_call=600) as claude:
        config = RunConfig(budget_tracker=tracker, timeout=1.0 if rung == "call" else None)
        with pytest.raises(LLMTimeoutError if rung == "call" else AttemptTimeoutError):
            ask(flavour, claude, "hello", config)

    assert_gone(pids)
    assert tracker.statistics().spent == tracker.statistics().unknown == 600


async def test_cancelling_ends_the_command_and_its_children_before_the_caller_goes_on(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with adapter({"hang": True, "child": str(pids)}) as claude:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claude.async_execute_prompt, "hello")
            await trio.to_thread.run_sync(wait_until, pids.exists)
            nursery.cancel_scope.cancel()

        assert_gone(pids)


def test_cancelling_from_asyncio_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    async def main() -> None:
        async with adapter({"hang": True, "child": str(pids)}) as claude:
            task = asyncio.create_task(claude.async_execute_prompt("hello"))
            await asyncio.to_thread(wait_until, pids.exists)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert_gone(pids)

    asyncio.run(main())


def test_a_child_that_is_left_behind_holds_nobody_up(tmp_path: Path) -> None:
    """It has inherited the pipes, so that nobody would see their end."""
    pids = tmp_path / "pids"
    begun = time.monotonic()
    with adapter({"child": str(pids)}) as claude:
        assert ask("sync", claude, "hello").text == "done"

    assert time.monotonic() - begun < 20
    assert_gone(pids)


def test_a_flood_is_cut_off() -> None:
    claude = adapter({"flood": 64 * 1024 * 1024, "ignore_sigterm": True})

    with claude, pytest.raises(AnswerTooLargeError, match="16777216 bytes"):
        ask("sync", claude, "hello")


def test_a_command_that_reads_no_input_may_answer_all_the_same() -> None:
    with adapter({"unread": True}) as claude:
        assert ask("trio", claude, "x" * 1_000_000).text == "done"


def test_secrets_the_command_repeats_are_not_shown() -> None:
    key = "sk-ant-0123456789abcdef"
    orders = {"raw": "", "exit": 1, "stderr": f"bad key {key}"}
    claude = adapter(orders, environment={"ANTHROPIC_API_KEY": key})

    with claude, pytest.raises(CommandFailedError) as caught:
        ask("sync", claude, "hello")

    assert "bad key" in str(caught.value)
    assert key not in str(caught.value)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_cap_holds_over_concurrent_commands(flavour: Flavour) -> None:
    """Each holds 40 and uses 22, so that of 100 three fit; the fourth finds too little."""
    tracker = BudgetTracker(total=100)
    with adapter({}, tokens_per_call=40) as claude:
        config = RunConfig(budget_tracker=tracker)
        outcomes = ask_all(flavour, [(claude, f"prompt {number}", config) for number in range(6)])

    assert sum(isinstance(one, LLMAnswer) for one in outcomes) == 3
    assert sum(isinstance(one, LLMBudgetExceededError) for one in outcomes) == 3
    assert tracker.statistics().spent == 66
    assert tracker.statistics().reserved == 0
