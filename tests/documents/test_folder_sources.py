"""Globs, folders and single files, and sources that can't be used at all."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.documents.reading import read, texts, write
from tests.unprivileged import read_only_folder, unprivileged

from agent_pipeline.documents import SourceSpec, open_source
from agent_pipeline.errors import InputError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a folder with what folders hold: nested files, hidden ones, links, a pipe, a huge and a broken file."""
    for name in (
        "docs/b.md",
        "docs/a/z.md",
        "docs/a/y.txt",
        "docs/a.md",
        "docs/.hidden.md",
        "docs/.git/x.md",
        "top.md",
    ):
        write(tmp_path / name, f"text of {name}")
    write(tmp_path / "docs/bad.md", b"\xff\xfe")
    write(tmp_path / "docs/empty.md", "")
    (tmp_path / "docs/link.md").symlink_to(tmp_path / "top.md")
    (tmp_path / "docs/linked").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "docs/pipe.md")
    with (tmp_path / "docs/huge.md").open("wb") as file:
        file.truncate(10 * 1024 * 1024 + 1)
    return tmp_path


def test_a_glob_takes_regular_files_in_order(tree: Path) -> None:
    """Ids are paths relative to the config's folder; what is no regular UTF-8 file of usual size says so."""
    entries = read(SourceSpec(glob="docs/**/*.md", root=tree))

    assert [entry.id for entry in entries] == [
        "docs/a/z.md",
        "docs/a.md",
        "docs/b.md",
        "docs/bad.md",
        "docs/empty.md",
        "docs/huge.md",
        "docs/link.md",
        "docs/pipe.md",
    ]
    assert texts(entries) == [(name, f"text of {name}") for name in ("docs/a/z.md", "docs/a.md", "docs/b.md")]
    problems = {entry.id: str(entry.error) for entry in entries if entry.error}
    assert problems == {
        "docs/bad.md": f"{tree}/docs/bad.md: not UTF-8 text (byte 0)",
        "docs/huge.md": f"{tree}/docs/huge.md: the document has more than 10485760 bytes",
        "docs/link.md": f"{tree}/docs/link.md: the document can't be read: a symbolic link, which is not followed",
        "docs/pipe.md": f"{tree}/docs/pipe.md: not a regular file (a pipe)",
    }


@pytest.mark.parametrize(
    ("glob", "ids"),
    [
        ("*.md", ["top.md"]),
        ("docs/*/?.txt", ["docs/a/y.txt"]),
        ("docs/a/**", ["docs/a/y.txt", "docs/a/z.md"]),
        ("**/a/**/[z].md", ["docs/a/z.md"]),
        ("docs/.h*.md", ["docs/.hidden.md"]),
        ("top.md", ["top.md"]),
        ("docs/../docs/b*.md", ["b.md", "bad.md"]),
    ],
)
def test_globs_mean_what_shells_mean(tree: Path, glob: str, ids: list[str]) -> None:
    """`**` is any depth, hidden names need a dot in the pattern, and nothing is found twice."""
    assert [entry.id for entry in read(SourceSpec(glob=glob, root=tree))] == ids


def test_an_absolute_glob_has_ids_relative_to_its_fixed_folder(tree: Path) -> None:
    """The folder above is no news; without it ids stay the same on another machine."""
    assert [entry.id for entry in read(SourceSpec(glob=f"{tree}/docs/a/*", root=Path("/")))] == ["y.txt", "z.md"]


def test_a_folder_is_all_its_files(tree: Path) -> None:
    """Ids are relative to the folder."""
    entries = read(SourceSpec(path=Path("docs/a"), root=tree))

    assert texts(entries) == [("y.txt", "text of docs/a/y.txt"), ("z.md", "text of docs/a/z.md")]


def test_a_name_that_can_not_be_an_id_is_an_error_of_that_file(tmp_path: Path) -> None:
    """Names are bytes on Linux; the ledger and the log need text."""
    (tmp_path / "a.md").write_text("a")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.md"))).write_text("b")
    (tmp_path / "c\nd.md").write_text("c")

    entries = read(SourceSpec(path=tmp_path))

    assert [(entry.id, entry.error is None) for entry in entries] == [
        ("a.md", True),
        ("file-2", False),
        ("file-3", False),
    ]
    for entry in entries:
        assert entry.source is not None
        entry.source.encode()


