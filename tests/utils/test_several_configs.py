"""Several configs on one file, and an editor beside them: whatever the order, each holds what the rules say."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent_pipeline.errors import ConfigError
from agent_pipeline.utils import RuntimeConfig
from agent_pipeline.utils.subscribers import Changes

DEFAULTS = {"COUNT": 25, "PAUSE": 0.5, "WORD": "", "FLAG": False}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "COUNT": st.integers(-3, 3),
    "PAUSE": st.floats(-3, 3) | st.integers(-3, 3),
    "WORD": st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    "FLAG": st.booleans(),
}
EDITS = st.fixed_dictionaries({}, optional={**VALUES, "theirs": st.integers()})
ASSIGNMENTS = st.sampled_from(sorted(VALUES)).flatmap(lambda key: st.tuples(st.just(key), VALUES[key]))
ONE = st.integers(0, 1)


class Model:
    """What one config should hold: its values, and those it last saw in the file."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.values = dict(found)
        self.seen = dict(found)


class SeveralConfigs(RuleBasedStateMachine):
    """Two configs; `disk` is what the file should hold, None while it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "live.json"
        self.configs = [RuntimeConfig(self.path, defaults=DEFAULTS) for _ in range(2)]
        self.disk: dict[str, Any] | None = dict(DEFAULTS)
        self.models = [Model(DEFAULTS) for _ in range(2)]
        self.told = [dict(DEFAULTS) for _ in range(2)]
        for config, told in zip(self.configs, self.told, strict=True):
            config.subscribe(lambda changes, told=told: self.note(told, changes))  # type: ignore[misc]  # bound per turn

    def note(self, told: dict[str, Any], changes: Changes) -> None:
        """Follow the values by what is told of them alone."""
        for key, (old, new) in changes.items():
            assert told[key] == old
            assert told[key] != new
            told[key] = new

    def teardown(self) -> None:
        self.folder.cleanup()

    def found(self) -> dict[str, Any]:
        """Return what the file says of our keys."""
        assert self.disk is not None
        return {key: self.disk.get(key, default) for key, default in DEFAULTS.items()}

    @rule(values=EDITS)
    def edit(self, values: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(values), encoding="utf-8")
        self.disk = values

    @rule(text=st.sampled_from(["", "{", '{"COUNT": "x", "PAUSE": 1}', '{"PAUSE": null}', "COUNT: 1"]))
    def break_it(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")
        self.disk = None

    @rule(which=ONE, assignment=ASSIGNMENTS)
    def assign(self, which: int, assignment: tuple[str, Any]) -> None:
        key, value = assignment
        setattr(self.configs[which], key, value)
        self.models[which].values[key] = value

    @rule(which=ONE)
    def reload(self, which: int) -> None:
        config, model = self.configs[which], self.models[which]
        before = dict(model.values)
        changes = config.reload()
        assert bool(config.problems) == (self.disk is None)
        if self.disk is not None:
            found = self.found()
            model.values |= {key: value for key, value in found.items() if value != model.seen[key]}
            model.seen = found
        assert changes == {key: (old, model.values[key]) for key, old in before.items() if old != model.values[key]}

    @rule(which=ONE)
    def save(self, which: int) -> None:
        config, model = self.configs[which], self.models[which]
        if self.disk is None:
            text = self.path.read_text(encoding="utf-8")
            with pytest.raises(ConfigError):
                config.save()
            assert self.path.read_text(encoding="utf-8") == text
            return
        config.save()
        found = self.found()
        model.values = {k: v if v != model.seen[k] else found[k] for k, v in model.values.items()}
        model.seen = dict(model.values)
        self.disk = {**self.disk, **model.values}

    @invariant()
    def each_holds_what_it_should(self) -> None:
        for config, model, told in zip(self.configs, self.models, self.told, strict=True):
            assert config.as_dict() == model.values == told
            assert all(type(value) is type(DEFAULTS[key]) for key, value in config.as_dict().items())

    @invariant()
    def the_file_holds_what_it_should(self) -> None:
        if self.disk is not None:
            assert json.loads(self.path.read_text(encoding="utf-8")) == self.disk


TestSeveralConfigs = SeveralConfigs.TestCase
TestSeveralConfigs.settings = settings(stateful_step_count=20)  # each writes, and waits for the disk
