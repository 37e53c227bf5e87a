"""The report in a real browser: figures, keys, widths, paper, and axe-core's rules of accessibility."""

import shutil
from importlib.resources import files

import pandas as pd
import pytest

from mcbert.results import csv_files
from mcbert.results.leaderboard import leaderboard
from mcbert.results.report import comparison, report
from mcbert.results.schema.embeddings import STS, TATOEBA
from tests.results.browser import CHROMIUM, SHIFT, Chromium
from tests.results.report.test_embeddings import sts_rows, tatoeba_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)"),
]

AXE = files("axe_core_python").joinpath("axe.min.js")
BROKEN = """axe.run(%s, { resultTypes: ["violations"] })
  .then(({ violations }) => violations.map(({ id, nodes }) =>
    [id, nodes.slice(0, 4).map(({ html, failureSummary }) => html + failureSummary)]))"""
WIDTHS = "[innerWidth, document.documentElement.scrollWidth]"
OUTSIDE = """[...document.querySelectorAll("body *")]
  .filter((element) => !element.closest(".scroll, .visually-hidden")
    && element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 120))"""
WIDE = """[...document.querySelectorAll(".scroll")]
  .filter((region) => region.scrollWidth > region.clientWidth + 1)
  .map((region) => [region.getAttribute("role"), region.tabIndex, region.getAttribute("aria-label")])"""
SMALL = """[...document.querySelectorAll("a, button, input, select, summary")]
  .map((target) => [target.outerHTML.slice(0, 80), target.getBoundingClientRect()])
  .filter(([, box]) => box.width && Math.min(box.width, box.height) < 24)
  .map(([html, { width, height }]) => `${html}: ${width} x ${height}`)"""
NAMES = """[...document.querySelectorAll(".vega svg.marks")]
  .map((drawn) => drawn.closest("[role=graphics-document]").ariaLabel)"""
COLUMN = """[...document.querySelectorAll("#candidates-table tbody tr")]
  .map((row) => row.cells[%d].textContent.trim())"""
FOCUS = """(() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  const { top, bottom } = document.activeElement.getBoundingClientRect();
  const text = document.activeElement.name || document.activeElement.textContent;
  return [text, seen && top >= 0 && bottom <= innerHeight];
})()"""
STATUS = 'document.getElementById("candidates-status").textContent'
SORTED = (
    """(({ dataset, ariaSort }) => `${dataset.sort} ${ariaSort}`)(document.querySelector("[aria-sort]"))"""
)
PAPER = {"width": 1017, "height": 688}
"""A4 across less its margins, in pixels."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(whole_run_dir, tmp_path_factory):
    """A report with every section, in a folder with spaces in its name."""
    folder = tmp_path_factory.mktemp("page") / whole_run_dir.name
    shutil.copytree(whole_run_dir, folder)
    for table, rows in ((STS, sts_rows()), (TATOEBA, tatoeba_rows())):
        csv_files.write_with_sums(table, pd.DataFrame(rows), folder / table.file_name)
    return report.build(folder)[0]


@pytest.fixture
def candidates(chromium, page):
    """The page with the focus just before the table of candidates' form."""
    chromium.open(page, width=1280)
    chromium.run('document.querySelector("#candidates-filter input").focus()')
    return chromium


def broken_rules(chromium, where="document"):
    chromium.run(AXE.read_text(encoding="utf-8"))
    return chromium.run(BROKEN % where)


def column(chromium, at):
    return chromium.run(COLUMN % at)


def scores(chromium, at):
    return [float(cell.split()[0]) for cell in column(chromium, at)]


def tab_to(chromium, text):
    """Press Tab until the focus is there."""
    for _ in range(20):
        chromium.press("Tab")
        if chromium.run(FOCUS)[0] == text:
            return
    raise AssertionError(f"Tab never comes to {text}")


def test_light_and_wide_all_is_drawn_named_and_fits(chromium, page):
    chromium.open(page, width=1280)
    assert chromium.complaints == []
    assert chromium.requests == [page.as_uri()]
    names = chromium.run(NAMES)
    assert all(names)
    assert len(set(names)) == len(names) == 7 + 8 + 8 + 5 + 3 + 1
    assert chromium.run(WIDTHS) == [1280, 1280]
    assert chromium.run(OUTSIDE) == []
    assert broken_rules(chromium) == []


