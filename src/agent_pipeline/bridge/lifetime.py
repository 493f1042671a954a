"""How everything that keeps a `Hosted` inside is opened and closed."""

from types import TracebackType
from typing import Any, Self

from agent_pipeline.bridge.hosted import Hosted


class HostedLifetime:
    """`async with` under Trio and asyncio, `with` in ordinary code, `aclose`, `close`; a subclass sets `_hosted`."""

    _hosted: Hosted[Any]

    async def __aenter__(self) -> Self:
        """Open it here and now."""
        await self._hosted.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is under way, and close it."""
        await self._hosted.__aexit__(kind, error, trace)

    def __enter__(self) -> Self:
        """Use it from ordinary code; it opens at the first call.

        Raises:
            RuntimeError: it is closed.
        """
        self._hosted.check_not_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is under way, and close it."""
        self.close()

    async def aclose(self) -> None:
        """Cancel what is under way, and close what was opened without `async with`; from Trio or asyncio."""
        await self._hosted.aclose()

    def close(self) -> None:
        """Cancel what is under way, and close what was opened without `async with`; blocks until it is closed."""
        self._hosted.close()
