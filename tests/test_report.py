"""Reports: the given table, the leaderboard, and names that try to break out of it."""

import csv
import json
import re
from dataclasses import replace

import pytest

from bench.base.escaping import one_line
from bench.records.published import figures
from bench.records.record import Stored
from bench.report.formats import FORMATS, as_csv, as_json, as_markdown, as_pwc, markdown_cell
from tests.synthetic import keep, make_record
from tests.terminal import bench

GIVEN = [
    ("COCO-Stuff-81", "Pixel Accuracy", "8.8", "MaskContrast (ResNet-50)"),
    ("COCO-Stuff-81", "mIoU", "3.7", "MaskContrast (ResNet-50)"),
    ("ImageNet-S-50", "mIoU (test)", "24.2", "MaskContrast (+Saliency map)"),
    ("ImageNet-S-50", "mIoU (val)", "24.6", "MaskContrast (+Saliency map)"),
    ("PASCAL VOC 2012 val", "Clustering [mIoU]", "44.2", "MaskContrast (Saliency)"),
    ("PASCAL VOC 2012 val", "Linear Classifier [mIoU]", "63.9", "MaskContrast (Saliency)"),
    ("PASCAL VOC 2012 val", "Clustering [mIoU]", "35", "MaskContrast"),
    ("PASCAL VOC 2012 val", "Linear Classifier [mIoU]", "58.4", "MaskContrast"),
]
TASKS = ["Semantic Segmentation", "Unsupervised Semantic Segmentation", "10-shot image generation"]


