"""Sliding windows: against mmsegmentation's logits and predictions, and what the classify pass makes of placements."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.base.errors import WrongName
from bench.cards.presets import GeometryPreset, ImagePreset, WindowsPreset, override
from bench.data.preprocessing import label_to_input, normalise, to_input
from bench.passes import classify, windows
from bench.passes.classify import UNSEEN, Classifiers
from bench.passes.engine import Engine
from bench.passes.features import upsample
from bench.passes.image_pass import Loaded

PATCH = 8


@pytest.fixture
def reference(golden):
    folder = golden / "mmseg_linear"
    arrays = {name: dict(np.load(folder / f"{name}.npz")) for name in ("images", "net", "golden_arrays")}
    return json.loads((folder / "golden.json").read_text())["slide"], arrays


# --- against the reference ---


@pytest.mark.parametrize("number", range(5))
def test_windows_logits_and_predictions_are_the_references(reference, number):
    figures, arrays = reference
    images, net = arrays["images"], {name: torch.from_numpy(values) for name, values in arrays["net"].items()}
    image, window, stride = torch.from_numpy(images[f"image_{number}"]), int(images["crop"]), int(images["stride"])
    expected = figures[str(number)]
    found = windows.boxes(image.shape[-2:], window, stride)
    assert len(found) == expected["windows"]
    sizes = {(box.bottom - box.top, box.right - box.left) for box in found}
    assert sizes == {tuple(size) for size in expected["window_sizes"]}

    def forward(images):
        return F.conv2d(images, net["weight"], net["bias"], stride=PATCH)

    logits = windows.slide(image, window, stride, forward, PATCH)
    assert logits.double().sum().item() == pytest.approx(expected["logit_sum"], abs=1e-3)
    assert logits.double().abs().sum().item() == pytest.approx(expected["logit_abs_sum"], abs=1e-3)
    if f"logits_{number}" in arrays["golden_arrays"]:
        assert np.abs(logits.numpy() - arrays["golden_arrays"][f"logits_{number}"]).max() < 7e-6
    at_own_size = upsample(logits[None], tuple(images[f"original_{number}"]))[0].argmax(0)
    np.testing.assert_array_equal(at_own_size.numpy(), arrays["golden_arrays"][f"prediction_{number}"])


def test_the_last_window_is_moved_back_and_keeps_its_size():
    assert windows.starts(512, 512, 341) == [0]
    assert windows.starts(683, 512, 341) == [0, 171]
    assert windows.starts(854, 512, 341) == [0, 341, 342]
    assert windows.starts(853, 512, 341) == [0, 341]
    assert windows.starts(300, 512, 341) == [0]
    assert windows.boxes((300, 600), 512, 341) == [(0, 0, 300, 512), (0, 88, 300, 600)]
    assert windows.boxes((300, 600), None, 341) == [(0, 0, 300, 600)]


@pytest.mark.parametrize(("size", "window", "stride"), [((70, 100), 64, 43), ((64, 64), 64, 64), ((33, 200), 64, 1)])
def test_every_pixel_lies_in_a_window_and_no_window_reaches_beyond(size, window, stride):
    covered = np.zeros(size, int)
    for box in windows.boxes(size, window, stride):
        covered[box.top : box.bottom, box.left : box.right] += 1
        assert 0 <= box.top < box.bottom <= size[0] and 0 <= box.left < box.right <= size[1]
    assert covered.min() >= 1


def test_a_picture_smaller_than_the_window_is_filled_up_at_right_and_bottom():
    torch.manual_seed(0)
    image, weight = torch.randn(3, 21, 30), torch.randn(4, 3, PATCH, PATCH)
    found = windows.slide(image, 64, 43, lambda images: F.conv2d(images, weight, stride=PATCH), PATCH)
    whole = torch.zeros(1, 3, 24, 32)
    whole[0, :, :21, :30] = image
    expected = upsample(F.conv2d(whole, weight, stride=PATCH), (21, 30))[0]
    torch.testing.assert_close(found, expected)
    assert windows.fill_up(image[None], None).shape == image[None].shape
    centred = windows.fill_up(image[None], PATCH, "centre")
    torch.testing.assert_close(centred[0, :, 1:22, 1:31], image)


# --- pictures through the pass ---

WEIGHT = torch.from_numpy(np.random.default_rng(3).standard_normal((6, 3, PATCH, PATCH)).astype(np.float32)) / 8


def extract(images):
    return F.conv2d(images, WEIGHT.to(images.device), stride=PATCH)


def classifiers(count=1, classes=7):
    rng = np.random.default_rng(4)
    draw = rng.standard_normal((count, classes, 7)).astype(np.float32)
    return Classifiers(draw[..., :6].copy(), draw[..., 6].copy())


def loaded(preset, *sizes):
    rng = np.random.default_rng(5)
    items = []
    for number, size in enumerate(sizes):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        label = rng.integers(0, 7, size, np.uint8)
        items.append(Loaded(SimpleNamespace(image=f"{number}.png"), to_input(image, preset), label, size, bytes(16)))
    return items


def paint(items, preset, batch_size=4, **more):
    way = classify._windows_arg_max if isinstance(preset, WindowsPreset) else classify._arg_max
    engine = Engine("cpu", batch_size=batch_size)
    return classify._forward(items, extract, more.pop("way", way), classifiers(**more), preset, engine)


SIZES = ((40, 60), (60, 40), (90, 31), (40, 60))


def plain(item, preset, which, scale=1.0, mirrored=False):
    """Logits of one view at the picture's own size."""
    image = normalise(torch.from_numpy(item.image.copy())[None], preset)
    if scale != 1:
        image = upsample(image, tuple(round(side * scale) for side in image.shape[-2:]))
    image = image.flip(-1) if mirrored else image
    weight, bias = torch.from_numpy(which.weights[0])[..., None, None], torch.from_numpy(which.biases[0])
    logits = windows.slide(
        image[0],
        preset.window,
        preset.window_stride,
        lambda part: F.conv2d(extract(part), weight, bias),
        preset.multiple,
    )
    return upsample((logits.flip(-1) if mirrored else logits)[None], item.size)[0]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_pictures_of_several_sizes_are_painted_as_one_by_one(batch_size):
    preset = WindowsPreset(input=(48, 48), window=32, window_stride=21, multiple=PATCH)
    items = loaded(preset, *SIZES)
    for item, found in zip(items, paint(items, preset, batch_size, count=2), strict=True):
        assert len(found) == 2 and found[0].shape == item.size and found[0].dtype == np.uint16
        np.testing.assert_array_equal(found[0], plain(item, preset, classifiers(2)).argmax(0).numpy())


