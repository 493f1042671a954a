"""A project drawn at random: documents, stages, roles and limits, as files a user could have written."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator import DEFECT, LASTING_DEFECT
from agent_pipeline.testing.worlds.stages import STUMBLES

ItemT = TypeVar("ItemT")

WriteProject = Callable[[random.Random, Path], Path]
"""Writes a pipeline file, and all it needs, into a folder; returns its path. Artifacts and logs must stay inside."""

MOST_DOCUMENTS = 12

_OWN = "agent_pipeline.testing.worlds.stages:"
_WORDS = ("nursery", "task", "scope", "clock", "ledger", "budget", "provider", "request", "answer", "stage", "retry")

_REVIEWED: tuple[JsonValue, ...] = (
    "route",
    "transform",
    {"review": {"rework_to": "transform", "max_reworks": 2}},
    "name",
)


def draw_project(rng: random.Random, folder: Path) -> Path:
    """Write the project of a simulated world into a folder; return its pipeline file."""
    stages = _draw_stages(rng)
    # Agents cost a world ten times what plain calls cost, so that long ways get fewer documents.
    most = MOST_DOCUMENTS if len(stages) < 3 else MOST_DOCUMENTS // 2
    documents = _draw_documents(rng, rng.randint(1, most))
    with_money = rng.random() < 0.2  # money can be counted only where every model has a known price
    with_unpriced = not with_money and rng.random() < 0.5
    limits = _draw_limits(rng, with_money=with_money)
    roles = _draw_roles(rng, with_unpriced=with_unpriced)
    _add_budgets(limits, roles, with_money=with_money)
    pipeline: dict[str, JsonValue] = {
        "name": "world",
        "roles": "roles.yaml",
        "source": {"path": "documents.json"},
        "artifacts": "artifacts",
        "logs": "logs",
        "stages": stages,
        "limits": limits,
    }
    files = {
        "pipeline.yaml": pipeline,
        "roles.yaml": roles,
        "documents.json": documents,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")  # JSON is YAML
    return folder / "pipeline.yaml"


def _draw_stages(rng: random.Random) -> list[JsonValue]:
    if rng.random() < 0.25:
        return list(_REVIEWED)
    plain: list[JsonValue] = [f"{_OWN}note", f"{_OWN}compare", {f"{_OWN}rest": {"seconds": rng.randint(1, 20)}}]
    agents: list[JsonValue] = [f"{_OWN}consult", f"{_OWN}debate", "name"]
    stages = [*rng.sample(plain, rng.randint(1, 3)), *rng.sample(agents, rng.choice((0, 1, 1, 2)))]
    rng.shuffle(stages)
    if rng.random() < 0.5:
        judged: JsonValue = {f"{_OWN}judge": {"rework_to": f"{_OWN}tidy", "max_reworks": rng.randint(0, 2)}}
        stages[rng.randint(0, len(stages)) : 0] = [f"{_OWN}tidy", judged]
    if rng.random() < 0.2:
        stages.insert(rng.randint(0, len(stages)), f"{_OWN}stumble")
    return stages


def _draw_documents(rng: random.Random, count: int) -> list[JsonValue]:
    return [_draw_entry(rng, f"d{number:02}") for number in range(1, count + 1)]


def _draw_entry(rng: random.Random, document_id: str) -> dict[str, JsonValue]:
    """Return an entry of the source; some have no text, or one that is of the wrong kind."""
    # Without a url the path of the folder would get into prompts, and make other requests of them in each place.
    entry: dict[str, JsonValue] = {"id": document_id, "url": f"https://documents.invalid/{document_id}"}
    kind = rng.random()
    if kind < 0.04:
        return {**entry, "text": rng.choice(["", "   "])}
    if kind < 0.08:
        return {**entry, "text": ["no", "text"]}
    lines = [" ".join(rng.choices(_WORDS, k=rng.randint(3, 12))).capitalize() + "." for _ in range(_length(rng))]
    for words, chance in ((DEFECT, 0.15), (LASTING_DEFECT, 0.05), (STUMBLES, 0.1)):
        if rng.random() < chance:
            lines.insert(rng.randint(0, len(lines)), words)
    return {**entry, "text": f"# About {document_id}\n\n" + "\n".join(lines) + "\n"}


def _length(rng: random.Random) -> int:
    """Return how many lines a document has: most have few, some have many."""
    return rng.randint(100, 300) if rng.random() < 0.05 else rng.randint(1, 12)


def _add_budgets(limits: dict[str, JsonValue], roles: dict[str, JsonValue], *, with_money: bool) -> None:
    """Give some documents and roles budgets of their own, by what was drawn before: all later draws stay the same."""
    rng = random.Random(json.dumps([limits, roles]))
    if rng.random() < 0.25:
        of_run = limits["budget"]
        most = of_run["tokens"] if isinstance(of_run, dict) else None
        tokens = rng.randint(1, 30) * 1000
        limits["budget_per_document"] = {
            "tokens": min(tokens, most) if isinstance(most, int) else tokens,
            "usd": 0.002 if with_money else None,
        }
    writer = roles["roles"]
    if rng.random() < 0.25 and isinstance(writer, dict) and isinstance(writer["writer"], dict):
        writer["writer"]["budget_tokens"] = rng.randint(1, 40) * 1000


def _draw_roles(rng: random.Random, *, with_unpriced: bool) -> dict[str, JsonValue]:
    def params() -> dict[str, JsonValue]:
        drawn: dict[str, JsonValue] = {"max_tokens": rng.choice((300, 800, 2000, 8000))}
        return drawn | ({"stream": True} if rng.random() < 0.3 else {})

    def role(provider: str, model: str) -> JsonValue:
        return {"provider": provider, "model": model, "params": params(), "instructions": "Work with care."}

    priced, unpriced = ("openai", "gpt-5-mini"), ("mistral", "small")

    return {
        "project": "worlds",
        "env": "virtual",
        "providers": {
            "openai": {"api": rng.choice(("responses", "responses", "chat"))},
            "mistral": {"api": "chat", "base_url": "https://mistral.invalid/v1"},
        },
        "roles": {
            "writer": role(*priced),
            "judge": role(*priced),
            "clerk": role(*(unpriced if with_unpriced else priced)),
        },
        "defaults": {"provider": "openai", "model": "gpt-5-mini", "params": params()},
    }


def _draw_limits(rng: random.Random, *, with_money: bool) -> dict[str, JsonValue]:
    attempt = rng.uniform(4, 40)
    stage = attempt * rng.uniform(1.1, 6)
    document = stage * rng.uniform(1.1, 6)
    timeouts: dict[str, JsonValue] = {
        "run": _maybe(rng, 0.15, document * rng.uniform(1.1, 3)),
        "document": document,
        "stage": stage,
        "attempt": attempt,
        "read": attempt * rng.uniform(0.3, 0.9),
        "connect": 1.0,
    }
    first = rng.uniform(0.05, 2)
    budget: dict[str, JsonValue] = {
        "tokens": _maybe(rng, 0.35, rng.randint(1, 60) * 1000),
        "usd": round(rng.uniform(0.002, 0.1), 6) if with_money else None,
    }
    return {
        "documents_in_flight": rng.randint(1, 8),
        "requests_in_flight": rng.randint(1, 6),
        "timeouts": timeouts,
        "retry": {"max_attempts": rng.randint(1, 5), "initial_delay": first, "max_delay": first * rng.uniform(1, 30)},
        "budget": budget,
    }


def _maybe(rng: random.Random, chance: float, value: ItemT) -> ItemT | None:
    return value if rng.random() < chance else None
