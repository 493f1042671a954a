"""The flags of `run`, written once for every command that has them."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast, get_type_hints

import typer

from agent_pipeline.cli.surface.arguments import RunArgument

EngineName = Literal["local", "ray"]
DisplayKind = Literal["full", "plain", "log", "none"]

_WHAT, _WHERE, _LIMITS, _SHOWN = "What runs", "Where it runs", "Limits", "What is shown"

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.", rich_help_panel=_SHOWN)
]
DebugFlag = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show the traceback of an unexpected error (also: AGENT_PIPELINE_DEBUG=1).",
        rich_help_panel=_SHOWN,
    ),
]
FaultsFlag = Annotated[
    Path | None, typer.Option("--faults", metavar="FILE", help="Faults file (YAML) for the simulator.")
]

OnlyFlag = Annotated[
    list[str],
    typer.Option("--only", metavar="STAGE", help="Run this stage only (repeatable).", rich_help_panel=_WHAT),
]
SkipFlag = Annotated[
    list[str],
    typer.Option("--skip", metavar="STAGE", help="Leave this stage out (repeatable).", rich_help_panel=_WHAT),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class OverridingFlags:
    """What the command line changes of the files, also where nothing is run; every field is a flag."""

    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Take at most N documents.", rich_help_panel=_WHAT),
    ] = None
    role: Annotated[
        list[str],
        typer.Option(
            "--role", metavar="ROLE=MODEL", help="Another model for a role (repeatable).", rich_help_panel=_WHAT
        ),
    ] = field(default_factory=list)
    base_url: Annotated[
        list[str],
        typer.Option(
            "--base-url",
            metavar="PROVIDER=URL",
            help="Another address for a provider (repeatable).",
            rich_help_panel=_WHAT,
        ),
    ] = field(default_factory=list)
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens", metavar="N", min=1, help="Never use more tokens than N.", rich_help_panel=_LIMITS
        ),
    ] = None
    budget_usd: Annotated[
        str | None,
        typer.Option("--budget-usd", metavar="X", help="Never spend more dollars than X.", rich_help_panel=_LIMITS),
    ] = None
    documents_in_flight: Annotated[
        int | None,
        typer.Option(
            "--documents-in-flight",
            metavar="N",
            min=1,
            help="Work on at most N documents at once.",
            rich_help_panel=_LIMITS,
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", help="End the run after so many seconds.", rich_help_panel=_LIMITS
        ),
    ] = None
    engine: Annotated[
        EngineName | None,
        typer.Option(
            "--engine",
            help="This process alone, or workers on Ray (extra `ray`); in place of `engine.kind`.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="local|auto|HOST:PORT",
            help="Start Ray here for this run, find the cluster of this machine, or join the one with this head.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Worker processes on Ray.", rich_help_panel=_WHERE),
    ] = None
    worker_concurrency: Annotated[
        int | None,
        typer.Option(
            "--worker-concurrency",
            metavar="N",
            min=1,
            help="Documents at once in each worker; by default its share of --documents-in-flight.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    shard_size: Annotated[
        int | None,
        typer.Option(
            "--shard-size",
            metavar="N",
            min=1,
            help="Documents that a worker is given at a time.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    json: JsonFlag = False
    debug: DebugFlag = False

    def role_models(self) -> dict[str, str]:
        """Return `--role` as role to model."""
        return _pairs(self.role, "--role", "ROLE=MODEL")

    def base_urls(self) -> dict[str, str]:
        """Return `--base-url` as provider to address."""
        return _pairs(self.base_url, "--base-url", "PROVIDER=URL")

    def money(self) -> Decimal | None:
        """Return `--budget-usd` as a number; whether it makes sense is the config's business."""
        if self.budget_usd is None:
            return None
        try:
            return Decimal(self.budget_usd)
        except ArithmeticError:
            raise _bad("--budget-usd", f"{self.budget_usd!r} is no amount in dollars, such as 2.50") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class ContinuedFlags(OverridingFlags):
    """What a run is told on the command line, also when it goes on."""

    faults: Annotated[
        Path | None,
        typer.Option(
            "--faults", metavar="FILE", help="Faults file (YAML) for the embedded simulator.", rich_help_panel=_WHAT
        ),
    ] = None
    fail_on_error: Annotated[
        str | None,
        typer.Option(
            "--fail-on-error",
            metavar="N|FRACTION|never",
            help="Exit 1 when more documents fail than this number, or this fraction of all (0.1).",
            rich_help_panel=_LIMITS,
        ),
    ] = None
    strict_shutdown: Annotated[
        bool,
        typer.Option(
            "--strict-shutdown",
            help="Exit 1 when the run leaves anything open: loops, tasks, connections, threads, files.",
            rich_help_panel=_LIMITS,
        ),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="No progress, and one line in the end.", rich_help_panel=_SHOWN),
    ] = False
    display: Annotated[
        DisplayKind | None,
        typer.Option(
            "--display",
            help="Progress on stderr: a live view, a line per document, every line of the run log, or none. "
            "By default full on a terminal, plain elsewhere and where CI is set.",
            rich_help_panel=_SHOWN,
        ),
    ] = None

    def tolerated_failures(self) -> int | float | Literal["never"] | None:
        """Return `--fail-on-error`: a whole number counts documents, one with a point is a fraction of them."""
        if self.fail_on_error is None:
            return None
        text = self.fail_on_error.strip()
        if text == "never":
            return "never"
        try:
            value = float(text) if "." in text else int(text)
        except ValueError:
            value = -1
        if value < 0 or (isinstance(value, float) and value > 1):
            wanted = "a number of documents (3), a fraction of them from 0.0 to 1.0, or never"
            raise _bad("--fail-on-error", f"{self.fail_on_error!r} is not {wanted}")
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFlags(ContinuedFlags):
    """What a run is told when it begins."""

    only: OnlyFlag = field(default_factory=list)
    skip: SkipFlag = field(default_factory=list)
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Use the embedded simulator in the place of every provider: no key, no network, no model.",
            rich_help_panel=_WHAT,
        ),
    ] = False
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="First remove the artifacts that earlier runs wrote and nobody changed.",
            rich_help_panel=_WHAT,
        ),
    ] = False
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="DIR",
            help="Record every exchange with a provider there, texts included, for --replay.",
            rich_help_panel=_WHAT,
        ),
    ] = None
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="DIR",
            help="Take every answer from this recording: no key, no network, no model.",
            rich_help_panel=_WHAT,
        ),
    ] = None

    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Ask nothing. Else who sits at a terminal is asked before a run that no budget limits.",
            rich_help_panel=_LIMITS,
        ),
    ] = False

    def check_recording(self) -> None:
        """Refuse what contradicts `--record` or `--replay`."""
        if self.replay is None:
            return
        if self.record is not None:
            raise _bad("--replay", "a run is recorded or replayed, not both: leave out --record or --replay")
        for flag, given in (("--offline", self.offline), ("--faults", self.faults is not None)):
            if given:
                raise _bad("--replay", f"a replay asks nobody, the simulator neither: leave out {flag}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeFlags(ContinuedFlags):
    """What a run is told when it goes on."""

    run: RunArgument
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Work on documents again that failed.", rich_help_panel=_WHAT),
    ] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanFlags(OverridingFlags):
    """What `plan` is told."""

    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="What a resume of this run would still need, instead of a new run.",
            rich_help_panel=_WHAT,
        ),
    ] = None
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="With --run: documents that failed count again.", rich_help_panel=_WHAT),
    ] = False
    only: OnlyFlag = field(default_factory=list)
    skip: SkipFlag = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearseFlags(OverridingFlags):
    """What `rehearse` is told."""

    faults: Annotated[
        str,
        typer.Option(
            "--faults",
            metavar="PLAN|FILE",
            help="What goes wrong: 429-storm, 5xx-burst, dead-provider, mixed, none, slow-provider, truncation, "
            "or a faults file (YAML).",
            rich_help_panel=_WHAT,
        ),
    ] = "mixed"
    documents: Annotated[
        int | None,
        typer.Option(
            "--documents",
            metavar="N",
            min=1,
            max=1_000_000,
            help="Rehearse N documents, repeated under new ids where there are fewer. By default those of the source, "
            "1,000 at most.",
            rich_help_panel=_WHAT,
        ),
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Same seed, same rehearsal.", rich_help_panel=_WHAT)
    ] = 0
    only: OnlyFlag = field(default_factory=list)
    skip: SkipFlag = field(default_factory=list)


