"""A role's params under the names each API wants."""

import pytest
from tests.gateway.bodies import APIS, Api

from agent_pipeline.config.params import OUTPUT_CAPS
from agent_pipeline.gateway.endpoint import OPENAI_URL, Endpoint
from agent_pipeline.gateway.parameters import body_params, output_tokens_cap, read_asked


@pytest.mark.parametrize("name", OUTPUT_CAPS)
@pytest.mark.parametrize(
    ("api", "official", "expected"),
    [
        ("responses", True, "max_output_tokens"),
        ("responses", False, "max_output_tokens"),
        ("chat", True, "max_completion_tokens"),
    ],
)
def test_output_cap_goes_by_the_name_the_api_wants(name: str, api: Api, expected: str, *, official: bool) -> None:
    """By a name the API ignores it would cap nothing, while the budget believes in it."""
    assert body_params(api, {name: 9}, official=official) == {expected: 9}
    assert output_tokens_cap({name: 9}) == 9


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("max_tokens", "max_tokens"),
        ("max_output_tokens", "max_tokens"),
        ("max_completion_tokens", "max_completion_tokens"),
    ],
)
def test_other_chat_servers_get_the_old_name_unless_the_new_one_is_written(name: str, expected: str) -> None:
    """Many know only the old one; whoever writes the new one knows better."""
    assert body_params("chat", {name: 9}, official=False) == {expected: 9}


@pytest.mark.parametrize("api", APIS)
def test_null_is_not_sent(api: Api) -> None:
    """The config says null counts as not set; a server may refuse it."""
    params = {"temperature": None, "max_tokens": None, "reasoning": None, "verbosity": None, "stream": None, "top_p": 0}

    assert body_params(api, params, official=True) == {"top_p": 0}
    assert output_tokens_cap(params) == 0


@pytest.mark.parametrize(
    ("api", "params", "expected"),
    [
        ("chat", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ("chat", {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ("chat", {"reasoning": {}}, {}),
        (
            "chat",
            {"reasoning": {"summary": "auto"}, "reasoning_effort": "low"},
            {"reasoning": {"summary": "auto"}, "reasoning_effort": "low"},
        ),
        ("chat", {"verbosity": "low"}, {"verbosity": "low"}),
        ("responses", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ("responses", {"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
        (
            "responses",
            {"reasoning": {"summary": "auto"}, "reasoning_effort": "low"},
            {"reasoning": {"summary": "auto", "effort": "low"}},
        ),
        ("responses", {"verbosity": "low"}, {"text": {"verbosity": "low"}}),
        ("responses", {"text": {"x": 1}, "verbosity": "low"}, {"text": {"x": 1, "verbosity": "low"}}),
        ("responses", {"seed": 7, "metadata": {"a": "b"}}, {"seed": 7, "metadata": {"a": "b"}}),
    ],
)
def test_reasoning_and_verbosity_go_where_the_api_has_them(
    api: Api, params: dict[str, object], expected: dict[str, object]
) -> None:
    """And nothing beside them is lost."""
    before = repr(params)

    assert body_params(api, params, official=True) == expected
    assert repr(params) == before


@pytest.mark.parametrize(
    ("body", "streamed", "bound"),
    [
        (b"{}", False, 50),
        (b"", False, 50),
        (b"[]", False, 50),
        (b'{"stream": true}', True, 50),
        (b'{"stream":true}', True, 50),
        (b'{"stream":false}', False, 50),
        (b'{"input":"\\"stream\\":true"}', False, 50),
        (b'{"tools":[{"default":{"stream":true}}]}', False, 50),
        (b'{"max_output_tokens":7}', False, 7),
        (b'{"max_tokens":7,"n":3}', False, 21),
        (b'{"max_completion_tokens":7}', False, 7),
        (b'{"n":3}', False, 150),
        (b'{"max_output_tokens":7,"max_completion_tokens":9,"max_tokens":8}', False, 9),
        (b'{"max_output_tokens":7,"max_tokens":90,"n":2}', False, 180),
        (b'{"max_output_tokens":9,"max_completion_tokens":null,"max_tokens":7}', False, 9),
        (b'{"n":null,"stream":null,"max_tokens":null}', False, 50),
    ],
)
def test_request_itself_says_what_it_asks_for(body: bytes, bound: int, *, streamed: bool) -> None:
    """Whoever wrote it: the budget reserves for what the provider will read. Words of a prompt are not settings."""
    asked = read_asked(body)

    assert bool(asked.stream) == streamed
    assert asked.output_tokens_bound(50) == bound


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (OPENAI_URL, True),
        ("https://eu.api.openai.com/v1", True),
        ("https://mine.openai.azure.com/openai/v1", True),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://notapi.openai.com/v1", False),
        ("http://127.0.0.1:8000/v1", False),
    ],
)
def test_openai_is_known_by_its_host(url: str, *, expected: bool) -> None:
    """Its newer models refuse `max_tokens`, wherever they are hosted."""
    assert Endpoint(url, "chat", None).is_official is expected
