"""The exchanges of one document in a recording: where each is in its file, and which of them were replayed."""

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from agent_pipeline.errors import RecordingError
from agent_pipeline.gateway.recording.exchanges import Exchange, from_line
from agent_pipeline.telemetry import read_lines


@dataclass(slots=True, eq=False)
class Lane:
    """First in, first out among the exchanges that asked the same; what asked something else is in nobody's way.

    So stages and agents of one document that ask at once are replayed in whatever order they ask this time. Of several
    sessions of a run the last comes first: what it asked again led to what it asked next, while the answers of a
    session that was cut off may have led nowhere. Bodies stay on disk: of each exchange a hash and an offset are held.

    Attributes:
        path: of its file.
        offsets: of all its lines, in order.
    """

    path: Path
    offsets: list[int] = field(default_factory=list)
    _waiting: dict[bytes, deque[int]] = field(default_factory=dict)
    _recorded: Counter[bytes] = field(default_factory=Counter)

    def add(self, digest: bytes, offset: int) -> None:
        """Take up one exchange, to be replayed behind those that asked the same."""
        self._waiting.setdefault(digest, deque()).append(offset)
        self._recorded[digest] += 1

    def recorded(self, digest: bytes) -> int:
        """Return how often such a request was recorded."""
        return self._recorded[digest]

    def take(self, digest: bytes) -> int | None:
        """Return the offset of the next exchange that asked this, which is used up now; None where none is left."""
        waiting = self._waiting.get(digest)
        return waiting.popleft() if waiting else None

    def give_back(self, digest: bytes, offset: int) -> None:
        """Make an exchange the next one again."""
        self._waiting[digest].appendleft(offset)

    def unused(self) -> set[int]:
        """Return the offsets of what was not replayed."""
        return {offset for waiting in self._waiting.values() for offset in waiting}

    def read(self, offset: int) -> Exchange:
        """Read one exchange.

        Raises:
            RecordingError: the file has changed meanwhile, or is gone.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return from_line(file.readline().decode())
        except (OSError, ValueError) as exc:
            raise RecordingError(f"{self.path}: it was changed during the replay: {exc}") from exc


def load_lane(path: Path, document_id: str | None) -> Lane:
    """Read where everything is; empty where nothing was recorded. A last line that a kill left torn is left out.

    Raises:
        RecordingError: the file can't be read, or a line of it is damaged.
    """
    lane = Lane(path)
    found: list[tuple[int, bytes, int]] = []
    try:
        for line in read_lines(path, from_line):
            if line.torn:
                break
            if line.value is None:
                raise _damaged(path, line.number, line.problem or "it is empty")
            if line.value.document_id != document_id:
                raise _damaged(path, line.number, f"it is of document {json.dumps(line.value.document_id)}")
            found.append((-line.value.session, line.value.request.digest(), line.offset))
    except FileNotFoundError:
        pass  # nothing was recorded for this document
    except OSError as exc:
        raise RecordingError(f"{path}: the recording can't be read: {exc.strerror or exc}") from exc
    lane.offsets = [offset for *_, offset in found]
    for _, digest, offset in sorted(found, key=itemgetter(0)):
        lane.add(digest, offset)
    return lane


def _damaged(path: Path, number: int, problem: str) -> RecordingError:
    return RecordingError(f"{path}:{number}: {problem}; restore the recording, or record again")
