"""What a report says is what the run left, and nothing in it can do anything."""

import base64
import hashlib
import json
import re
import time
from pathlib import Path

import pytest
from tests.integration.project import BUILT_IN, make_project
from tests.report.reading import HOSTILE, multiply, plant, read, written
from tests.runs.sample import DOCUMENTS, Sample, copy_sample, go_on, kill

from agent_pipeline.compose import Pipeline, RunOptions
from agent_pipeline.domain.document import JsonValue
from agent_pipeline.errors import InputError, LedgerError
from agent_pipeline.gateway.inprocess import simulator_pool
from agent_pipeline.ledger import open_reader
from agent_pipeline.runs.advice import advice_on
from agent_pipeline.runs.directory import find_run, write_private
from agent_pipeline.runs.verify import verify_run
from agent_pipeline.simulator import Simulator

FETCHING = {"src", "href", "action", "data", "srcset", "poster", "background", "ping", "formaction"}
KEY = "sk-proj-Zq8vT3nLx0pRw5yKd2mB7"


def test_every_row_is_the_ledgers(sample: Sample) -> None:
    """A page that counts differently from the ledger is worse than none."""
    with open_reader(sample.run.ledger) as ledger:
        rows = list(ledger.documents())
        attempts = [row.attempt for row in ledger.attempts()]

    page = read(sample)

    assert page.column("id") == [row.document_id for row in rows]
    assert page.column("outcome") == [row.outcome for row in rows]
    assert page.column("code") == [row.error_code for row in rows]
    assert page.column("stage") == [row.failed_stage for row in rows]
    assert page.column("reworks") == [row.reworks for row in rows]
    for document_id, count, tokens in zip(
        page.column("id"), page.column("attempts"), page.column("tokens"), strict=True
    ):
        own = [one for one in attempts if one.document_id == document_id]
        assert (count, tokens) == (len(own), sum(one.charged_tokens for one in own))


def test_a_story_has_each_pass_and_request(sample: Sample) -> None:
    """Rework and retries are what one looks for."""
    with open_reader(sample.run.ledger) as ledger:
        attempts = [row.attempt for row in ledger.attempts_of("2")]
    page = read(sample)
    stages, roles = page.data["names"]["stages"], page.data["names"]["roles"]

    story = page.story("2")

    passes = [(stages[stage], cycle) for stage, cycle, *_ in story["passes"]]
    assert passes[:5] == [("route", 1), ("transform", 1), ("review", 1), ("transform", 2), ("review", 2)]
    shown = [(stages[story["passes"][one[0]][0]], roles[one[11]], one[6], one[3]) for one in story["attempts"]]
    assert shown == [(one.stage, one.role, one.status_code, round(one.latency_seconds * 1000)) for one in attempts]
    assert [verdict[2] for verdict in story["verdicts"]] == [False, True]


def test_verdict_counts_and_figures_are_told(sample: Sample) -> None:
    """The first lines answer what most people ask."""
    page = read(sample)

    assert (
        "Completed, with failures 3 of 6 documents succeeded, 2 failed, 1 skipped. More documents failed than"
        in page.text
    )
    assert "simulated: no model was asked" in page.text
    assert "nothingsimulated; the same tokens would cost $" in page.text.replace(" simulated;", "simulated;")
    assert "rejected" in page.text
    assert page.data["timeline"]["documents"][-1] == 6
    with open_reader(sample.run.ledger) as ledger:
        assert page.data["timeline"]["tokens"][-1] == sum(row.attempt.charged_tokens for row in ledger.attempts())


def test_each_failure_says_what_to_do(sample: Sample) -> None:
    """The reader may not know the commands that would say it."""
    with open_reader(sample.run.ledger) as ledger:
        codes = {row.error_code for row in ledger.documents() if row.error_code is not None}

    page = read(sample)

    assert codes
    for code in codes:
        assert advice_on(code).todo in page.text
        assert advice_on(code).meaning in page.text


def test_an_unknown_price_is_told_as_unknown(sample: Sample) -> None:
    """A sum that leaves something out is no cost."""
    sample.manifest(lambda content: content.update(simulator=False))
    sample.edit(
        sample.run.events, lambda lines: [line.replace('"simulator":true', '"simulator":false') for line in lines]
    )
    sample.sql("UPDATE attempts SET cost_micro_usd = NULL WHERE document_id = '1'")

    page = read(sample)

    assert re.search(r"Cost ?unknown ?at least \$0\.00\d\d; some models have no known price", page.text)
    assert "simulated: no model" not in page.text
    assert page.column("micro_usd")[0] is None


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(sample: Sample, text: str) -> None:
    """Ids, errors, verdicts and files are written by documents and models."""
    before = read(sample)
    plant(sample, text)
    after = read(sample)

    shown = " ".join(text.replace("\u2028", " ").replace("\u2029", " ").split())
    assert [tag for tag, _ in after.elements if tag in {"script", "style", "img", "iframe"}] == [
        tag for tag, _ in before.elements if tag in {"script", "style", "img", "iframe"}
    ]
    assert after.inlined == before.inlined
    assert not {name for _, found in after.elements for name in found if name.startswith("on")}
    assert shown in after.column("id")
    assert shown in after.story(shown)["error"]
    assert "\u2028" not in after.html
    assert after.text.count(shown) >= 5  # failures, their document, reviews and theirs, incident, config


