"""The protocols of STEGO from a model to a record: what is kept, counted, painted and refused."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import bench
from bench.base.errors import BadEnvironment, BadInput, WrongName
from bench.cards import catalogue
from bench.data.decoding import read_label
from bench.data.preprocessing import label_to_input
from bench.data.samples import open_split
from bench.protocols.stego import scoring, training
from bench.protocols.stego.preset import StegoClusterPreset, StegoKmeansPreset, StegoLinearPreset
from bench.scoring.id_counts import Painted, contingency
from bench.scoring.metrics import seed_metrics
from tests.networks import Colours

CARD = catalogue.dataset("pascal-voc")
SMALL = {"input": [32, 32], "train": "train", "train_input": 24, "train_images": 30, "mirror": False}
STEPS = {"steps": 12, "batch": 4}
ENTRIES = {"stego-cluster": STEPS, "stego-linear": STEPS, "stego-kmeans": {"pixels": 8, "restarts": 1}}


def run(protocol, golden, tmp_path, model=None, **more):
    entries = SMALL | ENTRIES[protocol.removesuffix("+crf")] | more.pop("entries", {})
    return bench.evaluate(
        model or Colours(),
        "pascal-voc",
        protocol,
        data_root=more.pop("data_root", golden / "VOCSegmentation"),
        cache=tmp_path / "cache",
        cache_key="colours",
        entries=entries,
        **more,
    )


# --- counting ---

EXTRA = {"dropped": (62.5, 100 * 8 / 11), "wrong": (100 * 7 / 12, 62.5), "merged": (100 * 19 / 24, 87.5)}
"""By hand, of four classes and six clusters: mIoU and accuracy."""
LABELS = np.array([[0, 0, 0, 0, 1, 1], [1, 1, 2, 2, 2, 2], [3, 3, 3, 3, 255, 255]], np.uint8)
CLUSTERS = np.array([[4, 4, 4, 0, 1, 1], [1, 0, 2, 2, 5, 5], [3, 3, 0, 0, 3, 4]], np.uint16)


def scored(clusters, **entries):
    painted = Painted(("a",), [contingency(clusters, LABELS, 255)], "")
    rows, mappings, said = scoring.score([painted], StegoClusterPreset(**entries), 4)
    return seed_metrics(rows, "skip")[0], mappings[0], said


@pytest.mark.parametrize("extra", EXTRA)
def test_pixels_in_extra_clusters(extra):
    figures, mapping, _ = scored(CLUSTERS, extra_clusters=2, extra=extra)
    assert (figures["mIoU"], figures["pixel_accuracy"]) == pytest.approx(EXTRA[extra])
    assert (mapping[4:] >= 0).all() == (extra == "merged") and len(mapping) == 6


def test_other_numbers_for_the_clusters_change_nothing():
    rng = np.random.default_rng(0)
    clusters = np.where(rng.random(LABELS.shape) < 0.2, rng.integers(0, 6, LABELS.shape), LABELS % 7).astype(np.uint16)
    renamed = np.array([5, 3, 0, 1, 2, 4], np.uint16)
    for extra in ("wrong", "merged"):
        first, mapping, _ = scored(np.minimum(clusters, 5), extra_clusters=2, extra=extra)
        second, other, _ = scored(renamed[np.minimum(clusters, 5)], extra_clusters=2, extra=extra)
        assert first == pytest.approx(second) and (other[renamed][:4] == mapping[:4]).all()


def test_the_record_tells_how_far_ties_move_the_mean():
    few = np.array([0, 0, 2, 3, 0, 0], np.uint16)[CLUSTERS]  # no cluster 1 is left, so class 1 may get an empty one
    figures, _, said = scored(few)
    low, high = said["matching"]["mIoU_over_optima"][0]
    assert low <= figures["mIoU"] <= high and "clusters as rows" in said["matching"]["ties"]


# --- training ---


def test_steps_see_every_image_before_any_comes_again():
    drawn = np.array(list(training.draws(10, 7, 4, seed=3)))
    assert drawn.shape == (7, 4)
    for start in (0, 10):
        assert sorted(drawn.reshape(-1)[start : start + 10].tolist()) == list(range(10))
    assert (np.array(list(training.draws(10, 7, 4, seed=4))) != drawn).any()
    assert len(next(training.draws(2, 1, 5, seed=0))) == 5


def test_the_first_weights_are_drawn_by_the_seed():
    centroids, zeros = training.initial("cosine", 400, 50, 1)
    assert abs(centroids.std() - 1) < 0.02 and abs(centroids.mean()) < 0.02 and not zeros.any()
    weight, bias = training.initial("linear", 400, 25, 1)
    assert np.abs(weight).max() <= 0.2 and weight.std() == pytest.approx(0.2 / 3**0.5, rel=0.05) and bias.any()
    assert (training.initial("linear", 400, 25, 2)[0] != weight).any()


# --- runs ---


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ENTRIES)
def test_a_run_counts_the_middle_of_every_image_and_is_kept(protocol, golden, tmp_path):
    model = Colours()
    first = run(
        protocol, golden, tmp_path, model, save_predictions=tmp_path / "maps", save_examples=1, results=tmp_path / "r"
    )
    assert first["protocol"]["id"] == protocol and model.calls > 40
    samples = open_split(CARD, "val", golden / "VOCSegmentation").by_id()
    preset = StegoClusterPreset(input=(32, 32))
    labels = [label_to_input(read_label(sample.label, CARD)[0], preset) for sample in samples]
    assert np.sum(first["confusion"]["mean"]) == sum((label != 255).sum() for label in labels)
    assert ("cluster_to_class" in first and len(first["cluster_to_class"]) == 1) == (protocol != "stego-linear")
    for sample in list(samples)[:4]:
        painted = np.asarray(Image.open(tmp_path / "maps" / f"{sample.id}.png"))
        height, width = painted.shape
        outside = abs(height - width) // 2 - min(height, width) // 32 - 1  # within a pixel of the input
        if outside > 0:
            edge = painted[:, :outside] if width > height else painted[:outside]
            assert (edge == 255).all() and (painted != 255).any()
    again = Colours()
    second = run(protocol, golden, tmp_path, again)
    assert again.calls == 0 and second["metrics"] == first["metrics"]
    assert second["observed"]["from_cache"] == 40


@pytest.mark.slow
def test_the_linear_probe_finds_colours_that_are_plain_to_see(golden, tmp_path, voc):
    """Pictures whose classes are colours: with enough steps nearly every pixel is right."""
    colours = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250]], np.uint8)
    rng = np.random.default_rng(0)
    for path in (voc / "SegmentationClass").glob("*.png"):
        label = rng.integers(0, 3, (4, 5), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(label).save(path)
        Image.fromarray(colours[label]).save(voc / "images" / f"{path.stem}.jpg", quality=95)
    entries = {"steps": 300, "lr": 0.05, "input": [64, 64], "train_input": 64}
    record = run("stego-linear", golden, tmp_path, data_root=voc, entries=entries)
    assert record["metrics"]["pixel_accuracy"]["value"] > 80 and record["probe"]["loss"][0]["last"] < 1
    clustered = run("stego-kmeans", golden, tmp_path, data_root=voc, entries={"input": [64, 64], "train_input": 64})
    assert clustered["protocol"]["preset"]["resizing"] == "pillow"


@pytest.mark.slow
def test_the_crf_refines_what_each_protocol_paints(golden, tmp_path):
    pytest.importorskip("pydensecrf", reason="needs the extra crf")
    made = run("stego-kmeans+crf", golden, tmp_path, limit=3, save_predictions=tmp_path / "maps")
    assert made["protocol"]["id"] == "stego-kmeans+crf" and made["crf"]["image"] == "recovered"
    assert len(list((tmp_path / "maps").glob("*.png"))) == 3
    plain = run("stego-kmeans", golden, tmp_path, limit=3)
    assert plain["metrics"]["mIoU"]["value"] == made["metrics"]["mIoU_without_crf"]["value"]
    again = run("stego-kmeans+crf", golden, tmp_path, limit=3)
    assert again["metrics"] == made["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["label", "input"])
def test_the_crf_refines_clusters_of_pixels_where_they_are_counted(grid, golden, tmp_path):
    pytest.importorskip("pydensecrf", reason="needs the extra crf")
    entries = {"input": [32, 40], "clusters": 5, "pixels": 10, "restarts": 1, "grid": grid}
    options = {"data_root": golden / "VOCSegmentation", "cache": tmp_path / "c", "limit": 3, "num_seeds": 1}
    plain = bench.evaluate(Colours(), "pascal-voc", "clustering-dense", entries=entries, **options)
    made = bench.evaluate(
        Colours(),
        "pascal-voc",
        "clustering-dense+crf",
        entries=entries,
        save_predictions=tmp_path / "maps",
        **options,
    )
    assert made["protocol"]["id"] == "clustering-dense+crf" and made["protocol"]["preset"]["crf"] is True
    assert made["metrics"]["mIoU_without_crf"]["value"] == plain["metrics"]["mIoU"]["value"]
    assert np.sum(made["confusion"]["mean"]) == np.sum(plain["confusion"]["mean"])
    assert len(list((tmp_path / "maps").glob("*.png"))) == 3


# --- what is refused ---


@pytest.mark.parametrize(
    ("protocol", "entries", "message"),
    [
        ("stego-cluster", {"crf_image": "true"}, "'crf_image' has no effect here: there is no CRF"),
        ("stego-cluster", {"extra": "merged"}, "'extra' has no effect here: there are no extra clusters"),
        ("stego-cluster", {"lr": 0}, "--set lr"),
        ("stego-linear", {"lr": 1e38}, "--set lr"),
        ("stego-cluster", {"batch": 10**6}, "--set batch"),
        ("stego-kmeans", {"steps": 3}, "unknown preset entry 'steps'"),
        ("stego-linear", {"extra_clusters": 3}, "unknown preset entry 'extra_clusters'"),
        ("stego-linear", {"train": "nowhere"}, "unknown split of pascal-voc 'nowhere'"),
    ],
)
def test_entries_that_cannot_be_are_named(protocol, entries, message, golden, tmp_path):
    with pytest.raises(WrongName, match=message):
        run(protocol, golden, tmp_path, entries=entries)


def test_a_loss_that_is_no_number_is_said(golden, tmp_path):
    class Huge(Colours):
        def features(self, images):
            return super().features(images) * 1e37

    with pytest.raises(BadInput, match=r"loss is no longer finite in step \d, at learning rate 1e\+06"):
        run("stego-linear", golden, tmp_path, Huge(), entries={"lr": 1e6}, limit=2)


def test_too_few_cells_for_the_clusters_are_said(golden, tmp_path):
    with pytest.raises(BadInput, match="2 cells cannot form 21 clusters"):
        run("stego-kmeans", golden, tmp_path, entries={"pixels": 1, "train_images": 2}, limit=2)


def test_a_network_of_one_feature_everywhere_is_dead(golden, tmp_path):
    class Dead(Colours):
        def features(self, images):
            return torch.ones(len(images), 3, 8, 8)

    with pytest.raises(BadInput, match="the same features everywhere in the first 4 training images"):
        run("stego-cluster", golden, tmp_path, Dead(), limit=2)


def test_images_without_labels_are_refused_before_the_work(voc, golden, tmp_path):
    shutil.rmtree(voc / "SegmentationClass")
    with pytest.raises(BadInput, match=r"missing|label"):
        run("stego-cluster", golden, tmp_path, data_root=voc)


def test_without_the_extra_one_line_says_how_to_get_it(golden, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    for protocol in ("stego-linear+crf", "stego-kmeans+crf"):
        with pytest.raises(BadEnvironment, match="dense CRF library"):
            run(protocol, golden, tmp_path)


def test_a_kept_probe_that_was_damaged_is_made_again(golden, tmp_path):
    first = run("stego-cluster", golden, tmp_path, limit=3)
    (kept,) = (tmp_path / "cache" / "stego").rglob("seed-*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    assert run("stego-cluster", golden, tmp_path, limit=3)["metrics"] == first["metrics"]
    assert not [path for path in (tmp_path / "cache" / "stego").iterdir() if path.name.startswith(".")]


def test_presets_follow_the_data_sets_other_ones():
    voc, shapes = (catalogue.dataset(name).protocols for name in ("pascal-voc", "shapes"))
    assert voc.preset("stego-linear") == StegoLinearPreset(train="trainaug")
    small = shapes.preset("stego-kmeans")
    assert small == StegoKmeansPreset(input=(80, 80), train_input=56)
    told = json.loads(json.dumps(small.resolved()))
    assert told["resizing"] == "pillow" and "crf_image" not in told and "extra" not in told
