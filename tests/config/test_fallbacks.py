"""A fallback has to be able to take the request as it is."""

from pathlib import Path

import pytest
from tests.config.test_roles import refusal, roles_text

from agent_pipeline.config.role_models import RoleConfig, RuntimeConfig
from agent_pipeline.config.roles import fallbacks_of, load_runtime_config

TWO_APIS = "}\n  q: {api: chat"
SPARE = "  two: {provider: q, model: m%s}"


def _file(folder: Path, text: str) -> Path:
    path = folder / "roles.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_fallback_of_another_api_is_refused_at_its_line(tmp_path: Path) -> None:
    """A request of the one API means nothing to the other."""
    text = roles_text("provider: p, model: m, fallback: two", provider=TWO_APIS, more=SPARE % "")

    error = refusal(_file(tmp_path, text))

    assert error.place.split(":")[1:] == ["7", "32"]
    assert error.key == "roles.one.fallback"
    assert "speaks api chat, this role responses" in error.problem


def test_only_chat_has_two_apis(tmp_path: Path) -> None:
    """Embeddings are asked alike everywhere."""
    one = "provider: p, model: m, fallback: two, mode: embedding"

    config = load_runtime_config(_file(tmp_path, roles_text(one, provider=TWO_APIS, more=SPARE % ", mode: embedding")))

    assert fallbacks_of(config, "one") == ["two"]


@pytest.mark.parametrize(
    ("role", "chain"),
    [("a", ["b", "c"]), ("b", ["c"]), ("c", []), ("d", ["e"]), ("e", ["d"]), ("f", ["gone"]), ("none", [])],
)
def test_chain_of_fallbacks_ends(role: str, chain: list[str]) -> None:
    """Also where roles were built by hand, and nobody looked for circles."""
    following = {"a": "b", "b": "c", "c": None, "d": "e", "e": "d", "f": "gone"}
    roles = {name: RoleConfig(provider="p", model="m", fallback=other) for name, other in following.items()}
    config = RuntimeConfig(project="p", env="e", providers={}, roles=roles)

    assert fallbacks_of(config, role) == chain
