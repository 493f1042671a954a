"""Where a run leaves what it leaves behind; names as users and programs know them."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent_pipeline.errors import InputError


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
        """Return SHA-256 and size of each file of the run, by its path from here; all must be closed."""
        files = [*sorted(self.path.rglob("*")), self.sdk_traces, self.sdk_log]
        hashes: dict[str, dict[str, str | int]] = {}
        for file in files:
            if file.is_file():
                with file.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                hashes[os.path.relpath(file, self.path)] = {"sha256": digest, "size_bytes": file.stat().st_size}
        return hashes

    def write(self, name: str, text: str) -> None:
        """Write a file whole, mode 0600; it must not exist yet."""
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def write_manifest(self, content: object) -> None:
        """Write the manifest; it appears whole or not at all."""
        temporary = f".{self.manifest.name}.{secrets.token_hex(4)}"
        self.write(temporary, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        (self.path / temporary).rename(self.manifest)


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