def _pairs(texts: list[str], flag: str, form: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise _bad(flag, f"{text!r} is not of the form {form}")
        if name in pairs:
            raise _bad(flag, f"{name!r} is given twice")
        pairs[name] = value
    return pairs


def _bad(flag: str, problem: str) -> typer.BadParameter:
    return typer.BadParameter(problem, param_hint=f"'{flag}'")


FlagsT = TypeVar("FlagsT", bound=OverridingFlags)


def with_flags(kind: type[FlagsT], command: Callable[[FlagsT], int]) -> Callable[..., int]:
    """Return the command as typer wants it: a function with one parameter for each field of `kind`."""
    make = cast("Callable[..., FlagsT]", kind)

    def unfolded(**values: object) -> int:
        return command(make(**{name: list(it) if isinstance(it, tuple) else it for name, it in values.items()}))

    hints = get_type_hints(kind, include_extras=True)
    parameters = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=_default(one), annotation=hints[one.name])
        for one in fields(kind)
    ]
    # typer asks `inspect.signature` and the annotations.
    shown = {"__signature__": inspect.Signature(parameters), "__annotations__": hints, "__doc__": command.__doc__}
    for name, value in shown.items():
        setattr(unfolded, name, value)
    return unfolded


def _default(field_: "Field[object]") -> object:
    if field_.default is MISSING and field_.default_factory is MISSING:
        return inspect.Parameter.empty  # an argument that has to be given
    return field_.default if field_.default_factory is MISSING else field_.default_factory()
