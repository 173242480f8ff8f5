"""Published figures: the shipped table, damaged ones, and when a record reproduces a figure."""

import csv
import json
import math
from dataclasses import replace

import pytest

from bench.base.errors import BadInput
from bench.base.folders import folder
from bench.cards.catalogue import datasets
from bench.cards.presets import override
from bench.protocols import registry
from bench.records.published import answers, answers_to, authors_entry, compare, expected, figures, load
from bench.report.tables import command
from tests.synthetic import make_record
from tests.terminal import bench


@pytest.fixture
def figure():
    """The clustering figure that maskcontrast-sup answers to: 44.2."""
    return answers_to(make_record())["mIoU"]


def damaged(tmp_path, change):
    """The shipped table with a change to its rows, the header being row 0."""
    with (folder("results") / "published.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    change(rows)
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


def put(column, value):
    """Set a column in the third line."""

    def change(rows):
        rows[2][rows[0].index(column)] = value

    return change


def test_the_shipped_table_loads():
    assert sum(figure.seed_table for figure in figures()) == 8


def test_every_figure_that_cannot_be_compared_says_why():
    assert all(figure.note for figure in figures() if not figure.comparable)


def test_no_two_figures_answer_to_the_same_run():
    runs = [
        (f.dataset, f.split, f.protocol, f.metric, card, str(sorted(f.entries.items())))
        for f in figures()
        for card in f.card
    ]
    assert len(runs) == len(set(runs))


METRICS = {"discovery": {"corloc"}, "saliency": {"max_f", "iou", "accuracy"}, "davis": {"JF_mean"}}
"""What published figures of these protocols have; those of all others come from a confusion of classes."""


def test_a_comparable_figure_has_a_metric_that_its_protocol_gives():
    """What else makes it comparable is held in tests/test_table_check.py."""
    comparable = [figure for figure in figures() if figure.comparable]
    assert {"clustering", "linear", "linear+crf", "discovery"} <= {figure.protocol for figure in comparable}
    for figure in comparable:
        protocol = registry.parsed(figure.protocol)[0]
        assert figure.metric in METRICS.get(protocol, {"mIoU", "pixel_accuracy"}), figure


def test_an_untouched_copy_loads(tmp_path):
    assert load(damaged(tmp_path, lambda rows: None)) == figures()


@pytest.mark.parametrize(
    "column, value",
    [
        ("value", "nan"),
        ("value", "inf"),
        ("value", "thirty-five"),
        ("value", ""),
        ("value", "-1"),
        ("value", "100.1"),
        ("comparable", "maybe"),
        ("comparable", ""),
        ("seed_table", "True"),
        ("date", "February 2021"),
        ("date", "2021"),
        ("date", "2021-13"),
        ("date", "2021-02-30"),
        ("dataset", ""),
        ("split", " "),
        ("protocol", ""),
        ("metric", ""),
        ("model", ""),
        ("supervision", ""),
        ("source", ""),
    ],
)
def test_a_wrong_value_is_bad_input_that_names_file_line_and_column(tmp_path, column, value):
    path = damaged(tmp_path, put(column, value))
    with pytest.raises(BadInput) as caught:
        load(path)
    assert caught.value.problem.startswith(f"{path}:3: {column} is ")


def test_a_figure_that_is_not_comparable_needs_a_note(tmp_path):
    path = damaged(tmp_path, put("comparable", "no"))
    with pytest.raises(BadInput) as caught:
        load(path)
    assert caught.value.problem.startswith(f"{path}:3: note is empty")


@pytest.mark.parametrize("change", [lambda rows: rows[2].append("more"), lambda rows: rows[2].pop()])
def test_a_line_of_another_length_is_bad_input(tmp_path, change):
    path = damaged(tmp_path, change)
    with pytest.raises(BadInput) as caught:
        load(path)
    assert f"{path}:3: wrong number of columns" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows[0].reverse(), lambda rows: rows[0].append("new"), lambda rows: rows.clear()],
    ids=["order", "one more", "empty"],
)
def test_other_columns_are_bad_input(tmp_path, change):
    path = damaged(tmp_path, change)
    with pytest.raises(BadInput, match="columns") as caught:
        load(path)
    assert str(path) in caught.value.problem


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["no text", "missing"])
def test_what_cannot_be_read_is_bad_input(tmp_path, content):
    path = tmp_path / "table.csv"
    if content:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"table\.csv cannot be read"):
        load(path)


