"""Confusion rows: sums, and the file they lie in."""

from dataclasses import replace

import numpy as np
import pytest

from bench.base.errors import BadInput
from bench.scoring.cluster_rows import ClusterRows, SeedClusters
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.frame_rows import FrameRows
from bench.scoring.metrics import confusion_sums
from tests.synthetic import random_rows


@pytest.fixture
def rows():
    return random_rows(11, images=9, classes=5, seeds=3)


def test_what_was_written_is_read_back(rows, tmp_path):
    path = tmp_path / "a" / "x.rows.npz"
    rows.write(path)
    again = ConfusionRows.read(path)
    assert (again.ids, again.num_classes) == (rows.ids, rows.num_classes)
    np.testing.assert_array_equal(again.labels, rows.labels)
    for mine, theirs in zip(rows.seeds, again.seeds, strict=True):
        for name in SeedRows.__annotations__:
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
            assert getattr(mine, name).dtype == getattr(theirs, name).dtype


def test_equal_rows_make_equal_files(rows, tmp_path):
    for name in ("a", "b"):
        rows.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_seed_without_rows_survives(tmp_path):
    none = np.empty(0, np.int32)
    rows = ConfusionRows(("a",), 3, (SeedRows(none, none, none, none.astype(np.int64)),), np.zeros((1, 1), np.int32))
    rows.write(tmp_path / "x")
    assert not ConfusionRows.read(tmp_path / "x").confusion(0).any()


def test_ids_may_be_in_any_script(tmp_path):
    rows = random_rows(0, images=2)
    ConfusionRows(("über/猫", "b c"), rows.num_classes, rows.seeds, rows.labels).write(tmp_path / "x")
    assert ConfusionRows.read(tmp_path / "x").ids == ("über/猫", "b c")


def test_confusion_and_class_sums_agree(rows):
    for seed in range(len(rows.seeds)):
        sums = rows.class_sums(seed)
        assert sums.shape == (len(rows.ids), 3 * rows.num_classes)
        np.testing.assert_array_equal(np.asarray(sums.sum(axis=0)), confusion_sums(rows.confusion(seed)))


def test_the_last_row_of_the_confusion_is_what_stayed_unmatched():
    one = SeedRows(*(np.array(v, np.int32) for v in ([0, 0, 1], [2, 0, 2], [1, 0, 1])), np.array([5, 7, 6]))
    rows = ConfusionRows(("a", "b"), 2, (one,), np.zeros((1, 2), np.int32))
    np.testing.assert_array_equal(rows.confusion(0), [[7, 0], [0, 0], [0, 11]])
    np.testing.assert_array_equal(rows.class_sums(0).toarray(), [[7, 0, 7, 0, 7, 5], [0, 0, 0, 0, 0, 6]])


def write_foreign(path):
    with path.open("wb") as stream:
        np.savez(stream, something=np.arange(3))


def write_pickled(path):
    with path.open("wb") as stream:
        np.savez(stream, lengths=np.array([{"a": 1}], dtype=object))


def write_plain_array(path):
    with path.open("wb") as stream:
        np.save(stream, np.arange(3))


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"<!DOCTYPE html>"),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        flip_a_byte,
        write_foreign,
        write_pickled,
        write_plain_array,
    ],
    ids=["missing", "empty", "html", "cut", "mostly gone", "flipped", "foreign", "pickled", "plain array"],
)
def test_a_damaged_file_is_bad_input_that_names_it(rows, tmp_path, damage):
    path = tmp_path / "x.rows.npz"
    rows.write(path)
    damage(path)
    with pytest.raises(BadInput, match=r"x\.rows\.npz"):
        ConfusionRows.read(path)


