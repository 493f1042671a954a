"""Where code stands: frames of running and of waiting code, and which of them a person wants to see."""

import functools
import gc
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

_HERE = str(Path(__file__).parents[1])
_LOOP = str(Path(__file__).with_name("loop.py"))
_LIBRARIES = tuple({str(Path(sysconfig.get_path(name))) for name in ("purelib", "platlib")})
_STANDARD = tuple({str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib")})

_PLUMBING = frozenset(
    {
        "agents",
        "anyio",
        "greenlet",
        "h11",
        "httpcore2",
        "httpx2",
        "openai",
        "outcome",
        "sniffio",
        "trio",
        "trio_asyncio",
    }
)
"""Packages that stand below every stage; a place in one of them says little about who got there."""

_TRAPS = "trio/_core/_traps.py"

USER, FOREIGN, OURS, PLUMBING = range(4)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of code that runs or waits.

    Attributes:
        kind: whose it is: `USER` (outside every library), `FOREIGN` (somebody's package), `OURS`, `PLUMBING`.
    """

    path: str
    line: int
    function: str
    kind: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.function}"


def place_of(frame: FrameType) -> Place:
    """Return where a frame stands."""
    code = frame.f_code
    path, kind = _whose(code.co_filename)
    return Place(path, frame.f_lineno or code.co_firstlineno, code.co_qualname, kind)


def telling(frames: Iterable[FrameType]) -> list[Place]:
    """Return the places that tell most, outermost first: where users' code stands, where ours does, where all ends.

    Args:
        frames: outermost first.
    """
    shown = list(frames)
    while len(shown) > 1 and shown[-1].f_code.co_filename.endswith(_TRAPS):
        shown.pop()  # everything that waits under Trio ends there
    kinds = [_whose(frame.f_code.co_filename)[1] for frame in shown]
    chosen = {len(shown) - 1} if shown else set()
    for wanted in (USER if USER in kinds else FOREIGN, OURS):
        chosen.update([index for index, kind in enumerate(kinds) if kind == wanted][-1:])
    return [place_of(shown[index]) for index in sorted(chosen)]


def most_telling(places: Sequence[Place]) -> Place | None:
    """Return the innermost place of those that are nearest to the user; None where there is none."""
    return min(reversed(places), key=lambda place: place.kind, default=None)


def stack(frame: FrameType | None) -> list[FrameType]:
    """Return a running frame and those that called it, outermost first."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def await_chain(awaitable: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine, outermost first; of a running one, its first only.

    As Trio's `iter_await_frames`, for whatever can be awaited.
    """
    while awaitable is not None:
        if type(awaitable).__name__.startswith("async_generator_"):
            # What steps an async generator doesn't show it (cpython issue 76991), but refers to it.
            awaitable = next((one for one in gc.get_referents(awaitable) if hasattr(one, "ag_frame")), None)
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaitable, f"{kind}_frame")), None)
        if kind is None:
            return
        frame: FrameType | None = getattr(awaitable, f"{kind}_frame")
        if frame is not None:
            yield frame
        awaitable = getattr(awaitable, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


@functools.cache
def _whose(filename: str) -> tuple[str, int]:
    """Return a file's name as a person knows it, and whose it is."""
    if filename.startswith(f"{_HERE}/"):
        # Under every agent lies the loop that hosts it.
        return f"agent_pipeline{filename.removeprefix(_HERE)}", PLUMBING if filename == _LOOP else OURS
    for folder in _LIBRARIES:
        if filename.startswith(f"{folder}/"):
            name = filename.removeprefix(f"{folder}/")
            return name, PLUMBING if name.partition("/")[0] in _PLUMBING else FOREIGN
    if filename.startswith("<frozen "):
        return filename, PLUMBING
    for folder in _STANDARD:
        if filename.startswith(f"{folder}/"):
            return filename.removeprefix(f"{folder}/"), PLUMBING
    return filename, USER
