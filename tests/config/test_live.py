"""A live file is checked as a whole, by itself and above its config, before anything of it counts."""

import json
from pathlib import Path

import pytest
from tests.config.pipeline_files import HEAD, Load

from agent_pipeline.config.live import LiveSettings, LiveValues, load_live_settings, read_live_values, settings_of
from agent_pipeline.config.pipeline import Overrides, PipelineConfig
from agent_pipeline.errors import ConfigError

ROLES = """\
project: x
env: y
providers: {openai: {env_key: OPENAI_API_KEY}}
roles:
  writer: {provider: openai, model: gpt-5-nano, params: {max_tokens: 100}}
  judge: {provider: openai, model: gpt-5-mini, params: {max_tokens: 100}}
"""
LIMITS = """\
live: live.json
limits:
  documents_in_flight: 20
  requests_in_flight: {start: 8, min: 4, max: 16}
  requests_per_minute: 100
  timeouts: {stage: 300, attempt: 120, read: 60}
"""


@pytest.fixture
def config(load: Load) -> PipelineConfig:
    """A config with some limits of its own."""
    return load(HEAD + LIMITS, roles=ROLES)


def live(config: PipelineConfig, values: object) -> LiveSettings:
    """Write the config's live file, and read it back."""
    assert config.live is not None
    config.live.write_text(values if isinstance(values, str) else json.dumps(values, indent=1), encoding="utf-8")
    return load_live_settings(config.live, config)


def changed(config: PipelineConfig, values: object) -> dict[str, tuple[object, object]]:
    """Return what a live file changes of the config, old and new."""
    return dict(settings_of(config).changes_to(live(config, values)))


def test_a_file_that_is_not_there_changes_nothing(config: PipelineConfig) -> None:
    """It may come later."""
    assert config.live is not None

    assert not config.live.exists()
    assert load_live_settings(config.live, config) == settings_of(config)
    assert read_live_values(config.live)[0] == LiveValues.model_validate({})


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ({}, {}),
        ({"documents_in_flight": 20}, {}),
        ({"documents_in_flight": 3}, {"documents_in_flight": (20, 3)}),
        ({"requests_in_flight": 10}, {"requests_in_flight": ({"min": 4, "max": 16}, {"min": 4, "max": 10})}),
        ({"requests_in_flight": 2}, {"requests_in_flight": ({"min": 4, "max": 16}, {"min": 2, "max": 2})}),
        ({"requests_in_flight": {"min": 5}}, {"requests_in_flight": ({"min": 4, "max": 16}, {"min": 5, "max": 16})}),
        (
            {"requests_in_flight": {"min": 1, "max": 2}},
            {"requests_in_flight": ({"min": 4, "max": 16}, {"min": 1, "max": 2})},
        ),
        ({"requests_per_minute": None}, {"requests_per_minute": (100, None)}),
        ({"tokens_per_minute": 5000}, {"tokens_per_minute": (None, 5000)}),
        ({"attempt_timeout": 90}, {"attempt_timeout": (120, 90)}),
        ({"attempt_timeout": None}, {"attempt_timeout": (120, None)}),
        ({"budget_tokens": 1000, "budget_usd": 0.5}, {"budget_tokens": (None, 1000), "budget_usd": (None, 0.5)}),
        ({"roles": {"judge": {"model": "gpt-5"}}}, {"roles.judge.model": ("gpt-5-mini", "gpt-5")}),
    ],
)
def test_what_is_written_stands_above_the_config(
    config: PipelineConfig, values: dict[str, object], change: dict[str, tuple[object, object]]
) -> None:
    """What is left out is the config's, null lifts a limit, and only what differs is a change."""
    assert changed(config, values) == change


def test_removed_keys_are_the_configs_again(config: PipelineConfig) -> None:
    """So a live file can be emptied without looking anything up."""
    before = live(config, {"documents_in_flight": 3, "roles": {"judge": {"model": "gpt-5"}}})
    after = live(config, {"roles": {}})

    assert before.changes_to(after) == {
        "documents_in_flight": (3, 20),
        "roles.judge.model": ("gpt-5", "gpt-5-mini"),
    }
    assert after == settings_of(config)


def test_the_command_line_is_part_of_the_config(load: Load) -> None:
    """What is left out of the live file is what the run was told."""
    overrides = Overrides(documents_in_flight=7, budget_tokens=9, role_models={"judge": "gpt-5"})
    config = load(HEAD + LIMITS, roles=ROLES, overrides=overrides)

    settings = live(config, {"attempt_timeout": 90})

    assert (settings.documents_in_flight, settings.budget_tokens) == (7, 9)
    assert settings.runtime.roles["judge"].model == "gpt-5"
    assert live(config, {"budget_tokens": 5}).budget.tokens == 5


