"""Pipeline files: defaults, paths, stages, and refusals with their places."""

from pathlib import Path

import pytest
from tests.config.pipeline_files import HEAD, ROLES, Load, limits, refusal

from agent_pipeline.config.limits import TimeoutsConfig
from agent_pipeline.config.pipeline import (
    BudgetConfig,
    LimitsConfig,
    RequestsInFlightConfig,
    RetryConfig,
    StageConfig,
)


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
    assert load(HEAD + "live: ../live.json").live == config.path.parent.parent.resolve() / "live.json"


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
        (limits("requests_in_flight: -1"), 8, "limits.requests_in_flight", "greater than 0"),
        (limits("requests_in_flight: 1.5"), 8, "limits.requests_in_flight", "a whole number or a mapping such as"),
        (limits("requests_in_flight: null"), 8, "limits.requests_in_flight", "a whole number or a mapping such as"),
        (limits("requests_in_flight: true"), 8, "limits.requests_in_flight", "a whole number or a mapping such as"),
        (limits("requests_in_flight: {start: 5, max: 4}"), 8, "limits.requests_in_flight", "start (5) exceeds max (4)"),
        (limits("requests_in_flight: {start: 2, min: 3}"), 8, "limits.requests_in_flight", "min (3) exceeds start (2)"),
        (limits("requests_in_flight: {min: 5, max: 4}"), 8, "limits.requests_in_flight", "min (5) exceeds max (4)"),
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
        (HEAD + 'live: ""', 7, "live", "a path"),
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
    load: Load, tmp_path: Path, *, text: str, line: int, key: str, words: str
) -> None:
    """The message has to lead to the line, and to the word that was meant."""
    error = refusal(load, text)

    assert error.place.startswith(f"{tmp_path / 'configs' / 'pipeline.yaml'}:{line}:")
    assert error.key == key
    assert words in error.problem


@pytest.mark.parametrize("number", [0, -3])
def test_a_plain_number_that_is_wrong_is_one_mistake(load: Load, number: int) -> None:
    """It stands for several keys; to be told of a second mistake would send people looking for it."""
    assert refusal(load, limits(f"requests_in_flight: {number}")).problem == "the value should be greater than 0"


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


@pytest.mark.parametrize("where", ["pipeline", "roles"])
def test_a_key_in_a_comment_is_refused(load: Load, where: str) -> None:
    """Each run keeps a copy of both files, comments included."""
    key = "sk-proj-4fGh8Jk2LmN9pQrS1tUv"
    comment = f"# OPENAI_API_KEY={key}\n"
    texts = {"pipeline": HEAD, "roles": ROLES}
    texts[where] += comment

    error = refusal(load, texts["pipeline"], roles=texts["roles"])

    assert key not in str(error)
    assert "keeps a copy" in str(error)
    assert error.place.endswith(f":{texts[where].count(chr(10))}")


def test_a_provider_without_an_address_is_refused_at_its_place(load: Load, tmp_path: Path) -> None:
    """Found at the first request, it would fail every document; only OpenAI's address is known."""
    roles = ROLES.replace("openai", "vllm")

    error = refusal(load, HEAD, roles=roles)

    assert error.key == "providers.vllm"
    assert error.place.startswith(f"{tmp_path / 'configs' / 'roles.yaml'}:3:")
    assert "set base_url" in error.problem