def test_the_page_asks_for_nothing(sample: Sample) -> None:
    """It is opened offline, by people who trust it with documents."""
    page = read(sample)

    asked = {
        (tag, name, value)
        for tag, found in page.elements
        for name, value in found.items()
        if name in FETCHING and not str(value).startswith("#")
    }
    assert asked == {("link", "href", "data:,")}
    assert not re.search(r"@import|url\(", "".join(page.inlined["style"]))


def test_the_policy_allows_these_scripts_and_no_request(sample: Sample) -> None:
    """Should anything slip through, the browser refuses it."""
    page = read(sample)

    def hashes(kind: str) -> str:
        parts = page.inlined[kind]
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in parts
        )

    assert page.policy == (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [found for _, found in page.elements if "style" in found]  # the policy would refuse it


def test_secrets_are_taken_out_everywhere(sample: Sample) -> None:
    """A page is passed on more easily than a ledger."""
    plant(sample, f"before {KEY} hunter22-of-mine after")

    page = read(sample, secrets=["hunter22-of-mine"])

    everything = page.html + json.dumps(page.documents) + json.dumps(page.data)
    assert KEY not in everything
    assert "hunter22-of-mine" not in everything
    assert "before [redacted] [redacted] after" in page.column("id")


def test_long_texts_are_cut(sample: Sample) -> None:
    """One error may be a whole web page."""
    plant(sample, "word " * 50_000)

    report, page = written(sample.run)

    assert report.size_bytes < 300_000
    assert max(map(len, page.column("id"))) == 120
    assert len(page.story(page.column("id")[2])["error"]) == 600


def test_prompts_and_answers_are_shown_where_they_were_kept(tmp_path: Path) -> None:
    """Where they were not, the page says how to keep them."""
    project = make_project(tmp_path, DOCUMENTS, api="chat", stages=BUILT_IN)
    pages = []
    for include_texts in (True, False):
        options = RunOptions(
            offline=True,
            virtual=True,
            make_pool=lambda: simulator_pool(Simulator()),
            seed=1,
            limit=1,
            include_texts=include_texts,
        )
        result = Pipeline.from_config(project.config, options=options).run_sync()
        pages.append(written(find_run(result.run_dir, project.logs))[1])

    kept, left_out = pages
    who, prompt, answer = kept.story("1")["exchanges"][0]
    assert (who, prompt[:40]) == ("gpt-5-mini", "[user]\nChoose the route for this documen")
    assert json.loads(answer)["route"] == "markdown"
    assert "RunOptions(include_texts=True)" not in kept.text
    assert "exchanges" not in left_out.story("1")
    assert "RunOptions(include_texts=True)" in left_out.text


def test_a_killed_run_is_told_as_far_as_it_came(sample: Sample) -> None:
    """That is when one wants to know most."""
    kill(sample)
    sample.sql("UPDATE documents SET outcome = NULL, ended_at = NULL, error_code = NULL WHERE document_id = '3'")

    report, page = written(sample.run)

    assert report.state == "killed"
    assert (
        "Killed 3 of 6 documents succeeded, 1 failed, 1 skipped, 1 unfinished. Its process ended without a word"
        in page.text
    )
    assert f"agent-pipeline resume {sample.run.run_id}" in page.text
    assert page.column("outcome")[2] == "unfinished"
    assert page.column("ms")[2] is None


def test_a_run_that_goes_on_is_told_and_left_alone(sample: Sample) -> None:
    """It may take days, and one wants to look."""
    kill(sample)

    with sample.run.locked():
        report, page = written(sample.run)

    assert report.state == "running"
    assert "Still running" in page.text


def test_sessions_lie_end_to_end(sample: Sample) -> None:
    """A run that was gone on with the next day did not work for a day."""
    go_on(sample)
    later = "strftime('%Y-%m-%dT%H:%M:%f', {}, '+1 day') || '+00:00'"
    sample.sql(
        *(
            f"UPDATE {table} SET {column} = {later.format(column)} WHERE session = 2"  # noqa: S608 - a test's own
            for table, column in (
                *(("sessions", name) for name in ("started_at", "ended_at")),
                *(("documents", name) for name in ("started_at", "ended_at")),
                ("attempts", "started_at"),
            )
        )
    )

    page = read(sample)

    (begun,) = page.data["timeline"]["sessions"]
    assert 0 < begun < page.data["timeline"]["x"][-1] < 120
    assert "2 sessions" in page.text


@pytest.mark.parametrize("name", ["events.jsonl", "reviews.jsonl", "manifest.json", "config.yaml", "roles.yaml"])
@pytest.mark.parametrize("damage", ["gone", "broken", "folder"])
def test_a_damaged_file_costs_only_what_it_held(sample: Sample, name: str, damage: str) -> None:
    """The ledger is the truth; the rest is a help."""
    path = sample.run.path / name
    path.unlink()
    if damage == "broken":
        path.write_bytes(
            b'\xff{"half": \n{"at": 3, "event": "PIPELINE_STARTED"}\n[1]\n{"cycle": "x"}\n{"event":"BREAKER"'
        )
    elif damage == "folder":
        path.mkdir()

    page = read(sample)

    assert "3 of 6 documents succeeded" in page.text
    assert page.column("id") == ["1", "2", "3", "4", "5", "6"]
    if name == "events.jsonl":
        assert "events.jsonl: " in page.text


def test_a_damaged_ledger_is_an_error_and_no_page(sample: Sample) -> None:
    """Half a truth looks like a whole one."""
    sample.run.ledger.write_bytes(b"SQLite format 3\0" + b"x" * 5000)

    with pytest.raises(LedgerError, match="ledger"):
        written(sample.run)

    assert not sample.run.report.exists()


def test_a_report_is_no_difference_to_a_run(sample: Sample) -> None:
    """It may be written as often as one likes, before and after a run is gone on with."""
    first, _ = written(sample.run)
    clean = verify_run(sample.run)
    go_on(sample)
    written(sample.run)
    after = verify_run(sample.run)

    assert (clean.differences, clean.notes) == ((), ())
    assert (after.differences, after.notes) == ((), ())
    assert first.path == sample.run.path / "report.html"
    assert first.path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_leaves_the_old_one(sample: Sample, tmp_path: Path) -> None:
    """A name that is too long is found when the file is made."""
    _, page = written(sample.run, output=tmp_path / "report.html")

    for target in (tmp_path, tmp_path / "none" / "r.html", tmp_path / f"{'x' * 250}.html"):
        with pytest.raises(InputError, match=r"directory|can't be written"):
            written(sample.run, output=target)

    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page.html
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """Half of a character can't be written; nor may what was begun stay."""
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "page.html", "<!doctype html>\ud800")

    assert list(tmp_path.iterdir()) == []


