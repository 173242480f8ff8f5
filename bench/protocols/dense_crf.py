"""Dense CRF on class probabilities, with the published parameters (docs/protocols.md#dense-crf); needs the extra `crf`.

The work is done in processes of its own: importing this module loads neither torch nor the CRF library.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadEnvironment
from bench.base.parallel import end_with_parent

Image8 = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
GAUSSIAN = {"sxy": 1, "compat": 3}
BILATERAL = {"sxy": 67, "srgb": 3, "compat": 4}
ITERATIONS = 10
RECIPE = {"gaussian": GAUSSIAN, "bilateral": BILATERAL, "iterations": ITERATIONS}
"""What the record says of it."""


def require() -> None:
    """Raises BadEnvironment where the CRF library is not installed."""
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        raise BadEnvironment(
            "--crf needs the dense CRF library, which is not installed",
            "Get it with: pip install 'maskcontrast-bench[crf]'",
        ) from error


def refine(image: Image8, probabilities: Probabilities) -> npt.NDArray[np.uint16]:
    """The most probable class of every pixel, H×W, after mean-field inference.

    `image` is H×W×3 RGB uint8 (handed on in OpenCV's order, BGR, as the reference does), `probabilities` C×H×W
    float32 at the same size.
    """
    from pydensecrf import densecrf
    from pydensecrf.utils import unary_from_softmax

    classes, height, width = probabilities.shape
    field = densecrf.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(unary_from_softmax(probabilities)))
    field.addPairwiseGaussian(**GAUSSIAN)
    field.addPairwiseBilateral(**BILATERAL, rgbim=np.ascontiguousarray(image[:, :, ::-1]))
    marginals = np.array(field.inference(ITERATIONS), np.float32)
    return marginals.argmax(axis=0).reshape(height, width).astype(np.uint16)


def recovered(picture: Image8, mean: Sequence[float], std: Sequence[float]) -> Image8:
    """An H×W×3 uint8 picture as a program gets it back from the network's float32 input: multiplied by 255 and cut off.

    Rounding then makes values one too low: with ImageNet's mean and deviation 62, 39 and 36 of the 256 of R, G and B
    (docs/protocols.md#stego).
    """
    shift, scale = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    normalised = (picture.astype(np.float32) / np.float32(255) - shift) / scale
    back = (normalised * scale + shift) * np.float32(255)
    return np.clip(back, 0, 255).astype(np.uint8)


@contextmanager
def processes(count: int) -> Iterator[Callable[[Image8, Probabilities], npt.NDArray[np.uint16]]]:
    """`refine`, in one of so many processes. They are started afresh: forks of a process with threads can hang.

    A script that gets here must guard its main part with `if __name__ == "__main__":`, as always with
    multiprocessing.
    """
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), end_with_parent)
    try:
        yield lambda image, probabilities: pool.submit(refine, image, probabilities).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
