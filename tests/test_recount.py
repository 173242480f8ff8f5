"""Whatever a record says of figures is what its rows give, or it is claimed."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bench.base.errors import BadInput
from bench.protocols.clustering.preset import ClusteringPreset
from bench.records.audit import sound
from bench.records.published import authors_entry, figures
from bench.records.record import Stored, read, read_all, write
from bench.records.recount import recount
from bench.report.check import against_published, against_records
from bench.report.formats import as_json, as_markdown
from bench.report.tables import shown_interval
from bench.scoring.cluster_rows import ClusterRows, SeedClusters
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.metrics import solver_distance
from tests.conftest import ROOT
from tests.synthetic import keep, make_record, random_rows, rows_of
from tests.terminal import bench

REAL = ROOT / "tests" / "records" / "random-resnet18" / "shapes-val"


def edited(folder, change):
    """A record of a real run, changed by hand; its rows are as they were."""
    shutil.copytree(REAL, folder)
    path = folder / "clustering.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")
    return Stored(path, read(path))


def set_metric(name, **entries):
    return lambda record: record["metrics"][name].update(entries)


@pytest.mark.slow
def test_every_record_that_comes_with_the_program_is_counted_again_whole():
    for folder in (ROOT / "results", ROOT / "tests" / "records"):
        stored, problems = read_all(folder)
        assert stored and not problems
        for entry in stored:
            assert (recount(entry).problem, recount(entry).claimed) == (None, frozenset()), entry.path


@pytest.mark.parametrize(
    "change, says",
    [
        (set_metric("nmi", value=99.0), "says nmi 99.0000, its rows give"),
        (lambda r: r["metrics"]["ari"]["per_seed"].__setitem__(2, 99.0), "says ari 99.0000"),
        (set_metric("mIoU", std=9.0), "a deviation of mIoU of 9.0000"),
        (set_metric("pixel_accuracy", std=0.0), "a deviation of pixel_accuracy of 0.0000"),
        (set_metric("mIoU", ci95=[4.6, 4.7]), "an interval of mIoU with an end at 4.6000"),
        (set_metric("nmi", ci95=[1.0, 2.0]), "an interval of nmi, its rows give none"),
        (lambda r: r["per_class"].update(background=99.0), "IoU of background 99.0000"),
        (lambda r: r["per_class"].update(background=None), "IoU of background none"),
        (lambda r: r["per_class"].pop("background"), "classes, its rows another number"),
        (lambda r: r["confusion"]["mean"][0].__setitem__(0, 1e7), "in the confusion matrix 10000000.0000"),
        (lambda r: r["confusion"]["mean"].pop(), "confusion matrix is of another size"),
        (lambda r: r["cluster_to_class"][0].reverse(), "predicted id"),
        (lambda r: r["dataset"].update(images=4000), "it says 4000 images, its rows have 400"),
        (lambda r: r["dataset"].update(labelled=False), "that there were no labels, its rows have some"),
        (lambda r: r.update(seeds=[1]), "it says 1 seeds, its rows have 5"),
        (lambda r: r["dataset"].update(official_images=1449), "of the whole split, and of 400 of 1449 images"),
        (lambda r: r["protocol"].update(deterministic=True), "nothing was drawn at random, and names seeds"),
        (lambda r: r["protocol"]["preset"].update(clusters=2), "it says 2 clusters, its rows have"),
        (lambda r: r["confusion"]["classes"].reverse(), "names its classes otherwise"),
        (lambda r: r["cluster_to_class"].append([0]), "cluster_to_class of 6 seeds, its rows of 5"),
        (lambda r: (r["protocol"]["preset"].update(solver="minibatch"), r.update(solver_gap=3.0)), "solvers of 3.0000"),
        (lambda r: r["metrics"].update(best={"value": 50.0, "per_seed": [10.0] * 5}), "says best 50.0000"),
        (lambda r: r.update(per_sequence={"bear": {"J_mean": 1.0}}), "the sequence bear"),
        (lambda r: r.update(clusters=[{"seed": 1, "images": [400]}]), "clusters' sizes"),
    ],
)
def test_what_its_rows_do_not_give_is_a_reason_not_to_trust_a_record(tmp_path, change, says):
    stored = edited(tmp_path / "r", change)
    assert says in recount(stored).problem
    assert sound([stored])[0] == []
    (line,) = sound([stored])[1]
    assert str(stored.path) in line


@pytest.mark.parametrize("form", ["md", "json", "csv", "latex"])
def test_a_report_leaves_a_record_out_that_its_rows_deny_and_names_it(tmp_path, form):
    edited(tmp_path / "r", set_metric("nmi", value=98.765))
    done = bench("report", "--format", form, "--results", tmp_path)
    assert done.returncode == 0
    assert "98.76" not in done.stdout and "says nmi 98.7650" in done.stderr


def invent(record):
    record["metrics"]["best"] = {"value": 98.765, "per_seed": [98.765] * 5, "std": 0.0, "ci95": [98.0, 99.0]}


def test_a_metric_that_no_row_gives_is_claimed_wherever_it_is_shown(tmp_path):
    stored, problems = sound([edited(tmp_path / "r", invent)])
    assert problems == [] and stored[0].claimed == {"best", "best.ci95"}
    assert shown_interval(stored[0], "best") is None
    (line,) = [line for line in as_markdown(figures(), stored, tmp_path).splitlines() if "98.77" in line]
    assert "98.77 (claimed)" in line
    assert "What is marked as claimed" in as_markdown(figures(), stored, tmp_path)
    measured = {
        line["metric"]: line["claimed"] for line in json.loads(as_json(figures(), stored, tmp_path))["measured"]
    }
    assert measured["best"] == "value" and measured["nmi"] == ""


@pytest.mark.slow
def test_pages_mark_what_is_claimed_and_rank_no_such_figure(tmp_path):
    edited(tmp_path / "r", invent)
    assert bench("report", "--out", tmp_path / "site", "--results", tmp_path / "r").returncode == 0
    page = next((tmp_path / "site" / "models").glob("random-resnet18*.html")).read_text(encoding="utf-8")
    assert page.count('class="claimed"') == 1
    board = next((tmp_path / "site" / "benchmarks").glob("*best*.html")).read_text(encoding="utf-8")
    assert "rows do not give best" in board and "not ranked" in board


def test_no_check_passes_by_a_metric_that_nobody_counts(tmp_path):
    def stored(name, value):
        def change(record):
            invent(record)
            record["metrics"]["best"] |= {"value": value, "per_seed": [value] * 5}
            record["created"] = name

        return edited(tmp_path / name, change)

    old, new, worse = (stored(f"2020-01-0{day}", value) for day, value in ((1, 98.0), (2, 98.0), (3, 50.0)))
    found = {outcome.what.split()[-1]: outcome for outcome in against_records([old], [new], ())}
    assert found["mIoU"].status == "reproduced"
    assert (found["best"].status, found["best"].fails) == ("not comparable", False)
    assert "rows do not give best" in found["best"].detail
    assert all(one.fails for one in against_records([old], [new], ["random-resnet18"]) if one.what.endswith("best"))
    moved = next(one for one in against_records([old], [worse], ()) if one.what.endswith("best"))
    assert (moved.status, moved.fails) == ("below", True) and "rows do not give best" in moved.detail


# --- the distance between solvers ---

FIGURE = "maskcontrast-sup pascal-voc val clustering mIoU"


def outcome_of(stored):
    return next(outcome for outcome in against_published(figures(), [stored], ()) if outcome.what == FIGURE)


def test_a_solver_that_is_claimed_lets_no_figure_pass(tmp_path):
    """What the authors' solver gives decides over a published figure: a record cannot just say it."""
    for value in (44.4, 40.0):
        record = make_record(value=value)
        rows = replace(rows_of(record), solver_sums=None)
        found = outcome_of(keep(tmp_path / str(value), without_interval(record), rows))
        assert (found.status, found.fails) == ("not comparable", False)
        assert "what the authors' solver gives is only claimed" in found.detail


