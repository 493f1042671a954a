"""Roles files: what is valid, what is refused and where, and how a role is resolved."""

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipeline import llmhub
from agent_pipeline.config.role_models import MAX_NAME
from agent_pipeline.config.roles import (
    LLMMode,
    ProviderConfig,
    RoleConfig,
    RoleDefaultsConfig,
    RuntimeConfig,
    load_runtime_config,
    parse_runtime_config,
    resolve_role,
)
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import ConfigError, UnknownProviderError, UnknownRoleError

ORIGINAL = """\
project: demo
env: dev
providers:
  openai: {env_key: OPENAI_API_KEY}
  ollama: {}
roles:
  llm.inference:
    provider: openai
    model: gpt-5-mini
    mode: chat
    params: {temperature: 0.2, max_tokens: 512, seed: 7, metadata: {a: [1]}}
  llm.embedding:
    provider: ollama
    model: nomic
    mode: embedding
    params: {embedding_dim: 768}
defaults:
  provider: ollama
  model: llama
  mode: chat
  params: {temperature: 0}
"""
KEY = "sk-proj-4fGh8Jk2LmN9pQrS1tUv"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "roles.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def roles_text(role: str = "provider: p, model: m", *, provider: str = "", more: str = "") -> str:
    """One provider on line 4, one role on line 6, anything else from line 7."""
    return f"project: x\nenv: y\nproviders:\n  p: {{{provider}}}\nroles:\n  one: {{{role}}}\n{more}"


