"""Two runs on one page: what differs, and nothing else."""

from tests.report.reading import ReadPage, written
from tests.runs.sample import Sample


def compared(first: Sample, second: Sample) -> ReadPage:
    return written(first.run, second.run, output=second.run.report)[1]


def test_a_run_differs_in_nothing_from_its_copy(pristine: Sample, sample: Sample) -> None:
    """A comparison that finds differences in equals is of no use."""
    page = compared(pristine, sample)

    assert "6 documents ended the same, with the same artifact; 0 differ" in page.text
    assert "config.yaml: the same in both" in page.text
    assert "Documents that differ" not in page.text


def test_endings_and_artifacts_that_differ_are_named(pristine: Sample, sample: Sample) -> None:
    """What ended otherwise comes before what only looks otherwise."""
    sample.sql(
        "UPDATE documents SET artifact_sha256 = 'feedfeedfeed' WHERE document_id = '1'",
        "UPDATE documents SET outcome = 'failed', error_code = 'attempt_timeout' WHERE document_id = '2'",
        "DELETE FROM documents WHERE document_id = '4'",
        "UPDATE documents SET document_id = '6b' WHERE document_id = '5'",
    )

    page = compared(pristine, sample)

    assert "2 documents ended the same, with the same artifact; 5 differ" in page.text
    places = [
        page.text.index(words)
        for words in (
            "failed attempt_timeout",
            "succeeded feedfeedfe",
            "only in the second run",
            "only in the first run",
        )
    ]
    assert places == sorted(places)


def test_settings_that_differ_are_shown_as_lines(pristine: Sample, sample: Sample) -> None:
    """The first question after `why is it slower` is `what did we change`."""
    config = sample.run.path / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace('"trial"', '"<b>trial</b>"'), encoding="utf-8")

    page = compared(pristine, sample)

    assert '- "name": "trial"' in page.text
    assert '+ "name": "<b>trial</b>"' in page.text
    assert "b" not in {tag for tag, _ in page.elements}


def test_figures_stand_side_by_side(pristine: Sample, sample: Sample) -> None:
    """With the change, and a dash where there is nothing to compare."""
    sample.sql("UPDATE attempts SET charged_tokens = charged_tokens * 2, cost_micro_usd = NULL")

    page = compared(pristine, sample)

    assert "tokens charged" in page.text
    assert "+100 %" in page.text
    assert "unknown" in page.text
