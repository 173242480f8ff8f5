"""linear-leopart: the head of Leopart's evaluation, step by step, and whole runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import bench
from bench.base.errors import BadInput
from bench.passes.classify import Classifiers
from bench.passes.engine import Engine
from bench.passes.features import upsample
from bench.protocols.linear.learner import Learner
from bench.protocols.linear.training import learning_rate
from bench.protocols.linear_leopart.augmentation import augment, batches, crop_box, to_train_grid
from bench.protocols.linear_leopart.preset import LeopartPreset
from bench.protocols.linear_leopart.protocol import paint_at_grid
from bench.scoring.id_counts import Painted, contingency, given_classes
from bench.scoring.metrics import seed_metrics
from tests.conftest import GOLDEN

SIDE, INPUT, CLASSES, VOID = 14, 112, 21, 255
PRESET = LeopartPreset(input=(INPUT, INPUT))


@pytest.fixture(scope="module")
def steps():
    """The figures, and the arrays that belong to them."""
    folder = GOLDEN / "leopart"
    arrays = {
        name: one for file in ("tokens", "linear", "head") for name, one in np.load(folder / f"{file}.npz").items()
    }
    figures = json.loads((folder / "linear.json").read_text())
    maps = arrays["tokens"][:, 1:].reshape(12, SIDE, SIDE, -1).transpose(0, 3, 1, 2)
    return SimpleNamespace(figures=figures, maps=torch.from_numpy(np.ascontiguousarray(maps)), **arrays)


def miou(maps, labels):
    tables = [contingency(found, label, VOID) for found, label in zip(maps, labels, strict=True)]
    rows = given_classes([Painted([f"{i}" for i in range(len(tables))], tables, "")], CLASSES)
    return seed_metrics(rows, PRESET.absent)[0]["mIoU"] / 100, rows


def test_six_steps_and_what_the_head_then_predicts(steps):
    figures = steps.figures
    order = [batch for batch in figures["images_of_step"]]
    fed = iter(order)
    learner = Learner(lambda images: steps.maps[next(fed)], PRESET, 0, CLASSES, VOID, Engine("cpu", batch_size=8))
    learner.start(steps.weight, steps.bias)
    pixels = np.zeros((4, INPUT, INPUT, 3), np.uint8)
    for batch, expected in zip(order, figures["loss_per_step"], strict=True):
        labels = np.stack([to_train_grid(steps.labels[i], PRESET) for i in batch])
        loss = learner.step(pixels, labels, figures["learning_rate"])
        assert loss == pytest.approx(expected, abs=2e-6)
    trained = learner.after_epoch(None, [0.0], 0.01, (1.0, 0.0))
    np.testing.assert_allclose(trained.weights[0], steps.head_weight, atol=1e-6)
    np.testing.assert_allclose(trained.biases[0], steps.head_bias, atol=1e-6)

    head = Classifiers(trained.weights, trained.biases)
    images = [SimpleNamespace(tokens=tokens[1:], grid=(SIDE, SIDE)) for tokens in steps.tokens]
    at_100, _ = miou(
        [paint_at_grid(one, head, 100)[0] for one in images], [to_train_grid(one, PRESET) for one in steps.labels]
    )
    assert at_100 == pytest.approx(figures["miou_at_100"], abs=5e-11)
    whole = [paint_at_grid(one, head, INPUT)[0] for one in images]
    np.testing.assert_array_equal(whole, steps.linear_prediction_at_input_size)
    assert miou(whole, steps.labels)[0] == pytest.approx(figures["miou_at_input_size"], abs=5e-11)


def test_per_class_figures_at_100(steps):
    head = Classifiers(steps.head_weight[None], steps.head_bias[None])
    images = (SimpleNamespace(tokens=tokens[1:], grid=(SIDE, SIDE)) for tokens in steps.tokens)
    maps = [paint_at_grid(one, head, 100)[0] for one in images]
    _, rows = miou(maps, [to_train_grid(one, PRESET) for one in steps.labels])
    found = [iou or 0.0 for iou in rows.per_class([f"{i}" for i in range(CLASSES)]).values()]
    np.testing.assert_allclose(np.array(found) / 100, steps.figures["iou_per_class_at_100"], atol=5e-11)


@pytest.mark.parametrize("size", [100, INPUT])
def test_upsampled_logits_are_those_of_upsampled_features(steps, size):
    """A 1×1 convolution is affine, and the weights of an interpolation sum to one."""
    weight, bias = (torch.from_numpy(one).double() for one in (steps.head_weight, steps.head_bias))
    maps, weight = steps.maps.double(), weight[:, :, None, None]
    before = F.conv2d(upsample(maps, (size, size)), weight, bias)
    after = upsample(F.conv2d(maps, weight, bias), (size, size))
    torch.testing.assert_close(before, after, atol=1e-12, rtol=0)


def test_the_rate_falls_at_epoch_20():
    rates = [learning_rate(LeopartPreset(), epoch) for epoch in range(25)]
    assert rates == pytest.approx([0.01] * 20 + [0.001] * 5)


# --- augmentation ---


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (20, 300), (7, 7)])
def test_a_crop_lies_in_its_image_and_has_the_area_asked_for(size):
    rng = np.random.default_rng(0)
    for _ in range(50):
        top, left, height, width = crop_box(size, PRESET, rng)
        assert top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
        if size in ((60, 80), (80, 60)):
            assert 0.78 <= height * width / (size[0] * size[1]) <= 1.0
            assert 0.72 <= width / height <= 1.37


def test_image_and_label_are_cropped_and_mirrored_alike():
    rng = np.random.default_rng(1)
    label = np.kron(rng.integers(0, 5, (4, 5)), np.ones((40, 40))).astype(np.uint8)
    image = np.repeat(label[..., None] * 50, 3, axis=2)
    preset = LeopartPreset(input=(100, 100), interpolation="nearest")
    seen = set()
    for number in range(8):
        pixels, found = augment(image, label, preset, np.random.default_rng(number))
        assert pixels.shape == (100, 100, 3) and found.shape == (100, 100)
        np.testing.assert_array_equal(pixels[..., 0], found * 50)
        seen.add(found.tobytes())
    assert len(seen) > 4


def test_an_epoch_is_a_function_of_its_seed_and_number(voc):
    preset = LeopartPreset(input=(32, 32), batch=5, train_grid=10)
    engine = Engine("cpu", workers=2)
    first, again, later = (list(batches(voc, preset, 3, epoch, engine)) for epoch in (0, 0, 1))
    assert len(first) == len(voc) // 5
    for (one, labels), (other, same) in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(labels, same)
        assert labels.shape == (5, 10, 10)
    assert (first[0][0] != later[0][0]).any()


@pytest.fixture
def voc():
    from bench.cards import catalogue
    from bench.data.samples import open_split

    return open_split(catalogue.dataset("pascal-voc"), "train", GOLDEN / "VOCSegmentation")


# --- whole runs ---


SMALL = {"input": [48, 48], "train": "train", "train_grid": 20, "batch": 8, "epochs": 3, "lr_decay_after": 1}


class Cells(torch.nn.Module):
    """Mean colours of 8×8 cells, and their squares."""

    def forward(self, images):
        means = F.avg_pool2d(images, 8)
        return torch.cat([means, means**2], dim=1)


def evaluate(entries, **more):
    more = {"data_root": GOLDEN / "VOCSegmentation", "cache_key": "cells", "batch_size": 4} | more
    return bench.evaluate(Cells(), "pascal-voc", "linear-leopart", entries=SMALL | entries, **more)


@pytest.mark.slow
def test_a_training_goes_on_and_any_epoch_can_count(tmp_path):
    short = evaluate({"epochs": 1}, cache=tmp_path / "a")
    assert short["training"][0]["epoch"] == 1 and short["protocol"]["modified"]
    longer = evaluate({}, cache=tmp_path / "a", save_predictions=tmp_path / "p")
    whole = evaluate({}, cache=tmp_path / "b")
    assert longer["metrics"] == whole["metrics"] and longer["training"][0]["loss"] == whole["training"][0]["loss"]
    assert longer["training"][0]["learning_rate"] == pytest.approx([0.01, 0.01, 0.001])
    assert len(list((tmp_path / "p").rglob("*.png"))) == 40
    best = evaluate({"selection": "best on val", "selection_images": 10}, cache=tmp_path / "a")
    told = best["training"][0]
    assert told["selection"] == "best on the first 10 images of val" and len(told["online_mIoU"]) == 3
    assert told["online_mIoU"][told["epoch"] - 1] == max(told["online_mIoU"])


def test_too_few_images_and_a_loss_that_is_not_finite_are_said(tmp_path):
    with pytest.raises(BadInput, match="24 training images do not fill one batch of 120"):
        evaluate({"batch": 120}, cache=tmp_path)
    with pytest.raises(BadInput, match="no longer finite in epoch 1"):
        evaluate({"lr": 1e38, "train_images": 16}, cache=tmp_path)
