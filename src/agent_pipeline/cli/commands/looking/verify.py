"""`verify`: does everything a run left behind tell the same story?"""

from dataclasses import asdict

from agent_pipeline.cli.commands.config_file import logs_here
from agent_pipeline.cli.output import one_line, out, print_json
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.runs.directory import RunDirectory, find_run
from agent_pipeline.runs.verify import Difference, Note, Report, verify_run

OK, DIFFERENT = 0, 1

_COUNTED = ("sessions", "documents", "artifacts", "attempts", "stage_results", "events", "reviews", "traces", "spans")
_LONGEST_VALUE = 100


def verify_and_show(run: str, *, as_json: bool) -> int:
    """Check a run and print what was found; return 0 if nothing differs, else 1.

    Nothing is changed, no network is used.

    Raises:
        RunDirectoryError: there is no such run, or it can't be read.
        RunInUseError: a process works on it.
    """
    directory = find_run(run, logs_here())
    report = verify_run(directory)
    code = OK if report.is_clean else DIFFERENT
    if as_json:
        print_json(
            {
                "run_id": report.run_id,
                "run_dir": str(directory.path),
                "verified": report.is_clean,
                "exit_code": code,
                "differences": [asdict(difference) for difference in report.differences],
                "notes": [asdict(note) for note in report.notes],
                "counts": dict(report.counts),
            }
        )
    else:
        out().write(_as_text(report, directory))
        out().flush()
    return code


def _as_text(report: Report, directory: RunDirectory) -> str:
    counts = report.counts
    looked_at = ", ".join(_counted(counts.get(name, 0), name) for name in _COUNTED)
    total = counts["differences"]
    verdict = "nothing differs" if report.is_clean else _counted(total, "differences")
    lines = [f"{report.run_id}: {verdict}", f"looked at:  {looked_at}"]
    lines += [_difference(difference) for difference in report.differences]
    if total > len(report.differences):
        lines.append(f"and {total - len(report.differences):,} more differences")
    lines += [_note(note) for note in report.notes]
    lines.append(f"run:        {one_line(str(directory.path), most=4000)}")
    return "".join(f"{line}\n" for line in lines)


def _counted(count: int, name: str) -> str:
    words = name.replace("_", " ")
    return f"{count:,} {words.removesuffix('s') if count == 1 else words}"


def _difference(difference: Difference) -> str:
    text = (
        f"difference: {difference.code}: {one_line(difference.where, most=300)}: {one_line(difference.what, most=300)}"
    )
    if difference.expected is not None or difference.found is not None:
        text += f" (expected {_value(difference.expected)}, found {_value(difference.found)})"
    return text


def _note(note: Note) -> str:
    times = f" ({note.count:,} times, first: {one_line(note.example, most=300)})" if note.count > 1 else ""
    place = f" ({one_line(note.example, most=300)})" if note.count == 1 and note.example else ""
    return f"note:       {note.code}: {one_line(note.what, most=300)}{times}{place}"


def _value(value: JsonValue) -> str:
    return "nothing" if value is None else one_line(str(value), most=_LONGEST_VALUE)
