"""`doctor`: what a run needs of this machine, looked at one by one, each with what to do about it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from agent_pipeline.cli.commands.before.examination import Finding, finding_lines
from agent_pipeline.cli.commands.config_file import DEFAULTS, find_config
from agent_pipeline.cli.commands.folders import check_folder
from agent_pipeline.cli.commands.hidden import hide, print_hidden, shown
from agent_pipeline.cli.layout import print_lines, terminal_width
from agent_pipeline.compose.process import MOST_PER_LOOP, descriptor_limits, documents_under
from agent_pipeline.config.pipeline import PipelineConfig, load_pipeline_config
from agent_pipeline.engines.on_ray import EXTRA
from agent_pipeline.errors import ConfigError, InputError
from agent_pipeline.gateway.endpoints import key_state, redactor_of, used_providers
from agent_pipeline.paths import near

PACKAGE = "agent-pipeline"
_LIBRARIES = ("openai", "openai-agents", "httpx2", "trio", "trio-asyncio", "pydantic", "typer", "rich")
_PYTHONS = ((3, 11), (3, 14))
"""The first that will do, and the first that will not."""

_LITTLE, _TOO_LITTLE = 2**30, 50 * 2**20
"""Bytes free on a disk, below which it is told, and below which no run should begin."""

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def examine(config: Path | None, *, as_json: bool) -> int:
    """Print what was found; return 0 if nothing is in the way of a run, else 1."""
    loaded, findings = _config(config)
    findings = [*_versions(), *findings, *_extras(), _ray(loaded), *_machine(loaded)]
    if loaded is not None:
        findings += [*_keys(loaded), *_places(loaded)]
    problems = sum(one.state == "problem" for one in findings)
    code = 1 if problems else 0
    if as_json:
        objects = [one.as_object() for one in findings]
        print_hidden({"healthy": not problems, "findings": objects, "exit_code": code})
    else:
        print_lines(finding_lines(findings, terminal_width()))
    return code


def _versions() -> Iterator[Finding]:
    here = sys.version_info[:2]
    name = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    if _PYTHONS[0] <= here < _PYTHONS[1]:
        yield Finding("ok", "python", name)
    else:
        yield Finding("problem", "python", name, "use Python 3.11, 3.12 or 3.13")
    if platform.system() == "Windows":
        yield Finding("problem", "system", "Windows", "use Linux, macOS or the Windows Subsystem for Linux")
    yield Finding("ok", "package", f"{PACKAGE} {_version(PACKAGE) or '(not installed: run from its source)'}")
    for library in _LIBRARIES:
        found = _version(library)
        if found is None:
            yield Finding(
                "problem",
                "library",
                f"{library} is missing",
                "install the clone again, with what it depends on: uv sync",
            )
        else:
            yield Finding("ok", "library", f"{library} {found}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _extras() -> Iterator[Finding]:
    """Yield which extras are there; none has to be."""
    try:
        names, wanted = metadata(PACKAGE).get_all("Provides-Extra") or [], requires(PACKAGE) or []
    except PackageNotFoundError:
        return
    for extra in names:
        needed = [
            line.split(";")[0] for line in wanted if f"extra == '{extra}'" in line or f'extra == "{extra}"' in line
        ]
        missing = [name for name in map(_distribution, needed) if _version(name) is None]
        if extra == "all" or not needed:
            continue
        there = "is installed" if not missing else f"is not installed (needs {', '.join(missing)})"
        yield Finding("ok", "extra", f"[{extra}] {there}")


def _ray(config: PipelineConfig | None) -> Finding:
    found = _version("ray")
    if found is not None:
        return Finding("ok", "ray", f"Ray {found}: runs can be spread over workers (--engine ray)")
    if config is not None and config.engine.kind == "ray":
        return Finding("problem", "ray", "the engine of this config is ray, which is not installed", EXTRA)
    return Finding("ok", "ray", "is not installed: runs are worked on in one process")


def _distribution(requirement: str) -> str:
    """Return the name at the beginning of a requirement."""
    for place, char in enumerate(requirement):
        if not (char.isalnum() or char in "-_."):
            return requirement[:place]
    return requirement


def _config(config: Path | None) -> tuple[PipelineConfig | None, list[Finding]]:
    try:
        path = find_config(config)
    except ConfigError as exc:
        if config is not None:
            return None, [Finding("problem", "config", shown(str(exc)), "mend the file that is named")]
        here = f"none here ({' or '.join(DEFAULTS)})"
        return None, [
            Finding("warning", "config", here, "name one, or go to its folder; keys and disk were not looked at")
        ]
    try:
        loaded = load_pipeline_config(path)
    except ConfigError as exc:
        return None, [Finding("problem", "config", shown(str(exc)), f"mend it; agent-pipeline check {near(str(path))}")]
    hide(redactor_of(loaded.runtime))
    return loaded, [Finding("ok", "config", shown(near(str(path))))]


def _keys(config: PipelineConfig) -> Iterator[Finding]:
    for provider in used_providers(config.runtime):
        variable = config.runtime.providers[provider].env_key
        try:
            state = key_state(config.runtime, provider)
        except ConfigError as exc:
            yield Finding("problem", "key", f"{shown(provider)}: {shown(str(exc))}", "set the variable anew")
            continue
        if state == "set":
            yield Finding("ok", "key", f"{shown(provider)}: {variable} is set (hidden)")
        elif state == "none":
            yield Finding("ok", "key", f"{shown(provider)}: none is needed")
        else:
            todo = f"export {variable}=<the key>, or write it into .env beside the config; --offline needs none"
            yield Finding("warning", "key", f"{shown(provider)}: {variable} is not set", todo)


def _machine(config: PipelineConfig | None) -> Iterator[Finding]:
    yield _open_files(config)
    proxies = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    if proxies:
        todo = "where there is no way out but the proxy, set the provider's base_url to one that can be reached"
        yield Finding("warning", "proxy", f"{', '.join(proxies)} is set, but requests go directly", todo)


def _open_files(config: PipelineConfig | None) -> Finding:
    soft, hard = descriptor_limits()
    connections = 0 if config is None else config.limits.requests_in_flight.start
    room = documents_under(hard, connections=connections, per_loop=MOST_PER_LOOP)
    if room is None:
        return Finding("ok", "open files", f"{soft:,}, which a run raises as far as it needs")
    text = f"{soft:,}, which a run raises to {hard:,}" if soft < hard else f"{hard:,}"
    text += f": room for {room:,} documents at once"
    wanted = 0 if config is None else config.limits.documents_in_flight
    if room < wanted:
        todo = "raise it (ulimit -Hn, or the service's LimitNOFILE), or lower limits.documents_in_flight"
        return Finding("warning", "open files", f"{text}, but {wanted:,} are configured", todo)
    return Finding("ok", "open files", text)


def _places(config: PipelineConfig) -> Iterator[Finding]:
    traces = config.logs / "openai_sdk" / "traces"
    yield Finding("ok", "traces", f"are written to {shown(near(str(traces)))} and sent nowhere")
    for key, folder in (("logs", config.logs), ("artifacts", config.artifacts)):
        try:
            check_folder(folder, key)
        except InputError as exc:
            yield Finding("problem", key, shown(str(exc)), f"mend its permissions, or set `{key}`")
            continue
        yield _disk(key, folder, shutil.disk_usage)


def _disk(key: str, folder: Path, usage_of: Callable[[Path], tuple[int, int, int]]) -> Finding:
    nearest = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - names too long
    _, _, free = usage_of(nearest)
    text = f"{shown(near(str(folder)))}, with {free / 2**30:,.1f} GiB free"
    if free < _TOO_LITTLE:
        return Finding("problem", key, text, "make room: a full disk ends a run")
    return Finding("warning", key, text, "make room") if free < _LITTLE else Finding("ok", key, text)
