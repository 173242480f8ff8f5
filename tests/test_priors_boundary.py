"""Saliency from boundary connectivity, on drawn images."""

import numpy as np
import pytest

from bench.data.shapes import draw
from bench.priors import boundary
from bench.priors.evaluate import agreement
from bench.priors.masks import from_saliency


def disc(size, centre, radius):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def estimate(image):
    return boundary.load()(image)


def test_a_disc_of_two_tones_is_found_in_both():
    image = np.full((120, 160, 3), (90, 120, 90), np.uint8)
    mask = disc((120, 160), (50, 70), 30)
    image[mask] = (200, 60, 40)
    image[mask & (np.arange(160) > 70)] = (30, 30, 160)
    saliency = estimate(image)
    assert saliency.dtype == np.float32 and saliency.shape == (120, 160) and 0 <= saliency.min() <= saliency.max() <= 1
    assert agreement(from_saliency(saliency), mask)[0] > 0.95


def test_a_large_image_gives_the_mask_of_the_small_one():
    image, _ = draw("train", 3, 10)
    large = np.repeat(np.repeat(image, 4, axis=0), 4, axis=1)
    small, enlarged = from_saliency(estimate(image)), from_saliency(estimate(large))
    assert agreement(enlarged[::4, ::4], small)[0] > 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (600, 3)])
@pytest.mark.filterwarnings("error")
def test_odd_images_give_a_map_all_the_same(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for image in (noise, np.full_like(noise, 77)):
        saliency = estimate(image)
        assert saliency.shape == size and np.isfinite(saliency).all()
    assert not estimate(np.full((50, 60, 3), 77, np.uint8)).any()
