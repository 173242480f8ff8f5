"""Clustering: against the reference implementation's figures, and at the edges."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from bench.base.errors import BadInput
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.scoring import score, score_labels
from bench.scoring.kmeans import cluster
from bench.scoring.metrics import class_iou, confusion_sums, from_sums
from bench.scoring.whitening import most_components, whiten
from tests.conftest import paint_golden
from tests.synthetic import observe_counts

CLASSES = 21
FAST = {"restarts": 2, "iterations": 30}


def preset(**changes):
    return ClusteringPreset(**changes).resolved()


def unexpected(message):
    raise AssertionError(f"warned: {message}")


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_whitening_agrees_with_the_reference_up_to_signs(golden, backbone):
    with np.load(golden / f"clustering_{backbone}.npz") as arrays:
        ours, theirs = whiten(arrays["prototypes"], 32, unexpected), arrays["whitened"]
    assert ours.shape == theirs.shape
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-3)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_matching_agrees_with_the_reference(backbone):
    observations, figures = paint_golden(backbone)
    scored = score_labels(observations, labels_of(figures), preset(), CLASSES)
    for mapping, theirs in zip(scored.mappings, figures["seeds"], strict=True):
        assert [[i, int(c)] for i, c in enumerate(mapping)] == sorted(theirs["match"])


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_iou_agrees_with_the_reference(backbone):
    observations, figures = paint_golden(backbone)
    scored = score_labels(observations, labels_of(figures), preset(), CLASSES)
    values = []
    for seed, theirs in enumerate(figures["seeds"]):
        sums = confusion_sums(scored.rows.confusion(seed))
        values.append(float(from_sums(sums, "zero")["mIoU"]) / 100)
        ious = np.nan_to_num(class_iou(*np.split(sums, 3))) / 100
        np.testing.assert_allclose(ious, theirs["iou"], atol=1e-12, rtol=0)
        assert values[-1] == pytest.approx(theirs["mIoU"], abs=1e-12)
    assert np.mean(values) == pytest.approx(figures["mIoU"], abs=1e-12)


def labels_of(figures):
    return [np.array(seed["labels"], np.int32) for seed in figures["seeds"]]


def test_the_input_grid_counts_other_pixels_than_the_label_grid(painted):
    observations, figures = painted
    first = labels_of(figures)[:1]
    pixels = {
        grid: score_labels(observations, first, preset(grid=grid), CLASSES).rows.confusion(0).sum()
        for grid in ("label", "input")
    }
    assert pixels["input"] <= 40 * 512 * 512
    assert pixels["label"] == observations.counts[:, :2].sum() != pixels["input"]


def test_the_authors_solver_runs_on_the_reference_s_prototypes(painted):
    observations, figures = painted
    scored = score(observations, preset(solver="minibatch", restarts=1), range(1234, 1239), CLASSES)
    ours = [float(from_sums(confusion_sums(scored.rows.confusion(i)), "zero")["mIoU"]) for i in range(5)]
    assert np.mean(ours) == pytest.approx(100 * figures["mIoU"], abs=2.5)


@pytest.mark.parametrize("solver", ["faiss", "minibatch"])
def test_the_same_seed_gives_the_same_labels(painted, solver):
    observations, _ = painted
    recipe = preset(solver=solver, **FAST)
    first, second = (score(observations, recipe, (1234, 1235), CLASSES).rows.labels for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first[0] != first[1]).any()


def test_cluster_ids_are_within_k(painted):
    observations, _ = painted
    labels = score(observations, preset(clusters=7, **FAST), (0,), CLASSES).rows.labels
    assert labels.shape == (1, 40)
    assert set(labels[0].tolist()) == set(range(7))


def blobs(images, dimensions=6, centres=4, seed=0):
    """Prototypes in well-separated groups, and the group of each."""
    generator = np.random.default_rng(seed)
    group = np.arange(images) % centres
    points = 10 * np.eye(dimensions)[group] + generator.normal(0, 0.1, (images, dimensions))
    return points.astype(np.float32), group


def observe_points(points, group=None, classes=5):
    """Images whose mask covers ten pixels of class group + 1 on thirty of background."""
    group = np.zeros(len(points), int) if group is None else group
    inside = 10 * np.eye(classes, dtype=int)[1 + group % (classes - 1)]
    outside = 30 * np.eye(classes, dtype=int)[np.zeros(len(points), int)]
    return observe_counts(inside, outside, points)


@pytest.mark.parametrize("solver", ["faiss", "minibatch"])
def test_groups_that_are_plain_to_see_are_found(solver):
    points, group = blobs(40)
    scored = score(observe_points(points, group), preset(clusters=4, whiten=3, solver=solver), (1234, 7), 5)
    for seed in range(2):
        assert from_sums(confusion_sums(scored.rows.confusion(seed)), "zero")["mIoU"] == pytest.approx(100)
    assert scored.extra["ari"] == pytest.approx([100, 100])


def test_prototypes_on_a_line_are_whitened_to_one_component():
    said = []
    line = np.linspace(-1, 1, 9, dtype=np.float32)[:, None] * np.array([[1, 2, 0.5, -1]], np.float32)
    points = whiten(line, 3, said.append)
    assert points.shape == (9, 1) and points.std(ddof=1) == pytest.approx(1) and len(said) == 1


def test_whitened_points_have_unit_variance_and_no_correlation():
    points = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) @ np.diag([1, 5, 0.1, 30])
    np.testing.assert_allclose(np.cov(whiten(points.astype(np.float32), 4, unexpected).T), np.eye(4), atol=1e-4)


@pytest.mark.parametrize("images, components, solver", [(12, 11, "faiss"), (12, 32, "minibatch"), (2, 1, "faiss")])
def test_images_that_whitening_makes_equally_far_apart_are_bad_input(images, components, solver):
    points = np.random.default_rng(0).normal(size=(images, 40)).astype(np.float32)
    with pytest.raises(BadInput, match=f"{images} images whitened to {images - 1} components are all equally far"):
        score(observe_points(points), preset(clusters=2, whiten=components, solver=solver), (0,), 5)
    if images > 2:
        score(observe_points(points), preset(clusters=2, whiten=most_components(images), solver=solver), (0,), 5)
    score(observe_points(points), preset(clusters=2, whiten=0, solver=solver), (0,), 5)


def test_points_of_few_dimensions_are_whitened_to_all_of_them():
    points = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    score(observe_points(points), preset(clusters=2, whiten=32), (0,), 5)


@pytest.mark.parametrize("components", [8, 32])
def test_the_most_components_leave_distances_that_differ(components):
    """Of the spread of squared distances that many points have, more than 0.6; of a simplex none."""

    def spread(images):
        points = np.random.default_rng(1).normal(size=(images, 64)).astype(np.float32)
        return pdist(whiten(points, components, unexpected), "sqeuclidean").std() / (2 * components)

    fewest = 2 * components + 1
    assert most_components(fewest) == components and most_components(fewest - 1) < components
    many = spread(1000)
    assert spread(fewest) > 0.6 * many and spread(components + 1) < 1e-6 * many


def test_zero_components_leave_the_points_alone():
    points, _ = blobs(8)
    np.testing.assert_array_equal(whiten(points, 0, unexpected), points)


def test_prototypes_of_lower_rank_give_fewer_components_and_a_warning():
    plane = np.random.default_rng(0).normal(size=(30, 2)) @ np.random.default_rng(1).normal(size=(2, 16))
    said = []
    assert whiten(plane.astype(np.float32), 16, said.append).shape == (30, 2)
    assert len(said) == 1
    assert "2 components" in said[0]
    scored = score(observe_points(plane), preset(clusters=3, whiten=16, **FAST), (0,), 5, warn=said.append)
    assert scored.rows.labels.shape == (1, 30)
    assert len(said) == 2


@pytest.mark.parametrize("rounding", [0, 1e-8], ids=["exactly", "but for rounding"])
def test_prototypes_that_are_all_alike_are_bad_input(rounding):
    direction = np.random.default_rng(0).normal(size=32)
    noise = rounding * np.random.default_rng(1).normal(size=(30, 32))
    points = np.float32(direction / np.linalg.norm(direction) + noise)
    with pytest.raises(BadInput, match="are equal"):
        score(observe_points(points), preset(clusters=3, **FAST), (0,), 5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("components", [0, 3])
@pytest.mark.parametrize("solver", ["faiss", "minibatch"])
def test_prototypes_that_are_not_finite_are_bad_input(value, components, solver):
    points, _ = blobs(20)
    points[3, 1] = value
    with pytest.raises(BadInput, match="NaN"):
        score(observe_points(points), preset(clusters=4, whiten=components, solver=solver), (0,), 5)


@pytest.mark.parametrize("solver", ["faiss", "minibatch"])
def test_fewer_images_than_clusters_are_bad_input(solver):
    points, _ = blobs(7)
    with pytest.raises(BadInput, match="7 images cannot form 8 clusters") as caught:
        score(observe_points(points), preset(clusters=8, whiten=2, solver=solver), (0,), 5)
    assert "--clusters" in caught.value.remedy


def test_an_image_without_salient_pixels_stays_in():
    points, group = blobs(21)
    points[20] = 0
    inside, outside = np.zeros((2, 21, 5), int)
    inside[np.arange(20), 1 + group[:20]] = 10
    outside[:, 0] = 30
    outside[20, 2] = 5
    scored = score(observe_counts(inside, outside, points), preset(clusters=5, whiten=4), (0,), 5)
    assert scored.rows.labels.shape == (1, 21)
    confusion = scored.rows.confusion(0)
    assert confusion.sum() == inside.sum() + outside.sum()
    background = scored.mappings[0][0]
    assert confusion[background, 2] >= 5  # its pixels were painted as background


def test_every_point_has_its_weight_however_many_there_are():
    points = np.random.default_rng(0).random((4000, 2)).astype(np.float32)
    clusters = 3  # faiss by itself would look at 256 points for each
    labels = cluster(points, preset(clusters=clusters, restarts=2, iterations=300), seed=1)
    centres = np.stack([points[labels == k].mean(axis=0) for k in range(clusters)])
    nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(labels, nearest)  # no subset's means would be a fixed point of the whole


def test_the_objective_is_no_worse_than_that_of_a_subsample():
    points = np.random.default_rng(2).normal(size=(3000, 4)).astype(np.float32)
    recipe = preset(clusters=4, restarts=5)
    part = points[::3]

    def centres_of(some):
        labels = cluster(some, recipe, seed=1)
        return np.stack([some[labels == k].mean(axis=0) for k in range(4)])

    def objective(centres):
        return ((points[:, None] - centres) ** 2).sum(axis=2).min(axis=1).sum()

    assert objective(centres_of(points)) <= objective(centres_of(part))


def test_a_solver_leaves_faiss_s_threads_as_they_were():
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    cluster(blobs(20)[0], preset(clusters=4, **FAST), seed=0)
    assert faiss.omp_get_max_threads() == before


def test_more_clusters_than_classes_each_take_their_best_class():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(30, 8)).astype(np.float32)
    group = np.arange(30) % 4
    scored = score(observe_points(points, group), preset(clusters=30, whiten=8), (0,), 5)
    assert scored.mappings[0].shape == (31,)
    assert scored.mappings[0][0] == 0
    assert (scored.mappings[0][scored.rows.labels[0] + 1] == group + 1).all()  # one image each, so all are right
    assert from_sums(confusion_sums(scored.rows.confusion(0)), "zero")["mIoU"] == pytest.approx(100)


def test_fewer_clusters_than_classes_leave_classes_without_one():
    points, group = blobs(40)
    scored = score(observe_points(points, group), preset(clusters=2, whiten=3), (0,), 5)
    assert len(set(scored.mappings[0].tolist())) == 3
    assert scored.rows.confusion(0)[-1].sum() == 0
