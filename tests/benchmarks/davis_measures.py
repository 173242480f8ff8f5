"""J and F against the straightforward way: `python tests/benchmarks/davis_measures.py`.

The straightforward way draws both boundaries in the whole frame and asks, for every boundary pixel, whether any
pixel of a disc around it lies on the other boundary, by or-ing the shifted map once per pixel of the disc (197 at
480×854). Ours looks only at the window that both masks cover and dilates with OpenCV. Both must agree.
"""

import time

import cv2
import numpy as np

from bench.scoring.j_and_f import boundary, contour_accuracy, disc, radius, region_similarity

SIZE, FRAMES = (480, 854), 12


def blob(rng: np.random.Generator, share: float) -> np.ndarray:
    """A lobed disc that covers about this share of the frame."""
    yy, xx = np.mgrid[: SIZE[0], : SIZE[1]]
    y, x = yy - rng.uniform(0.35, 0.65) * SIZE[0], xx - rng.uniform(0.35, 0.65) * SIZE[1]
    edge = np.sqrt(share * SIZE[0] * SIZE[1] / np.pi) * (1 + 0.25 * np.sin(5 * np.arctan2(y, x)))
    return np.hypot(y, x) <= edge


def straightforward(annotation: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    edges = [boundary(mask) > 0 for mask in (annotation, prediction)]
    r = radius(SIZE)
    near = []
    for edge in edges:
        padded, grown = np.pad(edge, r), np.zeros_like(edge)
        for dy, dx in np.argwhere(disc(r)):
            grown |= padded[dy : dy + SIZE[0], dx : dx + SIZE[1]]
        near.append(grown)
    precision, recall = (near[1 - i][edges[i]].mean() for i in (1, 0))
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return (annotation & prediction).sum() / (annotation | prediction).sum(), f


def ours(annotation: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    return region_similarity(annotation, prediction), contour_accuracy(annotation, prediction)


def main() -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    for share in (0.02, 0.1, 0.4):
        pairs = [(mask, np.roll(mask, (3, 7), (0, 1))) for mask in (blob(rng, share) for _ in range(FRAMES))]
        seconds = {}
        for way in (straightforward, ours):
            way(*pairs[0])
            start = time.perf_counter()
            values = [way(*pair) for pair in pairs]
            seconds[way] = (time.perf_counter() - start) / FRAMES, values
        (slow, expected), (fast, found) = seconds[straightforward], seconds[ours]
        assert np.allclose(expected, found, atol=1e-12)
        print(
            f"an object of {share:4.0%} of 480×854: {1000 * slow:7.1f} ms straightforwardly, "
            f"{1000 * fast:5.2f} ms ours, {slow / fast:5.1f}x"
        )


if __name__ == "__main__":
    main()
