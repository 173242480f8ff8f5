"""Clustering of patch tokens: each stage against the reference's outputs, whole runs against a direct computation."""

import hashlib
import json

import faiss
import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.presets import override
from bench.data.decoding import read_ids, read_label
from bench.data.placement import nearest_centres
from bench.data.preprocessing import label_to_input, nearest_of
from bench.data.samples import open_split
from bench.passes.engine import Engine
from bench.passes.image_pass import load_sample, to_device
from bench.protocols import registry
from bench.protocols.patch_clustering.preset import PatchPreset
from bench.protocols.patch_clustering.space import fit_space, pca, standardise
from bench.protocols.patch_clustering.tokens import at_100, centres_of, cluster, training_points
from bench.records.card_says import against_cards
from bench.records.record import Stored
from bench.records.recount import recount
from bench.runs.score_folder import score_folder
from bench.scoring import kmeans
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.id_counts import Painted, contingency, given_classes, matched_classes
from bench.scoring.metrics import seed_metrics
from tests.conftest import GOLDEN
from tests.networks import Colours

FOLDER = GOLDEN / "leopart"
FIGURES = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
RUNS, PAIRS = FIGURES["clustering"], FIGURES["pairs"]
MATCHINGS = {"hungarian": "one-to-one", "many_to_one_iou": "many-iou", "many_to_one_precision": "precision"}
CARD = catalogue.dataset("pascal-voc")
EXACT = 1e-8
OF_ANOTHER_FAISS = 0.04
"""Twice what the README gives for the three-seed mean of another implementation."""
SMALL = {"input": [32, 40], "clusters": 5, "pca": 2, "restarts": 2, "iterations": 20, "drop_last_batch": None}
NAMED = "patch-overclustering-5"


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / "golden_arrays.npz") as found:
        return dict(found)


@pytest.fixture(scope="module")
def inputs():
    with np.load(FOLDER / "tokens.npz") as found:
        return found["tokens"][:, 1:], found["labels"]


def painted_of(maps, labels, ignore=255):
    tables = [contingency(found, label, ignore) for found, label in zip(maps, labels, strict=True)]
    return Painted([str(i) for i in range(len(tables))], tables, "")


def figures_of(rows):
    """Fractions: IoU of every class, an absent one 0, and their mean."""
    sums = rows.sums(0).reshape(3, -1)
    union = sums[1] + sums[2] - sums[0]
    return np.where(union > 0, sums[0] / np.maximum(union, 1), 0), seed_metrics(rows, "zero")[0]["mIoU"] / 100


def matched(maps, labels, matching, classes, clusters):
    rows, (mapping,) = matched_classes([painted_of(maps, labels)], matching, classes, clusters)
    return mapping, *figures_of(rows)


# --- the reference's outputs ---


def test_tokens_are_standardised_and_reduced_as_the_reference_does(inputs, arrays):
    tokens = inputs[0].reshape(-1, 24)
    found = standardise(tokens)
    np.testing.assert_allclose(found, arrays["standardised"].reshape(found.shape), atol=0.002)
    squares = np.square(found.astype(np.float64)).sum(axis=0)
    np.testing.assert_allclose(squares, RUNS["k21"]["standardised_sum_of_squares_per_dimension"], atol=3e-4)
    reduced = pca(found, RUNS["k21"]["pca_dim"])
    signs = np.sign((reduced * arrays["pca"]).sum(axis=0))
    np.testing.assert_allclose(reduced * signs, arrays["pca"], atol=1e-5)
    variances = fit_space([tokens], len(tokens), components=10).variances
    np.testing.assert_allclose(variances, RUNS["k21"]["variance_per_component"], atol=1e-6)


def test_labels_come_to_100_as_the_reference_has_them(inputs, arrays):
    np.testing.assert_array_equal([at_100(label) for label in inputs[1]], arrays["masks_100"])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("whole", [False, True], ids=["from its points", "from tokens"])
