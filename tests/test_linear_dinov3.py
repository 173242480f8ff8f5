"""`linear-dinov3`: mmsegmentation's figures against its own, the training, resumption, whole runs, bad input."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import bench
from bench.base.errors import BadInput, WrongName
from bench.base.own_files import load_arrays, save_arrays
from bench.cards import catalogue
from bench.cards.presets import override
from bench.data.preprocessing import normalise
from bench.data.samples import open_split
from bench.passes.engine import Engine
from bench.protocols.base import Settings
from bench.protocols.linear_dinov3.crops import Draw, batches, cropped, draw
from bench.protocols.linear_dinov3.learner import Head, Learner, loss_gradient
from bench.protocols.linear_dinov3.preset import Dinov3Preset
from bench.protocols.linear_dinov3.protocol import LinearDinov3, windows_of
from bench.protocols.linear_dinov3.training import Training, fold, train
from bench.runs.fit_to_model import fit_to_model, said_of
from bench.runs.plan import make_plan, run_of
from bench.scoring.class_areas import areas, areas_of_sums, as_reported, figures, per_class, reduce_zero_label, summed
from bench.scoring.id_counts import Painted, contingency, given_classes
from bench.scoring.metrics import seed_metrics

VOC = catalogue.dataset("pascal-voc")
SMALL = Dinov3Preset(
    input=(40, 40), window=32, window_stride=21, crop=32, batch=5, steps=7, warmup=2, lr=0.05, multiple=4
)

# --- figures, against mmsegmentation ---


@pytest.fixture
def reference(golden):
    folder = golden / "mmseg_linear"
    return json.loads((folder / "golden.json").read_text())["metric"], dict(np.load(folder / "maps.npz"))


def maps_of(reference, group):
    expected, maps = reference[0][group], reference[1]
    label = maps[f"raw_{group}"]
    if expected["reduce_zero_label"]:
        label = reduce_zero_label(label)
    return maps[f"predictions_{group}"], label, expected["classes"], expected


GROUPS = pytest.mark.parametrize("group", ["ade", "voc", "sparse", "out_of_range"])


@GROUPS
def test_areas_and_figures_are_mmsegmentations(reference, group):
    predictions, labels, classes, expected = maps_of(reference, group)
    found = summed((areas(*pair, classes) for pair in zip(predictions, labels, strict=True)), classes)
    for name, values in expected["areas"].items():
        assert getattr(found, name).tolist() == values, name
    for name, key in (("iou", "iou_per_class"), ("accuracy", "accuracy_per_class")):
        np.testing.assert_allclose(per_class(found)[name], np.array(expected[key], float), atol=3e-6)
    measured = figures(found)
    assert measured["mIoU"] == pytest.approx(expected["miou_unrounded"], abs=3e-6)
    assert as_reported(measured) == pytest.approx(expected["reported"], abs=3e-6)


@GROUPS
def test_confusion_rows_without_absent_classes_give_the_same(reference, group):
    predictions, labels, classes, expected = maps_of(reference, group)
    # an id above the classes is one that no class was matched to
    tables = [contingency(np.minimum(p, classes), own, 255) for p, own in zip(predictions, labels, strict=True)]
    rows = given_classes([Painted(["a", "b", "c"], tables, "")], classes)
    found, beside = seed_metrics(rows, "skip")[0], figures(areas_of_sums(rows.sums(0)))
    names = {"mIoU": "mIoU", "pixel_accuracy": "aAcc", "mean_class_accuracy": "mAcc"}
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(beside[theirs]) == pytest.approx(expected["reported"][theirs], abs=5.1e-3)
    further = rows.further({"absent": "skip"}, ("mDice", "mFscore"))
    assert further == {name: [pytest.approx(beside[name])] for name in ("mDice", "mFscore")}


def test_the_f_score_leaves_out_a_class_that_is_never_right(reference):
    predictions, labels, classes, _ = maps_of(reference, "ade")
    found = figures(areas(predictions, labels, classes))
    assert found["mFscore"] - found["mDice"] == pytest.approx(66.42 - 44.28, abs=0.01)


def test_where_nothing_is_right_no_figure_is_nan():
    rows = given_classes([Painted(["a"], [np.array([[1, 0, 5]])], "")], 3)
    assert rows.further({}, ("mDice", "mFscore")) == {"mDice": [0.0], "mFscore": [0.0]}


# --- the head ---


def test_a_folded_head_is_the_head_in_evaluation():
    torch.manual_seed(0)
    head = Head(6, 4, batch_norm=True)
    with torch.no_grad():
        for tensor in head.named().values():
            tensor.copy_(torch.rand(tensor.shape) + 0.1)
    head.eval()
    arrays = {name: tensor.detach().numpy() for name, tensor in head.named().items()}
    weight, bias = fold(arrays | {"weight": arrays["weight"].reshape(4, 6)})
    features = torch.randn(2, 6, 5, 3)
    folded = F.conv2d(features, torch.from_numpy(weight)[..., None, None], torch.from_numpy(bias))
    torch.testing.assert_close(folded, head(features), atol=1e-5, rtol=1e-5)


def test_the_gradient_by_image_is_that_of_the_batch():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 2, 2), np.random.default_rng(0).integers(0, 4, (3, 8, 8)).astype(np.uint8)
    labels[0, :3] = labels[2] = 255
    whole = logits.clone().requires_grad_()
    resized = F.interpolate(whole, size=(8, 8), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(resized, torch.from_numpy(labels).long(), ignore_index=255)
    expected.backward()
    loss, gradient = loss_gradient(logits, labels, 255)
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(gradient, whole.grad)
    loss, gradient = loss_gradient(torch.randn(1, 4, 2, 2), np.full((1, 8, 8), 255, np.uint8), 255)
    assert loss == 0 and not gradient.any()


@pytest.mark.parametrize("optimiser", ["adamw", "adam"])
def test_steps_are_those_of_plain_torch(optimiser):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (4, 5, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 3, (4, 5, 32, 32)).astype(np.uint8)
    preset = SMALL.model_copy(update={"dropout": 0.0, "optimiser": optimiser, "weight_decay": 0.1})
    learner = Learner(see, preset, 3, 3, 255, Engine("cpu", batch_size=2))
    norm, plain = nn.BatchNorm2d(12), nn.Conv2d(12, 3, 1)
    noise = np.random.default_rng([3]).standard_normal((3, 12))
    plain.weight.data = torch.from_numpy((0.01 * noise).astype(np.float32))[..., None, None]
    plain.bias.data.zero_()
    kind = torch.optim.AdamW if optimiser == "adamw" else torch.optim.Adam
    adam = kind([*plain.parameters(), *norm.parameters()], lr=1.0, weight_decay=0.1)
    for step in range(4):
        rate = preset.learning_rate(step)
        adam.param_groups[0]["lr"] = rate
        logits = plain(norm(see(normalise(torch.from_numpy(images[step]), preset))))
        logits = F.interpolate(logits, size=(32, 32), mode="bilinear", align_corners=False)
        expected = F.cross_entropy(logits, torch.from_numpy(labels[step]).long())
        adam.zero_grad()
        expected.backward()
        adam.step()
        assert learner.step(images[step], labels[step], rate) == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(learner.head.convolution.weight, plain.weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(learner.head.norm.running_var, norm.running_var, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("what", "varies"), [("channels", False), ("values", True)])
def test_dropout_drops_channels_or_values_and_is_drawn_by_seed_and_step(what, varies):
    features, preset = torch.ones(8, 100, 3, 3), SMALL.model_copy(update={"dropout": 0.3, "dropout_of": what})
    learner, other = (Learner(see, preset, seed, 3, 255, Engine("cpu")) for seed in (0, 1))
    kept = (features * learner._kept(features)).flatten(2)
    assert set(np.round(kept.unique().numpy(), 4)) == {0.0, np.float32(1.4286)}
    assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert bool((kept.amax(-1) != kept.amin(-1)).any()) == varies
    assert torch.equal(learner._kept(features), learner._kept(features))
    assert not torch.equal(learner._kept(features), other._kept(features))
    learner.losses.append(1.0)
    assert not torch.equal(kept, (features * learner._kept(features)).flatten(2))


def test_the_learning_rate_rises_linearly_and_falls_by_half_a_cosine():
    preset = Dinov3Preset()
    rates = [preset.learning_rate(step) for step in (0, 750, 1500, 20_750, 39_999)]
    assert rates == pytest.approx([1e-9, 5.000005e-4, 1e-3, 5e-4, 0], abs=1e-11)
    poly = Dinov3Preset(schedule="poly", warmup=0, lr=3e-4, lr_end=1e-4, steps=100)
    assert [poly.learning_rate(step) for step in (0, 50)] == pytest.approx([3e-4, 1e-4 + 2e-4 * 0.5**0.9])


# --- crops ---


def test_a_crop_is_a_part_of_the_resized_image_with_its_label():
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (60, 90, 3), np.uint8), rng.integers(0, 5, (60, 90), np.uint8)
    preset = Dinov3Preset(input=(40, 40), crop=32)
    large, own = (cv2.resize(one, (90, 60), interpolation=cv2.INTER_LINEAR) for one in (image, label))
    found, marked = cropped(image, label, Draw(1.5, 0.999, 0.0, flip=False), preset, 255)
    np.testing.assert_array_equal(found, large[28:, :32])
    np.testing.assert_array_equal(marked, own[28:, :32])
    mirrored, _ = cropped(image, label, Draw(1.5, 0.999, 0.0, flip=True), preset, 255)
    np.testing.assert_array_equal(mirrored, found[:, ::-1])


def test_what_a_small_image_leaves_open_is_void_and_zero_to_the_network():
    image, label = np.full((60, 90, 3), 200, np.uint8), np.ones((60, 90), np.uint8)
    preset = Dinov3Preset(input=(40, 40), crop=32)
    found, marked = cropped(image, label, Draw(0.5, 0.7, 0.7, flip=True), preset, 255)
    assert found.shape == (32, 32, 3) and marked.shape == (32, 32)
    assert (marked[20:] == 255).all() and (marked[:, 30:] == 255).all() and (marked[:20, :30] == 1).all()
    seen = normalise(torch.from_numpy(found)[None], preset)[0]
    assert (
        seen[:, 20:].abs().max() < 1e-6 and seen[:, :, 30:].abs().max() < 1e-6 and seen[:, :20, :30].abs().min() > 0.1
    )


def test_draws_hang_on_seed_epoch_and_image_alone(golden):
    drawn = [draw(SMALL, 1, epoch, index) for epoch in (0, 1) for index in range(200)]
    assert len({one.scale for one in drawn}) == 400 and 0.4 < np.mean([one.flip for one in drawn]) < 0.6
    assert 0.5 <= min(one.scale for one in drawn) < 0.52 and 1.98 < max(one.scale for one in drawn) <= 2
    samples = split(golden)
    whole = list(batches(samples, SMALL, 1, 0, Engine("cpu", workers=2)))
    later = list(batches(samples, SMALL, 1, 4, Engine("cpu", workers=1)))
    assert len(whole) == 7 and len(later) == 3
    for mine, others in zip(whole[4:], later, strict=True):
        np.testing.assert_array_equal(mine[0], others[0])
        np.testing.assert_array_equal(mine[1], others[1])


# --- training, interrupted and resumed ---


def split(golden, name="train", images=None):
    return open_split(VOC, name, golden / "VOCSegmentation").first(images)


def see(images):
    """Twelve features of patches of four pixels."""
    pooled = F.avg_pool2d(images, 4)
    return torch.cat([pooled, pooled**2, F.max_pool2d(images, 4), pooled.roll(1, -1)], 1)


def trained(golden, path, preset=SMALL, extract=see, **more):
    return train(lambda: extract, split(golden), preset, 5, path, Engine("cpu", batch_size=3, workers=1), **more)


def same(one, other):
    arrays = [{**each.head, **each.optimiser, "losses": each.losses, "seen": each.seen} for each in (one, other)]
    return arrays[0].keys() == arrays[1].keys() and all(np.array_equal(arrays[0][k], arrays[1][k]) for k in arrays[0])


@pytest.mark.parametrize("batch_norm", [True, False])
def test_an_interrupted_training_goes_on_from_its_last_step(golden, tmp_path, batch_norm):
    preset = SMALL.model_copy(update={"batch_norm": batch_norm})
    whole = trained(golden, tmp_path / "a.npz", preset)
    calls = []

    def killed(images):
        calls.append(1)
        if len(calls) > 4 * 2:  # in the fifth step, of two parts each
            raise KeyboardInterrupt
        return see(images)

    path = tmp_path / "b.npz"
    with pytest.raises(KeyboardInterrupt):
        trained(golden, path, preset, killed, keep_seconds=0)
    assert Training.read(path, 21, batch_norm=batch_norm).steps == 4
    assert same(trained(golden, path, preset), whole)
    assert whole.losses[-1] < whole.losses[0]

    def never(images):
        raise AssertionError("nothing is left to train")

    assert same(trained(golden, path, preset, never), whole)


@pytest.mark.parametrize("damage", ["cut", "other classes", "no batch norm", "fewer steps"])
def test_a_damaged_or_foreign_state_is_trained_anew(golden, tmp_path, damage):
    path = tmp_path / "a.npz"
    whole = trained(golden, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    if damage == "fewer steps":
        save_arrays(path, load_arrays(path) | {"losses": whole.losses[:3]})
    head = whole.head if damage != "other classes" else whole.head | {"bias": np.zeros(7, np.float32)}
    if damage == "no batch norm":
        head = {name: head[name] for name in ("weight", "bias")}
    if damage in ("other classes", "no batch norm"):
        Training(head, whole.optimiser, whole.losses[:2], whole.seen, whole.timing).write(path)
    assert same(trained(golden, path), whole)


def test_a_loss_that_is_not_finite_and_dead_features_are_said(golden, tmp_path):
    def explodes(images):
        return see(images) * float("inf")

    with pytest.raises(BadInput, match="no longer finite at step 1"):
        trained(golden, tmp_path / "a.npz", extract=explodes)
    with pytest.raises(BadInput, match="the same features everywhere in the first 5 crops"):
        trained(golden, tmp_path / "a.npz", extract=lambda images: torch.ones(len(images), 3, 8, 8))


def test_crops_of_one_class_train_nothing(golden, tmp_path, monkeypatch):
    from bench.protocols.linear_dinov3 import crops

    read = crops.labelled_image
    for value, said in ((0, "show only background"), (255, "have no labelled pixel")):
        monkeypatch.setattr(
            crops, "labelled_image", lambda *of, value=value: (read(*of)[0], np.full_like(read(*of)[1], value))
        )
        with pytest.raises(BadInput, match=f"25 crops of pascal-voc train {said}"):
            trained(golden, tmp_path / "a.npz")


# --- whole runs ---

OPTIONS = {
    "input": [40, 40], "window": 32, "window_stride": 21, "crop": 32, "batch": 5, "steps": 6, "warmup": 1,
    "train": "train",
}  # fmt: skip


class Patches(nn.Module):
    """Features of patches, and how many pictures were seen."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def features(self, images):
        self.calls += len(images)
        return see(images)

    def forward(self, images):
        return self.features(images)


