"""Files that clients upload and batches write: in memory, and no more of them than fits."""

from dataclasses import dataclass
from typing import Final

from agent_pipeline.simulator.identity import CREATED_AT
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.wire import BadRequestError

MOST_BYTES: Final = 128 * 1024 * 1024
MOST_FILES: Final = 10_000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file."""

    file_id: str
    filename: str
    purpose: str
    data: bytes

    def as_json(self) -> JsonObject:
        """Return the file object."""
        return {
            "id": self.file_id,
            "object": "file",
            "bytes": len(self.data),
            "created_at": CREATED_AT,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class FileStore:
    """All files, in the order in which they came."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self._size_bytes = 0

    def add(self, file: StoredFile) -> StoredFile:
        """Keep a file.

        Raises:
            BadRequestError: there is no room for it; nothing was kept.
        """
        if self._size_bytes + len(file.data) > MOST_BYTES or len(self.files) >= MOST_FILES:
            raise BadRequestError(
                f"The simulator keeps {MOST_FILES} files and {MOST_BYTES} bytes; delete some.", code="storage_full"
            )
        self.files[file.file_id] = file
        self._size_bytes += len(file.data)
        return file

    def get(self, file_id: str) -> StoredFile:
        """Return a file.

        Raises:
            BadRequestError: there is none with this id.
        """
        if file_id not in self.files:
            raise BadRequestError(f"No such File object: {file_id[:200]}", status=404, param="id")
        return self.files[file_id]

    def delete(self, file_id: str) -> JsonObject:
        """Forget a file, and return what the API says then.

        Raises:
            BadRequestError: there is none with this id.
        """
        self._size_bytes -= len(self.get(file_id).data)
        del self.files[file_id]
        return {"id": file_id, "object": "file", "deleted": True}
