"""Augmentation: how images and labels are turned, and that seed, epoch and index alone decide it."""

import json

import numpy as np
from PIL import Image

from bench.protocols.linear.augmentation import Draw, augment, draw, order
from bench.protocols.linear.preset import LinearPreset

# --- augmentation ---


def test_draws_have_the_stated_distributions():
    drawn = [draw(LinearPreset(), 1, epoch, index) for epoch in range(4) for index in range(1000)]
    angles, scales = np.array([d.angle for d in drawn]), np.array([d.scale for d in drawn])
    assert 0.46 < np.mean([d.flip for d in drawn]) < 0.54
    for values, low, high in ((angles, -5, 5), (scales, 0.75, 1.25)):
        assert low <= values.min() < low + 0.02 * (high - low) and high - 0.02 * (high - low) < values.max() <= high
        counts, _ = np.histogram(values, bins=10, range=(low, high))
        assert counts.min() > 320 and counts.max() < 480
    assert abs(np.corrcoef(angles, scales)[0, 1]) < 0.05


def test_draws_and_order_depend_on_seed_epoch_and_index_alone():
    preset = LinearPreset()
    assert draw(preset, 1, 2, 3) == draw(preset, 1, 2, 3)
    assert len({draw(preset, s, e, i) for s in (1, 2) for e in (0, 1) for i in (0, 1)}) == 8
    assert order(50, 1, 0).tolist() == order(50, 1, 0).tolist() != order(50, 1, 1).tolist()
    assert sorted(order(50, 1, 0)) == list(range(50))


def test_outside_the_image_is_black_and_background():
    image, label = np.full((60, 40, 3), 200, np.uint8), np.full((60, 40), 7, np.uint8)
    preset = LinearPreset(input=(60, 40))
    small, ids = augment(image, label, Draw(False, 0.0, 0.75), preset)
    assert set(np.unique(ids)) == {0, 7}
    assert not small[:6].any() and not ids[:6].any() and not small[:, :4].any() and not ids[:, :4].any()
    assert (ids[10:50, 8:32] == 7).all() and (small[10:50, 8:32] == 200).all()
    large, ids = augment(image, label, Draw(False, 0.0, 1.25), preset)
    assert (ids == 7).all() and (large == 200).all()


def test_the_flip_comes_before_the_turn_and_the_void_stays_void():
    image, label = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    image[:, 40:], label[:20] = 255, 255
    preset = LinearPreset(input=(32, 32))
    flipped, _ = augment(np.ascontiguousarray(image[:, ::-1]), label, Draw(False, 5.0, 1.0), preset)
    both, ids = augment(image, label, Draw(True, 5.0, 1.0), preset)
    assert np.array_equal(both, flipped)
    assert set(np.unique(ids)) == {0, 255}


def test_the_warp_is_the_references(parity, golden):
    """From the reference's own draws; OpenCV's cubic warp of another version differs by a few levels."""
    root = parity / "inputs" / "VOCSegmentation"
    with np.load(parity / "golden" / "b_batches_u8.npz") as batches:
        images, labels = batches["images"].transpose(0, 2, 3, 1), batches["semseg"]
    preset = LinearPreset()
    steps = json.loads((golden / "linear.json").read_text(encoding="utf-8"))["steps"]
    for number, step in enumerate(steps[:3]):
        draws = np.array(step["aug_draws"]).reshape(4, 3)
        for i, (name, (flip, turn, scale)) in enumerate(zip(step["images"], draws, strict=True)):
            image = np.asarray(Image.open(root / "images" / f"{name}.jpg").convert("RGB"))
            label = np.asarray(Image.open(root / "SegmentationClassAug" / f"{name}.png"))
            drawn = Draw(flip < 0.5, 10 * turn - 5, 0.75 + 0.5 * scale)
            ours, ids = augment(image, label, drawn, preset)
            theirs = images[4 * number + i].astype(int)
            assert np.abs(ours - theirs).mean() < 0.3
            assert (ids != labels[4 * number + i]).mean() < 0.005