def run(model, golden, tmp_path, **more):
    return bench.evaluate(
        model,
        "pascal-voc",
        "linear-dinov3",
        data_root=golden / "VOCSegmentation",
        entries=OPTIONS | more.pop("entries", {}),
        cache=tmp_path / "cache",
        cache_key="patches",
        limit=6,
        **more,
    )


def test_a_run_trains_paints_and_is_repeated_without_the_network(golden, tmp_path):
    model = Patches()
    record = run(model, golden, tmp_path, num_seeds=2, save_predictions=tmp_path / "maps")
    assert record["protocol"]["id"] == "linear-dinov3" and record["seeds"] == [1234, 1235]
    assert {"mIoU", "mDice", "mFscore", "pixel_accuracy"} <= record["metrics"].keys()
    history = record["training"][1]
    assert (history["steps"], history["crops"], history["step"]) == (6, 30, [1, 2, 3, 4, 5, 6])
    assert len(history["loss"]) == len(history["learning_rate"]) == 6
    maps = sorted((tmp_path / "maps").rglob("*.png"))
    assert len(maps) == 12
    seen = model.calls
    again = run(model, golden, tmp_path, num_seeds=2)
    assert again["metrics"] == record["metrics"] and model.calls == seen
    run(model, golden, tmp_path, entries={"window": 24, "mirror": True}, num_seeds=2)
    assert model.calls > seen, "other windows are seen anew"
    found = json.loads(json.dumps(record["training"]))
    assert found[0]["loss"] != found[1]["loss"]


