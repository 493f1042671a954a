"""A run's results as a table: what a row says, and that a file is whole or not there."""

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.runs.sample import Sample, go_on, kill, make_sample

from agent_pipeline.errors import InputError, LedgerError, ResultsError
from agent_pipeline.runs.results import write_results
from agent_pipeline.runs.results.rows import COLUMNS

SUFFIXES = ("jsonl", "csv", "parquet")


def read(path: Path) -> list[dict[str, Any]]:
    """Read a table back with somebody else's reader; empty cells of CSV become None."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sql(path: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    """Change a copy of a ledger."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement, values)


@pytest.fixture
def ledger(sample: Sample, tmp_path: Path) -> Path:
    """A copy to change: documents of every outcome."""
    return Path(shutil.copy(sample.run.ledger, tmp_path / "ledger.sqlite3"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_row_says_how_a_document_ended_and_what_it_cost(ledger: Path, tmp_path: Path, suffix: str) -> None:
    """The same values in each format, as far as the format can tell them apart."""
    target = tmp_path / f"out.{suffix}"
    with closing(sqlite3.connect(ledger)) as connection:
        connection.row_factory = sqlite3.Row
        documents = connection.execute("SELECT * FROM documents ORDER BY position").fetchall()
        spent = {
            row[0]: row
            for row in connection.execute(
                "SELECT document_id, count(DISTINCT call_id), count(*), sum(input_tokens), sum(output_tokens), "
                "sum(charged_tokens), sum(cost_micro_usd) FROM attempts GROUP BY 1"
            )
        }

    assert write_results(ledger, target) == len(documents) == 6

    rows = read(target)
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    for row, document in zip(rows, documents, strict=True):
        same = ("document_id", "source", "outcome", "error_code", "error", "failed_stage", "artifact_path")
        assert {name: row[name] for name in same} == {name: document[name] for name in same}
        _, requests, attempts, *tokens, micro_usd = spent.get(row["document_id"], ("", 0, 0, 0, 0, 0, 0))
        told = [row[name] for name in ("requests", "attempts", "input_tokens", "output_tokens", "charged_tokens")]
        assert list(map(int, told)) == [requests, attempts, *tokens]
        assert float(row["cost_usd"]) == pytest.approx(micro_usd / 1e6)
    named = next(row for row in rows if row["outcome"] == "succeeded")
    assert named["fields.title"] == "Plain words"
    assert "text" not in named


def test_the_text_comes_where_it_is_asked_for(ledger: Path, tmp_path: Path) -> None:
    """It is what the artifact holds."""
    write_results(ledger, tmp_path / "out.jsonl", with_text=True)

    texts = {row["artifact_path"]: row["text"] for row in read(tmp_path / "out.jsonl") if row["artifact_path"]}
    assert texts
    assert all(Path(path).read_text(encoding="utf-8") == text for path, text in texts.items())


def test_fields_are_those_of_the_result_the_artifact_was_made_of(ledger: Path, tmp_path: Path) -> None:
    """A stage that was changed and changed back is used again without a new row."""
    sql(
        ledger,
        "INSERT INTO stage_results SELECT document_id, stage, cycle, 'another', "
        "json_set(output_json, '$.text', 'other', '$.fields.title', 'Other'), started_at, ended_at "
        "FROM stage_results WHERE stage IN ('name', 'remark')",
    )

    write_results(ledger, tmp_path / "out.jsonl")

    titles = [row["fields.title"] for row in read(tmp_path / "out.jsonl") if row["outcome"] == "succeeded"]
    assert titles
    assert "Other" not in titles


def test_unfinished_documents_have_no_row_and_a_killed_run_can_be_read(ledger: Path, tmp_path: Path) -> None:
    """A row is a result; what has none yet is not in the table."""
    sql(ledger, "UPDATE documents SET outcome = NULL, ended_at = NULL WHERE position > 2")

    assert write_results(ledger, tmp_path / "out.csv") == 2
    assert [row["position"] for row in read(tmp_path / "out.csv")] == ["1", "2"]


def test_an_unknown_price_is_no_cost_of_nothing(ledger: Path, tmp_path: Path) -> None:
    """A sum that leaves something out would be believed."""
    sql(ledger, "UPDATE attempts SET cost_micro_usd = NULL WHERE rowid = (SELECT min(rowid) FROM attempts)")

    write_results(ledger, tmp_path / "out.jsonl")

    costs = [row["cost_usd"] for row in read(tmp_path / "out.jsonl")]
    assert costs.count(None) == 1


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain", 'a,"b"\nc', "é\u202e"]


def set_fields(ledger: Path, values: list[object], name: str = "note") -> None:
    """Give the documents of a ledger a field, one value after the other."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        ids = [one for (one,) in connection.execute("SELECT document_id FROM documents ORDER BY position")]
        connection.execute("DELETE FROM stage_results")
        for document_id, value in zip(ids, values, strict=False):
            output = json.dumps({"text": "x", "fields": {name: value}, "verdict": None})
            connection.execute(
                "INSERT INTO stage_results VALUES (?, 's', 1, 'i', ?, '2026-01-01T00:00:00+00:00', "
                "'2026-01-01T00:00:00+00:00')",
                (document_id, output),
            )


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_csv_is_a_formula(ledger: Path, tmp_path: Path, text: str) -> None:
    """A spreadsheet would run what a model or a web page wrote."""
    set_fields(ledger, [text], name=text)

    write_results(ledger, tmp_path / "out.csv")
    write_results(ledger, tmp_path / "out.parquet")

    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        head, first, *_ = csv.reader(file)
    is_formula = text[0] in "=+-@\t\r"
    assert first[-1] == (f"'{text}" if is_formula else text)
    assert head[-1] == f"fields.{text}"
    assert read(tmp_path / "out.parquet")[0][f"fields.{text}"] == text


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        ([1, 2, None], "int64", [1, 2, None]),
        ([1, 2.5], "double", [1.0, 2.5]),
        ([True, False], "bool", [True, False]),
        ([True, 1], "string", ["true", "1"]),
        (["a", 1], "string", ["a", "1"]),
        ([[1], {"b": "é"}], "string", ["[1]", '{"b": "é"}']),
        ([2**70, 1], "string", [str(2**70), "1"]),
        ([None, None], "string", [None, None]),
        (["\ud800"], "string", ["\ufffd"]),
    ],
)
def test_a_parquet_column_has_the_one_type_that_holds_all(
    ledger: Path, tmp_path: Path, values: list[object], kind: str, kept: list[object]
) -> None:
    """A reader adds up numbers; what is no plain value comes as JSON."""
    set_fields(ledger, values)

    write_results(ledger, tmp_path / "out.parquet")

    table = pq.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("fields.note").type) == kind
    assert table.column("fields.note").to_pylist()[: len(kept)] == kept


def deep(text: str) -> object:
    """Return a value with a text as deep in it as a stage may put one."""
    value: object = text
    for _ in range(600):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("note", ["a", {"b": ["\ud800"]}], ["a", {"b": ["\ufffd"]}]),
        ("note", {"\ud800": 1}, {"\ufffd": 1}),
        ("no\udfffte", {"a": 1}, {"a": 1}),
        ("note", deep("\ud800"), deep("\ufffd")),
    ],
    ids=["in a list", "as a name", "in a field's name", "deep"],
)
def test_half_a_surrogate_pair_costs_no_table_wherever_it_stands(
    ledger: Path, tmp_path: Path, name: str, value: object, kept: object
) -> None:
    """Models produce them, ledgers keep them, and UTF-8 has none."""
    set_fields(ledger, [value], name=name)

    for suffix in SUFFIXES:
        write_results(ledger, tmp_path / f"out.{suffix}")

        row = read(tmp_path / f"out.{suffix}")[0]
        shown = row[f"fields.{name}".replace("\udfff", "\ufffd")]
        assert (shown if suffix == "jsonl" else json.loads(shown)) == kept


def test_values_of_csv_that_are_no_text_are_json(ledger: Path, tmp_path: Path) -> None:
    """They can be read back."""
    set_fields(ledger, [-1.5, True, ["a"], None])

    write_results(ledger, tmp_path / "out.csv")

    assert [row["fields.note"] for row in read(tmp_path / "out.csv")][:4] == ["-1.5", "true", '["a"]', None]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_that_fails_half_way_leaves_what_was_there(ledger: Path, tmp_path: Path, suffix: str) -> None:
    """Somebody's program reads it meanwhile."""
    folder = tmp_path / "tables"
    folder.mkdir()
    target = folder / f"out.{suffix}"
    target.write_text("before", encoding="utf-8")
    sql(ledger, "UPDATE stage_results SET output_json = '{' WHERE rowid = (SELECT max(rowid) FROM stage_results)")

    with pytest.raises(LedgerError):
        write_results(ledger, target)

    assert [path.name for path in folder.iterdir()] == [target.name]
    assert target.read_text(encoding="utf-8") == "before"


def test_a_place_that_can_not_be_written_is_named(ledger: Path, tmp_path: Path) -> None:
    """With what the operating system says."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "out.csv").mkdir()

    with pytest.raises(
        ResultsError, match=r"file/out\.csv: the results can't be written: (Not a directory|File exists)"
    ):
        write_results(ledger, tmp_path / "file" / "out.csv")
    with pytest.raises(ResultsError, match=r"out\.csv: the results can't be written: Is a directory"):
        write_results(ledger, tmp_path / "out.csv")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["out.xlsx", "out", "out.json"])
def test_an_unknown_format_is_refused_with_the_known_ones(ledger: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"results are written as \.jsonl, \.ndjson, \.csv, \.parquet"):
        write_results(ledger, tmp_path / name)

    assert not (tmp_path / name).exists()


def test_a_run_that_went_on_shows_each_document_once(tmp_path: Path) -> None:
    """Its second session worked on some of them again."""
    sample = make_sample(tmp_path / "project")
    go_on(sample)
    kill(sample)

    write_results(sample.run.ledger, tmp_path / "out.jsonl")

    rows = read(tmp_path / "out.jsonl")
    assert len({row["document_id"] for row in rows}) == len(rows) == 6


LARGE = """
import resource, sys
from pathlib import Path
from agent_pipeline.runs.results import write_results
write_results(Path(sys.argv[1]), Path(sys.argv[2]), with_text=True)  # what every run needs, imports too
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_results(Path(sys.argv[3]), Path(sys.argv[2]), with_text=True)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_memory_does_not_grow_with_the_run(ledger: Path, tmp_path: Path, suffix: str) -> None:
    """200 MB of texts pass through some tens."""
    large = Path(shutil.copy(ledger, tmp_path / "large.sqlite3"))
    with closing(sqlite3.connect(large, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        output = json.dumps({"text": "words " * 17_000, "fields": {"n": 1}, "verdict": None})
        for number in range(2000):
            connection.execute(
                "INSERT INTO documents (document_id, position, outcome, ended_at, started_at, session) "
                "VALUES (?, ?, 'succeeded', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', 1)",
                (f"x{number}", number + 100),
            )
            connection.execute(
                "INSERT INTO stage_results VALUES (?, 's', 1, 'i', ?, '2026-01-01T00:00:00+00:00', "
                "'2026-01-01T00:00:00+00:00')",
                (f"x{number}", output),
            )
        connection.execute("COMMIT")
    assert large.stat().st_size > 200_000_000

    program = [sys.executable, "-c", LARGE, str(ledger), str(tmp_path / f"out.{suffix}"), str(large)]
    grown = int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)

    assert grown < 80