@pytest.mark.slow
def test_no_flipped_byte_escapes_as_another_error(tmp_path):
    path = tmp_path / "x.rows.npz"
    random_rows(0, images=2, classes=2, seeds=1).write(path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            ConfusionRows.read(path)
        except BadInput:
            continue


@pytest.mark.parametrize(
    "column, value", [("image", 40), ("image", -1), ("predicted", 6), ("true", 5), ("true", -1), ("count", -1)]
)
def test_a_row_that_cannot_be_is_damage(tmp_path, column, value):
    rows = random_rows(0, images=40, classes=5)
    first = rows.seeds[0]
    changed = getattr(first, column).copy()
    changed[7] = value
    replace(rows, seeds=(replace(first, **{column: changed}), rows.seeds[1])).write(tmp_path / "x.npz")
    with pytest.raises(BadInput, match="damaged"):
        ConfusionRows.read(tmp_path / "x.npz")


def test_images_can_be_put_in_another_order_and_no_others():
    rows = random_rows(0, images=6)
    turned = rows.in_order(rows.ids[::-1])
    np.testing.assert_array_equal(turned.class_sums(0).toarray(), rows.class_sums(0).toarray()[::-1])
    np.testing.assert_array_equal(turned.labels, rows.labels[:, ::-1])
    for ids in (rows.ids[:-1], (*rows.ids[:-1], "other"), (*rows.ids, "more"), rows.ids[:1] * 6):
        with pytest.raises(ValueError, match="other images"):
            rows.in_order(ids)


def test_a_metric_is_the_mean_of_its_seeds_with_spread_and_interval(rows):
    metrics = rows.metrics("zero", {"nmi": [1.0, 2.0, 6.0]})
    assert metrics["nmi"] == {"value": 3.0, "std": pytest.approx(7**0.5), "per_seed": [1.0, 2.0, 6.0]}
    assert metrics.keys() == {"nmi", *rows.comparable}
    for name in rows.comparable:
        own = metrics[name]
        assert own["per_seed"] == rows.figures({})[name] and len(own["per_seed"]) == 3
        assert own["value"] == pytest.approx(np.mean(own["per_seed"]))
        assert own["std"] == pytest.approx(np.std(own["per_seed"], ddof=1))
        assert own["ci95"][0] < own["value"] < own["ci95"][1]
    assert replace(rows, seeds=rows.seeds[:1]).metrics("zero")["mIoU"]["std"] is None


def test_sums_are_those_of_the_confusion_matrix(rows):
    for seed in range(3):
        np.testing.assert_array_equal(rows.sums(seed), confusion_sums(rows.confusion(seed)))


def test_more_classes_than_fit_a_table_have_figures_but_no_confusion_matrix():
    rows = replace(random_rows(0, images=3), num_classes=5000)
    assert rows.figures({})["mIoU"] and rows.per_class(["a"])
    with pytest.raises(ValueError, match="too many for a confusion matrix"):
        rows.confusion(0)


# --- which images have other counts ---


def test_rows_do_not_differ_from_themselves_in_any_order(rows):
    shuffled = []
    for one in rows.seeds:
        order = np.random.default_rng(0).permutation(len(one.image))
        shuffled.append(SeedRows(*(getattr(one, name)[order] for name in SeedRows.__annotations__)))
    assert not rows.changed(rows).any()
    assert not rows.changed(replace(rows, seeds=tuple(shuffled))).any()


def test_the_images_with_other_counts_are_found_under_any_seed(rows):
    first, last = rows.seeds[0], rows.seeds[-1]
    more = last.count.copy()
    place = int(np.flatnonzero(last.image == 2)[0])
    more[place] += 1
    moved = first.predicted.copy()
    moved[first.image == 0] = (moved[first.image == 0] + 1) % rows.num_classes
    other = (replace(first, predicted=moved), *rows.seeds[1:-1], replace(last, count=more))
    found = rows.changed(replace(rows, seeds=other))
    assert np.flatnonzero(found).tolist() == [0, 2]
    assert np.flatnonzero(replace(rows, seeds=other).changed(rows)).tolist() == [0, 2]


def test_a_row_that_is_split_in_two_is_no_other_count(rows):
    one = rows.seeds[0]
    twice = SeedRows(*(np.concatenate([getattr(one, name)] * 2) for name in SeedRows.__annotations__))
    halves = np.concatenate([one.count // 2, one.count - one.count // 2])
    assert not rows.changed(replace(rows, seeds=(replace(twice, count=halves), *rows.seeds[1:]))).any()


def test_rows_of_other_things_are_not_compared(rows):
    for other in (
        replace(rows, ids=(*rows.ids[:-1], "other")),
        replace(rows, seeds=rows.seeds[:1]),
        replace(rows, num_classes=rows.num_classes + 1),
    ):
        with pytest.raises(ValueError, match="they are of other"):
            rows.changed(other)


def test_clusters_and_frames_are_compared_alike():
    image, cluster, pixels = np.arange(3, dtype=np.int32), np.array([0, 1, 0], np.int32), np.array([5, 6, 7])
    clusters = ClusterRows(("a", "b", "c"), 2, (SeedClusters(image, cluster, pixels),), np.full(3, 9))
    other = replace(clusters, seeds=(SeedClusters(image, np.array([0, 0, 0], np.int32), pixels),))
    assert clusters.changed(other).tolist() == [False, True, False] and not clusters.changed(clusters).any()
    frame, number = np.array([1, 2], np.int32), np.array([1, 1], np.int32)
    ids = tuple(f"s/{i}" for i in range(4))
    frames = FrameRows(ids, frame, number, np.array([0.5, np.nan]), np.array([0.5, 0.25]))
    assert not frames.changed(frames).any()
    moved = replace(frames, accuracy=np.array([0.5, 0.5]))
    assert frames.changed(moved).tolist() == [False, False, True, False]
    with pytest.raises(ValueError, match="objects"):
        frames.changed(replace(frames, object=np.array([1, 2], np.int32)))