def test_a_run_without_windows_over_several_views(golden, tmp_path):
    options = {name: value for name, value in OPTIONS.items() if name != "window_stride"}
    more = {"window": None, "mirror": True, "scales": [1, 1.5], "views_mean": "probabilities", "resizing": "torch"}
    record = bench.evaluate(
        Patches(),
        "pascal-voc",
        "linear-dinov3",
        data_root=golden / "VOCSegmentation",
        entries=options | more | {"batch_norm": False, "dropout": 0, "schedule": "poly"},
        cache=tmp_path,
        limit=3,
    )
    assert np.isfinite(record["metrics"]["mIoU"]["value"]) and record["protocol"]["preset"]["window"] is None


def test_one_seed_s_maps_are_those_that_were_counted(golden, tmp_path):
    record = run(Patches(), golden, tmp_path, save_predictions=tmp_path / "maps")
    hits = pixels = 0
    for sample in split(golden, "val", 6).entries:
        label = np.asarray(Image.open(sample.label))
        painted = np.asarray(Image.open(tmp_path / "maps" / f"{sample.id}.png"))
        assert painted.shape == label.shape
        hits, pixels = hits + int((painted == label).sum()), pixels + int((label != 255).sum())
    assert record["metrics"]["pixel_accuracy"]["value"] == pytest.approx(100 * hits / pixels)