ROUNDED = 0.05**2 / 3
"""Variance of what rounding to one decimal hides."""


def alone(record):
    """The record without what the authors' solver gives."""
    return {key: value for key, value in record.items() if key != "authors"}


def test_the_tolerance_is_a_quantile_of_students_t_times_the_standard_error():
    five = expected(alone(make_record(value=35.0)), "mIoU", 5).tolerance
    assert five.points == pytest.approx(2.776445 * math.sqrt(0.1 * (1 / 5 + 1 / 5) + ROUNDED))
    one_training = expected(alone(make_record(value=35.0)), "mIoU", 1).tolerance
    assert one_training.points == pytest.approx(2.776445 * math.sqrt(0.1 * (1 / 5 + 1) + ROUNDED))
    many = expected(alone(make_record(value=35.0, seeds=20)), "mIoU", 5).tolerance
    assert many.freedom == 19
    assert expected(alone(make_record(value=35.0, seeds=1)), "mIoU", 5).tolerance.points == 0.05


def test_a_figure_is_held_against_the_authors_own_solver_where_it_was_measured(figure):
    """However far our solver is from theirs, and however noisy: theirs made the published figure."""
    theirs = authors_entry({"mIoU": [43.2 + 0.1 * i for i in range(20)]})
    record = make_record(value=60.0) | {"authors": theirs, "solver_gap": 15.85}
    entry = compare(record, figure)
    assert (entry["status"], entry["authors_seeds"]) == ("reproduced", 20)
    assert entry["expected"] == pytest.approx(44.15) and entry["difference"] == pytest.approx(15.8)
    assert entry["tolerance"] == pytest.approx(2.093024 * math.sqrt(0.35 * (1 / 5 + 1 / 20) + ROUNDED), rel=1e-5)
    assert compare(record | {"authors": authors_entry({"mIoU": [30.0, 31.0]})}, figure)["status"] == "below"
    del record["authors"]
    assert compare(record, figure)["status"] == "not comparable"


def test_a_record_answers_to_the_figure_of_its_model_data_split_and_protocol(figure):
    assert (figure.value, figure.metric, figure.card) == (44.2, "mIoU", ("maskcontrast-sup",))
    assert answers_to(make_record(model="maskcontrast-unsup"))["mIoU"].value == 35.0
    for record in (
        make_record(model="random-shapes"),
        make_record(dataset={"split": "train"}),
        make_record(dataset={"id": "shapes"}),
        make_record(protocol={"id": "overclustering-50"}),
    ):
        assert answers_to(record) == {}


def retrieved(**entries):
    """A record of in-context on PASCAL VOC by DINO ViT-S/16 with these entries."""
    default = datasets()["pascal-voc"].protocols.preset("in-context")
    preset = override(default, entries).model_copy(update={"input_by_patch": {}}).resolved()
    protocol = {"id": "in-context", "preset": preset, "published_recipe": not entries, "modified": bool(entries)}
    record = make_record(model="dino-vits16", protocol=protocol)
    return record | {"read": {"patch": 16}}


def of_memory(entries):
    """The published figure of in-context by DINO ViT-S/16 with these entries."""
    found = [figure for figure in figures() if "dino-vits16" in figure.card and figure.protocol == "in-context"]
    return next(figure for figure in found if figure.entries == entries)


def test_a_record_answers_to_the_figure_with_its_own_entries():
    assert answers_to(retrieved())["mIoU"] == of_memory({})
    assert answers_to(retrieved(memory=1024000))["mIoU"] == of_memory({"memory": 1024000})
    assert answers_to(retrieved(memory=5000)) == {}
    for figure in (of_memory({}), of_memory({"memory": 1024000})):
        runs = [retrieved(), retrieved(memory=1024000), retrieved(memory=1024000, neighbours=5)]
        assert sum(answers(record, figure) for record in runs) == (2 if figure.entries else 1)


