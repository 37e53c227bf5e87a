import json
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
import vl_convert

from mcbert.results import summaries
from mcbert.results.report import figures, heatmaps, report
from mcbert.results.report.charts import BLUE, specification
from tests.results import synthetic


@pytest.fixture(scope="module")
def specs():
    cells = summaries.layer_by_pooling(synthetic.gridsearch(), "mean")
    spec = heatmaps.heat_map(cells, (0.5, 0.9)).to_dict() | {"description": "Layer & pooling"}
    return {"heat-mean": spec, "heat-zh/Hant": spec}


def test_every_figure_is_there_as_svg_and_png_and_nothing_else_is(specs, tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "old.png").write_bytes(b"of an earlier report")
    (folder / "notes.txt").write_text("mine")
    written = figures.write_figures(specs, folder)
    assert [path.name for path in written] == [
        "heat-mean.svg", "heat-mean.png", "heat-zh_Hant.svg", "heat-zh_Hant.png"
    ]  # fmt: skip
    assert {path.name for path in folder.iterdir()} == {*(path.name for path in written), "notes.txt"}
    first = [path.read_bytes() for path in written]
    assert first[1].startswith(b"\x89PNG")
    assert [path.read_bytes() for path in figures.write_figures(specs, folder)] == first


def test_an_svg_stands_alone(specs):
    svg = figures.draw(specs["heat-mean"])
    root = ET.fromstring(svg)
    assert "Layer & pooling" in "".join(root.itertext())
    assert "currentColor" not in svg
    assert int(root.get("width")) > figures.WIDTH
    loaded = [value for element in root.iter() for key, value in element.items() if key.endswith("href")]
    assert loaded == []


def test_the_reports_own_specification_is_left_as_it_was(specs):
    before = json.dumps(specs)
    figures.alone(specs["heat-mean"])
    assert json.dumps(specs) == before
    assert specs["heat-mean"]["width"] == "container"


def test_names_of_files_are_plain_and_unlike():
    assert figures.file_names(["curve-de", "curve-zh_tw", "curve-zh tw"]) == [
        "curve-de", "curve-zh_tw-2", "curve-zh_tw-3"
    ]  # fmt: skip


def test_the_report_writes_them_where_asked(run_dir, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(report, "write_figures", lambda specs, folder: drawn.update({folder: specs}) or [])
    for path in run_dir.glob("f*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    report.build(tmp_path)
    assert drawn == {}
    report.build(tmp_path, figures=True)
    (specs,) = drawn.values()
    assert list(drawn) == [tmp_path / "figures"]
    assert set(specs) == {f"curve-{name}" for name in ("mean", *synthetic.LANGUAGES)}
    assert all(spec["description"] for spec in specs.values())


# U+2028 ends a line of Vega's expressions, control characters and U+FFFE are in no XML; all are in labels
ODD_LABELS = (
    *(f"{chr(code)}x" for code in range(1, 0x20)), "a\x7f\x85", "a\u2028b", "a\u2029b", "a\ufffe", "\uffff",
    'q"\'`\\', "</script>", "<b>&amp;</b>", "\ufeff\u200f\u202ea", "e\u0301", "\U0001f600", "\U0001fffe",
    "${a} {{a}} datum.n", "null", "__proto__", "x" * 5000,
)  # fmt: skip


def test_any_character_of_a_label_can_be_drawn():
    n = len(ODD_LABELS)
    cells = pd.DataFrame({"label": ODD_LABELS, "predicted": ODD_LABELS, "n": range(n), "share": 0.5})
    shares = pd.DataFrame({"label": ODD_LABELS, "language": ODD_LABELS, "n_texts": range(n), "share": 0.5})
    for chart, tiles in ((heatmaps.confusion(cells), n * n), (heatmaps.classes(shares), n)):
        svg = figures.draw(specification(chart, f"Test, {ODD_LABELS}"))
        assert r"a\u2028b" in "".join(ET.fromstring(svg).itertext())
        drawn = {node.get("d") for node in ET.fromstring(svg).iter() if node.get("fill") == BLUE}
        assert len(drawn) == tiles
        assert bytes(vl_convert.svg_to_png(svg)).startswith(b"\x89PNG")


def test_what_can_be_drawn_stays_as_it_is():
    plain = {"label": ["tab\tline\n", "Anfrage zu Größe", "取消", "\U0001f600"], "predicted": "x", "n": 1}
    chart = heatmaps.confusion(pd.DataFrame(plain).assign(share=1.0))
    assert specification(chart, "d") == chart.to_dict() | {"description": "d"}