def test_the_estimate_counts_the_steps_that_are_left(golden, tmp_path):
    settings = Settings(
        data_root=golden / "VOCSegmentation",
        cache=tmp_path,
        entries=OPTIONS,
        limit=6,
        device="cpu",
        cache_key="patches",
    )
    warnings = []
    plan = make_plan(Patches(), "pascal-voc", "linear-dinov3", settings, warnings.append)
    room, planned = LinearDinov3(bench.protocols.registry.protocols()["linear-dinov3"]), run_of(plan, settings, print)
    assert room.forwards(planned) == 6 * 5 + 6 * windows_of(plan.preset)
    assert room.cached(planned) == "0 of 6 steps of training are cached"
    room.measure(planned)
    assert room.forwards(planned) == 6 * windows_of(plan.preset)
    assert room.cached(planned) == "6 of 6 steps of training are cached"
    assert room.kept_bytes(planned, 12) > 0


def test_how_many_windows_a_picture_has():
    assert windows_of(Dinov3Preset()) == 2
    assert windows_of(Dinov3Preset(mirror=True, scales=(1.0, 2.0))) == 2 * (2 + 3 * 4)
    assert windows_of(Dinov3Preset(window=None)) == 1
    assert windows_of(Dinov3Preset(fit="longer")) == 1


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"window_stride": 33}, "window_stride: 33 is larger than the window of 32"),
        ({"scale": [2, 0.5]}, "the smaller factor is first"),
        ({"power": 2}, "'power' has no effect here: the schedule is no poly"),
        ({"dropout": 0, "dropout_of": "values"}, "'dropout_of' has no effect here: nothing is dropped"),
        ({"views_mean": "probabilities"}, "'views_mean' has no effect here"),
        ({"fit": "crop"}, "fit"),
        ({"train": "nowhere"}, "nowhere"),
    ],
)
def test_bad_entries_are_one_line(golden, tmp_path, entries, said):
    with pytest.raises(WrongName, match=said):
        run(Patches(), golden, tmp_path, entries=entries)


