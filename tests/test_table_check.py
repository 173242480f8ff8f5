"""The check of a table of published figures: the shipped one has no fault, and each planted fault is found."""

import csv
from datetime import UTC, date, datetime

import pytest

from bench.base.errors import BadInput
from bench.base.folders import folder
from bench.records.table_check import check_table
from tests.terminal import bench

TODAY = date(2026, 11, 28)
SHIPPED = folder("results") / "published.csv"
with SHIPPED.open(newline="", encoding="utf-8") as shipped:
    HEAD, *ROWS = csv.reader(shipped)


def column(row, name):
    return row[HEAD.index(name)]


def rows_of(**wanted):
    """Copies of the shipped rows that have these values."""
    found = [list(row) for row in ROWS if all(column(row, key) == value for key, value in wanted.items())]
    assert found, wanted
    return found


def put(row, **values):
    for key, value in values.items():
        row[HEAD.index(key)] = value
    return row


def write(path, rows, head=HEAD):
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([head, *rows])
    return path


def faults(tmp_path, rows):
    """What the check has to say of a table of these rows, without the table's path."""
    path = write(tmp_path / "table.csv", rows)
    return [fault.removeprefix(f"{path}:") for fault in check_table(path, TODAY)]


def test_the_shipped_table_has_no_fault():
    assert check_table(SHIPPED, datetime.now(UTC).date()) == []


def test_sound_rows_have_no_fault(tmp_path):
    assert faults(tmp_path, rows_of(dataset="ecssd")) == []


SALIENCY = {"dataset": "ecssd", "metric": "accuracy"}
STUFF = {"dataset": "coco-stuff-27", "metric": "mIoU", "model": "CAUSE-TR"}
PAPER = {"arxiv": "2203.08414"}
FOUND = {"arxiv": "2212.07834", "dataset": "ecssd"}
CAPI = {"arxiv": "2502.08769", "dataset": "ade20k", "model": "CAPI"}

PLANTED = [
    # rows that are sound, what is changed in the last of them, and where and how it is found
    (SALIENCY, {"value": "0.934"}, "value: 0.934 is a fraction where others have percent"),
    (SALIENCY, {"value": "9.34"}, "value: 9.34 is a 10th of the median of the others of ecssd test saliency accuracy"),
    (STUFF, {"value": "3.95"}, "value: 3.95 is a 9th of the median of the others"),
    (STUFF, {"value": "2.03"}, "value: 2.03 is an 18th of the median of the others"),
    (STUFF, {"value": "1.75"}, "value: 1.75 is a 21st of the median of the others"),
    (STUFF, {"value": "3.3"}, "value: 3.3 is an 11th of the median of the others"),
    (STUFF, {"value": "2.15"}, "value: 2.15 is a 17th of the median of the others"),
    (PAPER, {"date": "2027-01"}, "date: 2027-01 is in the future"),
    (PAPER, {"date": "2026-12-01"}, "date: 2026-12-01 is in the future"),
    (PAPER, {"date": ""}, "date: it is empty, and arXiv 2203.08414 is of 2022-03"),
    (PAPER, {"date": "2021-12"}, "date: 2021-12 is before arXiv 2203.08414"),
    (PAPER, {"date": "2024-03"}, "date: 2024-03 is more than a year after arXiv 2203.08414"),
    (PAPER, {"date": "2022-04"}, "date: 2203.08414 has '2022-04' here and '2022-03' in line 2"),
    (PAPER, {"arxiv": "2213.08414"}, "arxiv: '2213.08414' is no number of arXiv"),
    (PAPER, {"arxiv": "2203.08415"}, "has '2203.08415' here and '2203.08414' in line 2"),
    (PAPER, {"arxiv": ""}, "has '' here and '2203.08414' in line 2"),
    (PAPER, {"paper": "STEGO"}, "paper: 2203.08414 has 'STEGO' here and 'Unsupervised Semantic"),
    (PAPER, {"source": "the paper"}, "source: 'the paper' does not say where the figure stands"),
    (PAPER, {"source": "a review, quoting Table 2", "second_hand": "no"}, "second_hand: it is no, and the source says"),
    (PAPER, {"model": "Stego"}, "model: 'Stego' is spelt 'STEGO' in line 2"),
    (PAPER, {"backbone": "ViT B/8"}, "backbone: 'ViT B/8' is spelt 'ViT-B/8' in line 2"),
    (PAPER, {"init": "Dino"}, "init: 'Dino' is spelt 'DINO' in line 2"),
    (STUFF, {"protocol": "Stego-Cluster+CRF"}, "protocol: 'Stego-Cluster+CRF' is spelt 'stego-cluster+crf' in line 2"),
    (FOUND, {"value": "80.7", "metric": "accuracy"}, "line 10 has the same figure"),
    (SALIENCY, {"protocol": "salience"}, "protocol: there is no protocol 'salience' (did you mean saliency?)"),
    (SALIENCY, {"protocol": "pixel-overclustering-25"}, "did you mean pixel-overclustering-256"),
    (SALIENCY, {"dataset": "ecsd"}, "dataset: there is no data set 'ecsd' (did you mean ecssd?"),
    (STUFF, {"metric": "meanIU"}, "did you mean mIoU?"),
    (SALIENCY, {"metric": "acuracy"}, "metric: there is no metric 'acuracy' (did you mean accuracy"),
    (CAPI, {"comparable": "yes", "protocol": "named"}, "comparable: no protocol is called named"),
    (CAPI, {"comparable": "yes", "dataset": "coco-dip"}, "comparable: coco-dip has no preset for"),
    (CAPI, {"split": "minival"}, "split: the card of ade20k has the splits train, val"),
    (CAPI, {"card": "capi-vitl14"}, "card: there is no model 'capi-vitl14'"),
    (CAPI, {"entries": "standardize=false"}, "entries: the preset of linear-patches does not take standardize=false"),
    (CAPI, {"entries": "standardise=maybe"}, "entries: the preset of linear-patches does not take standardise=maybe"),
    (CAPI, {"entries": "standardise=true"}, "entries: standardise changes nothing of the preset"),
]