def test_money_is_counted_in_whole_micro_dollars(config: PipelineConfig) -> None:
    """A tenth of a dollar is one."""
    assert live(config, {"budget_usd": 0.1}).budget.micro_usd == 100_000


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("", 0, "", "empty"),
        ("[]", 1, "", "no mapping"),
        ("{", 1, "", "not valid"),
        ('{"documents_in_flght": 3}', 1, "documents_in_flght", "did you mean 'documents_in_flight'?"),
        ('{\n"documents_in_flight": 0}', 2, "documents_in_flight", "greater than 0"),
        ('{\n"documents_in_flight": "3"}', 2, "documents_in_flight", "whole number"),
        ('{\n"documents_in_flight": true}', 2, "documents_in_flight", "whole number"),
        ('{\n"documents_in_flight": null}', 2, "documents_in_flight", "can't be lifted"),
        ('{\n"requests_in_flight": null}', 2, "requests_in_flight", "can't be lifted"),
        ('{\n"requests_in_flight": 0}', 2, "requests_in_flight", "greater than 0"),
        ('{\n"requests_in_flight": {"start": 1}}', 2, "requests_in_flight.start", "unknown key"),
        ('{\n"requests_in_flight": {"min": 5, "max": 4}}', 2, "requests_in_flight", "min (5) exceeds max (4)"),
        ('{\n"requests_in_flight": {"min": 17}}', 2, "requests_in_flight", "min (17) exceeds max (16)"),
        ('{\n"requests_per_minute": -1}', 2, "requests_per_minute", "greater than 0"),
        ('{\n"tokens_per_minute": 1.5}', 2, "tokens_per_minute", "whole number"),
        ('{\n"attempt_timeout": .nan}', 2, "", "finite"),
        ('{\n"attempt_timeout": 0}', 2, "attempt_timeout", "greater than 0"),
        ('{\n"attempt_timeout": 60}', 2, "attempt_timeout", "the read timeout (60 s) has to be shorter"),
        ('{\n"attempt_timeout": 300}', 2, "attempt_timeout", "the attempt timeout (300 s) has to be shorter"),
        ('{\n"budget_usd": -1}', 2, "budget_usd", "at least"),
        ('{\n"roles": {"wirter": {"model": "m"}}}', 2, "roles.wirter", "did you mean 'writer'?"),
        ('{\n"requests_in_flight": 1.5}', 2, "requests_in_flight", "a whole number or a mapping such as"),
        ('{\n"roles": {"writer": {"modle": "m"}}}', 2, "roles.writer.modle", "did you mean 'model'?"),
        ('{\n"roles": {"writer": {"model": ""}}}', 2, "roles.writer.model", "a name"),
        ('{\n"roles": {"writer": {}}}', 2, "roles.writer.model", "missing"),
        ('{\n"roles": {"writer": {"model": "sk-proj-0123456789abcdefghijklmnopqrstuv"}}}', 2, "", "looks like a key"),
        (
            '{\n"budget_usd": 5, "roles": {"writer": {"model": "nobody-knows"}}}',
            2,
            "roles.writer",
            "a budget in dollars needs a price",
        ),
    ],
)
def test_a_mistake_is_refused_at_its_place(config: PipelineConfig, text: str, line: int, key: str, words: str) -> None:
    """The same words as for a config, with the place in the live file."""
    with pytest.raises(ConfigError) as caught:
        live(config, text)

    error = caught.value
    assert words in error.problem
    assert error.place.startswith(f"{config.live}:{line}:" if line else str(config.live))
    assert not key or error.key == key
    assert "sk-proj" not in str(error)


@pytest.mark.parametrize(
    ("values", "key"),
    [({"budget_tokens": 100}, "budget_tokens"), ({"budget_usd": 1}, "budget_usd")],
)
def test_a_budget_needs_output_caps_as_at_load(load: Load, values: dict[str, object], key: str) -> None:
    """It could not be kept otherwise."""
    config = load(HEAD + LIMITS, roles=ROLES.replace(", params: {max_tokens: 100}", ""))

    with pytest.raises(ConfigError, match="needs an output cap") as caught:
        live(config, values)

    assert caught.value.key == key


def test_a_model_without_a_price_is_refused_under_a_budget_in_dollars(load: Load) -> None:
    """The budget may be the config's."""
    config = load(HEAD + LIMITS + "  budget: {usd: 5}\n", roles=ROLES)

    with pytest.raises(ConfigError, match="none is known for 'nobody-knows'") as caught:
        live(config, {"roles": {"writer": {"model": "nobody-knows"}}})
    assert caught.value.key == "roles.writer"
    assert changed(config, {"budget_usd": None, "roles": {"writer": {"model": "nobody-knows"}}})


def test_a_ladder_that_was_bent_before_is_not_the_live_files_fault(load: Load) -> None:
    """`--timeout` may be shorter than the timeouts inside it."""
    config = load(HEAD + LIMITS, roles=ROLES, overrides=Overrides(run_timeout=10.0))

    assert live(config, {"attempt_timeout": 90}).attempt_timeout == 90
    with pytest.raises(ConfigError, match="shorter than the stage timeout"):
        live(config, {"attempt_timeout": 301})


def test_a_file_that_is_no_file_is_refused(config: PipelineConfig, tmp_path: Path) -> None:
    """As for a config."""
    with pytest.raises(ConfigError, match="not a regular file"):
        load_live_settings(tmp_path, config)