def without_interval(record):
    del record["metrics"]["mIoU"]["ci95"]
    return record | {"per_class": {}}


def test_a_solver_that_rows_give_counts_and_another_is_denied(tmp_path):
    record = without_interval(make_record(value=43.0, per_class={}, solver_gap=-1.2) | {"solver_gap": 1.2})
    rows = rows_of(record)
    assert solver_distance(rows.solver_sums, "zero", rows.counted) == pytest.approx(1.2)
    assert outcome_of(keep(tmp_path / "a", record, rows)).status == "reproduced"
    lie = keep(tmp_path / "b", record | {"solver_gap": 5.0}, rows)
    assert "a distance between solvers of 5.0000, its rows give 1.2000" in recount(lie).problem
    wide = authors_entry({name: [14.2, 74.2] * 10 for name in record["authors"]["metrics"]})
    assert "mIoU of the authors' solver" in recount(keep(tmp_path / "d", record | {"authors": wide}, rows)).problem
    of_others = replace(rows, solver_sums=rows.solver_sums + 1)
    assert "other pixels" in recount(keep(tmp_path / "c", record, of_others)).problem


def test_a_part_of_a_split_is_no_whole_one_whatever_the_record_says(tmp_path):
    found = outcome_of(keep(tmp_path, make_record(dataset={"images": 40})))
    assert found.status == "not comparable" and "40 of 1449 images" in found.detail


# --- intervals ---


def measured(rows, **changes):
    record = make_record(seeds=len(rows.seeds), per_class={}, dataset={"images": len(rows.ids)}, **changes)
    del record["authors"]
    return record | {"metrics": rows.metrics("zero"), "cluster_to_class": []}