def test_clusters_and_figures_are_the_reference_s(inputs, arrays, run, whole):
    told, same = RUNS[run], faiss.__version__ == FIGURES["versions"]["faiss-cpu"]
    points = pca(standardise(inputs[0].reshape(-1, 24)), 10) if whole else arrays["pca"]
    values, matching = [], PatchPreset(clusters=told["K"]).matching_of(told["classes"])
    for number, seed in enumerate(told["seeds"]):
        ids = cluster(points, PatchPreset(), told["K"], seed).reshape(12, 14, 14)
        if same:
            np.testing.assert_array_equal(ids, arrays[f"clusters_{run}"][number])
        _, iou, value = matched([at_100(one) for one in ids], arrays["masks_100"], matching, 21, told["K"])
        values.append(value)
        if same:
            np.testing.assert_allclose(iou, told["iou_per_class_per_seed"][number], atol=EXACT)
    np.testing.assert_allclose(values, told["miou_per_seed"], atol=EXACT if same else 3 * OF_ANOTHER_FAISS)
    assert np.mean(values) == pytest.approx(told["miou"], abs=EXACT if same else OF_ANOTHER_FAISS)


@pytest.mark.parametrize("run", RUNS)
def test_its_clusters_give_its_maps_and_figures(arrays, run):
    told = RUNS[run]
    for number, ids in enumerate(arrays[f"clusters_{run}"]):
        maps = np.stack([at_100(one) for one in ids]).astype(np.uint8)
        if number == 0:
            assert hashlib.sha256(maps.tobytes()).hexdigest()[:16] == told["sha_of_seed0_map_at_100_uint8"]
        matching = PatchPreset(clusters=told["K"]).matching_of(told["classes"])
        _, iou, value = matched(maps, arrays["masks_100"], matching, 21, told["K"])
        np.testing.assert_allclose(iou, told["iou_per_class_per_seed"][number], atol=EXACT)
        assert value == pytest.approx(told["miou_per_seed"][number], abs=EXACT)
        assert painted_of(maps, arrays["masks_100"]).rows().count.sum() == told["counted_pixels"]


@pytest.mark.parametrize("run", RUNS)
def test_k_means_trains_on_as_many_tokens_to_the_same_objective(arrays, run):
    told = RUNS[run]
    for seed, objective in zip(told["seeds"], told["final_objective_per_seed"], strict=True):
        (drawn,) = training_points([arrays["pca"]], 2352, np.asarray, 256 * told["K"], [seed])
        assert len(drawn) == told["tokens_used_for_training"]
        centres = centres_of(drawn, PatchPreset(), told["K"], seed)
        nearest = centres[kmeans.nearest(centres, drawn)]
        # faiss tells the objective by the centres before the last update, which lowers it
        found = float(np.square(drawn - nearest).sum(dtype=np.float64))
        assert found == pytest.approx(objective, rel=0.02)


@pytest.mark.parametrize("group", PAIRS)
@pytest.mark.parametrize("theirs", [*MATCHINGS, "no_matching"])
def test_every_matching_is_the_reference_s(group, theirs):
    told = PAIRS[group].get(theirs)
    if told is None:
        pytest.skip("the reference has no such figure here")
    with np.load(FOLDER / "pairs.npz") as pairs:
        found, label = pairs[f"cluster_{group}"], pairs[f"label_{group}"]
    classes, clusters = PAIRS[group]["classes"], PAIRS[group]["clusters"]
    if theirs == "no_matching":
        iou, value = figures_of(given_classes([painted_of([found], [label])], classes))
    else:
        mapping, iou, value = matched([found], [label], MATCHINGS[theirs], classes, clusters)
        assert mapping.tolist() == told["class_of_cluster"]
        # one to one, clusters that are left over are not among those that were matched
        among = min(clusters, classes) if theirs == "hungarian" else clusters
        share = (1 if theirs == "hungarian" else (mapping == 0).sum()) / among
        assert share == pytest.approx(told["share_of_clusters_on_background"], abs=EXACT)
    np.testing.assert_allclose(iou, told["iou_per_class"], atol=EXACT)
    assert value == pytest.approx(told["miou"], abs=EXACT)


# --- the space ---


def tokens_of(count=900, width=6, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, width)) @ generator.normal(size=(width, width)) + 40).astype(np.float32)


@pytest.mark.parametrize("sample", [None, 1000, 20])
def test_a_space_is_the_same_in_however_many_parts_tokens_come(sample):
    tokens = tokens_of()
    whole = fit_space([tokens], 900, components=3, sample=sample)
    parts = fit_space(np.array_split(tokens, [1, 300, 640]), 900, components=3, sample=sample)
    np.testing.assert_allclose(parts.points(tokens), whole.points(tokens), atol=1e-5)
    direct = (tokens - tokens.mean(axis=0, dtype=np.float64)) / tokens.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(whole.standardised(tokens), direct, atol=1e-5)


