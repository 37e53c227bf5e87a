"""The report in a real browser: figures, sorting and filtering, widths, axe-core's rules of accessibility."""

import shutil
from importlib.resources import files

import pytest

from results import comparison, report
from results.leaderboard import leaderboard
from tests.results.browser import CHROMIUM, look

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)"),
]

FITS = """
  const count = (selector) => document.querySelectorAll(selector).length;
  const table = document.getElementById("candidate-table");
  const wide = [...document.querySelectorAll("body *")].filter((element) =>
    !element.closest(".scroll, .visually-hidden") && element.getBoundingClientRect().right > innerWidth + 1);
  const fits = {
    width: innerWidth, scroll: document.documentElement.scrollWidth,
    drawn: count(".vega svg.marks"), places: count(".vega"),
    wide: wide.map((element) => element.outerHTML.slice(0, 120)),
    regions: [...document.querySelectorAll(".scroll")]
      .filter((region) => region.scrollWidth > region.clientWidth + 1)
      .map((region) => region.getAttribute("aria-label")),
  };
"""
TABLE = """
  const form = document.getElementById("candidate-filter");
  const say = () => document.getElementById("candidate-status").textContent;
  const column = (at) => [...table.tBodies[0].rows].map((row) => row.cells[at].textContent.trim());
  const heading = (name) => table.querySelector(`[data-sort="${name}"]`);
  const press = (element) => { element.focus(); element.click(); return document.activeElement === element; };
  const set = (name, value) => {
    form.elements[name].value = value;
    form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
  };
  const steps = { first: say(), ranks: column(0) };
  steps.focused = press(heading("test").querySelector("button"));
  steps.test = column(5).map(parseFloat);
  steps.sorted = heading("test").getAttribute("aria-sort");
  press(heading("test").querySelector("button"));
  steps.ascending = column(5).map(parseFloat);
  press(heading("layers").querySelector("button"));
  steps.layers = column(1);
  set("pooling", "max");
  set("layers", "8, 11");
  steps.filtered = { layers: column(1), poolings: column(2), said: say() };
  set("language", "zh");
  steps.zh = column(4).map(parseFloat);
  set("size", "1");
  steps.none = { rows: column(0), said: say() };
  form.querySelector("[type=reset]").click();
  await new Promise((done) => setTimeout(done, 50));
  steps.reset = say();
  press(document.querySelector('[data-step="1"]'));
  steps.second = say();
"""
AXE = """
  const rules = { resultTypes: ["violations"] };
  const { violations } = await axe.run(document, rules);
  const broken = ({ html, failureSummary }) => html + failureSummary;
  const told = violations.map(({ id, nodes }) => [id, nodes.slice(0, 4).map(broken)]);
"""


@pytest.fixture(scope="module")
def page(run_dir):
    return report.build(run_dir)[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def axe():
    script = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    return f"<script>{script}</script>"


def test_runs_side_by_side_fit_a_phone_and_break_no_rule(run_dir, axe, tmp_path):
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        shutil.copytree(run_dir, folder)
    path = comparison.build(folders, leaderboard(folders), tmp_path / "both.html")
    seen = look(
        path.read_text(encoding="utf-8"),
        FITS + AXE + "return { fits, told };",
        tmp_path,
        width=390,
        before=axe,
    )
    assert seen["told"] == []
    assert seen["fits"].pop("scroll") <= 390
    assert seen["fits"] == {"width": 390, "drawn": 4, "places": 4, "wide": [], "regions": []}


def test_wide_and_light_it_is_drawn_fits_and_breaks_no_rule(page, axe, tmp_path):
    seen = look(page, FITS + AXE + "return { fits, told };", tmp_path, width=1280, before=axe)
    assert seen["told"] == []
    assert seen["fits"].pop("scroll") <= 1280
    places = 8 + 5 + 7 + 8 + 1
    assert seen["fits"] == {"width": 1280, "drawn": places, "places": places, "wide": [], "regions": []}


def test_narrow_and_dark_it_fits_too_and_the_table_sorts_and_filters(page, axe, tmp_path):
    dark = page.replace("@media screen and (prefers-color-scheme: dark)", "@media screen")
    assert dark != page
    seen = look(dark, FITS + AXE + TABLE + "return { fits, told, steps };", tmp_path, width=390, before=axe)
    assert seen["told"] == []
    assert seen["fits"]["scroll"] <= seen["fits"]["width"] == 390
    assert seen["fits"]["wide"] == []
    steps = seen["steps"]
    assert steps["first"] == "1 to 20 of 35 candidates."
    assert steps["ranks"] == [str(rank) for rank in range(1, 21)]
    assert steps["focused"]
    assert steps["test"] == sorted(steps["test"], reverse=True)
    assert steps["sorted"] == "descending"
    assert steps["ascending"] == sorted(steps["ascending"])
    assert steps["ascending"][0] < steps["test"][-1]
    assert steps["layers"][:6] == ["6"] * 6
    assert steps["filtered"]["layers"] == ["8+11", "8+11", "6+8+11", "6+8+11"]
    assert set(steps["filtered"]["poolings"]) == {"max"}
    assert steps["filtered"]["said"] == "1 to 4 of 4 candidates that fit, of 35."
    assert max(steps["zh"]) < 90
    assert steps["none"] == {"rows": [], "said": "No candidate fits; choose less."}
    assert steps["reset"] == steps["first"]
    assert steps["second"] == "21 to 35 of 35 candidates."