def refusal(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_runtime_config(path)
    return caught.value


def test_a_file_of_the_original_schema_is_valid(write: Write) -> None:
    """Files that exist must go on working as they are."""
    config = load_runtime_config(write(ORIGINAL))

    assert config.roles["llm.embedding"].mode is LLMMode.embedding
    assert config.roles["llm.inference"].params["metadata"] == {"a": [1]}
    assert config == parse_runtime_config(
        {
            "project": "demo",
            "env": "dev",
            "providers": {"openai": {"env_key": "OPENAI_API_KEY"}, "ollama": {}},
            "roles": {
                "llm.inference": {
                    "provider": "openai",
                    "model": "gpt-5-mini",
                    "mode": "chat",
                    "params": {"temperature": 0.2, "max_tokens": 512, "seed": 7, "metadata": {"a": [1]}},
                },
                "llm.embedding": {
                    "provider": "ollama",
                    "model": "nomic",
                    "mode": "embedding",
                    "params": {"embedding_dim": 768},
                },
            },
            "defaults": {"provider": "ollama", "model": "llama", "mode": "chat", "params": {"temperature": 0}},
        }
    )


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("providers: {}\nroles: {}\nenv: e\n", 1, "project", "missing"),
        (roles_text("provider: p, modle: m"), 6, "roles.one.modle", "did you mean 'model'?"),
        (roles_text(provider="env_kye: X"), 4, "providers.p.env_kye", "did you mean 'env_key'?"),
        (roles_text(more="rolse: {}"), 7, "rolse", "did you mean 'roles'?"),
        (roles_text("provider: p, model: 5"), 6, "roles.one.model", "put the value in quotes"),
        (roles_text("provider: p, model: true"), 6, "roles.one.model", "put the value in quotes"),
        (roles_text("provider: p, model: m, mode: chit"), 6, "roles.one.mode", "'chat'"),
        (roles_text("provider: p, model: ''"), 6, "roles.one.model", "a name of 1 to"),
        (roles_text("provider: pp, model: m"), 6, "roles.one.provider", "did you mean 'p'?"),
        (roles_text(more="defaults: {provider: q, model: m}"), 7, "defaults.provider", "known are p"),
        (roles_text("provider: p, model: m, params: []"), 6, "roles.one.params", "mapping"),
        (roles_text("provider: p, model: m, params: {max_tokens: 0}"), 6, "roles.one.params.max_tokens", "above 0"),
        (roles_text("provider: p, model: m, params: {max_tokens: true}"), 6, "roles.one.params.max_tokens", "above 0"),
        (roles_text("provider: p, model: m, params: {max_tokens: 1.5}"), 6, "roles.one.params.max_tokens", "above 0"),
        (
            roles_text("provider: p, model: m, params: {max_tokens: 1, max_output_tokens: 1}"),
            6, "roles.one.params.max_output_tokens", "keep max_tokens",
        ),
        (roles_text("provider: p, model: m, params: {temperature: 2.1}"), 6, "roles.one.params.temperature", "0 to 2"),
        (roles_text("provider: p, model: m, params: {top_p: -1}"), 6, "roles.one.params.top_p", "0 to 1"),
        (roles_text("provider: p, model: m, params: {stream: no}"), 6, "roles.one.params.stream", "true or false"),
        (roles_text("provider: p, model: m, params: {verbosity: loud}"), 6, "roles.one.params.verbosity", "medium"),
        (
            roles_text("provider: p, model: m, params: {reasoning: {effort: huge}}"),
            6, "roles.one.params.reasoning.effort", "minimal",
        ),
        (roles_text("provider: p, model: m, params: {dimensions: 5}"), 6, "roles.one.params.dimensions", "embedding"),
        (roles_text("provider: p, model: m, budget_tokens: 5"), 6, "roles.one.budget_tokens", "params.max_tokens"),
        (roles_text("provider: p, model: m, budget_tokens: 0"), 6, "roles.one.budget_tokens", "greater than 0"),
        (roles_text("provider: p, model: m, fallback: one"), 6, "roles.one.fallback", "one > one"),
        (roles_text("provider: p, model: m, fallback: on"), 6, "roles.one.fallback", "did you mean 'one'?"),
        (
            roles_text("provider: p, model: m, fallback: two", more="  two: {provider: p, model: m, fallback: one}"),
            6, "roles.one.fallback", "one > two > one",
        ),
        (
            roles_text("provider: p, model: m, fallback: two", more="  two: {provider: p, model: m, mode: embedding}"),
            6, "roles.one.fallback", "another mode",
        ),
        (roles_text("provider: p, model: m, instructions: a, instructions_path: b"), 6, "roles.one", "exclude"),
        (
            roles_text("provider: p, model: m, instructions_path: none.md"),
            6, "roles.one.instructions_path", "no such file",
        ),
        ("", 0, "", "empty"),
        ("- a\n", 1, "", "no mapping"),
        ("roles: {\n", 2, "", "not valid YAML or JSON"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_at_its_place(write: Write, text: str, line: int, key: str, words: str) -> None:
    """The message has to lead to the line, and to the word that was meant."""
    path = write(text)

    error = refusal(path)

    assert error.place.startswith(f"{path}:{line}:" if line else str(path))
    assert error.key == key
    assert words in error.problem


def test_the_first_of_several_problems_is_named_and_the_rest_counted(write: Write) -> None:
    """The order is that of the file, not of the model."""
    error = refusal(write("env: 1\nproject: 2\nproviders: {}\nroles: {}\nx: 1\n"))

    assert (error.key, error.problem[-13:]) == ("env", " (and 2 more)")


@pytest.mark.parametrize(
    "text",
    [
        roles_text(provider=f"env_key: {KEY}"),
        roles_text(provider="env_key: 9f86d081884c7d659a2feaa0c55ad015"),
        roles_text(provider=f'base_url: "https://{KEY}@host/v1"'),
        roles_text(provider="base_url: 'https://user:hunter2secret@host/v1'"),
        roles_text(f"provider: p, model: m, params: {{user: {KEY}}}"),
        roles_text("provider: p, model: m, params: {extra_headers: {x: [9f86d081884c7d659a2feaa0c55ad015]}}"),
        roles_text("provider: p, model: m, params: {api_key: hunter2secret}"),
        roles_text("provider: p, model: m, params: {extra_headers: {Authorization: hunter2secret}}"),
        roles_text(f"provider: p, model: {KEY}"),
        roles_text(f"provider: {KEY}, model: m"),
        roles_text(f"provider: p, model: m, instructions: use {KEY} please"),
        roles_text(f"provider: p, model: m, {KEY}: 1"),
        roles_text(f"provider: p, model: m, mode: {KEY}"),
        roles_text(more=f"{KEY}: 1\n{KEY}: 2"),
    ],
)
def test_a_pasted_key_is_refused_and_not_repeated(write: Write, text: str) -> None:
    """Error messages end up in logs and bug reports."""
    error = refusal(write(text))

    for secret in (KEY, "9f86d081884c7d659a2feaa0c55ad015", "hunter2secret"):
        assert secret not in str(error)
    assert error.place.count(":") >= 2


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com/v1", "http://localhost:8080/v1", "http://127.8.9.1/v1", "http://[::1]:9/v1"],
)
def test_usable_addresses(url: str) -> None:
    """Https anywhere, plain http on this machine."""
    assert ProviderConfig(base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1", "http://10.0.0.1/", "http://localhost.example.com/", "http://127.0.0.1.example.com/",
        "ftp://localhost/", "localhost:80", "https://", "https://u@h/", "https://h/?a=b", "https://h/#a", "https://h/?",
        "https://[::1", "https://h:99999999/", "https://a b/", "",
    ],
)  # fmt: skip
def test_unusable_addresses_are_refused(write: Write, url: str) -> None:
    """A key must never go out in clear or to a place that was not meant."""
    error = refusal(write(roles_text(provider=f'base_url: "{url}"')))

    assert error.key == "providers.p.base_url"


