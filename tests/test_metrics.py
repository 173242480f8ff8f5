"""Metrics: against naive counting, against scikit-learn, and under what must not matter."""

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.scoring import pixel_table, score_labels
from bench.scoring.metrics import ari, class_iou, confusion_sums, from_sums, image_iou, mean_over_classes, nmi
from tests.synthetic import observe_counts, random_rows

IGNORE = 255
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


def draw_images(generator, images, classes, clusters):
    """Label maps with ignored pixels, masks, and a cluster for each image."""
    shapes = generator.integers(1, 7, (images, 2))
    labels = [generator.choice([*range(classes), IGNORE], shape) for shape in shapes]
    masks = [generator.random(shape) < 0.5 for shape in shapes]
    return labels, masks, generator.integers(0, clusters, images).astype(np.int32)


def histogram(label, where, classes):
    return np.bincount(label[where & (label != IGNORE)], minlength=classes)


def count(labels, masks, classes):
    inside = [histogram(label, mask, classes) for label, mask in zip(labels, masks, strict=True)]
    outside = [histogram(label, ~mask, classes) for label, mask in zip(labels, masks, strict=True)]
    return observe_counts(np.array(inside), np.array(outside))


def preset(clusters, **changes):
    return ClusteringPreset(clusters=clusters, **changes).resolved()


def all_metrics(scored, absent="zero"):
    values = from_sums(confusion_sums(scored.rows.confusion(0)), absent)
    return {name: float(value) for name, value in values.items()} | {k: v[0] for k, v in scored.extra.items()}


def naive_metrics(labels, painted, classes):
    """mIoU and pixel accuracy, pixel by pixel."""
    true_positive, false_positive, false_negative = ([0] * classes for _ in range(3))
    right = total = 0
    for label_map, prediction in zip(labels, painted, strict=True):
        for label, predicted in zip(label_map.flat, prediction.flat, strict=True):
            if label == IGNORE:
                continue
            total += 1
            if label == predicted:
                right += 1
                true_positive[label] += 1
                continue
            false_negative[label] += 1
            if predicted >= 0:
                false_positive[predicted] += 1
    unions = [sum(counts) for counts in zip(true_positive, false_positive, false_negative, strict=True)]
    ious = [hit / union if union else 0.0 for hit, union in zip(true_positive, unions, strict=True)]
    return 100 * sum(ious) / classes, 100 * right / max(total, 1)


@given(SEEDS, st.integers(1, 6), st.integers(2, 5), st.integers(2, 7))
@few
def test_counts_give_what_counting_every_pixel_gives(seed, images, classes, clusters):
    labels, masks, assigned = draw_images(np.random.default_rng(seed), images, classes, clusters)
    scored = score_labels(count(labels, masks, classes), [assigned], preset(clusters), classes)
    mapping = scored.mappings[0]
    painted = [mapping[np.where(mask, own + 1, 0)] for mask, own in zip(masks, assigned, strict=True)]
    metrics = all_metrics(scored)
    assert (metrics["mIoU"], metrics["pixel_accuracy"]) == pytest.approx(naive_metrics(labels, painted, classes))


@given(SEEDS, st.integers(2, 6), st.integers(2, 9))
@few
def test_renaming_clusters_changes_no_metric(seed, classes, clusters):
    generator = np.random.default_rng(seed)
    inside, outside = generator.integers(1, 10**6, (2, 12, classes))  # counts so large that no two scores tie
    observations = observe_counts(inside, outside)
    assigned = np.concatenate([np.arange(clusters), generator.integers(0, clusters, 12)])[:12].astype(np.int32)
    renamed = generator.permutation(clusters).astype(np.int32)[assigned]
    before, after = (
        all_metrics(score_labels(observations, [a], preset(clusters), classes)) for a in (assigned, renamed)
    )
    assert after == pytest.approx(before, abs=1e-9)


@given(SEEDS, st.integers(3, 6))
@few
def test_renaming_clusters_keeps_miou_even_where_assignments_tie(seed, classes):
    generator = np.random.default_rng(seed)
    clusters = classes - 1
    labels, masks, assigned = draw_images(generator, 5, classes, clusters)
    observations = count(labels, masks, classes)
    renamed = generator.permutation(clusters).astype(np.int32)[assigned]
    before, after = (
        all_metrics(score_labels(observations, [a], preset(clusters), classes))["mIoU"] for a in (assigned, renamed)
    )
    assert after == pytest.approx(before, abs=1e-9)


