"""Sources with files that are converted: in order, lazily, and gone with whoever wanted them."""

import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from tests.documents.convertible import HTML, docx, fake, pdf
from tests.documents.reading import errors, read, texts
from trio.testing import MockClock

from agent_pipeline.documents import SourceSpec, conversion, open_source
from agent_pipeline.documents.conversion import ConversionProcess
from agent_pipeline.documents.converters import AT_ONCE, Converters, Unconverted
from agent_pipeline.documents.entries import Place
from agent_pipeline.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them."""
    path = tmp_path / "papers"
    path.mkdir()
    (path / "a.md").write_text("Words.", encoding="utf-8")
    (path / "b.PDF").write_bytes(pdf("A nursery"))
    (path / "c.html").write_text(HTML, encoding="utf-8")
    (path / "d.docx").write_bytes(b"broken")
    (path / "e.docx").write_bytes(docx("Tasks"))
    (path / "f.pdf").write_bytes(pdf(" "))
    (path / "g.txt").write_text("More words.", encoding="utf-8")
    return path


def children() -> set[str]:
    """Return the processes this one has."""
    own = os.getpid()
    return set(Path(f"/proc/{own}/task/{own}/children").read_text(encoding="utf-8").split()) | {
        child
        for task in Path(f"/proc/{own}/task").iterdir()
        for child in (task / "children").read_text(encoding="utf-8").split()
    }


@pytest.mark.parametrize("threaded", [True, False])
def test_files_of_all_kinds_come_in_order(folder: Path, *, threaded: bool) -> None:
    """One that can't be converted is one failed document, whose reason is told."""
    before = children()

    found = read(SourceSpec(path=folder), threaded=threaded)

    assert texts(found) == [
        ("a.md", "Words."),
        ("b.PDF", "A nursery"),
        ("c.html", "# Nurseries\n\nA **nursery** is where tasks live."),
        ("e.docx", "Tasks"),
        ("g.txt", "More words."),
    ]
    bad, empty = errors(found)
    assert bad == f"{folder}/d.docx: it can't be converted to text: BadZipFile: File is not a zip file"
    assert empty.startswith(f"{folder}/f.pdf: there is no text in it; a scan has to go")
    assert [entry.position for entry in found] == [1, 2, 3, 4, 5, 6, 7]
    told = [dict(entry.document.metadata) for entry in found if entry.document]
    assert told == [{}, {"format": "pdf"}, {"format": "html", "title": "Tasks"}, {"format": "docx"}, {}]
    assert children() == before


def test_a_single_file_that_is_named_is_converted(folder: Path) -> None:
    """Its link too, as with other files that are named."""
    (folder.parent / "link.pdf").symlink_to(folder / "b.PDF")

    assert texts(read(SourceSpec(path=folder / "b.PDF"))) == [("b.PDF", "A nursery")]
    assert texts(read(SourceSpec(path=folder.parent / "link.pdf"))) == [("link.pdf", "A nursery")]


def test_what_no_text_may_be_no_converted_file_may_be(folder: Path) -> None:
    """A link that was found, a folder, 10 MiB: refused before anything is converted."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "a.pdf").symlink_to("/etc/hostname")
    (folder / "b.pdf").write_bytes(bytes(10 * 1024 * 1024 + 1))
    os.mkfifo(folder / "c.pdf")

    told = errors(read(SourceSpec(path=folder)))

    assert told == [
        f"{folder}/a.pdf: the document can't be read: a symbolic link, which is not followed",
        f"{folder}/b.pdf: the document has more than 10485760 bytes",
        f"{folder}/c.pdf: not a regular file (a pipe)",
    ]


def test_a_limit_counts_converted_files(folder: Path) -> None:
    """What is converted is never skipped, so that this is known before."""
    assert [entry.id for entry in read(SourceSpec(path=folder), limit=3)] == ["a.md", "b.PDF", "c.html"]


def test_without_the_extra_nothing_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nothing to convert it is not missed."""
    monkeypatch.setattr(conversion, "find_spec", lambda _: None)

    for spec in (SourceSpec(path=folder), SourceSpec(path=folder / "b.PDF"), SourceSpec(glob="**/*", root=folder)):
        with pytest.raises(InputError, match=r"b\.PDF: to read \.pdf files, install agent-pipeline\[documents\]"):
            open_source(spec)
    assert len(read(SourceSpec(glob="*.md", root=folder))) == 1


def counting(folder: Path, begun: list[ConversionProcess], answer: str) -> Callable[[], ConversionProcess]:
    """Return what makes processes that answer so, and counts them."""

    def make() -> ConversionProcess:
        begun.append(fake(folder, answer))
        return begun[-1]

    return make


def unconverted(folder: Path, count: int) -> list[Unconverted]:
    """Return files that are there."""
    for number in range(count):
        (folder / f"{number}.pdf").write_text(f"text {number}", encoding="utf-8")
    return [
        Unconverted(folder / f"{number}.pdf", str(number), Place(number + 1, f"{number}.pdf"))
        for number in range(count)
    ]


def test_not_more_is_converted_ahead_than_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first document must not wait for the hundredth; no process is begun for what is not wanted."""
    unconverted(folder, 9)
    seen: list[int] = []
    original = Converters.converted

    async def converted(self: Converters, batch: list[Unconverted]) -> object:
        seen.append(sum(isinstance(one, Unconverted) for one in batch))
        return await original(self, batch)

    monkeypatch.setattr(Converters, "converted", converted)

    async def main() -> None:
        async with aclosing(open_source(SourceSpec(glob="?.pdf", root=folder)).entries()) as entries:
            await anext(entries)

    trio.run(main)

    assert seen == [AT_ONCE]


async def test_several_are_converted_at_the_same_time_each_process_used_again(tmp_path: Path) -> None:
    """As many as there are processors, up to four."""
    begun: list[ConversionProcess] = []
    pool = Converters(make_process=counting(tmp_path, begun, "time.sleep(0.01); answer(content.decode())"))

    for _ in range(2):
        entries = await pool.converted(unconverted(tmp_path, 8))
        assert [entry.document and entry.document.text for entry in entries] == [f"text {n}" for n in range(8)]
    pool.close()

    assert len(begun) == AT_ONCE


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.3])
def test_cancelled_nothing_is_left_running(tmp_path: Path, delay: float) -> None:
    """Neither a process nor the thread that waits for it, when the caller goes on."""
    before = children()

    async def main() -> None:
        pool = Converters(make_process=counting(tmp_path, [], "time.sleep(60)"))
        with trio.move_on_after(delay) as scope:
            try:
                await pool.converted(unconverted(tmp_path, AT_ONCE + 2))
            finally:
                assert not [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
                pool.close()
        assert scope.cancelled_caught
        assert children() == before

    begun = trio.run(_timed, main)

    assert begun < 10


async def _timed(main: Callable[[], Awaitable[None]]) -> float:
    begun = trio.current_time()
    await main()
    return trio.current_time() - begun


def test_in_virtual_time_it_takes_none(folder: Path) -> None:
    """A rehearsal's clock would run ahead of every thread it waits for."""

    async def main() -> float:
        source = open_source(SourceSpec(path=folder), threaded=False)
        with trio.fail_after(1):
            assert len([entry async for entry in source.entries()]) == 7
        return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 0
