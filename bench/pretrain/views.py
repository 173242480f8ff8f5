"""Views: random crops and colours of one image, with its mask (docs/pre-training.md#the-method).

Every random number comes from the generator that is passed in, so a view is a function of that alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.cards.recipes import Recipe
from bench.data.colour_jitter import CHANGES
from bench.data.picture_files import Image8
from bench.priors.masks import Mask

Random = np.random.Generator
Pixels = npt.NDArray[np.float32]

MEAN = np.array([[0.485], [0.456], [0.406]], np.float32)
STD = np.array([[0.229], [0.224], [0.225]], np.float32)
"""The network's normalisation of RGB in 0…1 (docs/protocols.md#preprocessing)."""
CROP_ATTEMPTS = 10
"""Draws of area and aspect until a random resized crop fits into the image, as torchvision does it."""


class View(NamedTuple):
    """One view of one image."""

    image: Pixels
    """3×S×S float32, normalised."""
    mask: Mask
    """S×S bool."""


def draw_view(image: Image8, mask: Mask, recipe: Recipe, random: Random) -> View:
    """One view of an image (H×W×3 uint8, RGB) and its mask (H×W bool)."""
    cut = _random_resized if recipe.extent is None else _object_centred
    pixels, inside = cut(image, mask, recipe, random)
    if random.random() < recipe.flip_share:
        pixels, inside = pixels[:, ::-1], inside[:, ::-1]
    if random.random() < recipe.jitter_share:
        pixels = _jittered(pixels, recipe, random)
    if random.random() < recipe.grey_share:
        pixels = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))
    planes: Pixels = pixels.reshape(-1, 3).T.astype(np.float32, order="C")
    planes = _recoloured(planes, recipe, random) if recipe.colour_matrix else _normalised(planes)
    return View(planes.reshape(3, recipe.crop, recipe.crop), inside.astype(bool))


def _random_resized(image: Image8, mask: Mask, recipe: Recipe, random: Random) -> tuple[Image8, Image8]:
    """A crop of random area and aspect, anywhere; the image shrunk with a filter, as Pillow does it."""
    left, top, width, height = _random_box(mask.shape, recipe, random)
    rows, columns = slice(top, top + height), slice(left, left + width)
    size = (recipe.crop, recipe.crop)
    pixels = np.asarray(Image.fromarray(image[rows, columns]).resize(size, Image.Resampling.BILINEAR))
    return pixels, _image8(cv2.resize(mask[rows, columns].view(np.uint8), size, interpolation=cv2.INTER_NEAREST))


def _random_box(size: tuple[int, ...], recipe: Recipe, random: Random) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random crop of an image of `size` (height, width)."""
    height, width = size
    for _ in range(CROP_ATTEMPTS):
        area = height * width * random.uniform(*recipe.area)
        aspect = _log_uniform(recipe.aspect, random)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(random.integers(width - w + 1)), int(random.integers(height - h + 1)), w, h
    # an image too long for any of these shapes: the largest crop of the nearest shape, in the middle
    aspect = min(max(width / height, recipe.aspect[0]), recipe.aspect[1])
    w, h = (max(1, side) for side in (min(width, round(height * aspect)), min(height, round(width / aspect))))
    return (width - w) // 2, (height - h) // 2, w, h


def _object_centred(image: Image8, mask: Mask, recipe: Recipe, random: Random) -> tuple[Image8, Image8]:
    """A turned crop around the mask's bounding box, in which the object's size is random.

    Resampled without a filter, as images are at evaluation (docs/protocols.md#preprocessing). What lies beyond the
    image's edge has the background's mean colour."""
    assert recipe.extent is not None
    size = np.array(mask.shape[::-1])
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    stretch = math.sqrt(_log_uniform(recipe.aspect, random))
    scale = max(width / stretch, height * stretch) / (recipe.crop * _log_uniform(recipe.extent, random))
    step = scale * np.array([stretch, 1 / stretch])  # image pixels per view pixel
    half = step * recipe.crop / 2
    centre = np.array([left + width / 2, top + height / 2])
    centre += 2 * half * random.uniform(-recipe.shift, recipe.shift, 2)
    centre = np.clip(centre, np.minimum(half, size / 2), np.maximum(size - half, size / 2))
    angle = math.radians(random.uniform(-recipe.rotation, recipe.rotation))
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) * step
    offset = centre - 0.5 - matrix @ np.full(2, (recipe.crop - 1) / 2)
    transform = np.column_stack([matrix, offset])
    shape = (recipe.crop, recipe.crop)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    beyond = cv2.mean(image, mask=(~mask).view(np.uint8))
    pixels = cv2.warpAffine(image, transform, shape, flags=flags, borderValue=beyond)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return _image8(pixels), _image8(cv2.warpAffine(mask.view(np.uint8), transform, shape, flags=flags))


def _image8(array: object) -> Image8:
    """OpenCV's arrays as what they are."""
    return np.asarray(array, np.uint8)


def _log_uniform(bounds: tuple[float, float], random: Random) -> float:
    return math.exp(random.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _jittered(pixels: Image8, recipe: Recipe, random: Random) -> Image8:
    """Brightness, contrast, saturation and hue changed, in random order."""
    picture = Image.fromarray(pixels)
    for number in random.permutation(len(CHANGES)):
        amount = recipe.jitter[number]
        low, high = (-amount, amount) if number == 3 else (max(0.0, 1 - amount), 1 + amount)
        picture = CHANGES[number](picture, random.uniform(low, high))
    return np.asarray(picture)


def _normalised(planes: Pixels) -> Pixels:
    """Channels (3×P, 0…255) as the network takes them (docs/protocols.md#preprocessing)."""
    return (planes / np.float32(255) - MEAN) / STD


def _recoloured(planes: Pixels, recipe: Recipe, random: Random) -> Pixels:
    """Channels (3×P) mixed by a random matrix, then each brought to a random mean and deviation.

    After that neither colour nor brightness nor contrast tells images apart; what is left is form. The
    network must cope with the same at evaluation, where images keep their own mean and deviation.
    """
    mixed = random.standard_normal((3, 3), np.float32) @ planes
    mixed -= mixed.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.einsum("cp,cp->c", mixed, mixed) / mixed.shape[1])
    spread = np.array([[_log_uniform(recipe.spread, random)] for _ in range(3)], np.float32)
    mixed *= spread / (deviation + np.float32(1e-3))[:, None]
    mixed += (recipe.level * random.standard_normal((3, 1))).astype(np.float32)
    return mixed
