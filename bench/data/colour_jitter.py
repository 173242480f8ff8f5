"""Colours: the four changes of a colour jitter, bit by bit as torchvision makes them on Pillow's images.

See docs/pre-training.md#the-method.

Each takes an RGB picture and an amount, and returns a new picture of the same size.
"""

from __future__ import annotations

from PIL import Image, ImageEnhance

Picture = Image.Image


def brightness(picture: Picture, factor: float) -> Picture:
    """Mixed with black: 0 is black, 1 the picture itself."""
    return ImageEnhance.Brightness(picture).enhance(factor)


def contrast(picture: Picture, factor: float) -> Picture:
    """Mixed with the mean grey of the whole picture: 0 is that grey, 1 the picture itself."""
    return ImageEnhance.Contrast(picture).enhance(factor)


def saturation(picture: Picture, factor: float) -> Picture:
    """Mixed with its own greys: 0 is grey, 1 the picture itself."""
    return ImageEnhance.Color(picture).enhance(factor)


def hue(picture: Picture, turn: float) -> Picture:
    """Every hue moved along the circle of colours by `turn`, −0.5 to 0.5 of it; HSV has 256 steps of hue."""
    steps = int(turn * 255)  # towards zero
    hues, saturations, values = picture.convert("HSV").split()
    hues = hues.point([(level + steps) % 256 for level in range(256)])
    return Image.merge("HSV", (hues, saturations, values)).convert("RGB")


CHANGES = (brightness, contrast, saturation, hue)
"""In the order of a recipe's `jitter`."""
