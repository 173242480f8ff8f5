"""Saliency from boundary connectivity: an unsupervised estimate from one image, without weights.

The idea is that of Zhu et al., "Saliency Optimization from Robust Background Detection", CVPR 2014: a region
is background where it is well connected to the image's border. Regions are superpixels; a region's
boundary connectivity is how much border the area it blends into has, against the root of that area's size
(section 3). Contrast with what is probably background makes a region salient (section 4.1), and a
least-squares problem reconciles the two cues with smoothness (section 4.2). Two things differ here: regions
are described by the spread of their colours as well as by their mean, and contrast saturates, so that an
object of two tones is salient in both.

No label plays a part in a mask. The constants of `Settings` are the paper's where it has one; the others were
picked on the `train` split of the built-in data set `shapes`, its labels used for nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.base.errors import BadEnvironment
from bench.data.picture_files import Image8
from bench.priors.masks import Saliency

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SUPERVISION = "none in the masks; constants picked with the labels of shapes train"
VERSION = 1
"""Raised whenever the same settings would give other masks: old ones are then not mixed with new ones."""


@dataclass(frozen=True)
class Settings:
    """The constants of the method. Colours are CIE Lab, lightness 0…100."""

    longest_side: int = 240
    """Larger images are worked on at this size, pixels."""
    blur: float = 0.5
    """Standard deviation of the Gaussian that takes off noise, pixels."""
    regions: int = 250
    compactness: float = 0.1
    """SLIC's weight of position against colour, for colours brought to 0…1."""
    slic_iterations: int = 5
    unseen_step: float = 3.0
    """A colour difference between neighbours that costs nothing on a path."""
    blending: float = 10.0
    """How long a path of colour differences two regions still blend over (the paper's σ_clr)."""
    connectivity: float = 1.0
    """The boundary connectivity that is background with probability 0.39 (σ_bndCon)."""
    contrast: float = 15.0
    """The colour difference at which contrast saturates."""
    reach: float = 0.4
    """How far contrast reaches, in longest sides (σ_spa)."""
    smoothness: float = 10.0
    """The colour difference up to which neighbours are drawn together (σ_clr)."""
    least_smoothness: float = 0.1
    """How strongly neighbours of any colours are (μ)."""


def parameters() -> dict[str, Any]:
    """What defines the masks of the estimator as it is loaded."""
    return {"version": VERSION} | asdict(Settings())


def load() -> Boundary:
    """The estimator. Raises BadEnvironment where scikit-image is not installed."""
    try:
        import skimage.segmentation  # noqa: F401
    except ImportError as error:
        raise BadEnvironment(
            "the method boundary needs scikit-image", "Install it: pip install 'maskcontrast-bench[train]'"
        ) from error
    return Boundary(Settings())


@dataclass(frozen=True)
class Boundary:
    """Estimates how salient each pixel is: RGB uint8 H×W×3 → float32 H×W, 0…1."""

    settings: Settings

    def __call__(self, image: Image8) -> Saliency:
        """The saliency map of an image, at the image's size; zero where nothing stands out."""
        height, width = image.shape[:2]
        lab = _shrunk_lab(image, self.settings)
        regions = _Regions.of(lab, self.settings)
        saliency = _region_saliency(regions, self.settings).astype(np.float32)
        return np.asarray(cv2.resize(saliency[regions.index], (width, height), interpolation=cv2.INTER_LINEAR))


def _shrunk_lab(image: Image8, settings: Settings) -> npt.NDArray[np.float32]:
    height, width = image.shape[:2]
    scale = settings.longest_side / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    calm = cv2.GaussianBlur(image, (0, 0), settings.blur).astype(np.float32)
    return np.asarray(cv2.cvtColor(calm / 255, cv2.COLOR_RGB2LAB))


