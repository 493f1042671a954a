"""Pipeline files: defaults, refusals with their places, overrides, budgets."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipeline.config.limits import LADDER, TimeoutsConfig
from agent_pipeline.config.pipeline import (
    BudgetConfig,
    LimitsConfig,
    Overrides,
    PipelineConfig,
    RequestsInFlightConfig,
    RetryConfig,
    StageConfig,
    load_pipeline_config,
)
from agent_pipeline.errors import ConfigError

ROLES = """\
project: x
env: y
providers: {openai: {env_key: OPENAI_API_KEY}}
roles:
  capped:
    provider: openai
    model: gpt-5-nano
    params: {max_tokens: 100}
"""
HEAD = """\
name: demo
roles: roles.yaml
source: {path: in.json}
artifacts: ../out
logs: logs
stages: [route]
"""
Load = Callable[..., PipelineConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write both files into a folder of their own and load the pipeline."""
    folder = tmp_path / "configs"
    folder.mkdir()

    def load_texts(text: str, *, roles: str = ROLES, overrides: Overrides | None = None) -> PipelineConfig:
        (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
        (folder / "roles.yaml").write_text(roles, encoding="utf-8")
        return load_pipeline_config(folder / "pipeline.yaml", overrides)

    return load_texts


def refusal(load: Load, text: str, *, roles: str = ROLES, overrides: Overrides | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(text, roles=roles, overrides=overrides)
    return caught.value


def limits(text: str) -> str:
    """A pipeline whose line 8 is this entry of `limits`."""
    return f"{HEAD}limits:\n  {text}\n"


def test_the_defaults_are_those_of_the_contract(load: Load) -> None:
    """Users rely on the figures."""
    config = load(HEAD)

    assert config.limits == LimitsConfig(
        documents_in_flight=100,
        requests_in_flight=RequestsInFlightConfig(start=20, min=1, max=200),
        requests_per_minute=None,
        tokens_per_minute=None,
        timeouts=TimeoutsConfig(run=None, document=600, stage=300, attempt=120, read=60, connect=5),
        retry=RetryConfig(max_attempts=5, initial_delay=0.5, max_delay=60),
        budget=BudgetConfig(tokens=None, usd=None),
    )
    assert config.live is None


def test_paths_are_relative_to_the_file_that_names_them(load: Load, tmp_path: Path) -> None:
    """Not to where the command was started."""
    config = load(HEAD)

    assert config.artifacts == tmp_path.resolve() / "out"
    assert config.logs == tmp_path.resolve() / "configs" / "logs"
    assert config.source.path == tmp_path.resolve() / "configs" / "in.json"
    assert (config.source.glob, config.source.stdin) == (None, False)


def test_both_texts_are_kept_exactly(load: Load) -> None:
    """The run copies them into its folder; comments and line ends belong to them."""
    text = HEAD + "# end\n\n"

    config = load(text)

    assert (config.text, config.roles_text) == (text, ROLES)


def test_the_other_two_sources(load: Load, tmp_path: Path) -> None:
    """A pattern stays a pattern, `-` is standard input and no file of that name."""
    glob = load(HEAD.replace("{path: in.json}", '{glob: "docs/**/*.md"}')).source
    stdin = load(HEAD.replace("in.json", '"-"')).source

    assert (glob.path, glob.glob, glob.directory) == (None, "docs/**/*.md", tmp_path.resolve() / "configs")
    assert (stdin.path, stdin.stdin) == (None, True)


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        (HEAD + "limit: {}", 7, "limit", "did you mean 'limits'?"),
        (limits("retry: {max_attemps: 3}"), 8, "limits.retry.max_attemps", "did you mean 'max_attempts'?"),
        (limits("timeouts: {atempt: 3}"), 8, "limits.timeouts.atempt", "did you mean 'attempt'?"),
        (limits("documents_in_flight: 0"), 8, "limits.documents_in_flight", "greater than 0"),
        (limits("documents_in_flight: 1.5"), 8, "limits.documents_in_flight", "whole number"),
        (limits("documents_in_flight: ten"), 8, "limits.documents_in_flight", "whole number"),
        (limits("documents_in_flight: true"), 8, "limits.documents_in_flight", "whole number"),
        (limits("requests_in_flight: 0"), 8, "limits.requests_in_flight", "greater than 0"),
        (limits("requests_in_flight: {start: 5, max: 4}"), 8, "limits.requests_in_flight", "min <= start <= max"),
        (limits("requests_in_flight: {min: 5, max: 4}"), 8, "limits.requests_in_flight", "min <= start <= max"),
        (limits("requests_in_flight: {strat: 5}"), 8, "limits.requests_in_flight.strat", "did you mean 'start'?"),
        (limits("requests_per_minute: -1"), 8, "limits.requests_per_minute", "greater than 0"),
        (limits("tokens_per_minute: 0"), 8, "limits.tokens_per_minute", "greater than 0"),
        (limits("timeouts: {read: 0}"), 8, "limits.timeouts.read", "greater than 0"),
        (limits("timeouts: {read: .inf}"), 8, "limits.timeouts.read", "finite"),
        (limits("timeouts: {read: 1m}"), 8, "limits.timeouts.read", "a number"),
        (limits("retry: {max_attempts: 0}"), 8, "limits.retry.max_attempts", "greater than 0"),
        (limits("retry: {initial_delay: 5, max_delay: 4}"), 8, "limits.retry", "exceeds max_delay"),
        (limits("budget: {tokens: 0}"), 8, "limits.budget.tokens", "greater than 0"),
        (limits("budget: {usd: 0}"), 8, "limits.budget.usd", "at least 0.000001"),
        (limits("budget: {usd: '5'}"), 8, "limits.budget.usd", "an amount in dollars"),
        (limits("budget: {usd: true}"), 8, "limits.budget.usd", "an amount in dollars"),
        (HEAD + "live: live.json", 7, "live", "not available yet"),
        (HEAD.replace("demo", "a/b"), 1, "name", "letters, digits"),
        (HEAD.replace("demo", ".."), 1, "name", "letters, digits"),
        (HEAD.replace("demo", "no way"), 1, "name", "letters, digits"),
        (HEAD.replace("roles.yaml", "rolls.yaml"), 2, "roles", "no such file"),
        (HEAD.replace("roles.yaml", "x" * 5000), 2, "roles", "no such file"),
        (HEAD.replace("{path: in.json}", "{}"), 3, "source", "exactly one"),
        (HEAD.replace("{path: in.json}", "{path: a, glob: b}"), 3, "source", "exactly one"),
        (HEAD.replace("../out", '"a\\0b"'), 4, "artifacts", "a path"),
        (HEAD.replace("logs: logs\n", ""), 1, "logs", "missing"),
        (HEAD.replace("[route]", "[]"), 6, "stages", "at least one"),
        (HEAD.replace("[route]", "route"), 6, "stages", "list"),
        (HEAD.replace("[route]", "[rout]"), 6, "stages.0", "did you mean 'route'?"),
        (HEAD.replace("[route]", "[my.module]"), 6, "stages.0", "package.module:attribute"),
        (HEAD.replace("[route]", "[route, route]"), 6, "stages.1", "twice"),
        (HEAD.replace("[route]", "[5]"), 6, "stages.0", "a stage's name"),
        (HEAD.replace("[route]", "[{a:b: {}, c:d: {}}]"), 6, "stages.0", "a stage's name"),
        (HEAD.replace("[route]", "[route: 5]"), 6, "stages.0.route", "mapping"),
        (HEAD.replace("[route]", "[route, review: {rework_too: route}]"), 6, "stages.1.review.rework_too", "rework_to"),
        (HEAD.replace("[route]", "[route, review: {rework_to: rout}]"), 6, "stages.1.review.rework_to", "'route'?"),
        (HEAD.replace("[route]", "[review: {rework_to: name}, name]"), 6, "stages.0.review.rework_to", "earlier"),
        (HEAD.replace("[route]", "[review: {rework_to: review}]"), 6, "stages.0.review.rework_to", "earlier"),
        (
            HEAD.replace("[route]", "[route, review: {rework_to: route, max_reworks: -1}]"),
            6, "stages.1.review.max_reworks", "0 or more",
        ),
        (HEAD.replace("[route]", "[route, review: {max_reworks: 1}]"), 6, "stages.1.review.max_reworks", "rework_to"),
        (HEAD + "stages: [name]", 7, "stages", "twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_at_its_place(
    load: Load, tmp_path: Path, text: str, line: int, key: str, words: str
) -> None:
    """The message has to lead to the line, and to the word that was meant."""
    error = refusal(load, text)

    assert error.place.startswith(f"{tmp_path / 'configs' / 'pipeline.yaml'}:{line}:")
    assert error.key == key
    assert words in error.problem


def test_stages_with_and_without_options(load: Load) -> None:
    """A stage of one's own takes any option, and rework as the built-in review does."""
    text = HEAD.replace("[route]", "[route, {my.stages:polish: {tone: dry, rework_to: route}}, review: , name]")

    stages = load(text).stages

    assert stages == (
        StageConfig(name="route"),
        StageConfig(name="my.stages:polish", options={"tone": "dry", "rework_to": "route"}),
        StageConfig(name="review"),
        StageConfig(name="name"),
    )
    assert [(stage.rework_to, stage.max_reworks) for stage in stages] == [
        (None, 0), ("route", 2), (None, 0), (None, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("times", [0, 3])
def test_the_number_of_reworks_is_what_is_written(load: Load, times: int) -> None:
    """Zero is a number too: refused once is refused."""
    text = HEAD.replace("[route]", f"[route, review: {{rework_to: route, max_reworks: {times}}}]")

    assert load(text).stages[1].max_reworks == times


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("7", (7, 1, 7)),
        ("{max: 5}", (5, 1, 5)),
        ("{min: 30}", (30, 30, 200)),
        ("{start: 3}", (3, 1, 200)),
        ("{}", (20, 1, 200)),
    ],
)
def test_requests_in_flight_are_filled_up(load: Load, written: str, expected: tuple[int, int, int]) -> None:
    """A plain number is the most there ever are; only the default start gives way to the bounds."""
    found = load(limits(f"requests_in_flight: {written}")).limits.requests_in_flight

    assert (found.start, found.min, found.max) == expected


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("document", "run"), ("stage", "document"), ("attempt", "stage"), ("read", "attempt"), ("connect", "attempt"),
        ("attempt", "run"), ("connect", "document"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("length", ["10", "10.5"])
def test_an_inner_timeout_has_to_be_shorter_and_both_lines_are_named(
    load: Load, inner: str, outer: str, length: str
) -> None:
    """Equal is not shorter: which of the two ends it would be chance."""
    unset = [name for name in (*LADDER, "connect") if name not in {inner, outer}]
    lines = [f"    {name}: null" for name in unset] + [f"    {inner}: {length}", f"    {outer}: 10"]

    error = refusal(load, limits("timeouts:\n" + "\n".join(lines)))

    assert error.key == f"limits.timeouts.{inner}"
    assert ":13:5" in error.place
    assert f"the {inner} timeout ({length} s, line 13)" in error.problem
    assert f"the {outer} timeout (10 s, line 14)" in error.problem


def test_read_and_connect_are_not_compared(load: Load) -> None:
    """They follow one another, neither is inside the other."""
    assert load(limits("timeouts: {read: 5, connect: 6}")).limits.timeouts.connect == 6


def test_a_default_that_no_longer_fits_is_called_a_default(load: Load) -> None:
    """The user wrote one number only; the message leads there and names the other."""
    error = refusal(load, limits("timeouts: {document: 200}"))

    assert error.key == "limits.timeouts.document"
    assert "the stage timeout (300 s, the default)" in error.problem


class Rungs(TypedDict, total=False):
    run: float | None
    document: float | None
    stage: float | None
    attempt: float | None
    read: float | None
    connect: float | None


rung = st.none() | st.integers(1, 6).map(float)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rungs=st.fixed_dictionaries(dict.fromkeys((*LADDER, "connect"), rung)))
def test_the_ladder_is_sound_when_every_pair_is(rungs: Rungs) -> None:
    """The oracle compares all pairs; the code only neighbours among those that are set."""
    timeouts = TimeoutsConfig(**rungs)
    lengths: dict[str, float | None] = timeouts.model_dump()
    pairs = [(outer, inner) for at, outer in enumerate(LADDER) for inner in LADDER[at + 1 :]]
    pairs += [(outer, "connect") for outer in LADDER[:-1]]
    set_pairs = [(lengths[outer], lengths[inner]) for outer, inner in pairs]
    sound = all(outer is None or inner is None or inner < outer for outer, inner in set_pairs)

    assert all(inner < outer for _, inner, _, outer in timeouts.steps()) == sound


UNCAPPED = ROLES + "  free: {provider: openai, model: gpt-5-nano}\n"
UNPRICED = ROLES + "  new: {provider: openai, model: never-heard-of, params: {max_tokens: 5}}\n"


@pytest.mark.parametrize("budget", ["tokens: 5", "usd: 0.5"])
def test_any_budget_needs_a_cap_for_every_chat_role(load: Load, tmp_path: Path, budget: str) -> None:
    """Without a cap the worst case of a request is unknown, and nothing could be reserved for it."""
    error = refusal(load, limits(f"budget: {{{budget}}}"), roles=UNCAPPED)

    assert error.place == f"{tmp_path / 'configs' / 'roles.yaml'}:9:3"
    assert (error.key, "params.max_tokens" in error.problem) == ("roles.free", True)
    assert load(HEAD, roles=UNCAPPED).limits.budget.tokens is None


def test_defaults_need_a_cap_too(load: Load) -> None:
    """Any role may run on them."""
    error = refusal(load, limits("budget: {tokens: 5}"), roles=ROLES + "defaults: {provider: openai, model: m}\n")

    assert error.key == "defaults"


def test_an_embedding_role_needs_no_cap(load: Load) -> None:
    """It has no output."""
    roles = ROLES + "  embed: {provider: openai, model: text-embedding-3-small, mode: embedding}\n"

    assert load(limits("budget: {tokens: 5, usd: 1}"), roles=roles).limits.budget.tokens == 5


def test_a_money_budget_needs_a_price_for_every_model(load: Load, tmp_path: Path) -> None:
    """An unknown price is not nothing."""
    error = refusal(load, limits("budget: {usd: 0.5}"), roles=UNPRICED)

    assert error.place == f"{tmp_path / 'configs' / 'roles.yaml'}:9:3"
    assert "'never-heard-of'" in error.problem
    assert load(limits("budget: {tokens: 5}"), roles=UNPRICED).limits.budget.tokens == 5


def test_money_is_exact(load: Load) -> None:
    """0.1 dollars are 100,000 micro-dollars, not one less."""
    budget = load(limits("budget: {usd: 0.1}")).limits.budget

    assert (budget.usd, budget.micro_usd) == (Decimal("0.1"), 100_000)
    assert BudgetConfig(usd=Decimal("0.0000019")).micro_usd == 1


def test_overrides_take_the_place_of_what_is_written(load: Load) -> None:
    """Each flag changes its one value and nothing else; the texts stay those of the files."""
    plain = load(limits("budget: {tokens: 5}"))
    overrides = Overrides(
        budget_tokens=7,
        budget_usd=Decimal("1.5"),
        documents_in_flight=3,
        run_timeout=2.0,
        role_models={"capped": "gpt-5-mini"},
        base_urls={"openai": "http://127.0.0.1:8080/v1"},
    )

    config = load(limits("budget: {tokens: 5}"), overrides=overrides)

    assert config.limits.budget == BudgetConfig(tokens=7, usd=Decimal("1.5"))
    assert config.limits.documents_in_flight == 3
    assert config.limits.timeouts == plain.limits.timeouts.model_copy(update={"run": 2.0})
    assert config.runtime.roles["capped"] == plain.runtime.roles["capped"].model_copy(update={"model": "gpt-5-mini"})
    assert config.runtime.providers["openai"].base_url == "http://127.0.0.1:8080/v1"
    assert (config.text, config.roles_text) == (plain.text, plain.roles_text)


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (Overrides(budget_tokens=0), "--budget-tokens", "greater than 0"),
        (Overrides(budget_usd=Decimal("NaN")), "--budget-usd", "at least"),
        (Overrides(budget_usd=Decimal(0)), "--budget-usd", "at least"),
        (Overrides(documents_in_flight=-1), "--documents-in-flight", "greater than 0"),
        (Overrides(run_timeout=0), "--timeout", "greater than 0"),
        (Overrides(run_timeout=float("inf")), "--timeout", "finite"),
        (Overrides(role_models={"caped": "m"}), "--role caped", "did you mean 'capped'?"),
        (Overrides(role_models={"capped": " "}), "--role capped", "name of a model"),
        (Overrides(base_urls={"opneai": "https://h"}), "--base-url opneai", "did you mean 'openai'?"),
        (Overrides(base_urls={"openai": "http://example.com"}), "--base-url openai", "this machine only"),
    ],
)
def test_overrides_pass_the_same_checks(load: Load, overrides: Overrides, key: str, words: str) -> None:
    """A flag is no way around a check; the error names the flag."""
    error = refusal(load, HEAD, overrides=overrides)

    assert (error.place, error.key) == ("command line", key)
    assert words in error.problem