def test_a_sampled_pca_is_faiss_s_own():
    tokens = standardise(tokens_of(9000))
    theirs = faiss.PCAMatrix(6, 4)
    theirs.train(tokens)
    reduced, other = pca(tokens, 4), theirs.apply(tokens)
    np.testing.assert_allclose(reduced * np.sign((reduced * other).sum(axis=0)), other, atol=1e-4)
    assert np.abs(np.abs(pca(tokens, 4, None)) - np.abs(other)).max() > 1e-3  # all tokens are another PCA


def test_sampled_points_give_what_faiss_finds_on_all_of_them():
    points = tokens_of(3000)
    theirs = faiss.Kmeans(6, 7, niter=100, nredo=5, seed=3)
    theirs.train(points)
    (drawn,) = training_points(np.array_split(points, 5), 3000, np.asarray, 7 * 256, [3])
    np.testing.assert_allclose(centres_of(drawn, PatchPreset(), 7, 3), theirs.centroids, atol=1e-4)
    own = training_points(np.array_split(points, 5), 3000, np.asarray, 100, [3, 4])
    assert [len(one) for one in own] == [100, 100] and (own[0] != own[1]).any()
    every = training_points(np.array_split(points, 5), 3000, np.asarray, None, [3, 4])
    np.testing.assert_array_equal(every, [points, points])


def test_a_constant_dimension_stays_out_of_the_way_and_equal_tokens_are_refused():
    tokens = tokens_of()
    tokens[:, 2] = 1e4 / 3
    space = fit_space([tokens], 900, components=5)
    assert np.abs(space.standardised(tokens)[:, 2]).max() < 1e-3
    assert np.isfinite(space.points(tokens)).all() and np.abs(space.components[:, 2]).max() < 1e-3
    with pytest.raises(BadInput, match="all 40 tokens are equal"):
        fit_space([np.full((40, 3), 1 / 3, np.float32)], 40)


def test_without_standardising_and_pca_tokens_stay_what_they_are():
    tokens = tokens_of()
    np.testing.assert_array_equal(fit_space([tokens], 900, standardise=False, components=None).points(tokens), tokens)
    assert fit_space([tokens], 900, components=50).points(tokens).shape == (900, 6)


# --- whole runs ---


def run(model, golden, tmp_path, protocol="patch-clustering", **more):
    return bench.evaluate(
        model,
        "pascal-voc",
        protocol,
        data_root=golden / "VOCSegmentation",
        cache=tmp_path / "cache",
        entries=SMALL | more.pop("entries", {}),
        **more,
    )


def direct(golden, preset, kept, grid):
    """IoU by class and mIoU of one seed, by the stages on all tokens at once."""
    model, maps, labels = Colours(), [], []
    samples = open_split(CARD, "val", golden / "VOCSegmentation").by_id()
    loaded = [load_sample(sample, samples, preset) for sample in samples]
    features = [model.features(to_device([one], preset, Engine("cpu")))[0].numpy() for one in loaded[:kept]]
    tokens = np.concatenate([feature.reshape(3, -1).T for feature in features])
    points = fit_space([tokens], len(tokens), components=preset.pca).points(tokens)
    ids = cluster(points, preset, preset.clusters, 0).reshape(kept, *features[0].shape[1:])
    for one, found in zip(loaded, ids, strict=False):
        label = read_label(one.sample.label, CARD)[0]
        at_input = label_to_input(label, preset)
        own = {
            "100x100": lambda found, label, at_input: (at_100(found), at_100(at_input)),
            "input": lambda found, label, at_input: (nearest_of("torch", found, at_input.shape), at_input),
            "label": lambda found, label, at_input: (nearest_centres(found, label.shape), label),
        }[grid](found, label, at_input)
        maps.append(own[0])
        labels.append(own[1])
    return matched(maps, labels, "precision", 21, preset.clusters)


