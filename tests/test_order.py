"""Two copies of a data set that differ only in the order of their lists give the same figures."""

import random
import shutil

import pytest

import bench
from bench.data.sequences import open_videos
from bench.protocols.base import Settings
from bench.records.record import Stored, rows_path
from bench.runs.plan import make_plan
from bench.runs.score_folder import score_folder
from bench.scoring import rows as row_files
from tests.conftest import GOLDEN
from tests.video import write_list, write_sequence

SMALL = {"input": [64, 80]}
FIRST = 24
"""Images of the limited runs: those with which the list begins."""


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The generated data set in PASCAL VOC's layout, and a copy with both of its lists shuffled."""
    folder = tmp_path_factory.mktemp("order")
    for name in ("sorted", "shuffled"):
        shutil.copytree(GOLDEN / "VOCSegmentation", folder / name)
    for split in ("val", "train"):
        listing = folder / f"shuffled/sets/{split}.txt"
        random.Random(1).shuffle(lines := listing.read_text().split())
        listing.write_text("\n".join(lines) + "\n")
    return folder / "sorted", folder / "shuffled"


def measured(trees, model, tmp_path, protocol, **more):
    """The records of the two trees, and their rows."""
    found = []
    for tree in trees:
        results = tmp_path / f"results-{tree.name}"
        options = {"data_root": tree, "cache": tmp_path / "cache", "results": results, "name": "small"} | more
        made = bench.evaluate(model, "pascal-voc", protocol, **options)
        (path,) = [one for one in results.rglob("*.json") if made["rows"]["file"] == f"{one.stem}.rows.npz"]
        found.append((made, row_files.read(rows_path(Stored(path, made)))))
    return found


def require_equal(ours, theirs):
    (a, own), (b, others) = ours, theirs
    for key in ("dataset", "protocol", "metrics", "per_class", "confusion", "clusters", "bank", "fitted_on"):
        assert a.get(key) == b.get(key), key
    assert list(own.ids) == list(others.ids) == sorted(own.ids)
    assert a["rows"] == b["rows"]  # the bytes of their files, images in one order


@pytest.mark.parametrize(
    "protocol, entries",
    [
        ("clustering", {"clusters": 6, "seeds": 2}),
        ("clustering", {"clusters": 6, "seeds": 2, "whiten": 0, "fit": "train", "matched_on": "train"}),
        ("clustering", {"clusters": 6, "seeds": 2, "solver": "minibatch"}),
        ("clustering-dense", {"clusters": 5, "pixels": 8, "seeds": 2}),
        ("retrieval-21", {}),
    ],
)
def test_the_list_s_order_moves_no_figure(trees, small_file, tmp_path, protocol, entries):
    require_equal(*measured(trees, small_file, tmp_path, protocol, entries=SMALL | entries))


def test_a_classifier_that_is_given_is_counted_in_any_order(trees, linear_file, tmp_path):
    require_equal(*measured(trees, linear_file, tmp_path, "linear", entries=SMALL))


def test_a_limit_takes_the_first_of_the_list(trees, small_file, tmp_path):
    made, rows = measured(trees, small_file, tmp_path, "clustering", entries=SMALL | {"clusters": 5}, limit=FIRST)[1]
    listed = (trees[1] / "sets/val.txt").read_text().split()
    assert list(rows.ids) == sorted(listed[:FIRST]) and made["dataset"]["images"] == FIRST


def test_what_is_painted_lies_under_its_own_image_s_name(trees, small_file, tmp_path):
    entries = SMALL | {"clusters": 6, "seeds": 1}
    for tree in trees:
        measured([tree], small_file, tmp_path, "clustering", entries=entries, save_predictions=tmp_path / tree.name)
    sorted_, shuffled_ = (sorted((tmp_path / tree.name).rglob("*.png")) for tree in trees)
    assert [path.read_bytes() for path in sorted_] == [path.read_bytes() for path in shuffled_] and len(sorted_) == 40


def test_scored_predictions_have_one_manifest(trees, small_file, tmp_path):
    entries = SMALL | {"clusters": 6, "seeds": 1}
    measured(trees[:1], small_file, tmp_path, "clustering", entries=entries, save_predictions=tmp_path / "painted")
    scored = [
        score_folder(tmp_path / "painted", "pascal-voc", tmp_path / tree.name, Settings(data_root=tree)).record
        for tree in trees
    ]
    assert scored[0]["rows"] == scored[1]["rows"] and scored[0]["dataset"] == scored[1]["dataset"]


def test_a_classifier_is_trained_in_the_order_of_its_list(trees, small_file, tmp_path):
    """The reference's own draw is over the list as it is."""
    for tree in trees:
        settings = Settings(data_root=tree, cache=tmp_path, entries={"train": "train"})
        plan = make_plan(small_file, "pascal-voc", "linear", settings, lambda message: None)
        assert list(plan.others["train"].ids) == (tree / "sets/train.txt").read_text().split()
        assert list(plan.samples.ids) == sorted(plan.samples.ids)


def test_sequences_come_in_one_order_as_well(tmp_path):
    from bench.cards.catalogue import dataset

    for name in ("ball", "kite", "duck"):
        write_sequence(tmp_path, name, 4, 1)
    write_list(tmp_path, ["kite", "ball", "duck"])
    samples = open_videos(dataset("davis"), "val-2017", tmp_path)
    ordered = samples.by_id()
    assert ordered.ids == ("ball", "duck", "kite") and samples.ids == ("kite", "ball", "duck")
    keys = dict(zip(samples.ids, samples.keys, strict=True))
    assert list(ordered.keys) == [keys[name] for name in ordered.ids]
    assert ordered.by_id() is ordered and ordered.images == 12
