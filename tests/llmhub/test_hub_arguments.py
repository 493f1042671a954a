"""What a hub does not take is refused in words of the caller's; nothing is sent."""

from typing import Any

import pytest
from tests.llmhub.test_hub import ASKED, config_at

from agent_pipeline.llmhub import ConfigError, EnvVarMissingError, LLMHub, parse_runtime_config

CONFIG = config_at("http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"config_obj": {"roles": {}}},
            "config_obj is .*, not dict; a mapping goes through parse_runtime_config first",
        ),
        ({"config_obj": "llmhub.yaml"}, "config_obj is .*, not str; give it as config_path"),
        ({"config_path": CONFIG}, "config_path is .*, not RuntimeConfig; give it as config_obj"),
        ({"config_path": {}}, "config_path is .*, not dict; a mapping goes through parse_runtime_config first"),
        ({"config_path": 3}, "config_path is the path of a roles file, not int"),
        ({"config_obj": CONFIG, "on_before_call": "print"}, "on_before_call is a function, not 'print'"),
        ({"config_obj": CONFIG, "on_after_call": 3}, "on_after_call is a function, not 3"),
    ],
)
def test_sources_and_hooks_of_other_types_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        LLMHub(**given)


def test_limits_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ConfigError, match="limits: a mapping is wanted, not int"):
        LLMHub(config_obj=CONFIG, limits=3)  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(
    ("role", "override", "kind", "words"),
    [
        (3, None, TypeError, "role is a text, the name of a role, not 3"),
        (None, None, TypeError, "role is a text"),
        ("llm.inference", [("temperature", 0)], TypeError, "params_override is a mapping"),
        ("llm.inference", {"model": "m-2"}, ConfigError, "params_override.model: .*the role's"),
        ("llm.inference", {"messages": ASKED}, ConfigError, "params_override.messages: "),
        ("llm.inference", {"stream": True}, ConfigError, "params_override.stream: .*stream_completion"),
        ("llm.inference", {"input": "x"}, ConfigError, "params_override.input: "),
    ],
)
def test_calls_that_say_what_belongs_elsewhere_are_refused(
    role: Any,  # noqa: ANN401 - whatever somebody gives
    override: Any,  # noqa: ANN401
    kind: type[Exception],
    words: str,
) -> None:
    """`model` went out beside the role's, whichever the server took."""
    with LLMHub(config_obj=CONFIG) as hub:
        for ask in (hub.completion, hub.stream_completion, hub.astream_completion):
            with pytest.raises(kind, match=words):
                ask(role, ASKED, override)


def test_a_closed_hub_says_so_by_its_name() -> None:
    hub = LLMHub(config_obj=CONFIG)
    hub.close()

    with pytest.raises(RuntimeError, match=r"^this LLMHub is closed; make a new one$"):
        hub.completion("llm.inference", ASKED)
    with pytest.raises(RuntimeError, match=r"^this LLMHub is closed; make a new one$"), hub:
        pass


@pytest.mark.parametrize("base_url", [None, "https://lake.example/v1"])
def test_a_missing_key_is_asked_for_where_a_program_finds_it(
    base_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub reads no `.env`, and has no `--offline`."""
    monkeypatch.delenv("TESTS_KEY", raising=False)
    provider = {"env_key": "TESTS_KEY"} if base_url is None else {"env_key": "TESTS_KEY", "base_url": base_url}
    role = {"provider": "openai", "model": "m"}
    config = {"project": "p", "env": "e", "providers": {"openai": provider}, "roles": {"r": role}}

    with LLMHub(config_obj=parse_runtime_config(config)) as hub, pytest.raises(EnvVarMissingError) as caught:
        hub.completion("r", ASKED)

    assert str(caught.value).endswith("Set it in the environment (export TESTS_KEY=<the key>)")
