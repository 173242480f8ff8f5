"""Methods: how the object mask of an image is made.

A method that estimates the mask from pixels is an `Estimator`, listed in `ESTIMATORS`: with or without weights.
`precomputed` takes existing masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.base.errors import BadInput, WrongName, unknown_name
from bench.base.escaping import storable
from bench.data.decoding import read_image_of, size_of
from bench.data.picture_files import Image8
from bench.data.samples import Sample, Samples
from bench.priors import boundary
from bench.priors.masks import FOREGROUND, Mask, Saliency, clean_up, from_saliency, is_too_small, mask_path, read_values

PRECOMPUTED = "precomputed"
TOO_SMALL = "mask under 1 % of the image"
NO_FILE = "no mask file"
NO_FOREGROUND = "mask without the value 255"
ODD_VALUES = "mask with values other than 0 and 255"


class Estimator(Protocol):
    """Estimates how salient each pixel is: RGB uint8 H×W×3 → float32 H×W, 0…1."""

    def __call__(self, image: Image8) -> Saliency:
        """The saliency map of an image, at the image's size."""


@dataclass(frozen=True)
class EstimatorEntry:
    """What the registry knows of an estimator before it is loaded."""

    supervision: str
    """Every label that had a part in its masks."""
    load: Callable[[], Estimator]
    """Gives the estimator. Raises BadEnvironment where a package that it needs is not installed."""
    parameters: Mapping[str, Any]
    """What defines its masks, for the manifest; with a version that is raised when the code gives others."""


@dataclass(frozen=True)
class Proposal:
    """An image's mask, or why there is none."""

    mask: Mask | None = None
    skipped: str = ""
    note: str = ""
    """What a user should know of a mask that was taken nevertheless."""


class Method(Protocol):
    """What proposes a mask for a sample. It travels to worker processes, so it can be pickled."""

    @property
    def id(self) -> str:
        """Its name on the command line."""

    @property
    def supervision(self) -> str:
        """Every label that had a part in the masks."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What defines the masks; masks of other parameters are never mixed in one folder."""

    def sources(self, sample: Sample) -> tuple[Path, ...]:
        """The files that the mask is made from: a mask older than one of them is made again."""

    def propose(self, sample: Sample) -> Proposal:
        """The mask of a sample, cleaned up. Raises BadInput for a file that cannot be used."""

    def check(self, samples: Samples) -> list[str]:
        """What a user should know beforehand. Raises what would stop the work for every sample."""

    @property
    def processes(self) -> bool:
        """Whether it needs processes to run in parallel; threads do where libraries outside Python do the work."""


@dataclass(frozen=True)
class Estimated:
    """Masks from an estimator's saliency maps."""

    id: str
    processes: bool = True

    @property
    def supervision(self) -> str:
        """Every label that had a part in the masks."""
        return ESTIMATORS[self.id].supervision

    @property
    def parameters(self) -> dict[str, Any]:
        """The estimator's own."""
        return dict(ESTIMATORS[self.id].parameters)

    def sources(self, sample: Sample) -> tuple[Path, ...]:
        """The image."""
        return (sample.image,)

    def propose(self, sample: Sample) -> Proposal:
        """Threshold and clean-up of the saliency map (docs/pre-training.md#object-masks)."""
        image, _ = read_image_of(sample)
        return _if_large_enough(Proposal(from_saliency(_estimator(self.id)(image))))

    def check(self, samples: Samples) -> list[str]:
        """Raises BadEnvironment where the estimator cannot be loaded."""
        ESTIMATORS[self.id].load()
        return []


