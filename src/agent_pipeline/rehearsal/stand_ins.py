"""Documents without a text of their own, which send the requests that another document sent before."""

from itertools import count
from typing import TYPE_CHECKING

import trio

from agent_pipeline.domain.document import Document
from agent_pipeline.errors import StageError
from agent_pipeline.pipeline.context import StageContext
from agent_pipeline.pipeline.stage import StageFunction
from agent_pipeline.rehearsal.takes import Request, Take, Takes

if TYPE_CHECKING:
    from agent_pipeline.gateway import Gateway

_BLANKS = (b" ", b"\n", b"\t", b"\r")


class StandIns:
    """Plays documents whose stages are not run: gate, provider and ledger see of them what they would of any other.

    Args:
        originals: by the id of each stand-in, the document whose requests it sends.
        takes: of the originals.

    Attributes:
        gateway: where requests go; set before the first document begins.
    """

    def __init__(self, originals: dict[str, str], takes: Takes | None) -> None:
        self.gateway: Gateway | None = None
        self._originals = originals
        self._passes = {} if takes is None else takes.passes
        self._numbers = count(1)

    def in_place_of(self, function: StageFunction) -> StageFunction:
        """Return the stage's function, which is called for documents that are no stand-ins."""

        async def played(document: Document, context: StageContext) -> Document:
            original = self._originals.get(document.id)
            if original is None:
                return await function(document, context)
            take = self._passes.get((original, context.stage, context.cycle), Take())
            await self._play(take)
            if take.error is not None:
                raise StageError(f"document {original}, for which this one stands in, failed here: {take.error}")
            if take.approved is not None:
                context.review(approved=take.approved)
            return document

        return played

    async def _play(self, take: Take) -> None:
        for wave in take.waves():
            if len(wave) == 1:
                await self._send(wave[0])
                continue
            async with trio.open_nursery() as nursery:
                for request in wave:
                    nursery.start_soon(self._send, request)

    async def _send(self, request: Request) -> None:
        if self.gateway is None:
            raise StageError("a stand-in began before the gateway was open")
        await self.gateway.role(request.role).send_again(request.path, request.body + self._mark())

    def _mark(self) -> bytes:
        """Return blanks that no other request ends with.

        Requests that are the same byte for byte count as one that was sent again: where they fail, it would look as if
        that one were poisoned, and every rate of the faults would strike all of them alike.
        """
        number, blanks = next(self._numbers), []
        while number:
            number, digit = divmod(number, len(_BLANKS))
            blanks.append(_BLANKS[digit])
        return b"".join(blanks)