def test_a_run_with_the_figure_s_entries_is_not_modified_as_to_that_figure():
    figure = replace(of_memory({"memory": 1024000}), comparable=True, value=44.2)
    assert compare(retrieved(memory=1024000), figure)["status"] == "reproduced"
    other = compare(retrieved(memory=1024000, neighbours=5), figure)
    assert other["status"] == "not comparable" and "neighbours is 5 instead of 30" in other["reason"]
    foreign = retrieved(memory=1024000)
    foreign["protocol"]["preset"]["of_another_version"] = 1
    assert "another version" in compare(foreign, figure)["reason"]


def test_the_list_of_figures_can_be_narrowed_and_is_whole_as_json():
    rows = json.loads(bench("list", "published", "--json").stdout)
    assert len(rows) == len(figures()) and all(row["source"] for row in rows)
    narrow = json.loads(bench("list", "published", "dino-vits16", "--json").stdout)
    assert {row["card"] for row in narrow} == {"dino-vits16"}
    assert {row["protocol"] for row in narrow} == {"in-context", "discovery"}
    assert {row["backbone"] for row in json.loads(bench("list", "published", "VIT-s*", "--json").stdout)} == {
        *(figure.backbone for figure in figures() if figure.backbone.startswith("ViT-S"))
    }
    assert "memory=1024000; approximate search" in bench("list", "published", "dino-vits16").stdout
    both = json.loads(bench("list", "published", "pascal voc", "Stego-Cluster", "--json").stdout)
    assert both == [row for row in rows if row["dataset"] == "pascal-voc" and "stego-cluster" in row["protocol"]]
    assert {row["value"] for row in rows if row["model"] == "COMUS"} == {"50.0", "19.6"}
    assert bench("list", "networks", "one", "two").returncode == 2
    assert bench("list", "published", "no such thing").stderr == "no published with no such thing\n"


def test_the_command_of_a_figure_has_its_entries():
    assert command(of_memory({"memory": 1024000})) == (
        "bench run --model dino-vits16 --dataset pascal-voc --protocol in-context --set memory=1024000"
    )


@pytest.mark.parametrize(
    "value, status",
    [
        (44.2, "reproduced"),
        (44.53, "reproduced"),
        (43.87, "reproduced"),
        (44.55, "above"),
        (43.85, "below"),
        (0.0, "below"),
    ],
)
def test_a_figure_is_reproduced_within_its_tolerance(figure, value, status):
    entry = compare(make_record(value=value), figure)
    assert entry["status"] == status
    assert entry["value"] == 44.2
    assert entry["difference"] == pytest.approx(value - 44.2)
    assert entry["tolerance"] == pytest.approx(0.3364, abs=1e-3)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"dataset": {"limited": True, "images": 40}}, "40 images"),
        ({"dataset": {"judges": 1400}}, "only some of the images have labels"),
        ({"dataset": {"judges": 1400, "official_images": 1449}}, "judged on 1400 of 1449 images"),
        ({"protocol": {"published_recipe": False}}, "modified"),
        ({"seeds": 4}, "4 seeds"),
        ({"seeds": 1}, "run with 1 seed;"),
        ({"solver_gap": None}, "solver"),
        ({"protocol": {"modified": True, "variations": ["bfloat16"]}}, "bfloat16"),
    ],
)
def test_other_runs_are_not_comparable_and_have_no_tolerance(figure, changes, reason):
    entry = compare(make_record(**changes), figure)
    assert entry["status"] == "not comparable"
    assert reason in entry["reason"]
    assert entry["tolerance"] is None
    assert entry["difference"] == pytest.approx(0)


def test_a_figure_that_cannot_be_compared_passes_its_reason_on(figure):
    entry = compare(make_record(), replace(figure, comparable=False, note="protocol unknown"))
    assert (entry["status"], entry["reason"]) == ("not comparable", "protocol unknown")
