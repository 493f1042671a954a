"""One more stage in the text of a pipeline file, with everything else, comments included, left as it is."""

from collections.abc import Iterator
from pathlib import Path

from agent_pipeline.config.source_map import SourceMap, load_source_map, parse_source_map
from agent_pipeline.errors import ConfigError


def with_stage(path: Path, spec: str) -> str:
    """Return the text of a pipeline file with a stage added after its last one; the file is not changed.

    Args:
        path: the pipeline file.
        spec: `module:name`, of a stage that is not in it yet.

    Raises:
        ConfigError: its list of stages is written in a way that can't be added to.
    """
    source = load_source_map(path)
    value = source.value
    stages = value.get("stages") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(stages, list) and stages:
        wanted = {**value, "stages": [*stages, spec]}
        for text in _candidates(source, len(stages) - 1, spec):
            if _value_of(text) == wanted:  # whatever was guessed about its layout, this is what it says now
                return text
    raise source.error(f"its list can't be added to; write this line into it: - {spec}", ("stages",))


def _candidates(source: SourceMap, last: int, spec: str) -> Iterator[str]:
    line = source.line(("stages", last))
    if line is None:
        return
    lines = source.text.splitlines(keepends=True)
    end = "\r\n" if lines[line - 1].endswith("\r\n") else "\n"
    dash = len(lines[line - 1]) - len(lines[line - 1].lstrip(" "))
    until = line
    for number in range(line, len(lines)):
        text = lines[number]
        if text.strip() and len(text) - len(text.lstrip(" ")) <= dash:
            break
        if text.strip() and not text.lstrip().startswith("#"):
            until = number + 1
    before = "".join(lines[:until])
    joint = "" if before.endswith("\n") else end
    yield f"{before}{joint}{' ' * dash}- {spec}{end}{''.join(lines[until:])}"
    begin = len("".join(lines[: line - 1]))
    closing = source.text.find("]", begin)
    while closing >= 0:
        kept = source.text[:closing].rstrip()
        space = source.text[len(kept) : closing]
        plain, quoted = spec, f'"{spec}"'
        for written in (quoted, plain) if kept.endswith('"') else (plain, quoted):  # as its neighbour is
            yield f"{kept}, {written}{space}{source.text[closing:]}"
        closing = source.text.find("]", closing + 1)


def _value_of(text: str) -> object:
    try:
        return parse_source_map(text).value
    except ConfigError:
        return None
