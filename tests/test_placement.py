"""Geometry: where an image lies in the input, whose nearest is used, and what mirror images and scales add."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.cards import catalogue
from bench.cards.presets import GeometryPreset
from bench.data.placement import nearest_centres, place
from bench.data.preprocessing import label_to_input, nearest_indices, pillow_indices, to_input
from bench.data.samples import open_split
from bench.passes import tokens
from bench.passes.engine import Engine
from bench.passes.forward import features_of, padded, see
from bench.passes.image_pass import load_sample
from tests.networks import Colours

FITS = ("squash", "crop", "shorter", "longer", "own")
CARD = catalogue.dataset("pascal-voc")
sides = st.integers(1, 700)


def preset(**entries):
    return GeometryPreset(**{"input": (320, 320), "interpolation": "nearest", "resizing": "pillow", **entries})


@given(sides, sides)
def test_the_nearest_of_pillow_and_of_torch_are_those_of_the_libraries(source, target):
    line = np.arange(source, dtype=np.int32)
    by_pillow = np.asarray(
        Image.fromarray(np.repeat(line[:, None], 3, 1)).resize((3, target), Image.Resampling.NEAREST)
    )
    by_torch = F.interpolate(torch.from_numpy(line.astype(np.float32))[None, None], size=target, mode="nearest")
    assert np.array_equal(pillow_indices(source, target), by_pillow[:, 0])
    assert np.array_equal(nearest_indices(source, target), by_torch[0, 0].numpy().astype(int))


@given(st.sampled_from(FITS), sides, sides, st.sampled_from([None, 8, 14]), st.sampled_from(["end", "centre"]))
def test_an_input_lies_in_the_resized_image_and_in_its_padding(fit, height, width, multiple, pad):
    placed = place((height, width), preset(fit=fit, multiple=multiple, pad=pad))
    for axis, offset, before in ((0, placed.top, placed.above), (1, placed.left, placed.before)):
        assert 0 <= offset <= placed.resized[axis] - placed.input[axis]
        assert 0 <= before <= placed.padded[axis] - placed.input[axis]
        assert fit == "squash" or placed.padded[axis] % (multiple or 1) == 0


@given(st.sampled_from(FITS), st.integers(20, 200), st.integers(20, 200))
def test_image_and_label_are_cut_alike(fit, height, width):
    label = np.random.default_rng(0).integers(0, 200, (height, width), dtype=np.uint8)
    own = preset(fit=fit, input=(48, 48))
    image = to_input(np.repeat(label[..., None], 3, axis=2), own)
    assert np.array_equal(image[..., 0], label_to_input(label, own))
    assert image.shape[:2] == place(label.shape, own).input


def test_a_centre_crop_takes_the_middle():
    placed = place((500, 375), preset(fit="crop"))
    assert (placed.resized, placed.top, placed.left, placed.input) == ((426, 320), 53, 0, (320, 320))
    # half to even: (427 - 320) / 2 = 53.5
    assert place((427, 320), preset(fit="crop")).top == 54


def test_what_a_crop_leaves_out_is_void_in_the_map_of_the_image():
    placed = place((40, 20), preset(fit="crop", input=(20, 20)))
    own = placed.to_own(np.ones((20, 20), np.uint8), void=255)
    assert (own[:10] == 255).all() and (own[10:30] == 1).all() and (own[30:] == 255).all()


@given(st.sampled_from(FITS), st.integers(8, 90), st.integers(8, 90))
def test_a_map_of_the_input_comes_back_at_the_images_own_size(fit, height, width):
    placed = place((height, width), preset(fit=fit, input=(32, 32)))
    found = placed.to_own(np.full(placed.input, 7, np.uint16), void=65535)
    assert found.shape == (height, width)
    assert set(np.unique(found)) <= {7, 65535} and (found == 7).any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))
def test_a_map_that_is_enlarged_by_a_whole_factor_repeats_its_cells(rows, columns, factor):
    found = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    whole = nearest_centres(found, (rows * factor, columns * factor))
    assert np.array_equal(whole, found.repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize("pad", ["end", "centre"])
def test_zeros_fill_an_input_up_to_a_multiple(pad):
    own = preset(fit="own", multiple=8, pad=pad)
    images = padded(torch.ones(1, 3, 11, 16), own)
    assert images.shape == (1, 3, 16, 16)
    first = 2 if pad == "centre" else 0
    assert bool(images[:, :, first : first + 11].all()) and float(images.sum()) == 3 * 11 * 16


def test_features_with_the_mirror_image_do_not_tell_left_from_right():
    images = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    gradient = torch.linspace(0, 1, 6)  # a network that does tell

    def network(batch):
        return F.avg_pool2d(batch, 4) * gradient

    found = see(images, network, preset(mirror=True))
    assert torch.allclose(found.flip(-1), see(images.flip(-1), network, preset(mirror=True)), atol=1e-6)
    plain = see(images, network, preset())
    assert torch.allclose(found, (plain + network(images.flip(-1)).flip(-1)) / 2, atol=1e-6)


def test_scales_are_averaged_on_the_grid_of_the_first():
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = see(images, lambda batch: F.avg_pool2d(batch, 8), preset(scales=(1, 0.5), multiple=8))
    half = F.interpolate(images, scale_factor=0.5, mode="bilinear", align_corners=False)
    other = F.interpolate(F.avg_pool2d(half, 8), size=(4, 4), mode="bilinear", align_corners=False)
    assert torch.allclose(found, (F.avg_pool2d(images, 8) + other) / 2, atol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_every_image_of_a_batch_has_the_features_that_it_has_alone(golden, fit):
    own = GeometryPreset(input=(32, 32), fit=fit, multiple=8)
    samples = open_split(CARD, "val", golden / "VOCSegmentation").first(4)
    batch = [load_sample(sample, samples, own) for sample in samples]
    engine, network = Engine("cpu"), Colours().features
    together = features_of(batch, network, own, engine)
    for item, found in zip(batch, together, strict=True):
        assert torch.allclose(found, features_of([item], network, own, engine)[0], atol=1e-6)
        rows, columns = place(item.size, own).padded
        assert found.shape == (3, rows // 4, columns // 4)


def matrix(found):
    return np.concatenate([image.tokens for image in found])


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_tokens_are_kept_and_read_again_in_order(golden, tmp_path, stored):
    own, model = GeometryPreset(input=(32, 40)), Colours()
    samples = open_split(CARD, "val", golden / "VOCSegmentation").first(6)
    kept, engine = tokens.store(tmp_path, {"test": 1}, stored), Engine("cpu", batch_size=4)
    found = tokens.fill(lambda: model.features, samples.first(3), own, kept, engine, stored=stored)
    found = tokens.fill(lambda: model.features, samples, own, kept, engine, stored=stored)
    assert (found.counts == 80).all()
    assert matrix(found).dtype == stored and matrix(found).shape == (480, 3)
    loaded = [load_sample(sample, samples, own) for sample in samples]
    for item, image in zip(loaded, found, strict=True):
        direct = features_of([item], model.features, own, engine)[0].flatten(1).T.numpy()
        assert np.allclose(image.tokens, direct, atol=1e-6 if stored == "float32" else 2e-3)
        assert image.grid == (8, 10) and np.array_equal(image.label, label_to_input(item.label, own))
    calls = model.calls
    assert [image.id for image in found.of([1, 4])] == [samples.ids[1], samples.ids[4]]
    again = tokens.fill(lambda: model.features, samples, own, kept, engine, stored=stored)
    assert np.array_equal(matrix(again), matrix(found)) and again.manifest == found.manifest
    assert model.calls == calls
