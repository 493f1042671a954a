"""Whatever a source holds: entries, or errors of ours, which can be stored and shown like anything else."""

import json
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.documents.reading import read

from agent_pipeline.documents import SourceSpec
from agent_pipeline.domain.document import SourceEntry
from agent_pipeline.errors import DocumentInvalidError, InputError

FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))

TOKENS = [
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"\n", b"\r", b"\r\n", b" ", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xc3",
    b'"id"', b'"text"', b'"markdown"', b'"content"', b'"url"', b'"meta"', b'"metadata"', b'"scraped_documents"',
    b'"follow_up_documents"', b"text", b"id", b"url", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"9" * 5000,
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\x"', b"'", b";", b"\t", b"\\", b"\x1c", b"\x85",
    b"\xe2\x80\xa8", b"[" * 3000, b'{"a":' * 3000, b'[{"text": "a"}]', b'{"text": "a"}\n', b'"a""b"', b"text,id\n",
]  # fmt: skip

VALID = {
    "json": [
        (
            b'{"scraped_documents": [{"url": "u", "markdown": "m", "metadata": {"a": [1, null]}}, {"link": "l"}], '
            b'"follow_up_documents": [{"source_url": "s", "content": "c", "meta": {}}]}'
        ),
        b'[{"id": 1, "text": "t", "lang": "en"}, {"id": "b", "markdown": "", "content": "c", "meta": {"k": 1.5}}]',
    ],
    "jsonl": [b'{"id": "a", "text": "t", "meta": {"k": true}}\n\n{"url": "u", "content": "c"}\n{"text": ""}\n'],
    "csv": [b'id,text,lang\na,"first\nsecond ""q""",en\n,plain,de\n\nb,x,y\n', b"text\na\nb\n"],
    "md": [b"# Title\n\ntext\n"],
}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=6)
    | st.sampled_from(["\ud800", "a\x00b", " ", "x" * 600]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "text", "markdown", "content", "url", "source_url", "link", "metadata", "meta", "k", "\udfff"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def damaged(form: str, seed: int) -> bytes:
    """Return a valid source with some of its bytes exchanged, doubled or gone."""
    dice = random.Random(seed)
    data = bytearray(dice.choice(VALID[form]))
    for _ in range(dice.randint(1, 4)):
        begin = dice.randrange(len(data))
        end = min(begin + dice.choice([0, 1, 5, 40]), len(data))
        data[begin:end] = dice.choice([b"", dice.choice(TOKENS), bytes(data[begin:end]) * 2, dice.randbytes(2)])
        data = data or bytearray(b"{}")
    return bytes(data)


def dumped(value: object) -> bytes:
    """Write a value as JSON, with all that Python lets through."""
    return json.dumps(value).encode()


SOUP = st.lists(st.sampled_from(TOKENS), max_size=20).map(b"".join)
ENTRIES = st.dictionaries(st.sampled_from(["text", "id", "url", "markdown", "meta", "k"]), VALUES, max_size=4).map(
    lambda entry: {"text": "t", "url": "u"} | entry
)
TYPICAL: dict[str, st.SearchStrategy[bytes]] = {
    "json": st.one_of(
        VALUES.map(dumped),
        st.lists(ENTRIES | VALUES, max_size=4).map(dumped),
        st.dictionaries(st.sampled_from(["scraped_documents", "follow_up_documents"]), st.lists(ENTRIES)).map(dumped),
    ),
    "jsonl": st.lists(ENTRIES.map(dumped) | VALUES.map(dumped) | SOUP, max_size=4).map(b"\n".join),
    "csv": st.tuples(st.sampled_from([b"text\n", b"id,text\n", b"k,content,id\r\n", b'"te""xt",text\n']), SOUP).map(
        b"".join
    ),
    "md": st.text(max_size=50).map(str.encode),
}


def contents(form: str) -> st.SearchStrategy[bytes]:
    """Return what a file of this form may hold: anything, the format's own tokens in any order, nearly valid."""
    nearly_valid = st.integers(0, 2**32).map(lambda seed: damaged(form, seed))
    return st.one_of(st.binary(max_size=200), SOUP, nearly_valid, TYPICAL[form])


def check_entry(entry: SourceEntry) -> None:
    """Check what everybody may rely on who is given an entry."""
    assert [entry.document, entry.skipped, entry.error].count(None) == 2
    assert 0 < len(entry.id) <= 512
    for stored in (entry.id, entry.source or "", entry.skipped or "", str(entry.error or "")):
        stored.encode()
    assert len(str(entry.error)) < 2000
    if entry.error is not None:
        assert type(entry.error) is DocumentInvalidError
    if entry.document is not None:
        assert (entry.document.id, entry.document.source) == (entry.id, entry.source)
        entry.document.text.encode()
        entry.document.sha256()
        json.dumps(dict(entry.document.metadata), allow_nan=False)


def check_source(spec: SourceSpec) -> str:
    """Read all of a source; return how that ended."""
    try:
        entries = read(spec, threaded=False)
    except InputError as error:
        message = str(error)
    else:
        for entry in entries:
            check_entry(entry)
        assert [entry.position for entry in entries] == list(range(1, len(entries) + 1))
        return "documents" if any(entry.document for entry in entries) else "none usable"
    message.encode()
    assert len(message) < 2000
    return "refused"


def check_file(form: str, data: st.DataObject) -> str:
    """Check a source that is one file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"in.{form}").write_bytes(data.draw(contents(form)))
        return check_source(SourceSpec(path=Path(f"in.{form}"), root=Path(folder)))


NAMES = st.lists(
    st.binary(min_size=1, max_size=8)
    | st.text(max_size=60).map(str.encode)
    | st.sampled_from([b"a.md", b"-", b"\xff.md", b"n" * 255, b"a\nb", b".hidden", b"[x].md", b"*"]),
    max_size=4,
)
# Each begins in the folder and never leads out of it: a glob may name any place of this machine.
GLOBS = st.just("") | st.sampled_from(["**/*", "*.md", ".*", "[", "[!a]*", "**", "\ud800*", "a" * 300 + "*"])
GLOBS |= st.lists(st.sampled_from(["*", "**", "?", "[", "]", "!", "/", "a", "\x00", "\\"]), max_size=8).map(
    lambda parts: "".join(["a*", *parts])
)


def check_folder(data: st.DataObject) -> str:
    """Check a source that is a folder, or a glob, and what lies in there."""
    glob, content = data.draw(GLOBS), data.draw(contents("md"))
    with tempfile.TemporaryDirectory() as folder:
        for name in data.draw(NAMES):
            path = os.path.join(os.fsencode(folder), name.replace(b"/", b"_").replace(b"\x00", b"_"))  # noqa: PTH118
            if len(name) <= 255 and name not in {b".", b".."} and not os.path.lexists(path):
                Path(os.fsdecode(path)).write_bytes(content)
        return check_source(SourceSpec(glob=glob, root=Path(folder)) if glob else SourceSpec(path=Path(folder)))


FORMS = ["json", "jsonl", "csv", "md", "folder"]


def examine(form: str, examples: int) -> dict[str, int]:
    """Try so many examples of one form; return how they ended."""
    ended = {"refused": 0, "documents": 0, "none usable": 0}

    @settings(FUZZ, max_examples=examples)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        ended[check_folder(data) if form == "folder" else check_file(form, data)] += 1

    check()
    return ended


@pytest.mark.parametrize("form", FORMS)
def test_a_hostile_source_is_at_worst_an_error_of_ours(form: str) -> None:
    """No parser's own exception, no half character that the ledger can't store, no endless message."""
    assert sum(examine(form, 150).values()) >= 150


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", FORMS)
def test_none_of_ten_thousand_hostile_sources_is_worse(form: str) -> None:
    """The same with enough examples to meet rare ones; all three endings have to be met for it to mean something."""
    ended = examine(form, 10_000)

    print(f"{form}: {sum(ended.values()):,} hostile sources: {ended}")  # noqa: T201 - the figure is the point
    assert sum(ended.values()) >= 10_000
    assert min(ended.values()) > 0