@pytest.mark.parametrize("resizing", ["opencv", "torch"])
@pytest.mark.parametrize("mean", ["logits", "probabilities"])
def test_mirror_and_scales_average_logits_or_probabilities(mean, resizing, monkeypatch):
    preset = WindowsPreset(
        input=(48, 48),
        window=32,
        window_stride=21,
        multiple=PATCH,
        mirror=True,
        scales=(1.0, 0.5, 1.75),
        views_mean=mean,
        resizing=resizing,
    )
    items = loaded(preset, *SIZES[:2])
    views = [(scale, mirrored) for scale in preset.scales for mirrored in (False, True)]
    monkeypatch.setattr(windows, "_AT_ONCE", 3 * 40 * 60)  # classes in three parts
    chances = paint(items, preset, way=classify._windows_probabilities)
    for item, found, chance in zip(items, paint(items, preset), chances, strict=True):
        each = torch.stack([plain(item, preset, classifiers(), *view) for view in views])
        scores = each.mean(0).softmax(0) if mean == "logits" else each.softmax(1).mean(0)
        np.testing.assert_array_equal(found[0], scores.argmax(0).numpy())
        np.testing.assert_allclose(chance[0], scores.numpy(), atol=1e-5)


def test_the_two_means_differ():
    flat, sharp = torch.tensor([[[0.0]], [[1.0]]]), torch.tensor([[[9.0]], [[0.0]]])
    one = torch.eye(2)
    views = [windows.View([scores], [windows.Box(0, 0, 1, 1)], (1, 1)) for scores in (flat, flat, sharp, flat)]
    found = [windows.best_classes(views, one, torch.zeros(2), (1, 1), mean) for mean in ("logits", "probabilities")]
    assert [int(best) for best in found] == [0, 1]