@pytest.mark.parametrize(("grid", "batch"), [("100x100", None), ("100x100", 11), ("input", None), ("label", 60)])
def test_a_run_is_its_stages_on_all_tokens(golden, tmp_path, grid, batch):
    told = []
    entries = {"grid": grid, "drop_last_batch": batch}
    if batch == 60:  # more than there are
        entries = {"grid": grid}
    made = run(Colours(), golden, tmp_path, entries=entries, num_seeds=1, warn=told.append)
    kept = 33 if batch == 11 else 40
    mapping, iou, value = direct(golden, override(PatchPreset(), SMALL), kept, grid)
    assert made["metrics"]["mIoU"]["per_seed"] == [pytest.approx(100 * value, abs=1e-9)]
    assert made["cluster_to_class"] == [mapping.tolist()]
    assert [value or 0 for value in made["per_class"].values()] == pytest.approx((100 * iou).tolist(), abs=1e-9)
    assert made["seeds"] == [0] and made["tokens"]["images_left_out"] == 40 - kept
    assert made["tokens"]["clustered"] == kept * 80 and made["tokens"]["dimensions"] == 2
    assert made["protocol"]["id"] == NAMED


def test_a_second_run_sees_no_image_and_computes_nothing_again(golden, small_file, tmp_path, monkeypatch):
    entries = {"input": [32, 32]}
    first = run(small_file, golden, tmp_path, num_seeds=2, entries=entries)

    def never(*args, **more):
        raise AssertionError("this was computed before")

    monkeypatch.setattr("bench.protocols.patch_clustering.fitted.fit_space", never)
    monkeypatch.setattr("bench.scoring.kmeans.fit", never)
    monkeypatch.setattr("bench.protocols.patch_clustering.protocol.kmeans.nearest", never)
    again = run(small_file, golden, tmp_path, num_seeds=2, entries=entries)
    assert (first["observed"]["from_cache"], again["observed"]["from_cache"]) == (0, 40)
    assert first["metrics"] == again["metrics"] and first["cluster_to_class"] == again["cluster_to_class"]


@pytest.mark.slow
def test_dropped_images_are_painted_but_neither_clustered_nor_scored(golden, tmp_path):
    rows = {}
    for batch in (None, 11):
        made = run(
            Colours(), golden, tmp_path, entries={"drop_last_batch": batch, "grid": "label"}, num_seeds=1,
            results=tmp_path / f"r{batch}", save_predictions=tmp_path / f"p{batch}", save_examples=1,
        )  # fmt: skip
        (path,) = (tmp_path / f"r{batch}").rglob("*.rows.npz")
        with np.load(path) as found:
            rows[batch] = set(found["image"].tolist())
        whole = made | {"dataset": made["dataset"] | {"limited": False, "images": 40, "official_images": 40}}
        assert not [one.text for one in against_cards(whole, ConfusionRows.read(path)) if "no labelled" in one.text]
        assert recount(Stored(path.with_name(path.name.replace(".rows.npz", ".json")), made)).problem is None
        assert len(list((tmp_path / f"p{batch}").glob("*.png"))) == 40
    assert rows == {None: set(range(40)), 11: set(range(33))}


@pytest.mark.slow
def test_saved_predictions_score_to_the_last_digit_at_the_label_s_own_size(golden, small_file, tmp_path):
    entries = {"input": [32, 32], "grid": "label"}
    made = run(small_file, golden, tmp_path, num_seeds=1, entries=entries, save_predictions=tmp_path / "predictions")
    settings = bench.protocols.base.Settings(data_root=golden / "VOCSegmentation", cache=tmp_path / "cache")
    scored = score_folder(tmp_path / "predictions", "pascal-voc", tmp_path / "r", settings).record
    for metric in ("mIoU", "pixel_accuracy", "mean_class_accuracy"):
        assert scored["metrics"][metric]["value"] == pytest.approx(made["metrics"][metric]["value"], abs=1e-9)
    found, _ = read_ids(next((tmp_path / "predictions").glob("*.png")), "index")
    assert set(np.unique(found)) <= set(made["cluster_to_class"][0])


@pytest.mark.parametrize("fit", ["shorter", "own", "crop"])
def test_other_geometries_are_painted_where_they_were_seen(golden, tmp_path, fit):
    entries = {"fit": fit, "multiple": 16, "grid": "input" if fit == "crop" else "label"}
    made = run(Colours(), golden, tmp_path, entries=entries, num_seeds=1, limit=4, save_predictions=tmp_path / "p")
    assert made["metrics"]["mIoU"]["value"] > 0 and len(list((tmp_path / "p").glob("*.png"))) == 4