@dataclass(frozen=True)
class _Regions:
    """N superpixels of an image."""

    index: npt.NDArray[np.intp]
    """h×w: the region of each pixel."""
    difference: Floats
    """N×N: distance between the regions' colours."""
    distance: Floats
    """N×N: distance between their centres, in longest sides."""
    neighbours: tuple[Indices, Indices]
    """Pairs (a, b), a < b, that share an edge."""
    border: Indices
    """Those that touch the image's border."""

    @classmethod
    def of(cls, lab: npt.NDArray[np.float32], settings: Settings) -> _Regions:
        """Superpixels of an h×w×3 Lab image."""
        from skimage.segmentation import slic

        index = slic(
            lab,
            n_segments=settings.regions,
            compactness=settings.compactness,
            max_num_iter=settings.slic_iterations,
            convert2lab=False,
            start_label=0,
            channel_axis=-1,
        )
        sizes = np.bincount(index.reshape(-1))

        def means(*channels: npt.NDArray[Any]) -> Floats:
            sums = [np.bincount(index.reshape(-1), channel.reshape(-1), len(sizes)) for channel in channels]
            return np.stack(sums, axis=1) / sizes[:, None]

        colours = means(*np.moveaxis(lab, -1, 0))
        spread = np.sqrt(np.maximum(means(*np.moveaxis(lab**2, -1, 0)) - colours**2, 0))
        centres = means(*np.indices(index.shape)) / max(index.shape)
        edges = np.concatenate([index[0], index[-1], index[:, 0], index[:, -1]])
        return cls(
            index,
            _distances(np.concatenate([colours, spread], axis=1)),
            _distances(centres),
            _neighbours(index),
            np.unique(edges),
        )


def _distances(points: Floats) -> Floats:
    """N×N Euclidean distances of N×D points."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(points, points))


def _neighbours(index: npt.NDArray[np.intp]) -> tuple[Indices, Indices]:
    """Pairs (a, b), a < b, of regions that share an edge of a pixel."""
    sides = ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:]))
    first, second = (np.concatenate([side[i].reshape(-1) for side in sides]) for i in (0, 1))
    low, high = np.minimum(first, second), np.maximum(first, second)
    count = int(index.max()) + 1
    pairs = np.unique((low * count + high)[low < high])
    return pairs // count, pairs % count


def _region_saliency(regions: _Regions, settings: Settings) -> Floats:
    """N values 0…1."""
    background = _background(regions, settings)
    contrast = _contrast(regions, background, settings)
    if not contrast.any():
        return contrast
    saliency = _reconciled(regions, background, contrast, settings)
    return np.clip(saliency / saliency.max(), 0, 1)


def _background(regions: _Regions, settings: Settings) -> Floats:
    """N probabilities of being background, from boundary connectivity (sections 3.2 and 4.1).

    Regions at the border count as neighbours of each other, so that an object which parts the background in
    two makes neither half an object.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    count, border = len(regions.difference), regions.border
    around = np.triu_indices(len(border), 1)
    first = np.concatenate([regions.neighbours[0], border[around[0]]])
    second = np.concatenate([regions.neighbours[1], border[around[1]]])
    # scipy 1.13 takes graphs with indices of 32 bits only
    first, second = np.unique(np.stack([first, second]), axis=1).astype(np.int32)
    steps = np.maximum(regions.difference[first, second] - settings.unseen_step, 0) + 1e-6  # 0 would be no edge
    graph = coo_array((steps, (first, second)), (count, count)).tocsr()
    # beyond three standard deviations regions do not blend; not to go there saves most of the time
    paths = dijkstra(graph, directed=False, limit=3 * settings.blending)
    blending = np.exp(-(paths**2) / (2 * settings.blending**2))
    connectivity = blending[:, border].sum(axis=1) / np.sqrt(blending.sum(axis=1))
    return np.asarray(1 - np.exp(-(connectivity**2) / (2 * settings.connectivity**2)))


def _contrast(regions: _Regions, background: Floats, settings: Settings) -> Floats:
    """N contrasts with probable background nearby, 0…1; the lesser ones, by Otsu's threshold, are 0 (4.1, 4.2)."""
    differs = 1 - np.exp(-(regions.difference**2) / (2 * settings.contrast**2))
    near = np.exp(-(regions.distance**2) / (2 * settings.reach**2))
    contrast = (differs * near) @ background
    if contrast.max() < 1e-9:  # one colour throughout
        return np.zeros_like(contrast)
    contrast /= contrast.max()
    levels = np.rint(255 * contrast).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    return np.where(levels > otsu, contrast, 0)


def _reconciled(regions: _Regions, background: Floats, contrast: Floats, settings: Settings) -> Floats:
    """N values s that minimise Σ background·s² + Σ contrast·(s − 1)² + Σ over neighbours weight·(sᵢ − sⱼ)² (4.2)."""
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import spsolve

    first, second = regions.neighbours
    weight = np.exp(-(regions.difference[first, second] ** 2) / (2 * settings.smoothness**2))
    weight += settings.least_smoothness
    count = len(background)
    half = coo_array((weight, (first, second)), (count, count))
    weights = (half + half.T).tocsr()
    laplacian = diags_array(weights.sum(axis=1)) - weights
    return np.asarray(spsolve((diags_array(background + contrast) + laplacian).tocsc(), contrast))
