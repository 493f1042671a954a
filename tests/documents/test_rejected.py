"""Last texts of documents never approved: one file per document, however often it is worked on."""

import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.documents.writing import document, run_to_its_end, sizes_in

from agent_pipeline.documents import RejectedTexts
from agent_pipeline.documents.names import folded, lasting_stem
from agent_pipeline.errors import ArtifactError


async def test_a_rejected_text_is_named_by_its_id(tmp_path: Path) -> None:
    """A slug is only given to what was approved; ids that look alike stay apart."""
    texts = RejectedTexts(tmp_path / "rejected")

    kept = [
        await texts.keep(document(one, document_id=one, file_slug="good-name", extension="py"))
        for one in ("7", "../a/b", "a-b", "A-b")
    ]

    assert [path.name for path in kept] == ["7.py", "a-b-8e7e11e418.py", "a-b.py", "A-b-b05dd069d0.py"]
    assert [path.read_text() for path in kept] == ["7", "../a/b", "a-b", "A-b"]
    assert {path.parent for path in kept} == {tmp_path / "rejected"}
    assert kept[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize(("first", "second"), [("md", "md"), ("md", "py")])
async def test_a_document_rejected_again_replaces_its_text(
    tmp_path: Path, first: str, second: str, *, threaded: bool
) -> None:
    """In this session or a later one, also where the text is of another kind by then; others stay."""
    for text, extension, other in (("one", first, "txt"), ("two", second, "rst")):
        texts = RejectedTexts(tmp_path, threaded=threaded)
        await texts.keep(document("other", document_id="8.1"))
        await texts.keep(document(text, extension=extension))
        await texts.keep(document(f"{text} once", extension=other))
        await texts.keep(document(f"{text} again", extension=extension))

    assert sizes_in(tmp_path) == {f"7.{second}": 9, "8.1.md": 5}
    assert (tmp_path / f"7.{second}").read_text() == "two again"


async def test_a_rejected_text_that_can_not_be_kept_leaves_the_earlier_one(tmp_path: Path) -> None:
    """And says which document it was."""
    texts = RejectedTexts(tmp_path)
    await texts.keep(document("earlier"))
    (tmp_path / "8.md").mkdir()

    with pytest.raises(ArtifactError, match="the last text of document '8' can't be kept"):
        await texts.keep(document(document_id="8"))

    assert list(sizes_in(tmp_path)) == ["7.md", "8.md"]
    assert (tmp_path / "7.md").read_text() == "earlier"


async def test_a_link_in_the_place_of_a_text_is_not_followed(tmp_path: Path) -> None:
    """What it leads to may be anything."""
    (tmp_path / "target").write_text("untouched")
    (tmp_path / "rejected").mkdir()
    (tmp_path / "rejected" / "7.md").symlink_to(tmp_path / "target")

    kept = await RejectedTexts(tmp_path / "rejected").keep(document("new"))

    assert (kept.is_symlink(), kept.read_text()) == (False, "new")
    assert (tmp_path / "target").read_text() == "untouched"


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_cancelled_text_is_not_kept(tmp_path: Path, *, threaded: bool) -> None:
    """Before it began; afterwards it is carried through."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await RejectedTexts(tmp_path, threaded=threaded).keep(document())

    assert scope.cancelled_caught
    assert sizes_in(tmp_path) == {}


async def test_many_are_kept_at_once(tmp_path: Path) -> None:
    """From as many tasks as there are documents."""
    texts = RejectedTexts(tmp_path)

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(texts.keep, document(document_id=str(number)))

    assert set(sizes_in(tmp_path)) == {f"{number}.md" for number in range(60)}


KILLED = """
import os, signal, sys, trio
from pathlib import Path
from agent_pipeline.documents import RejectedTexts
from agent_pipeline.domain.document import Document

def watch(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
trio.run(RejectedTexts(Path(sys.argv[1])).keep, Document("7", "new"))
"""


async def test_what_a_killed_session_left_half_written_goes(tmp_path: Path) -> None:
    """The text from before is whole until the new one is."""
    await RejectedTexts(tmp_path).keep(document("old"))
    run_to_its_end(KILLED, tmp_path)
    left = os.listdir(tmp_path)  # noqa: PTH208 - names are enough

    await RejectedTexts(tmp_path).keep(document(document_id="8"))

    assert len(left) == 2
    assert sizes_in(tmp_path) == {"7.md": 3, "8.md": 4}


IDS = st.text(max_size=300) | st.text(st.sampled_from("aA./-\u00e9e\u0301ß"), max_size=5)


@given(one=IDS, other=IDS)
def test_no_two_ids_share_a_name(one: str, other: str) -> None:
    """Not on a file system that is blind to case either; and the name is a safe one."""
    stems = [lasting_stem(document_id) for document_id in (one, other)]

    assert (folded(stems[0]) == folded(stems[1])) == (one == other)
    assert (lasting_stem(stems[0]) == stems[0]) == (one == stems[0]), "a name that was made is no other document's id"
    assert all(0 < len(stem.encode()) <= 200 and stem[0] not in ".- /" and "/" not in stem for stem in stems)
