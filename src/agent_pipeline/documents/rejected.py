"""Last texts of documents that were never approved: one per document, under its id, however often it is worked on."""

import os
import secrets
import threading
from collections import defaultdict
from pathlib import Path

import trio

from agent_pipeline.documents.folder import absolute, opened, reporting, unlink
from agent_pipeline.documents.names import lasting_stem, safe_extension
from agent_pipeline.documents.publishing import text_bytes
from agent_pipeline.documents.temporary import fill, tag_in, temporary_file
from agent_pipeline.domain.document import Document


def rejected_text_of(document_id: str, directory: Path) -> Path | None:
    """Return where a document's last text is kept, None where none is."""
    stem = lasting_stem(document_id)
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError:
        return None
    return next((directory / name for name in names if tag_in(name) is None and name.rpartition(".")[0] == stem), None)


class RejectedTexts:
    """Keeps these texts in a folder that belongs to one run.

    No record names their files, so a document's name is made of its id alone: when a later session works on it again,
    its new text takes the place of the old one.

    Attributes:
        directory: the folder, absolute; made with the first text.
    """

    def __init__(self, directory: Path, *, threaded: bool = True) -> None:
        """Remember the folder; nothing is touched.

        Args:
            directory: where the texts go.
            threaded: write in a thread; False writes on the Trio thread, for virtual time.
        """
        self.directory = absolute(directory)
        self._run_tag = secrets.token_hex(8)
        self._threaded = threaded
        self._lock = threading.Lock()
        self._kept: dict[str, set[str]] | None = None

    async def keep(self, document: Document) -> Path:
        """Write the document's text and return where it is, once it is on disk, in place of an earlier one.

        Cancelled before it began, nothing is written; once begun it is carried through.

        Raises:
            DiskFullError: the disk takes no more; there is the earlier text or the new one, whole.
            ArtifactError: it could not be written; the same holds.
        """
        await trio.lowlevel.checkpoint()
        if not self._threaded:
            return self._keep(document)
        return await trio.to_thread.run_sync(self._keep, document)

    def _keep(self, document: Document) -> Path:
        stem = lasting_stem(document.id)
        name = f"{stem}.{safe_extension(document.fields.get('extension'))}"
        problem = f"the last text of document {document.id!r} can't be kept"
        with reporting(self.directory, problem), opened(self.directory) as folder:
            earlier = self._earlier(folder)
            with temporary_file(folder, self._run_tag) as temporary:
                fill(temporary, text_bytes(document))
                os.fsync(temporary.descriptor)
                os.rename(temporary.name, name, src_dir_fd=folder, dst_dir_fd=folder)
            for other in earlier[stem] - {name}:  # the text was given another extension this time
                unlink(folder, other)
            os.fsync(folder)
            earlier[stem] = {name}
        return self.directory / name

    def _earlier(self, folder: int) -> dict[str, set[str]]:
        """Return the names kept so far by their stems; looked at once, when what a killed session left goes as well."""
        with self._lock:
            if self._kept is None:
                self._kept = defaultdict(set)
                for name in os.listdir(folder):
                    if tag_in(name) is None:
                        self._kept[name.rpartition(".")[0]].add(name)
                    else:
                        unlink(folder, name)
            return self._kept