def test_one_image_has_no_interval_and_an_old_one_is_not_shown(tmp_path):
    rows = random_rows(0, images=1)
    record = measured(rows)
    assert not any("ci95" in metric for metric in record["metrics"].values())
    value = record["metrics"]["mIoU"]["value"]
    record["metrics"]["mIoU"]["ci95"] = [value, value]
    (stored,), problems = sound([keep(tmp_path, record, rows)])
    assert problems == [] and shown_interval(stored, "mIoU") is None
    assert f"| {value:.2f} (in doubt) | – |" in as_markdown(figures(), [stored], tmp_path)


def test_an_interval_that_would_take_long_is_claimed(tmp_path, monkeypatch):
    rows = random_rows(0, images=30)
    entry = keep(tmp_path, measured(rows), rows)
    assert recount(entry).claimed == frozenset()
    monkeypatch.setattr("bench.records.recount.MOST_RESAMPLING", rows.resampling - 1)
    (stored,), problems = sound([entry])
    assert problems == [] and stored.claimed == {f"{name}.ci95" for name in rows.comparable}
    assert shown_interval(stored, "mIoU") is None


# --- rows of other kinds ---


def test_rows_without_labels_give_no_figure_with_labels(tmp_path):
    images = np.arange(6, dtype=np.int32)
    seeds = tuple(
        SeedClusters(images, np.array(own, np.int32), np.full(6, 10))
        for own in ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1])
    )
    rows = ClusterRows([f"image-{i}" for i in range(6)], 2, seeds, np.full(6, 40))
    record = make_record(seeds=2, per_class={}, dataset={"id": "own", "images": 6, "labelled": False})
    record["protocol"] |= {"id": "clustering-unlabelled", "preset": ClusteringPreset().resolved()}
    record["cluster_to_class"] = []
    del record["authors"]
    claims = keep(tmp_path / "a", record, rows)
    assert recount(claims).claimed == {"mIoU", "mIoU.ci95"}
    assert (
        "its rows have no labels"
        in recount(keep(tmp_path / "b", record | {"dataset": make_record()["dataset"]}, rows)).problem
    )
    names = ["seed_ari", "seed_nmi", "salient_share", "largest_cluster"]
    record["metrics"] = {name: {"value": 0.0, "std": None, "per_seed": [0.0, 0.0]} for name in names}
    for name in names:
        one = record | {"metrics": {name: record["metrics"][name]}}
        assert f"{name}" in recount(keep(tmp_path / name, one, rows)).problem


def test_figures_of_pixels_are_counted_from_rows_and_those_of_boundaries_are_not():
    rows = random_rows(3, images=12, classes=4)
    found = rows.further({}, ["f_measure", "image_accuracy", "boundary_mIoU"])
    assert set(found) == {"f_measure", "image_accuracy", "mIoU_s", "mIoU_ms", "mIoU_ml", "mIoU_l"} & set(found)
    assert {"f_measure", "image_accuracy"} <= set(found) and "boundary_mIoU" not in found
    assert rows.further({"grid": "input"}, ["f_measure"]) == {}


def test_painted_clusters_give_nmi_where_no_two_share_a_class():
    rows = replace(random_rows(1, images=5, classes=4), labels=np.zeros((2, 0), np.int32))
    assert rows.further({"clusters": 4}, ["nmi"]).keys() == {"nmi"}
    assert rows.further({"clusters": 5}, ["nmi"]) == {}


def test_rows_that_fit_their_hash_but_not_the_record_s_kind_are_denied(tmp_path):
    shutil.copytree(REAL, tmp_path / "r")
    path, rows = tmp_path / "r" / "clustering.json", tmp_path / "r" / "clustering.rows.npz"
    random_rows(0, images=400, seeds=5).write(rows)
    record = json.loads(path.read_text(encoding="utf-8"))
    record["rows"]["sha256"] = hashlib.sha256(rows.read_bytes()).hexdigest()
    path.write_text(json.dumps(record), encoding="utf-8")
    assert recount(Stored(path, read(path))).problem
    assert ConfusionRows.read(rows).num_classes == 4


def test_an_image_that_is_there_twice_is_damage(tmp_path):
    rows = random_rows(0, images=3)
    replace(rows, ids=("a", "b", "a")).write(tmp_path / "x.rows.npz")
    with pytest.raises(BadInput, match="an id is there twice"):
        ConfusionRows.read(tmp_path / "x.rows.npz")


def test_ids_of_clusters_that_would_fill_the_memory_are_not_told_apart():
    one = SeedRows(*(np.array(column, np.int32) for column in ([0, 0], [0, 1], [0, 0])), np.array([5, 5]))
    few, many = (ConfusionRows(("a",), 2, (one,) * 64, np.full((64, 1), high, np.int32)) for high in (3, 1 << 20))
    assert few.mappings()[0] == [1, -2, -2, -2, 0]
    assert many.mappings() == []


def test_writing_keeps_what_the_solvers_came_to(tmp_path):
    record = make_record(per_class={})
    rows = rows_of(record)
    write(record, rows, tmp_path)
    path = next(tmp_path.rglob("*.rows.npz"))
    np.testing.assert_array_equal(ConfusionRows.read(path).solver_sums, rows.solver_sums)
