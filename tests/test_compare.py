"""Comparing two records: the paired bootstrap, what is refused and why, and the command."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.base.errors import BadInput, WrongName
from bench.records.find import find, is_record_name
from bench.report.compare import compare
from bench.scoring.bootstrap import resample_weights, resampled_metrics
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.davis_figures import entries
from bench.scoring.frame_rows import FrameRows
from bench.scoring.metrics import confusion_sums, from_sums
from bench.scoring.paired import of_confusion, of_frames, p_value
from bench.scoring.tolerance import of_two_samples
from tests.synthetic import keep, make_record, random_rows, with_subsamples
from tests.terminal import bench, said

CLASSES = ["background", "cat", "cow", "dog"]


def kept(results, rows, **changes):
    return keep(results, measured(rows, **changes), rows)


def measured(rows, **changes):
    """A record that says what its rows give."""
    record = make_record(seeds=len(rows.seeds), **changes)
    record["dataset"]["images"] = len(rows.ids)
    record["metrics"] = rows.metrics("zero")
    record["per_class"] = rows.per_class(CLASSES)
    record["confusion"] = {"classes": CLASSES}
    return record


@pytest.fixture
def rows():
    return random_rows(1, 40), random_rows(2, 40)


@pytest.fixture
def pair(tmp_path, rows):
    return [kept(tmp_path, own, model=name) for name, own in zip(("one", "two"), rows, strict=True)]


def miou(rows):
    return np.mean([from_sums(confusion_sums(rows.confusion(i)), "zero")["mIoU"] for i in range(len(rows.seeds))])


def spans(found):
    """Lower bound, difference and upper bound of every metric and every class."""
    metrics = [(one.low, one.difference, one.high) for one in found.metrics.values()]
    return [*metrics, *((part.ci95[0], part.difference, part.ci95[1]) for part in found.parts)]


def test_the_difference_is_that_of_the_two_figures(rows):
    found = of_confusion(*rows, "zero", CLASSES, 200)
    assert found.metrics["mIoU"].difference == pytest.approx(miou(rows[1]) - miou(rows[0]))
    assert np.mean([part.b for part in found.parts]) == pytest.approx(miou(rows[1]))
    for low, difference, high in spans(found):
        assert low <= difference <= high


def test_both_are_scored_on_the_same_draws(rows):
    first, second = (resampled_metrics(own, "zero", 200)["mIoU"] for own in rows)
    metrics = of_confusion(*rows, "zero", CLASSES, 200).metrics
    low, high = np.percentile(second - first, [2.5, 97.5])
    assert (metrics["mIoU"].low, metrics["mIoU"].high) == pytest.approx((low, high))


def test_what_is_hard_for_both_cancels():
    """A model that is a little better on every image: a narrow interval, although the images differ widely."""
    rng = np.random.default_rng(0)
    hit = rng.integers(0, 1000, 200)
    image, none = np.arange(200, dtype=np.int32), np.zeros(200, np.int32)

    def model(right):
        columns = (np.tile(image, 2), np.concatenate([none, none + 1]), np.tile(none, 2))
        seed = SeedRows(*columns, np.concatenate([right, 1000 - right]))
        return ConfusionRows(tuple(map(str, image)), 1, (seed,), np.empty((1, 0), np.int32))

    metrics = of_confusion(model(hit), model(np.minimum(hit + 10, 1000)), "zero", ["it"], 500).metrics
    single = np.ptp(np.percentile(resampled_metrics(model(hit), "zero", 500)["mIoU"], [2.5, 97.5]))
    assert metrics["mIoU"].low > 0
    assert metrics["mIoU"].high - metrics["mIoU"].low < single / 20


def test_a_model_compared_with_itself_differs_by_nothing(rows):
    found = of_confusion(rows[0], rows[0], "zero", CLASSES, 100)
    assert {*spans(found)} == {(0, 0, 0)}
    assert {one.p for one in found.metrics.values()} == {1}


def test_turning_the_two_round_turns_the_sign(rows):
    there = of_confusion(*rows, "zero", CLASSES, 200).metrics
    back = of_confusion(*rows[::-1], "zero", CLASSES, 200).metrics
    for name, one in there.items():
        assert (back[name].difference, back[name].p) == pytest.approx((-one.difference, one.p))
        assert (back[name].low, back[name].high) == pytest.approx((-one.high, -one.low))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)))
def test_images_are_joined_by_id_whatever_their_order(order):
    first, second = random_rows(1, 12), random_rows(2, 12)
    place = np.argsort(order).astype(np.int32)
    shuffled = replace(
        second,
        ids=tuple(second.ids[i] for i in order),
        seeds=tuple(replace(seed, image=place[seed.image]) for seed in second.seeds),
        labels=second.labels[:, order],
    )
    again = shuffled.in_order(second.ids)
    np.testing.assert_array_equal(again.labels, second.labels)
    np.testing.assert_array_equal(again.class_sums(1).toarray(), second.class_sums(1).toarray())
    assert of_confusion(first, shuffled, "zero", CLASSES, 50) == of_confusion(first, second, "zero", CLASSES, 50)


def test_a_class_that_occurs_nowhere_has_no_difference():
    def model(count):
        columns = (np.array([0, 1]), np.zeros(2, np.int32), np.zeros(2, np.int32))
        return ConfusionRows(("a", "b"), 2, (SeedRows(*columns, np.array([count, 5])),), np.empty((1, 0), np.int32))

    there, nowhere = of_confusion(model(3), model(4), "skip", CLASSES[:2], 100).parts
    assert (nowhere.a, nowhere.b, nowhere.difference, nowhere.ci95) == (None, None, None, None)
    assert there.difference == 0


def test_p_counts_the_rarer_side_twice_and_never_is_zero():
    assert p_value(np.ones(1999)) == 2 / 2000
    assert p_value(np.zeros(10)) == 1
    assert p_value(np.array([-1.0] * 4 + [1.0] * 95)) == pytest.approx(2 * 5 / 100)
    assert p_value(np.array([-1.0, 1.0])) == 1
    assert p_value(-np.array([-1.0] * 4 + [1.0] * 95)) == pytest.approx(2 * 5 / 100)
    assert np.isnan(p_value(np.array([np.nan])))


def test_p_is_small_just_where_the_interval_leaves_out_zero():
    rng = np.random.default_rng(3)
    for shift in np.linspace(0, 4, 41):
        draws = rng.normal(shift, 1, 4000)
        low, _ = np.percentile(draws, [2.5, 97.5])
        if abs(low) > 0.02:
            assert (p_value(draws) < 0.05) == (low > 0)


def test_records_of_two_models_are_compared(pair, rows):
    found = compare(*pair, resamples=200)
    assert found.chosen.difference == pytest.approx(miou(rows[1]) - miou(rows[0]))
    assert [part.name for part in found.parts] == CLASSES
    assert found.parts[1].b == pytest.approx(pair[1].record["per_class"]["cat"])
    assert compare(*pair, "pixel_accuracy", 200).chosen == found.metrics["pixel_accuracy"]


def test_another_number_of_seeds_is_no_obstacle(tmp_path, pair):
    other = kept(tmp_path, random_rows(3, 40, seeds=3), model="three")
    assert compare(pair[0], other, resamples=100).as_json()["b"]["seeds"] == [1234, 1235, 1236]


def changed(tmp_path, rows, change):
    record = measured(rows, model="two")
    change(record)
    return keep(tmp_path / "changed", record, rows)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda r: r["protocol"].update(id="linear", fingerprint="e" * 64), "A is clustering, B is linear"),
        (
            lambda r: (r["protocol"].update(fingerprint="e" * 64), r["protocol"]["preset"].update(clusters=30)),
            "clusters is 20 in A and 30 in B",
        ),
        (lambda r: r["protocol"].update(fingerprint="e" * 64), "fingerprints cd6c2fc6 and eeeeeeee"),
        (
            lambda r: r["dataset"].update(id="shapes"),
            "A is on pascal-voc val, B on shapes val: these are two data sets",
        ),
        (
            lambda r: (r["dataset"].update(id="shapes"), r["protocol"].update(fingerprint="e" * 64)),
            "A is on pascal-voc val, B on shapes val: these are two data sets",
        ),
        (lambda r: r["dataset"].update(split="train"), "B on pascal-voc train: these are two splits"),
        (lambda r: r["dataset"].update(images=30), "A has 40 images of pascal-voc val, B has 30"),
        (lambda r: r["dataset"].update(manifest="b" * 64), "different images or labels"),
        (lambda r: r.update(bank={"manifest": "b" * 64}), "different bank"),
        (lambda r: r.update(fitted_on={"manifest": "b" * 64}), "different images to cluster"),
        (lambda r: r["confusion"].update(classes=["background", "cat", "cow", "<dog>"]), "'dog' in A is '<dog>' in B"),
        (lambda r: r["metrics"]["mIoU"].update(value=99.0), "says mIoU 99.0000, its rows give"),
    ],
)
def test_what_is_no_pair_is_refused_with_the_reason(tmp_path, pair, rows, change, says):
    with pytest.raises(BadInput) as caught:
        compare(pair[0], changed(tmp_path, rows[1], change))
    assert says in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize(
    "other, says",
    [
        (lambda rows: replace(rows, ids=("elsewhere", *rows.ids[1:])), "its ids or labelled pixels are not those"),
        (lambda rows: replace(rows, counted=(1, 2, 3)), "its rows average over 3 of 4 classes, its preset over 4"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(tmp_path, pair, rows, other, says):
    own = other(rows[1])
    with pytest.raises(BadInput, match=says):
        compare(pair[0], kept(tmp_path / "changed", own, model="two"))


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"spoilt"), "does not fit the record's hash"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "does not fit the record's hash"),
    ],
)
def test_rows_that_are_lost_are_refused(pair, spoil, says):
    spoil(pair[1].path.with_name("clustering.rows.npz"))
    with pytest.raises(BadInput, match=says) as caught:
        compare(*pair)
    assert "B (" in caught.value.problem


def test_rows_of_another_record_with_a_forged_hash_are_refused(tmp_path, pair):
    other = pair[1].record | {"model": pair[1].record["model"] | {"id": "forged"}}
    forged = keep(tmp_path / "forged", other, random_rows(7, 40))
    with pytest.raises(BadInput, match="cannot be trusted: it says"):
        compare(pair[0], forged)


def test_a_metric_that_rows_do_not_give_is_a_wrong_name(pair):
    with pytest.raises(WrongName, match="'nmi' cannot be compared\n") as caught:
        compare(*pair, "nmi", 100)
    pair[0].record["metrics"]["nmi"] = pair[0].record["metrics"]["mIoU"]
    with pytest.raises(WrongName, match="'nmi' cannot be compared: its value for each image is not kept") as caught:
        compare(*pair, "nmi", 100)
    assert all(name in caught.value.remedy for name in compare(*pair, resamples=100).metrics)


def test_a_record_without_the_metric_is_refused_before_its_rows_are_looked_for(tmp_path, pair, rows):
    def change(record):
        record["metrics"] = {"clusters_used": record["metrics"]["mIoU"]}

    other = changed(tmp_path, rows[1], change)
    other.path.with_name("clustering.rows.npz").unlink()
    with pytest.raises(BadInput, match="B has no mIoU, only clusters_used"):
        compare(pair[0], other)


def frames(seed, sequences=6):
    rng = np.random.default_rng(seed)
    ids, frame, number = [], [], []
    for s in range(sequences):
        first = len(ids)
        ids += [f"seq{s}/{t:05}" for t in range(9)]
        for obj in range(1, 2 + s % 2):
            frame += range(first + 1, first + 9)
            number += [obj] * 8
    count = len(frame)
    return FrameRows(
        tuple(ids), np.array(frame, np.int32), np.array(number, np.int32), rng.random(count), rng.random(count)
    )


def video_record(rows, model):
    record = make_record(model=model, dataset={"id": "davis", "images": len(rows.ids)}, protocol={"id": "davis"})
    for key in ("per_class", "cluster_to_class"):
        del record[key]
    return record | {"seeds": []} | entries(rows)


def test_videos_are_compared_by_whole_sequences(tmp_path):
    own = [frames(1), frames(2)]
    stored = [keep(tmp_path, video_record(rows, name), rows) for rows, name in zip(own, ("one", "two"), strict=True)]
    found = compare(*stored, resamples=300)
    assert (found.metric, found.unit) == ("JF_mean", "sequences")
    values = [entry.record["metrics"]["JF_mean"]["value"] for entry in stored]
    assert found.chosen.difference == pytest.approx(values[1] - values[0])
    assert found.chosen.low <= found.chosen.difference <= found.chosen.high
    assert [part.name for part in found.parts] == [f"seq{i}" for i in range(6)]
    assert found.parts[0].a == pytest.approx(stored[0].record["per_sequence"]["seq0"]["JF_mean"])
    json.dumps(found.as_json(), allow_nan=False)


def test_the_same_sequences_are_drawn_for_both_videos():
    rows = frames(1)
    better = replace(rows, similarity=rows.similarity + 0.1)
    metrics = of_frames(rows, better, 200).metrics
    assert (metrics["J_mean"].low, metrics["J_mean"].high) == pytest.approx((10, 10))
    assert metrics["F_mean"].p == 1


def test_videos_of_other_objects_are_refused(tmp_path):
    own = frames(1), frames(1, sequences=5)
    with pytest.raises(ValueError, match="objects"):
        of_frames(*own, 100)
    stored = [keep(tmp_path, video_record(rows, name), rows) for rows, name in zip(own, ("one", "two"), strict=True)]
    with pytest.raises(BadInput, match="A has 54 images"):
        compare(*stored)
    renamed = replace(own[0], ids=tuple(name.replace("seq0", "other") for name in own[0].ids))
    with pytest.raises(BadInput, match="its ids or labelled pixels are not those of"):
        compare(stored[0], keep(tmp_path, video_record(renamed, "three"), renamed))


def test_a_record_is_found_by_path_and_by_name(tmp_path, pair):
    for name in (str(pair[0].path), "one/pascal-voc-val/clustering", "one/pascal-voc-val/clustering.json"):
        assert find(name, tmp_path).record == pair[0].record
    assert find("one", tmp_path).record == pair[0].record  # its only one
    keep(tmp_path, pair[0].record | {"dataset": pair[0].record["dataset"] | {"split": "train"}})
    assert is_record_name("one", tmp_path) and not is_record_name("on", tmp_path)
    with pytest.raises(WrongName, match="unknown record") as caught:
        find("ones/pascal-voc-val/clustering", tmp_path)
    assert "one/pascal-voc-val/clustering" in caught.value.remedy


def test_a_name_that_has_several_records_lists_them(tmp_path, pair):
    for number in range(3):
        dataset = pair[0].record["dataset"] | {"split": f"part-{number}"}
        keep(tmp_path, pair[0].record | {"dataset": dataset})
    limited = pair[0].record["dataset"] | {"limited": True, "images": 12}
    keep(tmp_path, pair[0].record | {"dataset": limited})
    done = bench("compare", "one", "two", "--results", tmp_path)
    said(done, 2, "'one' has 5 records", *(f"one/pascal-voc-part-{number}/clustering" for number in range(3)))
    assert "unknown" not in done.stderr
    with pytest.raises(WrongName, match="'one/pascal-voc-val' has 2 records") as caught:
        find("one/pascal-voc-val", tmp_path)
    assert caught.value.remedy.count("one/pascal-voc-val/clustering") == 2 and "part" not in caught.value.remedy


def test_very_many_records_are_counted_not_listed(tmp_path):
    for number in range(30):
        path = tmp_path / "one" / "x-val" / f"r{number:02}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    with pytest.raises(WrongName, match="'one' has 30 records") as caught:
        find("one", tmp_path)
    assert "r19" in caught.value.remedy and "r20" not in caught.value.remedy and "10 more" in caught.value.remedy


@pytest.mark.parametrize(
    ("wrong", "right"), [("clusterng.json", "clustering.json"), ("pascal-voc-vall", "pascal-voc-val"), ("ome", "one")]
)
def test_a_mistyped_path_is_answered_with_the_nearest(tmp_path, pair, wrong, right):
    path = str(pair[0].path)
    with pytest.raises(WrongName) as caught:
        find(path.replace(right, wrong), tmp_path / "elsewhere")
    assert f"Did you mean {path}" in caught.value.remedy


def test_clusterings_without_subsamples_get_no_verdict(tmp_path, pair):
    """Clusterings of other images differ by more than images do, and rows of earlier versions do not say how much."""
    text = bench("compare", pair[0].path, pair[1].path, "--resamples", 200).stdout
    assert "No verdict" in text and "all else fixed" in text and "p =" not in text
    assert compare(*pair, resamples=200).as_json()["p"] is None


def test_a_model_under_other_seeds_is_the_same_model(tmp_path, rows):
    """Rows of one weights' hash: what differs is the seeds' spread, and no images are drawn."""
    a, b = (
        keep(tmp_path / name, measured(own, model="one"), own)
        for name, own in zip("ab", (with_subsamples(rows[0]), with_subsamples(rows[1])), strict=True)
    )
    found = compare(a, b, resamples=200).chosen
    spread = of_two_samples(*(rows_.figures({"absent": "zero"})["mIoU"] for rows_ in rows), 0.0)
    assert found.tested.p == pytest.approx(spread.p(found.difference)) and spread.freedom == 2
    assert "the same model under" in bench("compare", a.path, b.path, "--resamples", 200).stdout


def test_the_command_prints_the_comparison(tmp_path, rows):
    pair = [kept(tmp_path, with_subsamples(own), model=name) for name, own in zip(("one", "two"), rows, strict=True)]
    names = ("one/pascal-voc-val/clustering", "two/pascal-voc-val/clustering")
    text = bench("compare", *names, "--results", tmp_path, "--resamples", 200).stdout
    found = compare(*pair, resamples=200)
    assert f"B − A = {found.chosen.difference:+.2f}" in text
    assert f"95 % interval {found.chosen.tested.low:+.2f} to {found.chosen.tested.high:+.2f}, p " in text
    assert f"all else fixed: {found.chosen.low:+.2f} to {found.chosen.high:+.2f}" in text
    for part in found.parts:
        assert any(line.split()[:2] == [part.name, f"{part.a:.2f}"] for line in text.splitlines())
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("record of "))
    data = json.loads(bench("compare", *names, "--results", tmp_path, "--resamples", 200, "--json").stdout)
    assert data["difference"] == found.chosen.difference
    assert data["ci95_over_images"] == [found.chosen.low, found.chosen.high]
    assert data["interval"] == [found.chosen.tested.low, found.chosen.tested.high]
    assert data["per_class"]["cat"]["b"] == found.parts[1].b


def test_two_precisions_are_said(tmp_path, rows):
    marks = {"modified": True, "variations": ["bfloat16"]}
    records = [measured(rows[0], model="one"), measured(rows[1], model="two", protocol=marks)]
    for record, precision in zip(records, ("float32", "bfloat16"), strict=True):
        record["cost"] = {"precision": precision}
    paths = [keep(tmp_path, record, own).path for record, own in zip(records, rows, strict=True)]
    ran = bench("compare", *paths, "--resamples", "200", "--json")
    assert "A was computed in float32, B in bfloat16" in ran.stderr
    assert [json.loads(ran.stdout)[side]["precision"] for side in "ab"] == ["float32", "bfloat16"]
    assert "was computed in" not in bench("compare", paths[1], paths[1], "--resamples", "200").stderr


def test_a_single_image_has_no_interval(tmp_path):
    a, b = (kept(tmp_path, random_rows(seed, 1), model=name) for seed, name in ((1, "one"), (2, "two")))
    found = compare(a, b, resamples=100).as_json()
    assert (
        found["interval"] is None
        and found["p"] is None
        and found["ci95_over_images"] is None
        and found["difference"] is not None
    )
    assert all(part["ci95"] is None for part in found["per_class"].values())
    done = bench("compare", a.path, b.path, "--resamples", "100")
    assert done.returncode == 0 and "Nothing is shown" in done.stdout and "nan" not in done.stdout


def test_a_single_sequence_has_no_interval():
    rows = frames(3, sequences=1)
    assert math.isnan(of_frames(rows, rows, 100).metrics["JF_mean"].low)


def test_resamples_are_drawn_alike_whatever_is_resampled():
    first, second = (np.concatenate(list(resample_weights(40, 30, seed=0))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
