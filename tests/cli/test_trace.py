"""`trace`: what happened when, what failed, what was slow, and the HTTP attempts."""

import re

from tests.cli.conftest import Cli
from tests.cli.looked import lines, listed


def test_a_trace_is_a_tree_in_the_order_of_time(look: Cli) -> None:
    """Document, stage, agent, call, attempt; what waited says for what."""
    traced = lines(look("trace", "trial", "1").out)

    assert traced[0].startswith("+0.00 s  document 1: succeeded in ")
    assert re.match(r"├─ \+\d+\.\d\d s  stage route: succeeded in ", traced[1])
    assert re.match(r"│  └─ \+\d+\.\d\d s  agent router: succeeded in ", traced[2])
    assert "call as router of openai/gpt-5-mini: " in traced[3]
    assert traced[-2].startswith("└─ ")


def test_a_whole_run_is_traced_document_by_document(look: Cli) -> None:
    """In the order of the source."""
    traced = lines(look("trace", "trial").out)

    heads = [line for line in traced if " document " in line]
    assert [re.findall(r"document (\d)", head)[0] for head in heads] == list("123456")
    objects = look("trace", "trial", "--json").json()["documents"]
    assert [one["name"] for one in listed(objects)] == list("123456")


def test_what_failed_is_shown_alone(look: Cli) -> None:
    """With its place; a call that was mended says so."""
    traced = look("trace", "trial", "--failed").out

    assert traced.count("500 server_error") == 2
    assert re.search(r"call as router of openai/gpt-5-mini: succeeded in .* in [23] attempts", traced)
    assert "stage name" not in traced
    assert look("trace", "trial", "4", "--failed").err == "nothing failed\n"


def test_attempts_are_a_table_with_their_request_ids(look: Cli) -> None:
    """What a provider's support asks for."""
    table = lines(look("trace", "trial", "--http").out)
    failed = lines(look("trace", "trial", "--http", "--failed").out)
    slow = look("trace", "trial", "--http", "--slow", "--json").json()["attempts"]

    assert len(table) == 27
    assert table[0].endswith("REQUEST ID")
    assert all(re.search(r" req_[0-9a-f]+$", line) for line in table[1:])
    assert len(failed) == 3
    latencies = [one["latency_seconds"] for one in listed(slow)]
    assert latencies == sorted(latencies, reverse=True)
    assert len(latencies) == 10


def test_the_slowest_are_three_tables(look: Cli) -> None:
    """Of documents, passes and attempts; of one document its own."""
    told = lines(look("trace", "trial", "--slow").out)
    own = look("trace", "trial", "3", "--slow", "--json").json()

    titles = ["the slowest documents", "the slowest passes through a stage", "the slowest HTTP attempts"]
    assert [line for line in told if line.startswith("the ")] == titles
    assert {one["document_id"] for one in listed(own["stages"])} == {"3"}
    assert len(listed(own["attempts"])) == 7


def test_flags_that_make_no_sense_together_are_refused(look: Cli) -> None:
    """With what to add."""
    ran = look("trace", "trial", "--slow", "--failed")

    assert ran.code == 2
    assert "add --http" in ran.err