@given(SEEDS, st.integers(2, 8))
@few
def test_two_halves_of_the_images_merge_to_the_whole(seed, images):
    rows = random_rows(seed, images)
    per_image = rows.class_sums(0).toarray()
    half = images // 2
    merged = from_sums(per_image[:half].sum(axis=0) + per_image[half:].sum(axis=0), "zero")
    whole = from_sums(confusion_sums(rows.confusion(0)), "zero")
    assert [float(v) for v in merged.values()] == pytest.approx([float(v) for v in whole.values()])


@given(SEEDS)
@few
def test_pixel_tables_of_two_halves_add_up(seed):
    generator = np.random.default_rng(seed)
    inside, outside = generator.integers(0, 9, (2, 7, 4))
    assigned = generator.integers(0, 3, 7).astype(np.int32)

    def table(part):
        return pixel_table(*observe_counts(inside[part], outside[part]).histograms("label", 4), assigned[part], 3)

    np.testing.assert_array_equal(table(slice(0, 3)) + table(slice(3, 7)), table(slice(0, 7)))


label_vectors = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 4), min_size=n, max_size=n) for _ in range(2)))
)


@pytest.mark.slow
@given(label_vectors)
@settings(max_examples=100, deadline=None)
def test_nmi_and_ari_agree_with_scikit_learn(vectors):
    predicted, true = vectors
    table = np.zeros((5, 5), np.int64)
    np.add.at(table, (predicted, true), 1)
    assert nmi(table) == pytest.approx(100 * normalized_mutual_info_score(true, predicted), abs=1e-6)
    assert ari(table) == pytest.approx(100 * adjusted_rand_score(true, predicted), abs=1e-6)


def test_ari_of_large_tables_does_not_overflow():
    assert ari(np.diag([10**9, 10**9])) == pytest.approx(100)
    assert ari(np.full((3, 3), 10**9)) == pytest.approx(0, abs=1e-3)


def test_an_absent_class_counts_as_zero_or_not_at_all():
    confusion = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0], [0, 0, 0]])  # class 2 is neither labelled nor predicted
    ious = [80.0, 100 * 10 / 12]
    values = {absent: from_sums(confusion_sums(confusion), absent) for absent in ("zero", "skip")}
    assert values["zero"]["mIoU"] == pytest.approx(sum(ious) / 3)
    assert values["skip"]["mIoU"] == pytest.approx(sum(ious) / 2)
    assert values["zero"]["pixel_accuracy"] == values["skip"]["pixel_accuracy"] == pytest.approx(90)


def test_a_class_that_is_only_predicted_is_not_absent():
    confusion = np.array([[8, 0], [2, 0], [0, 0]])
    assert from_sums(confusion_sums(confusion), "skip")["mIoU"] == pytest.approx(40)


def test_class_accuracy_is_the_mean_over_labelled_classes():
    confusion = np.array([[8, 5, 0], [2, 5, 0], [0, 0, 0], [0, 0, 0]])
    assert from_sums(confusion_sums(confusion), "zero")["mean_class_accuracy"] == pytest.approx((80 + 50) / 2)


def test_unmatched_pixels_are_misses_but_nobody_s_false_alarms():
    confusion = np.array([[6, 0], [0, 10], [4, 0]])
    hit, predicted, labelled = np.split(confusion_sums(confusion), 3)
    np.testing.assert_allclose(class_iou(hit, predicted, labelled), [60, 100])


def test_the_iou_of_an_image_is_the_mean_over_the_classes_that_it_shows_or_was_painted():
    true_positives, predicted, labelled = [[6, 0, 0], [0, 0, 0]], [[8, 0, 2], [0, 0, 0]], [[10, 0, 0], [0, 0, 0]]
    sums = scipy.sparse.csr_array(np.hstack([true_positives, predicted, labelled]))
    np.testing.assert_allclose(image_iou(sums), [(100 * 6 / 12 + 0) / 2, np.nan])
    np.testing.assert_allclose(image_iou(sums, [0, 1]), [50, np.nan])
    np.testing.assert_allclose(image_iou(sums, [1]), [np.nan, np.nan])


def test_nothing_at_all_gives_no_nan():
    assert mean_over_classes(np.array([np.nan, np.nan]), "skip") == 0
    assert all(np.isfinite(v) for v in from_sums(np.zeros(6), "skip").values())


def test_a_class_with_one_labelled_pixel_counts_in_the_mean_accuracy():
    sums = np.array([1, 3, 1, 4, 1, 4], float)  # hits, predicted and labelled pixels of two classes
    assert from_sums(sums, "zero")["mean_class_accuracy"] == pytest.approx(100 * (1 / 1 + 3 / 4) / 2)
