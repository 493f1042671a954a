"""Where a run leaves what it leaves behind; names as users and programs know them."""

import difflib
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent_pipeline.errors import InputError, RunDirectoryError, RunInUseError

LAST = "last"
"""What the newest run may be called, where no run's name begins so."""

_RUN_ID = re.compile(r"(?P<name>.+)-\d{4}-\d\d-\d\d_\d\dh\d\dm\d\ds-(?P<tag>[0-9a-f]{6})")


_NEAR = 0.7
"""Likeness from which on a name may be what was meant, as difflib measures it: one letter of four may be wrong."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of one run, all absolute; its directory exists, its files don't yet."""

    run_id: str
    name: str
    path: Path
    logs: Path

    @property
    def log(self) -> Path:
        """The run log."""
        return self.path / f"{self.name}.log"

    @property
    def events(self) -> Path:
        """The same events, typed."""
        return self.path / "events.jsonl"

    @property
    def ledger(self) -> Path:
        """The truth."""
        return self.path / "ledger.sqlite3"

    @property
    def reviews(self) -> Path:
        """Each reviewer's verdict."""
        return self.path / "reviews.jsonl"

    @property
    def rejected(self) -> Path:
        """Last texts of documents that were never approved."""
        return self.path / "rejected"

    @property
    def manifest(self) -> Path:
        """Written last."""
        return self.path / "manifest.json"

    @property
    def report(self) -> Path:
        """The page about it, made afterwards, as often as anybody likes: no part of the run."""
        return self.path / "report.html"

    @property
    def sdk(self) -> Path:
        """What all runs keep of the Agents SDK."""
        return self.logs / "openai_sdk"

    @property
    def sdk_traces(self) -> Path:
        """Every trace and span of the Agents SDK."""
        return self.sdk / "traces" / f"trace_dump-{self.run_id}.jsonl"

    @property
    def sdk_log(self) -> Path:
        """The SDK's DEBUG log."""
        return self.sdk / "logs" / f"openai_agents-{self.run_id}.log"

    def file_hashes(self) -> dict[str, dict[str, str | int]]:
        """Return SHA-256 and size of each file of the run, by its path from here; all must be closed.

        The report is left out: it may be written anew at any time.
        """
        files = [*sorted(self.path.rglob("*")), self.sdk_traces, self.sdk_log]
        hashes: dict[str, dict[str, str | int]] = {}
        for file in files:
            if file.is_file() and file != self.report:
                with file.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                hashes[os.path.relpath(file, self.path)] = {"sha256": digest, "size_bytes": file.stat().st_size}
        return hashes

    def write(self, name: str, text: str) -> None:
        """Write a file, mode 0600; it appears whole or not at all, in the place of an older one."""
        write_private(self.path / name, text)

    def write_manifest(self, content: object) -> None:
        """Write the manifest."""
        self.write(self.manifest.name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def remove_temporary(self) -> None:
        """Remove what a killed process left of files it was writing; only under the lock."""
        for file in self.path.glob(".*"):
            file.unlink(missing_ok=True)

    @contextmanager
    def locked(self, *, shared: bool = False) -> Generator[None]:
        """Hold the run for this process; the lock ends with the block, or with the process.

        Args:
            shared: for those who only look: others may look too, but nobody works on the run meanwhile.

        Raises:
            RunInUseError: another process holds it.
            RunDirectoryError: the directory can't be opened.
        """
        try:
            # The directory itself is locked: no file is needed that somebody might delete.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as exc:
            raise RunDirectoryError(f"{self.path}: the run can't be opened: {exc.strerror}") from exc
        try:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise RunInUseError(f"{self.path}: another process works on this run") from exc
            except OSError as exc:
                raise RunDirectoryError(f"{self.path}: the run can't be locked: {exc.strerror}") from exc
            yield
        finally:
            os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Write a file, mode 0600; it appears whole or not at all, in the place of an older one.

    Raises:
        OSError: it can't be written; an older one is as it was, and nothing else is left.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create_run_directory(logs: Path, name: str, *, now: datetime) -> RunDirectory:
    """Make the directory of a new run: `<name>-YYYY-MM-DD_HHhMMmSSs-<6 hex>`, mode 0700, local time.

    Raises:
        InputError: the directory can't be made.
    """
    stamp = now.astimezone().strftime("%Y-%m-%d_%Hh%Mm%Ss")
    run_id = f"{name}-{stamp}-{secrets.token_hex(3)}"
    directory = RunDirectory(run_id, name, (logs / run_id).absolute(), logs.absolute())
    try:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One by one: `parents` would give those in between the umask's mode. The run's own last, when nothing can fail.
        for folder in (directory.sdk, directory.sdk_traces.parent, directory.sdk_log.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        directory.path.mkdir(mode=0o700)
    except OSError as exc:
        msg = f"the logs directory {logs} can't be written: {exc.strerror}; check its permissions, or set `logs`"
        raise InputError(msg) from exc
    return directory


def find_run(text: str, logs: Path) -> RunDirectory:
    """Return the run a user means: its directory's path, its name or the beginning of its name in `logs`, or `last`.

    Raises:
        RunDirectoryError: there is none, there are several, or the directory is not a run's.
    """
    if text and os.path.isdir(text):  # noqa: PTH112 - Path's own raises where a name is too long
        return _as_run(Path(text).resolve())
    runs = sorted(run_names(logs))
    if text in runs:
        return _as_run((logs / text).absolute())
    found = [name for name in runs if text and name.startswith(text)]
    if len(found) == 1:
        return _as_run((logs / found[0]).absolute())
    if found:
        several = f"{len(found)} runs in {logs} begin with {text!r}: {_some(found)}"
        raise RunDirectoryError(f"{several}; give more of the name, or {LAST!r} for the newest run")
    if text == LAST and runs:
        return _as_run((logs / run_names(logs)[0]).absolute())
    meant = _nearest(text, run_names(logs))
    if meant is not None:
        raise RunDirectoryError(f"no run {text!r} in {logs}; did you mean {meant!r}?")
    known = f"; there are {_some(run_names(logs))}" if runs else "; there are none"
    raise RunDirectoryError(f"no run {text!r} in {logs}{known}")


def run_names(logs: Path) -> list[str]:
    """Return the names of the runs in `logs`, the newest first; none where there is no such folder.

    Raises:
        RunDirectoryError: the folder can't be read.
    """
    try:
        found = [path.name for path in logs.iterdir() if _RUN_ID.fullmatch(path.name) and path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise RunDirectoryError(f"{logs}: the runs can't be listed: {exc.strerror}") from exc
    return sorted(found, key=lambda name: (_begun(name), name), reverse=True)


def _nearest(text: str, names: list[str]) -> str | None:
    """Return the name whose beginning was probably meant, the first of those that are as near; None if none is near."""
    likeness = {name: difflib.SequenceMatcher(None, text, name[: len(text)]).ratio() for name in names}
    best = max(likeness, key=lambda name: likeness[name], default=None)
    return best if best is not None and likeness[best] >= _NEAR else None


def _begun(name: str) -> str:
    """Return the part of a run's name that says when it was begun, and its tag; names sort by their pipeline first."""
    return name[-len("YYYY-MM-DD_HHhMMmSSs-xxxxxx") :]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _as_run(path: Path) -> RunDirectory:
    known = _RUN_ID.fullmatch(path.name)
    if known is None:
        raise RunDirectoryError(f"{path}: not a run directory: its name is no run's")
    directory = RunDirectory(path.name, known["name"], path, path.parent)
    if not directory.ledger.is_file():
        raise RunDirectoryError(f"{path}: not a run directory, or a damaged one: {directory.ledger.name} is missing")
    return directory