def test_overrides_are_part_of_the_cross_checks(load: Load) -> None:
    """A budget from the command line needs caps and prices, also of a model from the command line."""
    assert refusal(load, HEAD, roles=UNCAPPED, overrides=Overrides(budget_tokens=5)).key == "roles.free"
    strange = Overrides(budget_usd=Decimal(1), role_models={"capped": "never-heard-of"})
    assert "'never-heard-of'" in refusal(load, HEAD, overrides=strange).problem


def test_a_key_in_the_pipeline_file_is_refused(load: Load) -> None:
    """Its text is copied into every run directory."""
    key = "sk-proj-4fGh8Jk2LmN9pQrS1tUv"

    error = refusal(load, HEAD.replace("[route]", f"[{{a:b: {{header: {key}}}}}]"))

    assert key not in str(error)
    assert error.key == "stages.0.a:b.header"


def test_paths_may_look_random(load: Load) -> None:
    """A file named by its hash is no key."""
    text = HEAD.replace("in.json", "9f86d081884c7d659a2feaa0c55ad015/a.json")

    assert load(text).source.path is not None


def test_a_mistake_in_the_roles_file_names_the_roles_file(load: Load, tmp_path: Path) -> None:
    """Two files are read; the message has to say which."""
    error = refusal(load, HEAD, roles=ROLES.replace("model:", "modle:"))

    assert error.place.startswith(f"{tmp_path / 'configs' / 'roles.yaml'}:7:")
