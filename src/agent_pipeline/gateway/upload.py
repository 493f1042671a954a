"""A file on its way to a provider as a form (multipart/form-data), a piece at a time: never in memory as a whole."""

import os
import secrets
from collections.abc import AsyncIterator

import httpx2
import trio

_PIECE_BYTES = 256 * 1024


class FileForm(httpx2.AsyncByteStream):
    """The form that uploads one file; may be sent more than once.

    Args:
        descriptor: of the open file; read by position, left open.
        filename: what the provider shall know it as; ASCII without quotes.
        purpose: what it is for.

    Attributes:
        headers: that have to go with it.
    """

    def __init__(self, descriptor: int, *, filename: str, purpose: str) -> None:
        boundary = secrets.token_hex(16)
        self._descriptor = descriptor
        self._size_bytes = os.fstat(descriptor).st_size
        self._begin = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{filename}"\r\n'
            f"content-type: application/jsonl\r\n\r\n"
        ).encode("ascii")
        self._end = f"\r\n--{boundary}--\r\n".encode("ascii")
        self.headers = {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(len(self._begin) + self._size_bytes + len(self._end)),
        }

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(self._descriptor, self._size_bytes, self._begin, self._end)


class _Pieces(AsyncIterator[bytes]):
    """No generator: one that a broken connection leaves half way would be finalized by the garbage collector."""

    def __init__(self, descriptor: int, size_bytes: int, begin: bytes, end: bytes) -> None:
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._position = 0
        self._before: bytes | None = begin
        self._after: bytes | None = end

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._before is not None:
            piece, self._before = self._before, None
            return piece
        if self._position < self._size_bytes:
            piece = os.pread(self._descriptor, min(_PIECE_BYTES, self._size_bytes - self._position), self._position)
            if not piece:
                msg = "the file became shorter while it was uploaded"
                raise RuntimeError(msg)
            self._position += len(piece)
            return piece
        if self._after is None:
            raise StopAsyncIteration
        piece, self._after = self._after, None
        return piece