@pytest.mark.parametrize("wanted, change, said", PLANTED)
def test_a_planted_fault_is_found_with_its_line(tmp_path, wanted, change, said):
    rows = rows_of(**wanted)
    assert faults(tmp_path, rows) == []
    put(rows[-1], **change)
    found = faults(tmp_path, rows)
    assert [one for one in found if one.startswith(f"{len(rows) + 1}: ") and said in one], found


def test_a_row_that_stands_there_twice_is_found(tmp_path):
    rows = rows_of(**SALIENCY)
    found = faults(tmp_path, [*rows, list(rows[0])])
    assert found == [f"{len(rows) + 2}: value: line 2 has the same figure, of the same model and source"]


def test_a_figure_of_one_model_from_another_source_is_found(tmp_path):
    rows = rows_of(**STUFF)
    copied = put(list(rows[0]), source="Table 9", prior="masks")
    first = column(rows[0], "source")
    found = faults(tmp_path, [*rows, copied])
    place = f"{len(rows) + 2}: source: line 2 has the same figure of the same model from '{first}'"
    assert found == [f"{place}: keep the one that was published first"]
    assert faults(tmp_path, [*rows, put(copied, value="21.9")]) == []


def test_a_name_is_made_known_by_a_line_beside_the_table(tmp_path):
    rows = [put(row, protocol="by-hand") for row in rows_of(**SALIENCY)]
    assert any("there is no protocol 'by-hand'" in one for one in faults(tmp_path, rows))
    write(tmp_path / "table_names.csv", [["protocol", "by-hand", "drawn by hand"]], ["column", "name", "meaning"])
    assert faults(tmp_path, rows) == []
    write(tmp_path / "table_names.csv", [["colour", "red", "red"]], ["column", "name", "meaning"])
    with pytest.raises(BadInput, match=r"table_names\.csv:2: column is 'colour'"):
        faults(tmp_path, rows)


def test_the_line_to_copy_of_the_documentation_has_no_fault(tmp_path):
    text = (folder("results").parent / "docs" / "contributing-results.md").read_text(encoding="utf-8")
    head, line = csv.reader(text.partition("```csv\n")[2].partition("```")[0].splitlines())
    assert head == HEAD
    (tmp_path / "table_allowed.csv").write_bytes(SHIPPED.with_name("published_allowed.csv").read_bytes())
    assert faults(tmp_path, [*ROWS, line]) == []


def test_figures_of_one_model_under_another_name_are_found(tmp_path):
    copied = [put(row, model="CAUSE-XL", source="somebody's README") for row in rows_of(model="CAUSE-TR", init="MSN")]
    (found,) = faults(tmp_path, [*rows_of(model="CAUSE-TR"), *copied])
    assert "model: all 6 figures that it shares with CAUSE-TR ViT-S/16 are equal" in found
    put(copied[0], value="1.7")
    assert not [one for one in faults(tmp_path, [*rows_of(model="CAUSE-TR"), *copied]) if "model:" in one]