def test_instructions_are_read_beside_the_file(write: Write, tmp_path: Path) -> None:
    """The path is relative to the file that names it, not to where the command was started."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "one.md").write_text("Be näive.\n", encoding="utf-8")

    config = load_runtime_config(write(roles_text("provider: p, model: m, instructions_path: prompts/one.md")))

    assert config.roles["one"].instructions == "Be näive.\n"


def test_parsing_opens_no_file() -> None:
    """Without a file there is nothing to be relative to; ignoring the path would lose the instructions silently."""
    data = {
        "project": "x",
        "env": "y",
        "providers": {"p": {}},
        "roles": {"one": {"provider": "p", "model": "m", "instructions_path": "pyproject.toml"}},
    }

    with pytest.raises(ConfigError, match=r"roles\.one\.instructions_path"):
        parse_runtime_config(data)


@pytest.mark.parametrize("data", [None, 1, "x", [], {}, {"project": "x"}, {1: 2}])
def test_anything_but_a_config_is_a_config_error(data: object) -> None:
    """Callers catch one error."""
    with pytest.raises(ConfigError):
        parse_runtime_config(data)


def test_models_are_frozen(write: Write) -> None:
    """A config that changes under a run can't be trusted."""
    config = load_runtime_config(write(ORIGINAL))

    for model in (config, config.roles["llm.inference"], config.providers["openai"]):
        for field in type(model).model_fields:
            with pytest.raises(ValueError, match="frozen"):
                setattr(model, field, "other")


def test_a_model_built_by_hand_does_not_repeat_a_bad_value() -> None:
    """Pydantic's own errors show the value unless told not to; it may be a key."""
    with pytest.raises(ValueError, match="environment variable") as caught:
        ProviderConfig(env_key=f"{KEY}!")
    assert KEY not in str(caught.value)