def test_a_thousand_documents_fit_in_half_a_megabyte(sample: Sample) -> None:
    """Each of them with its requests one by one."""
    multiply(sample, 1_000, 5)

    report, page = written(sample.run)

    assert (report.documents, report.rows, report.detailed) == (1_006, 1_006, 1_006)
    assert report.size_bytes <= 400_000
    assert len(page.story("letter-1000")["attempts"]) == 5
    assert "left out" not in page.text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_documents_of_a_real_run_fit_in_half_a_megabyte(tmp_path: Path) -> None:
    """As above, of what a run writes by itself: four stages, reviews, prose."""
    documents: list[JsonValue] = [
        {
            "url": f"https://archive.example.org/letters/{n}",
            "markdown": f"# Letter {n}\n\n{'It is raining. ' * (n % 40)}\n",
        }
        for n in range(1, 1_001)
    ]
    project = make_project(tmp_path, {"scraped_documents": documents})
    options = RunOptions(offline=True, virtual=True, make_pool=lambda: simulator_pool(Simulator(seed=3)), seed=1)
    result = Pipeline.from_config(project.config, options=options).run_sync()
    assert result.documents.succeeded == 1_000

    report, _ = written(find_run(result.run_dir, project.logs))

    assert (report.rows, report.detailed) == (1_000, 1_000)
    assert report.size_bytes <= 500_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_documents_stay_bounded(pristine: Sample, tmp_path: Path) -> None:
    """Trouble first, then the slowest, then a sample; what is left out is said."""
    sample = copy_sample(pristine, tmp_path / "project")
    multiply(sample, 100_000, 3)

    begun = time.process_time()
    report, page = written(sample.run)
    spent = time.process_time() - begun

    assert (report.documents, report.rows, report.detailed) == (100_006, 10_000, 2_000)
    assert report.size_bytes <= 1_000_000
    assert page.column("outcome").count("failed") == 2_002
    assert "90,006 of 100,006 documents are not listed" in page.text
    assert "8,000 of the listed documents come without their requests" in page.text
    assert spent < 120
