"""Views: random crops and colours of one image, with its mask (spec §6).

Every random number comes from the generator that is passed in, so a view is a function of that alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from torchvision.transforms import functional as colours

from bench.pretrain.recipe import Recipe
from bench.priors.masks import Mask
from bench.samples import Image8

Random = np.random.Generator
Pixels = npt.NDArray[np.float32]

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""The network's normalisation of RGB in 0…1 (spec §2)."""
CROP_ATTEMPTS = 10
"""Draws of area and aspect until a random resized crop fits into the image, as torchvision does it."""


class View(NamedTuple):
    """One view of one image."""

    image: Pixels
    """S×S×3 float32, normalised."""
    mask: Mask
    """S×S bool."""


class Box(NamedTuple):
    """A crop in whole pixels of the image."""

    left: int
    top: int
    width: int
    height: int


def draw_view(image: Image8, mask: Mask, recipe: Recipe, random: Random) -> View:
    """One view of an image (H×W×3 uint8, RGB) and its mask (H×W bool)."""
    size = mask.shape[0], mask.shape[1]
    box = _random_resized(size, recipe, random) if recipe.zoom is None else _object_centred(mask, recipe, random)
    pixels, inside = _cut(image, mask, box, recipe)
    if random.random() < recipe.flip_share:
        pixels, inside = pixels[:, ::-1], inside[:, ::-1]
    if random.random() < recipe.jitter_share:
        pixels = _jittered(pixels, recipe, random)
    if random.random() < recipe.grey_share:
        pixels = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))
    if recipe.colour_matrix:
        return View(_recoloured(pixels, recipe, random), inside)
    scaled = ((pixels / np.float32(255) - MEAN) / STD).astype(np.float32)
    return View(scaled, inside)


def _random_resized(size: tuple[int, int], recipe: Recipe, random: Random) -> Box:
    """A crop of random area and aspect anywhere in an image of `size` (height, width)."""
    height, width = size
    for _ in range(CROP_ATTEMPTS):
        area = height * width * random.uniform(*recipe.area)
        aspect = _log_uniform(recipe.aspect, random)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.integers(0, width - w + 1), random.integers(0, height - h + 1)
            return Box(int(left), int(top), w, h)
    # an image too long for any of these shapes: the largest crop of the nearest shape, in the middle
    aspect = min(max(width / height, recipe.aspect[0]), recipe.aspect[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return Box((width - w) // 2, (height - h) // 2, w, h)


def _object_centred(mask: Mask, recipe: Recipe, random: Random) -> Box:
    """A crop around the middle of the mask's bounding box, at a scale that does not depend on the object."""
    assert recipe.zoom is not None
    height, width = mask.shape
    side = recipe.crop / _log_uniform(recipe.zoom, random)
    stretch = math.sqrt(_log_uniform(recipe.aspect, random))
    w, h = min(width, round(side * stretch)), min(height, round(side / stretch))
    left, top, object_width, object_height = cv2.boundingRect(mask.view(np.uint8))
    x = left + object_width / 2 + w * random.uniform(-recipe.shift, recipe.shift)
    y = top + object_height / 2 + h * random.uniform(-recipe.shift, recipe.shift)
    return Box(min(max(round(x - w / 2), 0), width - w), min(max(round(y - h / 2), 0), height - h), w, h)


def _log_uniform(bounds: tuple[float, float], random: Random) -> float:
    return math.exp(random.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _cut(image: Image8, mask: Mask, box: Box, recipe: Recipe) -> tuple[Image8, Mask]:
    """The box of image (bilinear) and mask (nearest), resized to a view."""
    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    size = (recipe.crop, recipe.crop)
    inside = cv2.resize(mask[rows, columns].view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if recipe.antialias:
        pixels = np.asarray(Image.fromarray(image[rows, columns]).resize(size, Image.Resampling.BILINEAR))
    else:
        pixels = np.asarray(cv2.resize(image[rows, columns], size, interpolation=cv2.INTER_CUBIC))
    return pixels, inside.astype(bool)


def _jittered(pixels: Image8, recipe: Recipe, random: Random) -> Image8:
    """Brightness, contrast, saturation and hue changed, in random order."""
    picture = Image.fromarray(pixels)
    changes = (colours.adjust_brightness, colours.adjust_contrast, colours.adjust_saturation, colours.adjust_hue)
    for number in random.permutation(len(changes)):
        amount = recipe.jitter[number]
        low, high = (-amount, amount) if number == 3 else (max(0.0, 1 - amount), 1 + amount)
        picture = changes[number](picture, random.uniform(low, high))
    return np.asarray(picture)


def _recoloured(pixels: Image8, recipe: Recipe, random: Random) -> Pixels:
    """Channels mixed by a random matrix, then each brought to a random mean and deviation.

    After that neither colour nor brightness nor contrast tells images apart; what is left is form. The
    network must cope with the same at evaluation, where images keep their own mean and deviation.
    """
    mixed = pixels.reshape(-1, 3).astype(np.float32) @ random.standard_normal((3, 3), np.float32)
    mixed -= mixed.mean(axis=0)
    spread = np.array([_log_uniform(recipe.spread, random) for _ in range(3)], np.float32)
    mixed *= spread / (mixed.std(axis=0) + np.float32(1e-3))
    mixed += (recipe.level * random.standard_normal(3)).astype(np.float32)
    return mixed.reshape(pixels.shape)
