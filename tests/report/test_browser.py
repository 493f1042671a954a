"""A report in a browser: it works by mouse and keyboard, reports no error and asks for nothing but itself."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.report.reading import HOSTILE, multiply, plant, written
from tests.runs.sample import Sample, copy_sample

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@dataclass
class Opened:
    """A page in a browser, and all that went wrong in it."""

    page: Page
    path: Path
    troubles: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def rows(self) -> list[str]:
        """The ids that are listed now."""
        return self.page.locator("#table button.open").all_inner_texts()

    def colour(self) -> str:
        """The background's."""
        found: str = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found


@pytest.fixture(scope="module")
def browser(pristine: Sample) -> Iterator[Browser]:
    """A chromium of this machine; none is fetched from anywhere.

    Playwright's asyncio loop is a plain one, not what trio-asyncio puts in its place, and counts as running until it is
    closed: so the one run that all reports are of is made before.
    """
    del pristine
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no {NAMES[0]} on this machine (Debian: apt-get install chromium), or name one in CHROMIUM")
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "new_event_loop", asyncio.SelectorEventLoop)
            playwright = stack.enter_context(sync_playwright())
        yield playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))


def opened(browser: Browser, path: Path, *, scheme: str = "light") -> Opened:
    """Open a report and wait until its list of documents is there."""
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", offline=True)
    page = context.new_page()
    found = Opened(page, path)
    page.on("pageerror", lambda error: found.troubles.append(f"error: {error}"))
    page.on("console", lambda message: found.troubles.append(f"{message.type}: {message.text}"))
    page.on("dialog", lambda dialog: found.troubles.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(path.as_uri())
    expect(page.locator("html[data-ready]")).to_be_attached()
    return found


def is_sound(found: Opened) -> bool:
    """Say whether nothing went wrong and nothing was asked for."""
    assert found.troubles == []
    assert found.requests == [found.path.as_uri()]
    return True


@pytest.fixture(scope="module")
def reported(pristine: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small run, in a folder of its own."""
    path = tmp_path_factory.mktemp("browsed") / "report.html"
    written(pristine.run, output=path)
    return path


def test_documents_are_filtered_sorted_and_opened(browser: Browser, reported: Path) -> None:
    """The way from `something failed` to the request that did."""
    found = opened(browser, reported)
    page = found.page

    page.get_by_role("button", name="failed 2").click()
    assert found.rows() == ["3", "5"]
    page.get_by_role("button", name="failed 2").click()
    page.get_by_label("Filter").fill("RejecTED")
    assert found.rows() == ["3"]
    expect(page.get_by_role("status")).to_have_text("1 to 1 of 1 (6 in all)")
    page.get_by_label("Filter").fill("")

    head = page.get_by_role("columnheader", name="requests").and_(page.locator("#table th"))
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    counts = [int(text) for text in page.locator("#table tr.row td:nth-of-type(5)").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]

    page.locator("#table button.open").first.click()
    detail = page.locator("tr.detail")
    assert detail.get_by_role("img").locator("rect.took").count() == counts[0]
    assert detail.get_by_role("img").locator("rect.pass").count() >= 5
    detail.get_by_text("Each request").click()
    assert detail.locator("tbody tr").count() == counts[0]
    page.locator("#table button.open").first.click()
    expect(detail).to_have_count(0)
    assert is_sound(found)


def test_everything_works_by_keyboard(browser: Browser, reported: Path) -> None:
    """Skip link, sorting, opening, and from row to row by arrows; the focus is seen."""
    found = opened(browser, reported)
    page = found.page

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the documents")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Filter")).to_be_focused()
    page.locator("#table thead button").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert found.rows() == ["6", "5", "4", "3", "2", "1"]

    page.locator("#table button.open").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    opened_one = page.locator('#table button.open[aria-expanded="true"]')
    expect(opened_one).to_have_text("5")
    expect(opened_one).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert is_sound(found)


def test_colours_follow_the_system_and_the_switch(browser: Browser, reported: Path) -> None:
    """The switch wins, also when the page is opened again."""
    light, dark = opened(browser, reported), opened(browser, reported, scheme="dark")
    before = [light.colour(), dark.colour()]

    dark.page.get_by_role("button", name="Switch to light colours").click()
    after = dark.colour()
    dark.page.reload()

    assert before == ["rgb(251, 251, 250)", "rgb(20, 23, 26)"]
    assert (after, dark.colour()) == (before[0], before[0])
    assert light.page.locator(".uplot canvas").count() == 4
    assert is_sound(light)
    assert dark.troubles == []


@pytest.mark.parametrize(
    "text", [pytest.param(text, marks=[pytest.mark.slow] * (n > 1)) for n, text in enumerate(HOSTILE)]
)
def test_hostile_output_stays_text(browser: Browser, sample: Sample, text: str) -> None:
    """In the static parts, in the list, and in what is drawn when a document is opened."""
    plant(sample, text)
    report, _ = written(sample.run)
    found = opened(browser, report.path)
    page = found.page

    page.locator("#table button.open").nth(2).click()
    page.locator("tr.detail").get_by_text("Each request").click()

    shown = " ".join(re.sub("[\u2028\u2029]", " ", text).split())
    expect(page.locator("#table button.open").nth(2)).to_have_text(shown)
    expect(page.locator("tr.detail .error")).to_have_text(shown)
    page.locator("#failures").get_by_role("button", name=shown, exact=True).click()
    assert found.rows() == [shown, "5"]
    assert page.locator("img, iframe, object, embed, form").count() == 0
    assert is_sound(found)


@pytest.mark.slow
def test_ten_thousand_documents_stay_quick(browser: Browser, pristine: Sample, tmp_path: Path) -> None:
    """Who filters does not want to wait for each letter."""
    sample = copy_sample(pristine, tmp_path / "project")
    multiply(sample, 9_994, 3)
    report, _ = written(sample.run)
    found = opened(browser, report.path)
    page = found.page

    taken = page.evaluate(
        """async () => {
            const field = document.getElementById("filter"), begun = performance.now();
            for (const text of ["l", "le", "letter-9", "letter-99"]) {
                field.value = text;
                field.dispatchEvent(new Event("input"));
            }
            for (const button of document.querySelectorAll("#table thead button")) button.click();
            return performance.now() - begun;
        }"""
    )

    assert taken < 3_000
    expect(page.get_by_role("status")).to_have_text("1 to 25 of 106 (10,000 in all)")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("status")).to_have_text("26 to 50 of 106 (10,000 in all)")
    assert is_sound(found)


@pytest.mark.slow
def test_a_comparison_and_a_resumed_run_are_sound(browser: Browser, pristine: Sample, sample: Sample) -> None:
    """With two sessions, a difference of files and of endings."""
    sample.sql(
        "INSERT INTO sessions SELECT 2, pid, host, version, config_sha256, ended_at, "
        "strftime('%Y-%m-%dT%H:%M:%f', ended_at, '+9 seconds') || '+00:00', outcome, reason FROM sessions",
        "UPDATE documents SET outcome = 'failed', error_code = 'ledger' WHERE document_id = '1'",
    )
    (sample.run.path / "roles.yaml").write_text("roles: {}\n", encoding="utf-8")
    report, _ = written(sample.run, pristine.run)
    found = opened(browser, report.path, scheme="dark")
    page = found.page

    expect(page.get_by_role("heading", name="Comparison")).to_be_visible()
    assert page.locator("pre.diff .minus").count() >= 1
    assert page.get_by_role("region", name="Documents that differ").locator("tbody tr").count() >= 1
    assert is_sound(found)


@pytest.mark.slow
def test_a_narrow_window_scrolls_tables_and_not_the_page(browser: Browser, reported: Path) -> None:
    """On a telephone too."""
    found = opened(browser, reported)
    found.page.set_viewport_size({"width": 380, "height": 800})
    found.page.locator("#table button.open").nth(1).click()

    widths = found.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")

    assert widths[0] <= widths[1]
    assert is_sound(found)


@pytest.mark.slow
def test_it_prints(browser: Browser, reported: Path) -> None:
    """As light pages without controls, whatever colours the screen has."""
    found = opened(browser, reported, scheme="dark")

    pdf = found.page.pdf(format="A4")
    found.page.emulate_media(media="print")

    assert pdf.startswith(b"%PDF-")
    assert 20_000 < len(pdf) < 2_000_000
    assert found.colour() == "rgb(255, 255, 255)"
    expect(found.page.get_by_label("Filter")).to_be_hidden()
    expect(found.page.get_by_role("heading", name="Stages")).to_be_visible()
    assert is_sound(found)