@dataclass(frozen=True)
class Precomputed:
    """Masks made elsewhere: a folder of `<id>.png` in which 255 is foreground.

    See docs/protocols.md#preprocessing, docs/pre-training.md#object-masks.
    """

    folder: Path
    clean: bool = True
    """Whether the clean-up is applied; it is not idempotent, so masks that have had it may do without."""
    id: str = PRECOMPUTED
    processes: bool = False
    supervision: str = "not stated: that of the model which made the masks"

    @property
    def parameters(self) -> dict[str, Any]:
        """The folder, and whether it is cleaned up."""
        return {"from": storable(str(self.folder.resolve())), "clean_up": self.clean}

    def sources(self, sample: Sample) -> tuple[Path, ...]:
        """The mask file, where there is one."""
        path = mask_path(self.folder, sample.id)
        return (path,) if path.is_file() else ()

    def propose(self, sample: Sample) -> Proposal:
        """The mask as the file has it, checked and cleaned up."""
        path = mask_path(self.folder, sample.id)
        if not path.is_file():
            return Proposal(skipped=NO_FILE)
        values = read_values(path, size_of(sample))
        mask = values == FOREGROUND
        note = ODD_VALUES if ((values != 0) & ~mask).any() else ""
        if not mask.any():
            return Proposal(skipped=NO_FOREGROUND, note=note)
        return _if_large_enough(Proposal(clean_up(mask) if self.clean else np.asarray(mask), note=note))

    def check(self, samples: Samples) -> list[str]:
        """How many masks are missing. Raises BadInput where all are, or the folder is."""
        if not self.folder.is_dir():
            raise BadInput(f"no folder of masks at {self.folder}", "Give the folder of <id>.png files with --from.")
        missing = [sample for sample in samples if not self.sources(sample)]
        if not missing:
            return []
        first = mask_path(self.folder, missing[0].id)
        if len(missing) == len(samples):
            raise BadInput(
                f"{self.folder} has a mask for none of the {len(samples)} images of {samples.card.id} {samples.split}: "
                f"{first} is not there",
                "Give the folder of <id>.png files with --from.",
            )
        return [f"{len(missing)} of {len(samples)} images have no mask and are skipped; the first is {first}"]


def _if_large_enough(proposal: Proposal) -> Proposal:
    """The proposal, or a skip where its mask covers under 1 % of the image (docs/pre-training.md#object-masks)."""
    if proposal.mask is not None and is_too_small(proposal.mask):
        return Proposal(skipped=TOO_SMALL, note=proposal.note)
    return proposal


ESTIMATORS: dict[str, EstimatorEntry] = {
    "boundary": EstimatorEntry(boundary.SUPERVISION, boundary.load, boundary.parameters()),
}
"""Methods that look at pixels, by id."""


@cache
def _estimator(name: str) -> Estimator:
    """The estimator of this process: a network is loaded once, not for every image."""
    return ESTIMATORS[name].load()


def find_method(name: str, folder: Path | None, clean: bool, samples: Samples) -> Method:
    """The method of an id. `folder` and `clean` are for `precomputed`.

    A `folder` that is not there as given is looked for beside the split's images, so that the authors' bundle
    (docs/protocols.md#preprocessing) needs only `saliency_unsupervised_model`. Raises WrongName for an unknown id or an
    option that does not fit."""
    if name == PRECOMPUTED:
        if folder is None:
            raise WrongName("the method precomputed needs --from", "Give the folder that holds the masks.")
        return Precomputed(_beside_the_images(folder, samples), clean)
    if name not in ESTIMATORS:
        raise unknown_name("method", name, [*ESTIMATORS, PRECOMPUTED], "bench priors --help")
    if folder is not None or not clean:
        option = "--from" if folder is not None else "--no-clean-up"
        raise WrongName(f"the method {name} does not take {option}", "Leave it out, or use --method precomputed.")
    return Estimated(name)


def _beside_the_images(folder: Path, samples: Samples) -> Path:
    (layout,) = [layout for layout in samples.card.layouts if layout.name == samples.layout]
    candidates = [folder, *(samples.root / prefix / folder for prefix in layout.prefixes)]
    return next((path for path in candidates if path.is_dir()), folder)