def test_metrics_of_one_run_that_cannot_both_be_are_found(tmp_path):
    rows = rows_of(dataset="ecssd", model="TokenCut", detail="bilateral solver")
    of = {column(row, "metric"): row for row in rows}
    put(of["accuracy"], value="77.0")
    assert any("accuracy cannot be below the same run's iou, 77.2" in one for one in faults(tmp_path, rows))
    rows = rows_of(dataset="potsdam-3", model="PriMaPs-EM")
    of = {column(row, "metric"): row for row in rows if column(row, "backbone") == "ViT-B/8"}
    put(of["mIoU"], value="93.5")
    put(of["pixel_accuracy"], value="80.5")
    assert faults(tmp_path, rows) == []
    put(of["mIoU"], value="93.7")
    (found,) = faults(tmp_path, rows)
    assert "with a pixel accuracy of 80.5, mIoU of 3 classes is at most 93.5" in found


CLASS_HEAD = ["dataset", "split", "protocol", "card", "class", "value", "note", "source"]


def of_classes(tmp_path, values, note=""):
    rows = [
        ["potsdam-3", "test", "stego-cluster", "dino-vits8", name, value, note, "Table 1"]
        for name, value in zip(
            ("roads and cars", "buildings and clutter", "vegetation and trees"), values, strict=False
        )
    ]
    write(tmp_path / "table_per_class.csv", rows, CLASS_HEAD)


def test_a_mean_that_its_classes_do_not_give_is_found(tmp_path):
    rows = rows_of(dataset="potsdam-3", model="PriMaPs-EM", backbone="ViT-S/8", metric="mIoU")
    put(rows[0], card="dino-vits8")
    of_classes(tmp_path, ["30.0", "40.0", "46.7"])
    assert faults(tmp_path, rows) == []
    of_classes(tmp_path, ["30.0", "40.0", "50.0"])
    assert [one for one in faults(tmp_path, rows) if "its classes has a mean of 40.00, not 38.9" in one]
    of_classes(tmp_path, ["30.0", "40.0", "50.0"], "mean 40.00: of another run")
    assert faults(tmp_path, rows) == []
    of_classes(tmp_path, ["30.0", "40.0"])
    assert faults(tmp_path, rows) == []


ALLOWED = ["column", "dataset", "split", "protocol", "metric", "model", "value", "reason"]


def test_what_is_odd_and_true_is_allowed_with_a_reason_as_long_as_it_is_needed(tmp_path):
    rows = rows_of(**STUFF)
    put(rows[-1], value="2.15")
    allowed = ["value", "coco-stuff-27", "val", "stego-cluster+crf", "mIoU", "CAUSE-TR", "2.15", "so it was printed"]
    write(tmp_path / "table_allowed.csv", [allowed], ALLOWED)
    assert faults(tmp_path, rows) == []
    put(rows[-1], value="21.5")
    (found,) = faults(tmp_path, rows)
    assert found.endswith("table_allowed.csv: CAUSE-TR 2.15: no such fault is found: delete the line")
    write(tmp_path / "table_allowed.csv", [[*allowed[:-1], ""]], ALLOWED)
    with pytest.raises(BadInput, match="reason is empty"):
        faults(tmp_path, rows)


def test_the_command_checks_a_table(tmp_path, capsys):
    rows = rows_of(**PAPER)
    done = bench("check", "--table", write(tmp_path / "table.csv", rows))
    assert (done.returncode, done.stdout) == (0, "passed: nothing is wrong with the table\n")
    done = bench("check", "--table", write(tmp_path / "table.csv", [*rows, rows[0]]))
    assert done.returncode == 1 and done.stdout.endswith("FAILED: 1 fault\n")
    assert f"{tmp_path / 'table.csv'}:{len(rows) + 2}: value: line 2 has the same figure" in done.stdout
    put(rows[0], value="102.0")
    done = bench("check", "--table", write(tmp_path / "table.csv", rows))
    assert done.returncode == 3 and "table.csv:2: value is '102.0', not a number from 0 to 100\n" in done.stderr
    put(rows[0], supervision="")
    done = bench("check", "--table", write(tmp_path / "table.csv", [*rows, ["more"]]))
    told = done.stderr.splitlines()
    assert done.returncode == 3 and len(told) == 3 and "table.csv:2: supervision is empty. Fill it in." in told[0]
    assert "table.csv:2: value is '102.0'" in told[1] and f"table.csv:{len(rows) + 2}: wrong number" in told[2]
    assert bench("check", "--table", tmp_path / "table.csv", "--require", "swav").returncode == 2