def tables(text):
    """Every Markdown table as its rows of cells; the line below the header is left out."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            found.append([rows[0], *rows[2:]])
            rows = []
    return found


def unescaped(cell):
    return re.sub(r"\\(.)", r"\1", cell)


def boards(text):
    """The rows of all published tables of the leaderboard, and those of all measured ones, below their heads."""
    found = {"published": [], "value": []}
    for head, *rows in tables(text):
        kind = found["published" if "published" in head else "value"]
        kind += rows if kind else [head, *rows]
    return found["published"] or [[]], found["value"] or [[]]


@pytest.fixture
def stored(tmp_path):
    record = make_record(value=44.3)
    return [Stored(keep(tmp_path, record).path, record)]


def test_the_given_table_stands_line_by_line_in_its_order(tmp_path):
    (table,) = tables(as_pwc(figures(), [], tmp_path))
    assert [tuple(row[:5]) for row in table[1:]] == [(task, *line) for task in TASKS for line in GIVEN]
    assert len(table) == 1 + 24


def test_a_reproduced_figure_stands_beside_each_of_its_lines(stored, tmp_path):
    (table,) = tables(as_pwc(figures(), stored, tmp_path))
    mine = [row for row in table[1:] if row[3] == "44.2"]
    assert [row[5:] for row in mine] == [["44.30", "+0.10", "reproduced"]] * 3
    assert all(row[5:7] == ["–", "–"] for row in table[1:] if row[3] != "44.2")


def test_what_was_not_run_says_how_to_run_it(tmp_path):
    (table,) = tables(as_pwc(figures(), [], tmp_path))
    status = {row[3]: row[7] for row in table[1:]}
    assert status["35"].startswith("not run: ")
    assert "bench run --model maskcontrast-unsup --dataset pascal-voc --protocol clustering" in status["35"]
    assert status["8.8"].startswith("not comparable: ")


def test_a_run_out_of_tolerance_is_not_shown_as_reproduced(tmp_path):
    stored = [keep(tmp_path, make_record(value=50.0))]
    (table,) = tables(as_pwc(figures(), stored, tmp_path))
    assert {tuple(row[5:]) for row in table[1:] if row[3] == "44.2"} == {("50.00", "+5.80", "above")}


def test_a_limited_run_is_shown_and_marked(tmp_path):
    stored = [keep(tmp_path, make_record(dataset={"limited": True, "images": 40}))]
    (table,) = tables(as_pwc(figures(), stored, tmp_path))
    (status,) = {row[7] for row in table[1:] if row[3] == "44.2"}
    assert status.startswith("not comparable: run on 40 images")
    assert "40 (limited)" in as_markdown(figures(), stored, tmp_path)


def test_markdown_and_json_carry_the_same_figures(stored, tmp_path):
    published, measured = boards(as_markdown(figures(), stored, tmp_path))
    data = json.loads(as_json(figures(), stored, tmp_path))
    assert len(published) - 1 == len(data["published"]) == len(figures())
    told = [
        (
            *(one_line(line[key]) for key in ("protocol", "metric", "model")),
            line["value"],
            "–" if line["measured"] is None else f"{line['measured']:.2f}",
            "–" if line["difference"] is None else f"{line['difference']:+.2f}",
            line["status"],
        )
        for line in data["published"]
    ]
    shown = [(*map(unescaped, row[:3]), float(row[5]), row[6], row[7], row[8]) for row in published[1:]]
    assert sorted(shown) == sorted(told)
    assert len(measured) - 1 == len(data["measured"]) == 1
    assert measured[1][4] == f"{data['measured'][0]['value']:.2f}" == "44.30"
    assert measured[1][5] == "43.30 – 45.30 (images)"
    assert sum(data["counts"].values()) == len(figures())


def test_json_keeps_full_precision(tmp_path):
    stored = [keep(tmp_path, make_record(value=44.123456789))]
    data = json.loads(as_json(figures(), stored, tmp_path))
    assert data["measured"][0]["value"] == 44.123456789
    (line,) = [line for line in data["published"] if line["measured"] is not None]
    assert line["tolerance"] == pytest.approx(0.336407, rel=1e-5)


def test_a_single_seed_has_no_spread_and_breaks_nothing(tmp_path):
    stored = [keep(tmp_path, make_record(seeds=1))]
    _, measured = boards(as_markdown(figures(), stored, tmp_path))
    assert measured[1][6] == "–"


def test_a_row_says_which_labels_its_model_has_seen(stored, tmp_path):
    published, measured = boards(as_markdown(figures(), stored, tmp_path))
    assert published[0][4] == measured[0][3] == "supervision"
    assert measured[1][3] == (
        "labels, of a kind; initialisation: not stated; prior: not stated; probe: none (labels only name clusters)"
    )
    (neco,) = [row for row in published if row[2] == "NeCo on DINOv2" and row[5] == "84.5"]
    assert neco[4] == "none; initialisation: DINOv2; probe: a classifier trained on labels"
    assert all(row[4] for row in published)


def test_another_precision_is_marked_in_every_format(tmp_path):
    record = make_record(protocol={"modified": True, "variations": ["bfloat16"]})
    record["cost"] = {"precision": "bfloat16"}
    stored = [keep(tmp_path, record)]
    _, measured = boards(as_markdown(figures(), stored, tmp_path))
    assert measured[1][0] == "clustering (modified) (bfloat16)"
    assert json.loads(as_json(figures(), stored, tmp_path))["measured"][0]["precision"] == "bfloat16"
    assert "(modified) (bfloat16)" in FORMATS["latex"](figures(), stored, tmp_path)
    lines = list(csv.DictReader(as_csv(figures(), stored, tmp_path).splitlines()))
    assert [line["precision"] for line in lines if line["kind"] == "measured"] == ["bfloat16"]
    listed = bench("list", "results", "--results", tmp_path, "--json")
    assert json.loads(listed.stdout)[0]["protocol"] == "clustering (modified) (bfloat16)"


def test_no_two_published_rows_look_alike(tmp_path):
    for one in tables(as_markdown(figures(), [], tmp_path)):
        assert len({tuple(row) for row in one}) == len(one)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_renders_without_any_record(form, tmp_path):
    assert FORMATS[form](figures(), [], tmp_path)


HOSTILE = "<script>alert(1)</script> | `x` \\| [a](javascript:b)\n| new | row |\r\n# **head** _"


def hostile_record():
    record = make_record(model=HOSTILE)
    record["model"] |= {"title": HOSTILE, "supervision": HOSTILE, "overlaps": {HOSTILE: HOSTILE}}
    record["dataset"] |= {"id": HOSTILE, "split": HOSTILE}
    record["protocol"] |= {"id": HOSTILE, "fingerprint": HOSTILE}
    record["metrics"] = {HOSTILE: record["metrics"]["mIoU"]}
    return record


def test_hostile_names_stay_in_their_cells(tmp_path):
    texts = {name: HOSTILE for name in ("model", "supervision", "note", "dataset", "split", "protocol", "metric")}
    table = [*figures(), replace(figures()[4], seed_table=False, **texts)]
    stored = [Stored(tmp_path / "a | b <i>" / "x`.json", hostile_record())]
    text = as_markdown(table, stored, tmp_path)
    published, measured = boards(text)
    assert {len(row) for row in published} == {12}
    assert {len(row) for row in measured} == {11}
    assert len(published) - 1 == len(table)
    assert len(measured) - 1 == 1
    assert "<script>" not in text
    assert not re.search(r"(?m)^#+ \*\*head", text) and len(re.findall(r"(?m)^# ", text)) == 1


def test_hostile_names_stay_in_the_given_table_s_cells(tmp_path):
    table = [
        replace(figure, model=HOSTILE, note=HOSTILE if figure.note else "") if figure.seed_table else figure
        for figure in figures()
    ]
    text = as_pwc(table, [], tmp_path)
    (rows,) = tables(text)
    assert {len(row) for row in rows} == {8}
    assert len(rows) == 25
    assert "<script>" not in text


def test_hostile_names_are_kept_whole_in_json(tmp_path):
    stored = [Stored(tmp_path / "x.json", hostile_record())]
    assert json.loads(as_json(figures(), stored, tmp_path))["measured"][0]["title"] == HOSTILE


def test_a_cell_is_one_line_with_its_signs_escaped():
    assert markdown_cell("a\n|b\r\n<c>") == "a \\|b \\<c\\>"
    assert markdown_cell(3.5) == "3.5"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_the_command_shows_no_figure_that_its_rows_do_not_give(tmp_path, form):
    stored = keep(tmp_path, make_record(value=40.0))
    stored.record["metrics"]["mIoU"]["value"] = 44.21
    stored.path.write_text(json.dumps(stored.record), encoding="utf-8")
    done = bench("report", "--format", form, "--results", tmp_path)
    assert done.returncode == 0
    assert "44.21" not in done.stdout
    assert "skipped" in done.stderr and "says mIoU 44.2100, its rows give 40.0000" in done.stderr
