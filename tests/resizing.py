"""How far this machine's way of resizing images may lead away from that of the reference's machine."""

from typing import NamedTuple

from bench.base.environment import image_resizing

REFERENCE = "46ee52d4"
"""`bits` of the reference's machine: IPP on a processor with AVX-512."""


class Limits(NamedTuple):
    """Twice the most that was measured on the golden images."""

    rounding: float
    """Of a value, in levels, from exact cubic interpolation."""
    levels: int
    """Of the sum of an image's 786 432 values."""
    mask: int
    """Pixels of 262 144, besides those that lie near the threshold."""
    area: int
    prototypes: float
    miou: float
    """Of a linear classifier that is given, 0..1."""


LIMITS = {
    "reference": Limits(0.501, 0, 0, 0, 5e-5, 1e-5),
    "ipp": Limits(0.501, 10, 110, 40, 2.5e-4, 2e-5),
    "opencv": Limits(1.0, 12_000, 11_000, 460, 6e-3, 6e-5),
}
"""Measured with IPP for AVX2 and SSE4.2: values within 0.5001, sums differ by 2 levels, masks by 52 pixels, areas by
18, prototypes by 1.2e-4, mIoU by 9e-6. Without IPP: values within 0.75, sums differ by 5 727 levels, masks by 5 064
pixels, areas by 213 (231 on another machine), prototypes by 2.9e-3, mIoU by 2.8e-5. oneDNN's choice of instructions
moves a prototype by 6e-6 and a mask by one pixel."""


def limits_here() -> Limits:
    """Those of the way that OpenCV goes on this machine."""
    found = image_resizing()
    return LIMITS["reference" if found["bits"] == REFERENCE else "ipp" if found["ipp"] else "opencv"]
