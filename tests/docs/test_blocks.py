"""What the documentation tells its reader to do works."""

import socket
from pathlib import Path

import pytest
from tests.docs.blocks import Reader, blocks_of
from tests.house.tracked import relative, tracked

DOCUMENTS = [relative(path) for path in tracked("README.md", "ARCHITECTURE.md", "docs/*.md")]
RUNNING = [one for one in DOCUMENTS if any(block.language in {"sh", "python", "yaml"} for block in blocks_of(one))]


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.mark.parametrize("document", RUNNING)
def test_document_can_be_followed(document: str, tmp_path: Path) -> None:
    """A command that does not work costs a newcomer's trust."""
    reader = Reader(tmp_path, port=free_port())

    for block in blocks_of(document):
        if block.is_run and not block.is_slow:
            reader.follow(block)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("document", [one for one in RUNNING if any(block.is_slow for block in blocks_of(one))])
def test_document_can_be_followed_to_its_end(document: str, tmp_path: Path) -> None:
    """As above, with what takes seconds."""
    reader = Reader(tmp_path, port=free_port())

    for block in blocks_of(document):
        if block.is_run:
            reader.follow(block)


def test_every_mark_is_one_the_reader_knows() -> None:
    """A misspelt mark would leave out, or let pass, what it stands above."""
    unknown = [
        f"{block}: {block.mark!r}"
        for document in DOCUMENTS
        for block in blocks_of(document)
        if block.mark and block.is_run and not block.is_slow and not block.is_output
    ]

    assert not unknown


def test_a_block_that_does_not_work_is_noticed(tmp_path: Path) -> None:
    """The reader above must be able to fail."""
    reader = Reader(tmp_path, port=free_port())
    works, says, fails, lies = blocks_of("tests/docs/sample.md")

    reader.follow(works)

    reader.follow(says)
    with pytest.raises(AssertionError, match="ended with 3"):
        reader.follow(fails)
    with pytest.raises(AssertionError, match="not printed"):
        reader.follow(lies)
