"""Views and batches: what crops show, what colours hide, and that all of it follows from seed, epoch and index."""

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cards import catalogue
from bench.cards.recipes import override
from bench.data.samples import open_split
from bench.data import colour_jitter
from bench.pretrain.pairs import Pairs, batches, epoch_order
from bench.pretrain.views import MEAN, STD, draw_view
from bench.priors import open_priors
from tests.training import IMAGES, write_training_set

PUBLISHED = catalogue.recipe("maskcontrast-sup")
SHAPES = catalogue.recipe("shapes")
PLAIN = {"jitter_share": 0, "grey_share": 0, "flip_share": 0, "crop": 64}


def random(seed=0):
    return np.random.default_rng(seed)


def picture(height=150, width=200):
    """An image whose red is the column, whose green is the row, with a box of foreground whose blue is full."""
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    mask[50:110, 60:140] = True
    return np.stack([columns, rows, mask * 255], axis=-1).astype(np.uint8), mask


def pixels(view):
    """A view's RGB, 0…255, S×S×3."""
    planes = view.image.reshape(3, -1) * STD + MEAN
    return (255 * planes.T).reshape(*view.mask.shape, 3)


@pytest.mark.parametrize("name", ["maskcontrast-sup", "maskcontrast-unsup", "shapes"])
def test_a_view_is_a_function_of_its_generator(name):
    recipe = catalogue.recipe(name)
    first, again, other = (draw_view(*picture(), recipe, random(seed)) for seed in (1, 1, 2))
    assert first.image.shape == (3, recipe.crop, recipe.crop) and first.image.dtype == np.float32
    assert first.mask.shape == (recipe.crop, recipe.crop) and first.mask.dtype == bool
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("entries", [{}, {"extent": [0.4, 0.6]}, {"extent": [0.4, 0.6], "rotation": 30}])
def test_mask_and_image_are_cut_alike(entries):
    recipe = override(PUBLISHED, PLAIN | entries)
    for seed in range(20):
        view = draw_view(*picture(), recipe, random(seed))
        agree = (pixels(view)[..., 2] > 127) == view.mask
        assert agree.mean() > 0.96


def test_random_resized_crops_have_the_stated_areas_and_aspects():
    recipe = override(PUBLISHED, PLAIN)
    areas = []
    for seed in range(200):
        image = pixels(draw_view(*picture(), recipe, random(seed)))
        width, height = (np.ptp(image[..., channel]) * 64 / 63 for channel in (0, 1))
        areas.append(width * height / 30000)
        assert 0.7 < width / height < 1.4
    assert 0.18 < min(areas) < 0.25 and 0.9 < max(areas) < 1.05


def test_object_centred_crops_show_the_object_in_the_stated_size():
    recipe = override(PUBLISHED, PLAIN | {"extent": [0.625, 0.625], "aspect": [1, 1], "shift": 0})
    view = draw_view(*picture(), recipe, random())
    assert view.mask.sum() == pytest.approx(60 * 80 / 4, rel=0.03)
    rows, columns = view.mask.nonzero()
    assert rows.mean() == pytest.approx(31.5, abs=0.6) and columns.mean() == pytest.approx(31.5, abs=0.6)
    # an object at the edge: the crop stays within the image
    image, mask = picture()
    edge = np.zeros_like(mask)
    edge[0:20, 0:20] = True
    shown = pixels(draw_view(image, edge, recipe, random()))
    assert shown[2, 2, 0] < 2 and shown[-3, -3, 0] == pytest.approx(30.5, abs=1)


