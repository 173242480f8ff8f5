"""Dense clustering: pixels drawn and clustered, every pixel assigned; against a direct computation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bench
from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.data.decoding import read_label
from bench.data.preprocessing import resize_nearest
from bench.data.samples import open_split
from bench.passes.classify import _arg_max, decode_map
from bench.passes.engine import Engine
from bench.passes.features import upsample
from bench.passes.image_pass import load_sample, to_device
from bench.protocols.base import Settings
from bench.protocols.clustering_dense.pixels import as_classifiers, draw_pixels, positions, store, unit_features
from bench.protocols.clustering_dense.preset import DensePreset
from bench.protocols.shared_by_pixel import paint_all
from bench.runs.plan import make_plan, run_of
from bench.runs.score_folder import score_folder
from bench.scoring import kmeans
from tests.networks import Colours

CARD = catalogue.dataset("pascal-voc")
SMALL = {"input": [32, 40], "clusters": 5, "pixels": 10, "restarts": 2, "iterations": 20}
SHARED = ("mIoU", "pixel_accuracy", "mean_class_accuracy")


def run(model, golden, tmp_path, **more):
    entries = SMALL | more.pop("entries", {})
    return bench.evaluate(
        model,
        "pascal-voc",
        "clustering-dense",
        data_root=golden / "VOCSegmentation",
        cache=tmp_path / "cache",
        entries=entries,
        **more,
    )


def stored_pixels(model, golden, tmp_path, preset, images=6):
    samples = open_split(CARD, "val", golden / "VOCSegmentation").first(images)
    kept = store(tmp_path, {"test": 1}, preset)
    engine = Engine("cpu", batch_size=4)
    return samples, kept, draw_pixels(lambda: unit_features(model.features), samples, preset, kept, engine)


def test_the_drawn_pixels_are_unit_vectors_of_the_image_itself(golden, tmp_path):
    preset, model = DensePreset(input=(32, 40), pixels=7), Colours()
    samples, kept, drawn = stored_pixels(model, golden, tmp_path, preset)
    assert drawn == 6 * 7
    for sample, pixels in zip(samples, kept.iterate_apart(samples.keys), strict=True):
        loaded = load_sample(sample, samples, preset)
        whole = F.normalize(model.features(to_device([loaded], preset, Engine("cpu"))), dim=1)[0].flatten(1).T
        chosen = positions(sample.id, len(whole), preset)
        assert len(set(chosen.tolist())) == 7
        np.testing.assert_allclose(pixels, whole[chosen].numpy(), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(pixels, axis=1), 1, atol=1e-5)


def test_the_draw_hangs_on_the_image_and_the_preset_alone():
    preset = DensePreset()
    first = positions("a", 1000, preset)
    np.testing.assert_array_equal(first, positions("a", 1000, preset))
    assert (first != positions("b", 1000, preset)).any()
    assert (first != positions("a", 1000, DensePreset(pixel_seed=1))).any()
    assert sorted(positions("a", 5, preset).tolist()) == list(range(5))


def test_every_pixel_goes_to_the_most_similar_centre_after_upsampling(golden, tmp_path):
    root = golden / "VOCSegmentation"
    settings = Settings(data_root=root, cache=tmp_path, entries=SMALL, limit=4, device="cpu", batch_size=3)
    plan = make_plan(Colours(), "pascal-voc", "clustering-dense", settings, print)
    preset, model = plan.preset, Colours()
    centres = [
        F.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(s)), dim=1).numpy() for s in (0, 1)
    ]
    features = unit_features(model.features)
    found, _ = paint_all(run_of(plan, settings, print), lambda: features, as_classifiers(centres), {})
    for seed, own in enumerate(centres):
        for number, sample in enumerate(plan.samples):
            loaded = load_sample(sample, plan.samples, preset)
            pixels = F.normalize(model.features(to_device([loaded], preset, Engine("cpu"))), dim=1)
            similarity = torch.einsum("kd,bdhw->bkhw", torch.from_numpy(own), pixels)
            best = F.interpolate(similarity, size=(32, 40), mode="bilinear", align_corners=False)[0].argmax(0).numpy()
            label, _ = read_label(sample.label, CARD)
            grids = {"label": (resize_nearest(best.astype(np.uint8), label.shape), label)}
            grids["input"] = (best, resize_nearest(label, best.shape))
            for grid, (predicted, true) in grids.items():
                table = np.zeros((5, 256), np.int64)
                np.add.at(table, (predicted, true), 1)
                ours = np.zeros_like(table)
                np.add.at(
                    ours, tuple(found[seed][grid].counts[number][:, :2].T), found[seed][grid].counts[number][:, 2]
                )
                table[:, 255] = 0
                np.testing.assert_array_equal(ours, table)


def test_colours_that_are_plain_to_see_are_found():
    generator = np.random.default_rng(0)
    true = generator.integers(0, 4, 400)
    points = np.eye(4, 6)[true] + generator.normal(0, 0.05, (400, 6))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    centres = kmeans.fit(points, DensePreset(clusters=4).resolved(), 0, spherical=True)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    found = (points @ centres.T).argmax(axis=1)
    assert len({(a, b) for a, b in zip(found.tolist(), true.tolist(), strict=True)}) == 4


def test_centres_and_nearest_are_what_cluster_gives():
    points = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    for solver in ("faiss", "minibatch"):
        recipe = {"clusters": 6, "solver": solver, "init": "k-means++", "iterations": 50, "restarts": 2, "batch": 1000}
        centres = kmeans.fit(points, recipe, 3)
        assert centres.shape == (6, 5)
        np.testing.assert_array_equal(kmeans.nearest(centres, points), kmeans.cluster(points, recipe, 3))


@pytest.mark.slow
def test_a_module_with_features_alone_is_evaluated_with_every_seed_in_two_passes(golden, tmp_path):
    model = Colours()
    record = run(model, golden, tmp_path, num_seeds=3)
    assert record["protocol"]["id"] == "clustering-dense" and len(record["metrics"]["mIoU"]["per_seed"]) == 3
    assert model.calls == 2 * 40 + 1  # and once more the first image, alone
    assert record["pixels"]["drawn"] == 40 * 10
    counted = sum(
        (read_label(s.label, CARD)[0] != 255).sum() for s in open_split(CARD, "val", golden / "VOCSegmentation")
    )
    assert np.sum(record["confusion"]["mean"]) == pytest.approx(counted, abs=0.1)
    assert all(len(mapping) == 5 for mapping in record["cluster_to_class"])


@pytest.mark.slow
def test_a_module_may_return_its_embedding_alone_or_beside_a_saliency_logit(golden, tmp_path):
    class Alone(nn.Module):
        def forward(self, images):
            return F.avg_pool2d(images, 4)

    class Beside(Alone):
        def forward(self, images):
            return super().forward(images), images.mean(1)

    alone, beside = (run(model(), golden, tmp_path, num_seeds=1, limit=6)["metrics"] for model in (Alone, Beside))
    assert alone == beside
    with pytest.raises(BadInput, match="network returned") as caught:
        bench.evaluate(
            Alone(), "pascal-voc", data_root=golden / "VOCSegmentation", cache=tmp_path, entries={"clusters": 2}
        )
    assert "clustering-dense and linear take an embedding alone" in caught.value.remedy


@pytest.mark.slow
def test_a_checkpoint_s_passes_are_cached_and_change_no_figure(golden, small_file, tmp_path):
    first = run(small_file, golden, tmp_path, num_seeds=2)
    again = run(small_file, golden, tmp_path, num_seeds=2)
    assert first["observed"]["from_cache"] == 0 and again["observed"]["from_cache"] == 40
    assert first["metrics"] == again["metrics"] and first["cluster_to_class"] == again["cluster_to_class"]
    assert first["pixels"]["of"] == "the pixel embedding"
    fresh = run(small_file, golden, tmp_path, num_seeds=2, fresh=True, batch_size=3)
    assert fresh["metrics"]["mIoU"]["value"] == pytest.approx(first["metrics"]["mIoU"]["value"], abs=0.5)


def test_a_pass_that_broke_off_goes_on_where_it_stopped(golden, tmp_path):
    preset, model = DensePreset(input=(32, 40), pixels=7), Colours()
    stored_pixels(model, golden, tmp_path, preset, images=4)
    stored_pixels(model, golden, tmp_path, preset, images=6)
    assert model.calls == 6


class Interrupted(Colours):
    """Colours, whose user loses patience in the second batch."""

    def features(self, images):
        if self.calls == 4:
            raise KeyboardInterrupt
        return super().features(images)


def test_ctrl_c_in_the_second_batch_keeps_the_first(golden, tmp_path):
    preset = DensePreset(input=(32, 40), pixels=7)
    with pytest.raises(KeyboardInterrupt):
        stored_pixels(Interrupted(), golden, tmp_path, preset)
    samples = open_split(CARD, "val", golden / "VOCSegmentation").first(6)
    assert len(store(tmp_path, {"test": 1}, preset).known(samples.keys)) == 4


@pytest.mark.slow
def test_saved_predictions_score_to_the_last_digit(golden, small_file, tmp_path):
    made = run(small_file, golden, tmp_path, num_seeds=2, save_predictions=tmp_path / "predictions")
    settings = Settings(data_root=golden / "VOCSegmentation", cache=tmp_path / "cache")
    scored = score_folder(tmp_path / "predictions", "pascal-voc", tmp_path / "r", settings).record
    for metric in SHARED:
        assert scored["metrics"][metric]["per_seed"] == made["metrics"][metric]["per_seed"], metric


@pytest.mark.slow
def test_more_clusters_than_classes_and_too_few_pixels(golden, small_file, tmp_path):
    record = run(small_file, golden, tmp_path, num_seeds=1, entries={"clusters": 30})
    assert len(record["cluster_to_class"][0]) == 30 and record["protocol"]["modified"]
    with pytest.raises(BadInput, match="2 pixels cannot form 5 clusters"):
        run(small_file, golden, tmp_path, limit=1, entries={"pixels": 2})


def test_a_damaged_network_is_named_with_the_image(golden, tmp_path):
    class Broken(Colours):
        def features(self, images):
            return super().features(images) * float("nan")

    with pytest.raises(BadInput, match=r"NaN or infinity on .*jpg"):
        run(Broken(), golden, tmp_path)


def test_maps_are_those_of_the_classifying_pass(golden, small_file, tmp_path):
    made = run(small_file, golden, tmp_path, num_seeds=1, save_predictions=tmp_path / "p", limit=3)
    mapping = made["cluster_to_class"][0]
    stores = [p for p in (tmp_path / "cache/classified").rglob("*.map.npz")]
    with np.load(stores[0]) as arrays:
        first = decode_map(arrays["map"][: arrays["map.ends"][0]])
    assert set(np.unique(first).tolist()) <= set(range(5)) and len(mapping) == 5


@pytest.mark.parametrize("classes", [3, 128, 129, 300])
def test_many_classes_are_upsampled_in_parts_with_the_same_winner(classes):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(1, classes, 5, 4, generator=generator).round(decimals=1)  # with ties
    logits[:, classes // 2 :] = logits[:, : classes - classes // 2].clone()
    as_they_are, item = (logits[0], torch.eye(classes), torch.zeros(classes)), SimpleNamespace(size=(7, 9))
    preset = DensePreset(input=(5, 4))
    assert (_arg_max(*as_they_are, item, preset) == logits[0].argmax(dim=0).numpy()).all()
    preset = DensePreset(input=(33, 20))
    assert (_arg_max(*as_they_are, item, preset) == upsample(logits, preset.input)[0].argmax(dim=0).numpy()).all()