def test_dark_and_narrow_wide_tables_scroll_in_regions_of_their_own(chromium, page):
    chromium.open(page, width=390, dark=True)
    assert chromium.complaints == []
    assert chromium.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 31)"
    assert chromium.run(WIDTHS) == [390, 390]
    assert chromium.run(OUTSIDE) == []
    regions = chromium.run(WIDE)
    assert {name for _, _, name in regions} >= {
        "Table 1", "Systems by language", "Choices by protocol", "Corpus counts", "Files",
        "Sentence embeddings, measured",
        "Sentence embeddings, published",
    }  # fmt: skip
    assert {(role, stop) for role, stop, _ in regions} == {("region", 0)}
    assert chromium.run(SMALL) == []
    assert (
        broken_rules(chromium, "{ exclude: [['.vega svg']] }") == []
    )  # the figures are those of the wide page


def test_a_region_scrolls_by_the_arrow_keys(chromium, page):
    chromium.open(page, width=390)
    chromium.run("document.querySelector('[aria-label=\"Table 1\"]').focus()")
    chromium.press("ArrowRight")
    moved = "document.activeElement.scrollLeft"
    assert chromium.run(f"new Promise((done) => setTimeout(() => done({moved}), 300))") > 0


def test_keys_sort_the_table_and_keep_the_focus_in_sight(candidates):
    tab_to(candidates, "test")
    candidates.press("Enter")
    assert candidates.run(SORTED) == "test descending"
    assert candidates.run(FOCUS) == ["test", True]
    best = scores(candidates, 5)
    assert len(best) == 20
    assert best == sorted(best, reverse=True)
    candidates.press(" ")
    assert candidates.run(SORTED) == "test ascending"
    assert candidates.run(FOCUS) == ["test", True]
    worst = scores(candidates, 5)
    assert worst == sorted(worst)
    assert worst[-1] < best[-1]
    candidates.press("Tab", modifiers=SHIFT)
    assert candidates.run(FOCUS) == ["dev", True]


def test_keys_filter_the_table(candidates):
    candidates.press(*"8 11")
    assert candidates.run(FOCUS) == ["layers", True]
    assert candidates.run(STATUS).endswith(" candidates that fit, of 3,820.")
    assert all({"8", "11"} <= set(layers.split("+")) for layers in column(candidates, 1))
    tab_to(candidates, "size")
    candidates.press("3")
    tab_to(candidates, "pooling")
    candidates.press(*"cls")
    assert set(column(candidates, 2)) == {"cls"}
    assert {layers.count("+") for layers in column(candidates, 1)} == {2}
    everywhere = scores(candidates, 5)
    tab_to(candidates, "language")
    candidates.press("z")
    assert scores(candidates, 5) != everywhere
    tab_to(candidates, "Show all")
    candidates.press(" ")
    assert candidates.run(STATUS) == "1 to 20 of 3,820 candidates."
    assert candidates.run(FOCUS) == ["Show all", True]


def test_nothing_that_fits_is_said(candidates):
    candidates.press(*"99")
    assert column(candidates, 0) == []
    assert candidates.run(STATUS) == "No candidate fits; choose less."
    candidates.press("Backspace", "Backspace")
    assert len(column(candidates, 0)) == 20


def test_keys_turn_pages_and_the_focus_stays_at_either_end(candidates):
    candidates.press(*"5 6 7 8 9 10")  # 4 sets of layers x 3 poolings x classifiers
    tab_to(candidates, "Next")
    for _ in range(9):
        candidates.press(" ")
        assert candidates.run(FOCUS) == ["Next", True]
    first, last = candidates.run(STATUS).split(" of ")[0].split(" to ")
    assert int(last) - int(first) == len(column(candidates, 0)) - 1
    assert f"to {last} of {last} candidates that fit" in candidates.run(STATUS)
    candidates.press("Tab", modifiers=SHIFT)
    for _ in range(9):
        candidates.press("Enter")
    assert candidates.run(FOCUS) == ["Previous", True]
    assert candidates.run(STATUS).startswith("1 to 20 of ")