def test_colour_and_contrast_say_nothing_after_recolouring():
    recipe = override(SHAPES, {"spread": [0.5, 0.5], "level": 0})
    view = draw_view(*picture(), recipe, random())
    assert np.allclose(view.image.mean((1, 2)), 0, atol=1e-4)
    assert np.allclose(view.image.std((1, 2)), 0.5, rtol=0.02)
    brighter = np.clip(picture()[0].astype(int) // 2 + 60, 0, 255).astype(np.uint8)
    other = draw_view(brighter, picture()[1], recipe, random())
    assert np.abs(other.image - view.image).mean() < 0.02  # up to rounding


def test_jitter_grey_and_flip_come_as_often_as_stated():
    image, mask = picture()
    grey = override(PUBLISHED, PLAIN | {"grey_share": 0.2})
    grey_views = [pixels(draw_view(image, mask, grey, random(seed))) for seed in range(200)]
    assert 25 < sum(np.ptp(view, axis=-1).max() < 1 for view in grey_views) < 60
    flip = override(PUBLISHED, PLAIN | {"flip_share": 0.5})
    flips = [pixels(draw_view(image, mask, flip, random(seed))) for seed in range(200)]
    assert 70 < sum(view[0, 0, 0] > view[0, -1, 0] for view in flips) < 130


@pytest.mark.parametrize("number", range(4))
def test_colours_change_as_torchvision_changes_them_bit_by_bit(number):
    functional = pytest.importorskip("torchvision.transforms.functional")
    theirs = getattr(functional, f"adjust_{colour_jitter.CHANGES[number].__name__}")
    draw = random(number)
    low, high = (-0.5, 0.5) if number == 3 else (0, 2)
    for amount in (low, 0.0, high, *draw.uniform(low, high, 200)):
        before = Image.fromarray(draw.integers(0, 256, (37, 53, 3), np.uint8))
        after = colour_jitter.CHANGES[number](before, amount)
        assert after.mode == "RGB" and np.array_equal(np.asarray(after), np.asarray(theirs(before, amount)))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("views"))
    samples = open_split(catalogue.dataset("shapes"), "train", folder / "data")
    recipe = catalogue.recipe(str(folder / "tiny.toml"))
    return Pairs(samples.entries, open_priors(folder / "masks", samples), recipe, 2, print)


def stacked(stream):
    return [torch.cat([tensor.flatten().float() for tensor in batch]) for batch in stream]


def test_each_epoch_has_an_order_of_its_own_that_the_seed_decides():
    orders = [epoch_order(50, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    assert np.array_equal(orders[1], epoch_order(50, 0, 1))


@pytest.mark.slow
def test_batches_do_not_depend_on_workers_or_on_where_a_run_begins(pairs):
    whole = stacked(batches(pairs, 0, 0, 8, 0, 1, workers=3))
    assert len(whole) == 8 and pairs.steps_per_epoch == IMAGES // 4
    late = stacked(batches(pairs, 0, 5, 8, 0, 1, workers=1))
    assert all(torch.equal(a, b) for a, b in zip(whole[5:], late, strict=True))


def test_ranks_share_a_batch_out_between_them(pairs):
    (whole,) = batches(pairs, 0, 3, 4, 0, 1, 1)
    parts = [next(batches(pairs, 0, 3, 4, rank, 2, 1)) for rank in range(2)]
    for field in range(4):
        assert torch.equal(torch.cat([part[field] for part in parts]), whole[field])


def test_views_that_show_too_little_or_too_much_are_drawn_again(pairs):
    for index in range(len(pairs)):
        for view in pairs.draw(index, random(index)):
            assert 0.01 < view.mask.mean() < 0.99


def test_after_three_failures_another_image_is_drawn(tmp_path):
    folder = write_training_set(tmp_path, 8)
    path = folder / "masks/train_00000.png"
    whole = Image.new("L", Image.open(path).size, 255)
    whole.save(path)
    samples = open_split(catalogue.dataset("shapes"), "train", folder / "data")
    recipe = catalogue.recipe(str(folder / "tiny.toml"))
    pairs = Pairs(samples.entries, open_priors(folder / "masks", samples), recipe, 1, print)
    assert all(0.01 < view.mask.mean() < 0.99 for view in pairs.draw(0, random()))