def test_a_training_that_ends_in_its_warm_up_is_warned_of(golden, tmp_path):
    said = []
    run(Patches(), golden, tmp_path, entries={"warmup": 9}, warn=said.append)
    assert any("all 6 steps are in the warm-up of 9" in one for one in said)


class Structured:
    """A model that says of itself only what its patch is."""

    id, normalisation = "vit", (None, None)

    def __init__(self, patch):
        self.structure = SimpleNamespace(patch=patch)


def test_a_patch_that_does_not_divide_window_or_crop_is_said_or_refused():
    preset = Dinov3Preset(crop=500)
    fitted = fit_to_model(preset, Structured(14), {})
    assert (fitted.multiple, fitted.window, fitted.crop, fitted.input) == (14, 512, 500, (512, 512))
    assert said_of(preset, fitted, Structured(14)) == (
        "the network's patch is 14: zeros fill each window of 512 to 518 pixels and each crop of 500 to 504 pixels"
    )
    with pytest.raises(
        WrongName, match="the input is a window of 512, which is no multiple of the network's patch of 14"
    ):
        fit_to_model(preset, Structured(14), {}, strict=True)
    assert not said_of(Dinov3Preset(), fit_to_model(Dinov3Preset(), Structured(16), {}, strict=True), Structured(16))


def test_every_data_set_of_images_has_the_recipe():
    assert VOC.protocols.preset("linear-dinov3") == Dinov3Preset(train="trainaug")
    assert catalogue.dataset("imagenet-s-50").protocols.preset("linear-dinov3").train == "train-semi"
    assert catalogue.dataset("davis").protocols.preset("linear-dinov3") is None
    assert override(Dinov3Preset(), {"steps": 20}).steps == 20
