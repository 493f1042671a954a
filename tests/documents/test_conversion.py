"""A process that converts: what it is given, what it may not do, and what becomes of files that it does not survive."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.documents.convertible import HTML, docx, evil, fake, pdf

from agent_pipeline.documents.conversion import CONVERSION_MEMORY_BYTES, ConversionProcess, Converted
from agent_pipeline.documents.conversion_child import convert
from agent_pipeline.errors import DocumentInvalidError

ECHO = "answer(content.decode())"


@pytest.mark.parametrize(
    ("content", "suffix", "text", "title"),
    [
        (HTML.encode(), ".html", "# Nurseries\n\nA **nursery** is where tasks live.", "Tasks"),
        ("<p>caf\u00e9</p>".encode("latin-1"), ".htm", "café", None),
        ('<meta charset="koi8-r"><p>\u043c\u0438\u0440</p>'.encode("koi8-r"), ".html", "\u043c\u0438\u0440", None),
        (pdf("A nursery", "is where tasks live."), ".pdf", "A nursery\n\nis where tasks live.", None),
        (docx("A nursery", "is where tasks live."), ".docx", "A nursery\n\nis where tasks live.", None),
    ],
    ids=["html", "old html", "html that says", "pdf", "docx"],
)
def test_each_format_becomes_its_text(content: bytes, suffix: str, text: str, title: str | None) -> None:
    """One process converts one file after the other."""
    with closing(ConversionProcess()) as process:
        made = [process.convert(content, suffix) for _ in range(2)]

    for one in made:
        assert "\n\n".join(line for line in one.text.split("\n") if line.strip()) == text
        assert one.title == title


def test_the_suffix_alone_decides_what_a_file_is() -> None:
    """A zip archive or a web page under the name of a PDF must not reach a converter nobody expects."""
    with closing(ConversionProcess()) as process:
        for content in (HTML.encode(), docx("words")):
            with pytest.raises(DocumentInvalidError, match="it can't be converted to text: "):
                process.convert(content, ".pdf")
        assert process.convert(HTML.encode(), ".html").title == "Tasks"


def test_nothing_is_fetched() -> None:
    """A document that phones home tells who reads it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/pixel.png"
        page = f'<link rel="stylesheet" href="{address}"><img src="{address}"><iframe src="{address}"></iframe>words'
        with closing(ConversionProcess()) as process:
            assert address in process.convert(page.encode(), ".html").text
            try:
                process.convert(docx("words", picture=address), ".docx")
            except DocumentInvalidError as exc:
                assert "external" in str(exc)  # noqa: PT017 - either will do, but for a request

        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "does",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.getaddrinfo('example.org', 80)",
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_a_converter_that_was_taken_over_reaches_neither_network_nor_programs(does: str) -> None:
    """Parsers of hostile formats have holes."""
    with closing(evil(does)) as process, pytest.raises(DocumentInvalidError, match="PermissionError"):
        process.convert(b"x", ".html")


def test_it_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not have, a hole in it can't give away."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-documents")

    with closing(evil("dict(os.environ)")) as process:
        seen = process.convert(b"x", ".html").text

    assert "PATH" in seen
    assert "not-for-documents" not in seen


def test_memory_has_a_bound_and_the_next_file_another_process() -> None:
    """A few bytes can unfold to many."""
    with closing(evil("len(bytearray(4 * 1024**3)) if stream.read() == b'bomb' else 'fine'")) as process:
        with pytest.raises(DocumentInvalidError, match="more than 2,147,483,648 bytes of memory"):
            process.convert(b"bomb", ".html")
        assert process.convert(b"x", ".html").text == "fine"


def test_what_libraries_print_is_no_answer() -> None:
    """They warn on stdout and stderr as they like."""
    with closing(evil("print('{}') or os.write(1, b'{}') and 'fine'")) as process:
        assert process.convert(b"x", ".html").text == "fine"


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """The others must not wait for ever; the next one is converted again."""
    with closing(fake(tmp_path, f"time.sleep(60) if content == b'slow' else {ECHO}", timeout=1.0)) as process:
        with pytest.raises(DocumentInvalidError, match=r"converting it to text took more than 1 s"):
            process.convert(b"slow", ".pdf")
        assert process.convert(b"fast", ".pdf") == Converted("fast", None)


