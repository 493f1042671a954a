"""Params are checked for what the role is for, before anybody is asked."""

import pytest

from agent_pipeline.config.params import ParamError, check_params
from agent_pipeline.domain.document import JsonValue


@pytest.mark.parametrize(
    ("mode", "params"),
    [
        ("embedding", {"temperature": 0}),
        ("embedding", {"top_p": 0.5}),
        ("embedding", {"reasoning_effort": "low"}),
        ("embedding", {"stream": True}),
        ("chat", {"dimensions": 8}),
        ("chat", {"embedding_dim": 8}),
    ],
)
def test_a_param_of_another_mode_is_refused(mode: str, params: dict[str, JsonValue]) -> None:
    """A provider would refuse it at the first call, or pass it over in silence."""
    with pytest.raises(ParamError, match=f"this role's mode is {mode}"):
        check_params(params, mode=mode)


def test_the_length_of_a_vector_is_given_once() -> None:
    with pytest.raises(ParamError, match="twice"):
        check_params({"dimensions": 8, "embedding_dim": 8}, mode="embedding")


@pytest.mark.parametrize(
    "params", [{"dimensions": 8}, {"embedding_dim": 8}, {"max_tokens": 100}, {"stream": False}, {"temperature": None}]
)
def test_what_harms_no_embedding_is_let_through(params: dict[str, JsonValue]) -> None:
    check_params(params, mode="embedding")
