import json
import xml.etree.ElementTree as ET

import pytest

from results import summaries
from results.report import figures, report, tiles
from tests.results import synthetic


@pytest.fixture(scope="module")
def specs():
    cells = summaries.layer_by_pooling(synthetic.gridsearch(), "mean")
    spec = tiles.heat_map(cells, (0.5, 0.9)).to_dict() | {"description": "Layer & pooling"}
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