def test_one_that_reads_nothing_is_given_up_too(tmp_path: Path) -> None:
    """10 MiB do not fit into a pipe."""
    program = tmp_path / "deaf.py"
    program.write_text("import time; time.sleep(60)", encoding="utf-8")

    deaf = ConversionProcess([sys.executable, str(program)], timeout=0.5)
    with closing(deaf) as process, pytest.raises(DocumentInvalidError, match=r"took more than 0\.5 s"):
        process.convert(bytes(10 * 1024 * 1024), ".pdf")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("os._exit(3)", r"broke off \(exit code 3\)"),
        ("os.kill(os.getpid(), 11)", r"broke off \(exit code -11\)"),
        ("os.kill(os.getpid(), 24)", "took more than 60 s"),
        ("answering.write(b'nonsense\\n'); answering.flush()", "broke off"),
        ("answering.write(b'[]\\n'); answering.flush()", "broke off"),
        ("answering.write(b'x' * 70000); answering.flush()", "broke off"),
        ("answer('short', size=10); os._exit(0)", "broke off"),
        ("answer('', size=10 * 1024 * 1024 + 1)", "the text in it has more than 10485760 bytes"),
        ("answer(' \\n')", r"there is no text in it; a scan has to go through text recognition \(OCR\) first"),
        ("answer('', problem='Broken: no')", "it can't be converted to text: Broken: no"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_file_converted(tmp_path: Path, answer: str, problem: str) -> None:
    """One bad file is one failed document."""
    statement = f"exec({answer!r}) if content == b'bad' else {ECHO}"
    with closing(fake(tmp_path, statement)) as process:
        with pytest.raises(DocumentInvalidError, match=problem):
            process.convert(b"bad", ".pdf")
        assert process.convert(b"good", ".pdf") == Converted("good", None)


def test_killed_from_another_thread_it_answers_at_once_and_never_begins_again(tmp_path: Path) -> None:
    """This is how a run that is cancelled gets its threads back."""
    process = fake(tmp_path, "time.sleep(60)")
    threading.Timer(0.2, process.kill).start()

    begun = time.monotonic()
    for _ in range(2):
        with pytest.raises(DocumentInvalidError, match="cancelled"):
            process.convert(b"x", ".pdf")

    assert time.monotonic() - begun < 10
    process.close()


def test_closed_it_leaves_neither_process_nor_descriptor(tmp_path: Path) -> None:
    """A run that reads ten thousand files must not run out of them."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    process = fake(tmp_path, "answer(str(os.getpid()))")
    child = int(process.convert(b"x", ".pdf").text)

    process.close()
    process.close()

    assert not Path(f"/proc/{child}").exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_it_does_not_outlive_who_began_it() -> None:
    """A run that was killed can end nobody, and a file may keep its converter busy for minutes."""
    process = evil("__import__('time').sleep(60)")
    with subprocess.Popen(process._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        asked = {"suffix": ".html", "size": 1, "cpu_seconds": 60, "memory_bytes": CONVERSION_MEMORY_BYTES}
        child.communicate(json.dumps(asked).encode() + b"\nx", timeout=20)

    assert child.returncode == 1


def test_the_child_converts_without_a_process_too() -> None:
    """What it does is plain: bytes in, markdown out."""
    assert convert(HTML.encode(), ".html") == ("# Nurseries\n\nA **nursery** is where tasks live.", "Tasks")


@pytest.mark.slow
def test_a_real_bomb_is_one_failed_document() -> None:
    """400 MiB of text in a Word file of 400 KiB."""
    content = docx("b" * 400 * 1024 * 1024)
    assert len(content) < 1024 * 1024

    begun = time.monotonic()
    with closing(ConversionProcess(timeout=20)) as process, pytest.raises(DocumentInvalidError, match="took more than"):
        process.convert(content, ".docx")
    assert time.monotonic() - begun < 40