def test_keys_filter_the_errors_and_how_many_fit_is_said(chromium, page):
    chromium.open(page, width=1280)
    status = 'document.getElementById("misread-status").textContent'
    whole = chromium.run(status)
    n = int(whole.split(" of ")[1].split()[0])
    assert whole == f"1 to 20 of {n} errors."
    chromium.run('document.querySelector("#misread-filter select").focus()')
    chromium.press("u")  # of the languages ur
    assert chromium.run(FOCUS) == ["language", True]
    said = chromium.run(status)
    assert said.endswith(f" errors that fit, of {n}.")
    shown = (
        """[...document.querySelectorAll("#misread-table tbody tr")].map((row) => row.cells[1].textContent)"""
    )
    assert set(chromium.run(shown)) == {"ur"}
    tab_to(chromium, "words")
    chromium.press(*"nowhere")
    assert chromium.run(status) == "No error fits; choose less."
    tab_to(chromium, "Show all")
    chromium.press("Enter")
    assert chromium.run(status) == whole
    tab_to(chromium, "Next")
    chromium.press(" ")
    assert chromium.run(status).startswith("21 to ")
    direction = """[...document.querySelectorAll("#misread-table tbody th div")]
      .map((text) => [/[\\u0600-\\u06ff]/.test(text.textContent), getComputedStyle(text).direction])"""
    assert {way for is_arabic, way in chromium.run(direction) if is_arabic} <= {"rtl"}


def test_on_paper_nothing_is_cut(chromium, page):
    chromium.open(page, width=PAPER["width"])
    chromium.media(printed=True)
    assert chromium.run(WIDTHS) == [PAPER["width"]] * 2
    assert chromium.run(OUTSIDE.replace(".scroll, ", "")) == []
    whole = '[...document.querySelectorAll(".vega")].map((place) => place.closest(".panels > div") || place)'
    cut = f"""{whole}.filter((place) => getComputedStyle(place).breakInside !== "avoid"
      || place.offsetHeight > {PAPER["height"]}).length"""
    assert chromium.run(cut) == 0
    assert len(column(chromium, 0)) == 20
    assert chromium.run('document.getElementById("candidates-filter").offsetHeight') == 0
    assert chromium.run("getComputedStyle(document.body).color") == "rgb(23, 28, 37)"
    chromium.media()
    chromium.run('document.querySelector("#candidates-filter input").focus()')
    chromium.press("6")
    chromium.media(printed=True)
    assert chromium.run('document.getElementById("candidates-filter").offsetHeight') > 0
    pdf = chromium.pdf()
    assert pdf.startswith(b"%PDF")
    assert 5 < pdf.count(b"/Type /Page\n") < 40


def test_runs_side_by_side_fit_a_phone_and_break_no_rule(run_dir, chromium, tmp_path):
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        shutil.copytree(run_dir, folder)
    chromium.open(comparison.build(folders, leaderboard(folders), tmp_path / "both runs.html"), width=390)
    assert chromium.complaints == []
    assert chromium.run('document.querySelectorAll(".vega").length') == 8
    assert chromium.run(WIDTHS) == [390, 390]
    assert chromium.run(OUTSIDE) == chromium.run(WIDE) == []
    assert broken_rules(chromium) == []


def test_a_page_that_asks_a_network_for_something_would_be_caught(chromium, page, tmp_path):
    inside = page.read_text(encoding="utf-8").replace(
        "<main>", '<main><img alt="" src="http://127.0.0.1:9/x.png">'
    )
    asking, free = tmp_path / "asking.html", tmp_path / "free.html"
    asking.write_text(inside, encoding="utf-8")
    chromium.open(asking, width=1280)
    assert any("Content Security Policy" in complaint for complaint in chromium.complaints)
    free.write_text(inside.replace('http-equiv="Content-Security-Policy"', ""), encoding="utf-8")
    chromium.open(free, width=1280)
    assert chromium.requests == [free.as_uri(), "http://127.0.0.1:9/x.png"]
