"""STEGO's evaluation: every stage of it against the figures of the release, and what its entries change."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.data.preprocessing import label_to_input, normalise, to_input
from bench.data.samples import Sample
from bench.passes.engine import Engine
from bench.passes.forward import features_of
from bench.passes.image_pass import Loaded
from bench.protocols import dense_crf
from bench.protocols.stego import learner, scoring
from bench.protocols.stego.preset import StegoClusterPreset, StegoLinearPreset
from bench.protocols.stego.probes import Probe, cosines, logits
from bench.scoring.metrics import class_iou
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "stego27"
FACTS, FIGURES = (json.loads((FOLDER / name).read_text(encoding="utf-8")) for name in ("classes.json", "golden.json"))
ARRAYS, MAPS, SCENES, NET, TRAINING = (
    dict(np.load(FOLDER / f"{name}.npz")) for name in ("golden_arrays", "maps", "scenes", "net", "probe_train")
)
GROUPS = FIGURES["groups"]
SCENE_NAMES = sorted({name.rpartition("_")[0] for name in SCENES})
RAW = [name for name in MAPS if name.startswith("raw_")]
PRESET = StegoClusterPreset()
VOID = 255
PROBES = {
    "cluster": Probe("cosine", NET["clusters"], np.zeros(27, np.float32)),
    "linear": Probe("linear", NET["linear_weight"], NET["linear_bias"]),
}


def stats_of(group, **how):
    about = GROUPS[group]
    return scoring.statistics(
        MAPS[f"clusters_{group}"], MAPS[f"labels_{group}"], about["classes"], about["extra_clusters"], **how
    )


def close(found, expected, within=1e-4):
    assert found == pytest.approx(expected, abs=within), (found, expected)


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


# --- the metric alone ---


@pytest.mark.parametrize("group", GROUPS)
def test_clusters_are_counted_and_matched_as_in_the_release(group):
    stats, golden = stats_of(group), GROUPS[group]["cluster"]
    np.testing.assert_array_equal(stats, ARRAYS[f"stats_{group}"])
    assert stats.sum() == golden["counted_pixels"]
    mapping = scoring.class_of_cluster(stats)
    assert mapping.tolist() == golden["map_clusters_of_every_id"]
    assert mapping[golden["rows"]].tolist() == golden["class_of_row"]
    table = scoring.histogram(stats)
    if f"histogram_{group}" in ARRAYS:
        np.testing.assert_array_equal(table, ARRAYS[f"histogram_{group}"])
        assert scoring.cluster_of_class(stats).tolist() == golden["cluster_of_class_from_the_transposed_assignment"]
    found = scoring.figures(table)
    close(found["mIoU"], golden["miou"])
    close(found["mIoU"], golden["miou_in_float64"], 1e-7)
    close(found["pixel_accuracy"], golden["accuracy"])
    iou = class_iou(np.diag(table), table.sum(1), table.sum(0)) / 100
    expected = [np.nan if one is None else one for one in golden["iou_of_the_histogram_in_float64"]]
    np.testing.assert_allclose(iou, expected, atol=1e-8)


@pytest.mark.parametrize("group", GROUPS)
def test_given_classes_are_counted_as_in_the_release(group):
    found, golden = scoring.figures(stats_of(group)[: GROUPS[group]["classes"]]), GROUPS[group]["linear"]
    close(found["mIoU"], golden["miou"])
    close(found["pixel_accuracy"], golden["accuracy"])


@pytest.mark.parametrize(
    "group", [name for name in GROUPS if "over_all_optimal_assignments" in GROUPS[name]["cluster"]]
)
def test_ties_move_the_mean_as_far_as_measured(group):
    golden = GROUPS[group]["cluster"]["over_all_optimal_assignments"]
    most, fewest = scoring.tie_extremes(stats_of(group))
    for (left_out, miou), expected in ((most, golden["most_left_out"]), (fewest, golden["fewest_left_out"])):
        assert left_out == expected["left_out"]
        close(miou, expected["miou"], 1e-7)


@pytest.mark.parametrize("group", [name for name in GROUPS if "picie" in GROUPS[name]])
def test_the_matching_with_classes_as_rows_is_picies(group):
    golden, stats = GROUPS[group]["picie"], stats_of(group)
    mapping = scoring.assign(stats, PRESET.model_copy(update={"matching": "classes"}))
    table = stats[np.argsort(mapping)]
    found = scoring.figures(table)
    close(found["mIoU"], golden["miou"], 1e-7)
    close(found["pixel_accuracy"], golden["accuracy"], 1e-7)
    iou = class_iou(np.diag(table), table.sum(1), table.sum(0))
    present = np.isfinite(iou)
    expected = np.array(golden["iou_in_cluster_order"], float)
    np.testing.assert_allclose(np.sort(iou[present]), np.sort(expected[np.isfinite(expected)]), atol=1e-7)
    assert np.argsort(mapping).tolist() == golden["cluster_of_class"]


def test_nothing_counted_has_no_figure():
    stats = scoring.statistics(np.zeros((3, 3), int), np.full((3, 3), -1), 4)
    assert scoring.figures(scoring.histogram(stats)) == {"mIoU": None, "pixel_accuracy": None}


# --- labels and pictures ---


def mapped(raw, kind):
    """A raw map 0…255 in classes, the void id where it is ignored."""
    facts = FACTS["cocostuff27"] if kind == "coco" else FACTS["cityscapes27"]
    table = np.full(256, VOID, np.uint8)
    table[: len(facts)] = np.array(facts) % 256
    if kind == "coco":
        table[182:255] = 0  # which do not occur; the release makes the first class of them
    return table[raw]


@pytest.mark.parametrize("name", [*SCENE_NAMES, *RAW])
def test_labels_are_mapped_resized_and_cut_as_in_the_release(name):
    raw = SCENES[f"{name}_label"] if name in SCENE_NAMES else MAPS[name]
    label = label_to_input(mapped(raw, "city" if "city" in name else "coco"), PRESET)
    np.testing.assert_array_equal(np.where(label == VOID, -1, label.astype(int)), ARRAYS[f"mapped_{name}"])
    assert (
        sha(np.where(label == VOID, -1, label.astype(int)).astype(np.int8))
        == (FIGURES["transforms"][name]["label_sha_int8"])
    )


@pytest.mark.parametrize("name", SCENE_NAMES)
def test_pictures_are_resized_as_labels(name):
    picture = to_input(SCENES[f"{name}_image"], PRESET)
    np.testing.assert_array_equal(picture, ARRAYS[f"resized_{name}"])
    assert sha(picture) == FIGURES["transforms"][name]["uint8_sha"]
    sums = normalise(torch.tensor(picture)[None], PRESET)[0].double().sum((1, 2))
    close(sums.tolist(), FIGURES["transforms"][name]["normalised_sum_per_channel"], 1e-2)


@pytest.mark.parametrize("name", SCENE_NAMES)
def test_picies_pictures_are_bilinear(name):
    golden = FIGURES["picie_transforms"][name]
    picture = to_input(SCENES[f"{name}_image"], PRESET.model_copy(update={"interpolation": "linear"}))
    assert sha(picture) == golden["uint8_sha"]
    assert picture.sum((0, 1), dtype=np.int64).tolist() == golden["sum_per_channel"]
    assert (picture != ARRAYS[f"resized_{name}"]).mean() == pytest.approx(golden["different_from_nearest_share"])


# --- code, probes, CRF ---


@functools.cache
def code_of(name, *, mirror=True):
    """The stand-in network's code of a scene, D×h×w, by the preset's geometry."""
    weight, bias = (torch.from_numpy(NET[f"patch_{part}"]) for part in ("weight", "bias"))
    image = SCENES[f"{name}_image"]
    loaded = Loaded(Sample(name, Path(name), None), to_input(image, PRESET), None, image.shape[:2], b"")
    preset = PRESET.model_copy(update={"mirror": mirror})
    return features_of([loaded], lambda images: F.conv2d(images, weight, bias, stride=8), preset, Engine("cpu"))[0]


def golden_of(name):
    return FIGURES[f"evaluation_{name[:4]}"]


@pytest.mark.parametrize("name", SCENE_NAMES)
def test_the_code_is_the_mean_with_the_mirror_image(name):
    code, golden = code_of(name), golden_of(name)["per_image"][name]
    if f"code_{name}" in ARRAYS:
        np.testing.assert_allclose(code, ARRAYS[f"code_{name}"], atol=4e-6)
    assert float(code.double().sum()) == pytest.approx(golden["code_sum"], abs=1e-2)
    assert float(code.double().abs().sum()) == pytest.approx(golden["code_abs_sum"], abs=1e-2)


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("name", SCENE_NAMES)
def test_every_pixel_is_probed_as_in_the_release(name, mirror):
    code, golden = code_of(name, mirror=mirror), golden_of(name)["per_image"][name]
    for kind, probe in PROBES.items():
        expected = ARRAYS[f"pred_{kind}{'' if mirror else '_noflip'}_{name}"]
        assert (probe.ids(code, (320, 320)) != expected).sum() == 0  # up to 10 of 102 400 have a margin below 1e-5
        if mirror:
            found = np.log(probe.probabilities(code, (320, 320)).astype(np.float64)).sum()
            assert found == pytest.approx(golden[f"{kind}_log_prob_sum"], rel=1e-6)
        elif kind == "cluster":
            loss = -probe.scores(code, (320, 320)).amax(0).double().mean()
            assert float(loss) == pytest.approx(golden["cluster_loss_noflip"], abs=4e-7)


def test_the_code_is_upsampled_before_it_is_probed():
    code = torch.randn(70, 5, 7, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(code[None], size=(33, 40), mode="bilinear", align_corners=False)[0]
    clusters, weight = torch.randn(2, 6, 70, generator=torch.Generator().manual_seed(1))
    bias = torch.arange(6.0)
    expected = torch.einsum("dhw,kd->khw", F.normalize(large, dim=0), F.normalize(clusters, dim=1))
    torch.testing.assert_close(cosines(code, clusters, (33, 40)), expected, atol=2e-6, rtol=0)
    expected = torch.einsum("dhw,kd->khw", large, weight) + bias[:, None, None]
    torch.testing.assert_close(logits(code, weight, bias, (33, 40)), expected, atol=4e-5, rtol=0)


@pytest.mark.parametrize(("part", "scenes"), [("coco", 4), ("city", 2)])
@pytest.mark.parametrize("what", ["cluster", "linear", "cluster_noflip", "linear_noflip", "cluster_crf", "linear_crf"])
def test_predictions_give_the_figures(part, scenes, what):
    names = [f"{part}{i}" for i in range(scenes)]
    predicted, labels = (np.stack([ARRAYS[f"{kind}_{name}"] for name in names]) for kind in (f"pred_{what}", "mapped"))
    stats, golden = scoring.statistics(predicted, labels, 27), FIGURES[f"evaluation_{part}"]["figures"][what]
    found = scoring.figures(scoring.histogram(stats) if "cluster" in what else stats)
    close(found["mIoU"], golden["miou"])
    close(found["pixel_accuracy"], golden["accuracy"])
    if "cluster" in what:
        assert scoring.class_of_cluster(stats).tolist() == golden["class_of_cluster"]


def test_the_recovered_picture_is_one_too_low_in_places():
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    low = every.astype(int) - dense_crf.recovered(every, PRESET.mean, PRESET.std)
    assert low.sum((0, 1)).tolist() == [62, 39, 36] and set(np.unique(low)) == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coco0", "city1"])
def test_the_crf_on_the_recovered_picture_is_exact(name):
    pytest.importorskip("pydensecrf", reason="needs the extra crf")
    code = code_of(name)
    picture = dense_crf.recovered(ARRAYS[f"resized_{name}"], PRESET.mean, PRESET.std)
    for kind, probe in PROBES.items():
        found = dense_crf.refine(picture, probe.probabilities(code, (320, 320)))
        assert (found != ARRAYS[f"pred_{kind}_crf_{name}"]).sum() == 0
        changed = (found != ARRAYS[f"pred_{kind}_{name}"]).mean()
        golden = dict(zip(("linear", "cluster"), golden_of(name)["per_image"][name]["crf_changes_share"], strict=True))
        assert changed == pytest.approx(golden[kind], abs=1e-9)


# --- training ---


def test_the_cluster_probe_learns_as_in_the_release():
    centroids = torch.from_numpy(TRAINING["clusters"].copy())
    losses = list(learner.fit_cluster(map(torch.from_numpy, TRAINING["codes"]), centroids, StegoClusterPreset().lr))
    np.testing.assert_allclose(losses, [step["cluster_loss"] for step in golden_steps()], atol=4e-7)
    np.testing.assert_allclose(centroids.detach(), ARRAYS["probe_clusters"], atol=3e-7)


def test_the_linear_probe_learns_as_in_the_release():
    weight, bias = (torch.from_numpy(TRAINING[f"linear_{part}"].copy()) for part in ("weight", "bias"))
    labels = torch.from_numpy(TRAINING["labels"].astype(np.int64))
    batches = list(zip(torch.from_numpy(TRAINING["codes"]), labels, strict=True))
    first = float(learner.linear_loss(*batches[0], weight, bias))
    losses = list(learner.fit_linear(batches, weight, bias, StegoLinearPreset().lr))
    assert first == pytest.approx(losses[0], abs=4e-7)
    np.testing.assert_allclose(losses, [step["linear_loss"] for step in golden_steps()], atol=4e-7)
    np.testing.assert_allclose(weight.detach(), ARRAYS["probe_linear_weight"], atol=3e-7)
    np.testing.assert_allclose(bias.detach(), ARRAYS["probe_linear_bias"], atol=3e-7)


def golden_steps():
    return FIGURES["probe_training"]["steps"]