@pytest.mark.parametrize("name", ["notes.md", "notes.TXT", "tool.py", "book.ipynb"])
def test_a_single_file_is_one_document(tmp_path: Path, name: str) -> None:
    """Its text is taken as it is, its name is the id; a link the user named is followed."""
    spec = write(tmp_path / "store" / "real", "\ufeffhé\n")
    (tmp_path / name).symlink_to(tmp_path / "store" / "real")
    spec = SourceSpec(path=Path(name), root=tmp_path)

    assert texts(read(spec)) == [(name, "hé\n")]
    assert open_source(spec).count_hint == 1


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (SourceSpec(path=Path("missing.jsonl")), "does not exist"),
        (SourceSpec(path=Path("missing")), "does not exist"),
        (SourceSpec(path=Path("top.md/x.json")), "can't be read: Not a directory"),
        (SourceSpec(path=Path("docs/pipe.md")), r"not a regular file \(a pipe\); to read from a pipe"),
        (SourceSpec(path=Path("/dev/zero")), r"not a regular file \(a device\)"),
        (SourceSpec(path=Path("image.png")), "unknown format"),
        (SourceSpec(path=Path("a\x00b.md")), "not a usable path"),
        (SourceSpec(path=Path("docs/.git/empty")), "matches no file"),
        (SourceSpec(glob="docs/*.rst"), "matches no file"),
        (SourceSpec(glob="nowhere/*.md"), "does not exist"),
        (SourceSpec(glob="docs/*/../*.md"), "not a usable glob"),
        (SourceSpec(glob=""), "not a usable glob"),
        (SourceSpec(), "exactly one"),
        (SourceSpec(glob="*", stdin=True), "exactly one"),
    ],
)
def test_a_source_that_can_not_be_used_is_refused_at_once(tree: Path, spec: SourceSpec, match: str) -> None:
    """One clear message, before anything is begun; pipes and devices are never waited for."""
    write(tree / "image.png", b"\x89PNG")
    (tree / "docs/.git/empty").mkdir()

    with pytest.raises(InputError, match=match):
        open_source(SourceSpec(path=spec.path, glob=spec.glob, stdin=spec.stdin, root=tree))


@contextmanager
def nested(root: Path, name: str, *, depth: int) -> Generator[None]:
    """Nest folders in each other with one file in the last, deeper than Python itself can remove."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("f.md", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", root / name], check=True)


def test_folders_nested_deeper_than_calls_may_be_are_walked(tmp_path: Path) -> None:
    """What lies below has no usable id, and says so; the rest is read."""
    (tmp_path / "z.md").write_text("z")
    with nested(tmp_path, "a", depth=1200):
        entries = read(SourceSpec(path=tmp_path))

    assert texts(entries) == [("z.md", "z")]
    assert [str(entry.error).rpartition(": ")[2] for entry in entries[:-1]] == [
        "the id has 2404 characters, more than 512"
    ]


def test_a_folder_deeper_than_a_path_may_be_long_is_an_error_of_its_own(tmp_path: Path) -> None:
    """Nothing is left out silently."""
    with nested(tmp_path, "a" * 200, depth=30):
        entries = read(SourceSpec(path=tmp_path))

    assert [entry.id for entry in entries] == ["file-1"]
    assert entries[0].error is not None


@pytest.mark.parametrize(
    "spec",
    [
        SourceSpec(path=Path("n" * 300)),
        SourceSpec(path=Path("n" * 300 + "/in.jsonl")),
        SourceSpec(path=Path("\ud800")),
        SourceSpec(path=Path("\ud800.json")),
        SourceSpec(glob="n" * 300 + "/*.md"),
        SourceSpec(glob="\ud800/*.md"),
    ],
)
def test_a_name_no_file_can_have_is_no_source(tmp_path: Path, spec: SourceSpec) -> None:
    """The operating system has its own errors for these; the message can be shown anywhere."""
    with pytest.raises(InputError) as caught:
        open_source(SourceSpec(path=spec.path, glob=spec.glob, root=tmp_path))

    str(caught.value).encode()


def test_a_source_behind_a_closed_door_says_so(tmp_path: Path) -> None:
    """Not even whether it is a folder can be found out."""
    for spec in (SourceSpec(path=Path("in/docs.json")), SourceSpec(glob="in/deep/*.md"), SourceSpec(path=Path("in/d"))):
        with read_only_folder({}) as root:
            (root / "in" / "deep").mkdir(parents=True)
            (root / "in" / "docs.json").write_text("[]")
            (root / "in").chmod(0)
            with unprivileged(), pytest.raises(InputError):
                open_source(SourceSpec(path=spec.path, glob=spec.glob, root=root))
            (root / "in").chmod(0o700)
