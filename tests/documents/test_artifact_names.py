"""The names of artifacts: hostile, over-long and colliding ones, by example and by the thousand."""

import hashlib
import os
import re
import tempfile
import unicodedata
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.documents.writing import document, write_all

from agent_pipeline.documents.names import candidate_names, folded
from agent_pipeline.domain.document import Document, JsonValue


def name_of(made: Document) -> str:
    """Return the name a document gets in an empty folder."""
    return next(candidate_names(made))


@pytest.mark.parametrize(
    ("slug", "extension", "name"),
    [
        ("notes", "md", "notes.md"),
        ("a-.-b c", "md", "a.b-c.md"),
        ("q\u0301x \u20ac", "md", "q\u0301x.md"),
        ("notes", ".PY", "notes.py"),
        ("notes.md", "md", "notes.md"),
        ("notes.md.MD", "md", "notes.md"),
        ("setup.py", "md", "setup-py.md"),
        ("release-1.2", "md", "release-1.2.md"),
        ("notes", "tar.gz", "notes.md"),
        ("notes", "../sh", "notes.md"),
        ("notes", "", "notes.md"),
        ("notes", "abcdefghijk", "notes.md"),
        ("notes", 5, "notes.md"),
        ("../../etc/passwd", "md", "etc-passwd.md"),
        ("/etc/passwd", "md", "etc-passwd.md"),
        ("C:\\Windows\\x", "md", "C-Windows-x.md"),
        ("a\x00b\nc\x1bd", "md", "a-b-c-d.md"),
        (".hidden", "md", "hidden.md"),
        ("--rf", "md", "rf.md"),
        ("trailing. . ", "md", "trailing.md"),
        ("two words", "md", "two-words.md"),
        ("a....b", "md", "a-b.md"),
        ("CON", "md", "doc-CON.md"),
        ("nul.txt", "md", "nul-txt.md"),
        ("aux.1", "md", "doc-aux.1.md"),
        ("com¹", "md", "doc-com¹.md"),
        ("Lpt9", "py", "doc-Lpt9.py"),
        ("console", "md", "console.md"),
        ("cafe\u0301", "md", "caf\u00e9.md"),
        ("gu\u202eide\u200b", "md", "gu-ide.md"),
        ("日本語", "md", "日本語.md"),
        ("🙂", "md", "7.md"),
        ("", "md", "7.md"),
        ("..", "md", "7.md"),
        (None, None, "7.md"),
        (["x"], "md", "7.md"),
    ],
)
def test_names_are_made_safe(slug: JsonValue, extension: JsonValue, name: str) -> None:
    """A model made them up; each case is one that did harm somewhere."""
    assert name_of(document(file_slug=slug, extension=extension)) == name


@pytest.mark.parametrize(
    ("document_id", "name"),
    [("guide/intro.md", "guide-intro.md"), ("src/app.py", "src-app-py.md"), ("../..", None), ("🙂", None)],
)
def test_without_a_slug_the_id_makes_the_name(document_id: str, name: str | None) -> None:
    """Ids are paths and urls as often as not; one of which nothing is left becomes a hash."""
    found = name_of(document(document_id=document_id))

    digest = hashlib.sha256(document_id.encode()).hexdigest()[:10]
    assert found == (name or f"document-{digest}.md")


def test_long_names_are_cut_and_stay_apart() -> None:
    """255 bytes is the limit of most file systems, also with an id appended."""
    documents = [document(file_slug="漢" * 200 + end, document_id="i" * 400) for end in "ab"]

    names = [name for made in documents for name in islice(candidate_names(made), 4)]

    assert all(len(name.encode()) <= 255 for name in names)
    assert len(set(names)) == 8


NAMES = st.one_of(
    st.text(max_size=300),
    st.text(st.sampled_from("./\\-~: \x00\n%$aAéE\u0301ßc"), max_size=12),
    st.text(st.characters(), max_size=6),  # with half characters
    st.sampled_from(["..", "con", "NUL.", "a" * 300, "../x", "x.md", "X.md", "link", "Link", "-", "/", "\x00"]),
)


IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of its own in there
"""Where syncing costs nothing: thousands of files are written for their names."""

WANTED = st.lists(st.tuples(NAMES, NAMES, st.none() | NAMES), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(wanted=WANTED)
def test_no_name_leaves_the_folder_or_takes_anothers_place(wanted: list[tuple[str, str, str | None]]) -> None:
    """Whatever a model or a source calls a document: one new file of its own, directly in the folder."""
    check_files(wanted)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_none_of_ten_thousand_documents_does() -> None:
    """The same with enough examples to meet rare ones."""
    documents = 0

    @settings(max_examples=10_000, deadline=None)
    @given(wanted=WANTED)
    def check(wanted: list[tuple[str, str, str | None]]) -> None:
        nonlocal documents
        check_files(wanted)
        documents += len(wanted)

    check()

    print(f"{documents:,} hostile names, in folders that begin with some of them taken")  # noqa: T201 - the figure
    assert documents >= 10_000


@settings(max_examples=500, deadline=None)
@given(document_id=NAMES, slug=NAMES, extension=NAMES)
def test_every_candidate_is_a_safe_name_and_a_new_one(document_id: str, slug: str, extension: str) -> None:
    """However many names are taken, the next one is as safe as the first."""
    names = list(islice(candidate_names(document(document_id=document_id, file_slug=slug, extension=extension)), 6))

    assert len({folded(name) for name in names}) == 6
    for name in names:
        check_name(name)


def check_name(name: str) -> None:
    """Check that a name is one on every common file system, and nothing but a name."""
    assert name[0] not in ".- "
    assert len(name.encode()) <= 255
    assert "/" not in name
    assert "\\" not in name
    assert unicodedata.is_normalized("NFC", name)
    assert not any(unicodedata.category(character)[0] in "CZ" for character in name)
    assert name.partition(".")[0].lower() not in {"con", "nul", "aux", "prn", "com1", "lpt1"}
    assert re.search(r"[^.\- ]\.[a-z0-9]{1,10}$", name)


def check_files(wanted: list[tuple[str, str, str | None]]) -> None:
    """Write documents of these ids, slugs and extensions, and look at every file."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as root:
        directory = Path(root) / "out"
        directory.mkdir()
        (directory / "x.md").write_text("old")
        (directory / "link.md").symlink_to(Path(root) / "outside")
        documents = [
            Document(document_id or "0", f"{index}", fields={"file_slug": slug, "extension": extension})
            for index, (document_id, slug, extension) in enumerate(wanted)
        ]

        artifacts = write_all(directory, documents)

        assert list(Path(root).iterdir()) == [directory]
        names = [path.name for path in directory.iterdir()]
        assert len(names) == len(documents) + 2
        assert len({folded(name) for name in names}) == len(names)
        assert (directory / "x.md").read_text() == "old"
        for index, artifact in enumerate(artifacts):
            path = Path(artifact.path)
            assert os.path.realpath(path) == str(path)
            assert path.parent == directory
            assert path.read_text() == str(index)
            check_name(path.name)