# --- other placements ---


def counted(preset, size):
    item = loaded(preset, size)[0]
    found = paint([item], preset)[0]
    return item, found[0], classify._count(item, found, preset, 255, None)


def test_a_filled_up_input_is_cut_and_brought_to_the_images_own_size():
    preset = GeometryPreset(input=(20, 20), fit="shorter", multiple=PATCH)
    item, found, kept = counted(preset, (41, 61))
    assert item.image.shape[:2] == found.shape == (20, 29)
    image = windows.fill_up(normalise(torch.from_numpy(item.image)[None], preset), PATCH)
    which = classifiers()
    logits = F.conv2d(extract(image), torch.from_numpy(which.weights[0])[..., None, None])
    logits = logits + torch.from_numpy(which.biases[0])[:, None, None]
    np.testing.assert_array_equal(found, upsample(logits, (24, 32))[0, :, :20, :29].argmax(0).numpy())
    assert kept["label"][:, 3].sum() == 41 * 61 and kept["input"][:, 3].sum() == 20 * 29


def test_what_a_crop_leaves_unseen_is_counted_nowhere():
    preset = GeometryPreset(input=(24, 24), fit="crop", multiple=PATCH)
    item, found, kept = counted(preset, (24, 48))
    assert found.shape == (24, 24)
    own = classify.decode_map(kept["map"])
    assert (own == UNSEEN).sum() == 24 * 24
    np.testing.assert_array_equal(own[:, 12:36], found)
    assert kept["label"][:, 3].sum() == kept["input"][:, 3].sum() == 24 * 24
    np.testing.assert_array_equal(label_to_input(item.label, preset), item.label[:, 12:36])
    with pytest.raises(WrongName, match="cut off"):
        paint([item], preset, way=classify._probabilities)


def test_squashed_images_are_classified_as_ever():
    preset = ImagePreset(input=(48, 40))
    items = loaded(preset, (30, 50), (60, 20))
    which = classifiers(2, classes=300)
    for item, found in zip(items, paint(items, preset, count=2, classes=300), strict=True):
        logits = F.conv2d(
            extract(normalise(torch.from_numpy(item.image)[None], preset)),
            torch.from_numpy(which.weights[1])[..., None, None],
            torch.from_numpy(which.biases[1]),
        )
        np.testing.assert_array_equal(found[1], upsample(logits, (48, 40))[0].argmax(0).numpy())


# --- entries ---


def test_entries_that_do_not_go_together_are_refused():
    with pytest.raises(WrongName, match="window_stride: 341 is larger than the window of 256"):
        override(WindowsPreset(), {"window": 256})
    with pytest.raises(WrongName, match="squash"):
        override(WindowsPreset(), {"fit": "crop"})
    assert WindowsPreset(window=None).unread().keys() == {"window_stride", "views_mean"}
    assert WindowsPreset(mirror=True).unread() == {}


def test_what_the_network_sees_at_once_is_a_multiple_of_its_patch():
    for preset, expected in [
        (WindowsPreset(multiple=14), (518, 518)),
        (WindowsPreset(multiple=16, window=256, window_stride=171), (256, 256)),
        (WindowsPreset(input=(80, 80), multiple=16), (80, 80)),
        (WindowsPreset(input=(80, 100), fit="squash", window=None, multiple=14), (84, 112)),
        (GeometryPreset(fit="shorter", input=(512, 512), multiple=14), (518, 518)),
        (GeometryPreset(input=(448, 448), multiple=14), (448, 448)),
        (ImagePreset(input=(40, 50)), (40, 50)),
    ]:
        assert preset.seen() == expected