def test_the_override_wins_key_by_key_and_nothing_is_changed() -> None:
    """The merge is shallow: a nested mapping is replaced, not merged; the config stays as it was."""
    config = parse_runtime_config(
        {
            "project": "x",
            "env": "y",
            "providers": {"p": {}},
            "roles": {"one": {"provider": "p", "model": "m", "params": {"a": {"b": 1, "c": 2}, "temperature": 1}}},
        }
    )
    before = config.model_dump()

    call = resolve_role(config, "one", {"a": {"b": 9}, "d": [1]})
    again = resolve_role(config, "one")
    call.params["new"] = True
    nested = again.params["a"]
    assert isinstance(nested, dict)
    nested["b"] = "changed"

    assert (call.role, call.provider, call.model, call.mode) == ("one", "p", "m", LLMMode.chat)
    assert call.params == {"a": {"b": 9}, "temperature": 1, "d": [1], "new": True}
    assert config.model_dump() == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3), max_leaves=4
)
free_params = st.dictionaries(st.sampled_from("abcdef"), json_values, max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(params=free_params, override=free_params)
def test_resolving_merges_like_two_dicts(params: dict[str, JsonValue], override: dict[str, JsonValue]) -> None:
    """The oracle is `{**params, **override}`; neither input is touched."""
    config = parse_runtime_config(
        {
            "project": "x",
            "env": "y",
            "providers": {"p": {}},
            "roles": {"r": {"provider": "p", "model": "m", "params": params}},
        }
    )
    kept = copy.deepcopy((params, override))

    call = resolve_role(config, "r", override)

    assert call.params == {**params, **override}
    assert (params, override) == kept


def test_an_unnamed_role_runs_on_the_defaults_and_says_so_once(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """`ResolvedCall.role` keeps the requested name; one line in the log, not one per call."""
    config = load_runtime_config(write(ORIGINAL))

    with caplog.at_level(logging.INFO, logger="agent_pipeline.roles"):
        calls = [resolve_role(config, role) for role in ("new", "new", "other", "llm.inference")]

    assert [(call.role, call.model) for call in calls[:3]] == [("new", "llama"), ("new", "llama"), ("other", "llama")]
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["new", "other"]


def test_without_defaults_an_unknown_role_is_an_error() -> None:
    """With the name that was probably meant."""
    config = parse_runtime_config(
        {
            "project": "x",
            "env": "y",
            "providers": {"p": {}},
            "roles": {"reviewer": {"provider": "p", "model": "m"}},
        }
    )

    with pytest.raises(UnknownRoleError, match="did you mean 'reviewer'"):
        resolve_role(config, "reviwer")


def test_a_config_built_by_hand_is_checked_when_it_is_resolved() -> None:
    """Nothing cross-checked it before."""
    role = RoleConfig(provider="opneai", model="m", mode=LLMMode.chat)
    config = RuntimeConfig(project="x", env="y", providers={"openai": ProviderConfig()}, roles={"one": role})

    with pytest.raises(UnknownProviderError, match="did you mean 'openai'"):
        resolve_role(config, "one")


def test_an_override_that_makes_no_sense_is_a_config_error() -> None:
    """A cap of -1 would end up in a reservation."""
    defaults = RoleDefaultsConfig(provider="p", model="m")
    config = RuntimeConfig(project="x", env="y", providers={"p": ProviderConfig()}, roles={}, defaults=defaults)

    with pytest.raises(ConfigError) as caught:
        resolve_role(config, "any", {"max_tokens": -1})
    assert caught.value.key == "roles.any.params.max_tokens"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_the_output_cap_is_found_under_each_of_its_names(name: str) -> None:
    """Two APIs call it differently; the budget has to see it under any name."""
    assert RoleConfig(provider="p", model="m", params={name: 7}).output_cap == 7
    assert RoleConfig(provider="p", model="m", params={}).output_cap is None


def test_json_and_yaml_are_read_alike(tmp_path: Path, write: Write) -> None:
    """One loader for both."""
    path = tmp_path / "roles.json"
    config = load_runtime_config(write(ORIGINAL))
    path.write_text(json.dumps(config.model_dump(mode="json", exclude_defaults=True), indent="\t"), encoding="utf-8")

    assert load_runtime_config(path) == config


def test_names_have_an_end(write: Write) -> None:
    """A name of a megabyte would fill every log line."""
    assert refusal(write(roles_text(f"provider: p, model: {'m' * (MAX_NAME + 1)}"))).key == "roles.one.model"


def test_the_public_namespace_is_what_its_list_says() -> None:
    """`agent_pipeline.llmhub` re-exports and adds nothing."""
    assert all(hasattr(llmhub, name) for name in llmhub.__all__)
    assert llmhub.load_runtime_config is load_runtime_config