# --- names and entries ---


@pytest.mark.parametrize(
    ("asked", "entries", "name", "modified"),
    [
        ("patch-clustering", {}, "patch-clustering", False),
        ("patch-clustering", {"clusters": 21}, "patch-clustering", False),
        ("patch-clustering", {"clusters": 500}, "patch-overclustering-500", False),
        ("patch-overclustering-300", {}, "patch-overclustering-300", False),
        ("patch-clustering+fixed", {}, "patch-clustering+fixed", False),
        ("patch-overclustering-500+fixed", {}, "patch-overclustering-500+fixed", False),
        ("patch-overclustering-500", {"pca": None}, "patch-overclustering-500", True),
    ],
)
def test_names_are_those_of_published_figures(golden, asked, entries, name, modified, monkeypatch):
    from bench.protocols.base import Settings
    from bench.runs.plan import make_plan

    settings = Settings(data_root=golden / "VOCSegmentation", entries=entries)
    monkeypatch.setitem(CARD.protocols._presets, "patch-clustering", PatchPreset(drop_last_batch=4))
    plan = make_plan(Colours(), "pascal-voc", asked, settings, lambda message: None)
    assert (plan.preset.grid == "label") == (plan.preset.left_out(39) == 0) == ("+fixed" in asked)
    assert (plan.protocol, plan.modified, plan.seeds) == (name, modified, (0, 1, 2, 3, 4))
    assert registry.parse(name)[0] == "patch-clustering"


def test_as_many_clusters_as_classes_are_no_overclustering(golden):
    with pytest.raises(WrongName, match="patch-overclustering-21 was asked for"):
        bench.evaluate(
            Colours(), "pascal-voc", "patch-overclustering-21", data_root=golden / "VOCSegmentation", entries={"pca": 2}
        )


def test_a_batch_that_no_images_fill(golden, tmp_path):
    told = []
    entries = {key: value for key, value in SMALL.items() if key != "drop_last_batch"}
    made = bench.evaluate(
        Colours(), "pascal-voc", "patch-clustering", data_root=golden / "VOCSegmentation", cache=tmp_path,
        entries=entries, limit=4, num_seeds=1, warn=told.append,
    )  # fmt: skip
    assert any("4 images do not fill one batch of 60: none is dropped" in line for line in told)
    assert made["protocol"]["preset"]["drop_last_batch"] is None and made["protocol"]["modified"]
    with pytest.raises(BadInput, match="4 images do not fill one batch of 5: all of them would be dropped"):
        run(Colours(), golden, tmp_path, limit=4, entries={"drop_last_batch": 5})


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"grid": "label", "fit": "crop"}, "grid: with fit = crop"),
        ({"pca": None, "pca_sample": 5}, "'pca_sample' has no effect here"),
        ({"matching": "pixels"}, "matching"),
        ({"drop_last_batch": -1}, "drop_last_batch"),
    ],
)
def test_entries_that_do_not_go_together(golden, tmp_path, entries, said):
    with pytest.raises(WrongName, match=said):
        run(Colours(), golden, tmp_path, entries=entries)


def test_what_cannot_be_clustered_or_scored_is_one_line(golden, tmp_path):
    with pytest.raises(BadInput, match="80 tokens cannot form 81 clusters"):
        run(Colours(), golden, tmp_path, limit=1, entries={"clusters": 81})

    class Dead(nn.Module):
        def forward(self, images):
            return torch.full((len(images), 4, 8, 10), 1 / 3)

    with pytest.raises(BadInput, match="all 320 tokens are equal"):
        run(Dead(), golden, tmp_path, limit=4)


def test_labels_that_are_all_void_are_one_line(golden, tmp_path, monkeypatch):
    def void(path, card, size=None):
        label, digest = read_label(path, card, size)
        return np.full_like(label, 255), digest

    monkeypatch.setattr("bench.data.decoding.read_label", void)
    with pytest.raises(BadInput, match="no labelled pixel in any of the 4 images"):
        run(Colours(), golden, tmp_path, limit=4)
