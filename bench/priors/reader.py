"""Reader: finds the samples that have a mask in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.base.errors import BadInput
from bench.base.files import said
from bench.base.json_files import read_json
from bench.data.samples import Sample, Samples
from bench.priors.masks import mask_path

MANIFEST = "priors.json"
"""The file beside the masks that says how they were made."""
SCHEMA = 1
_LONGEST = 256 << 20
"""Bytes of a manifest: it has a line for each image that has no mask."""


@dataclass(frozen=True)
class Priors:
    """The masks of one split."""

    folder: Path
    entries: tuple[Sample, ...]
    """The samples that have a mask file, in the split's order. The files are not opened yet."""
    missing: tuple[str, ...]
    """The ids of the samples that have none; they take no part in training (docs/pre-training.md#object-masks)."""
    manifest: dict[str, Any] | None
    """How `bench priors` made the masks; None for a folder from elsewhere, such as the authors' bundle."""

    def path(self, sample: Sample) -> Path:
        """The sample's mask file, for `read_mask`."""
        return mask_path(self.folder, sample.id)


def open_priors(folder: Path, samples: Samples) -> Priors:
    """Find the masks of `samples` in a folder of `<id>.png`, made by `bench priors` or elsewhere.

    Raises BadInput where the folder is missing, holds a mask for none of the samples, or has a damaged
    manifest.
    """
    remedy = "Make the masks with `bench priors`, or give the folder that holds them."
    if not folder.is_dir():
        raise BadInput(f"no folder of masks at {folder}", remedy)
    manifest = read_manifest(folder)
    present = [mask_path(folder, sample.id).is_file() for sample in samples]
    if not any(present):
        raise BadInput(
            f"{folder} has a mask for none of the {len(samples)} images of {samples.card.id} {samples.split}", remedy
        )
    return Priors(
        folder,
        tuple(sample for sample, there in zip(samples, present, strict=True) if there),
        tuple(sample.id for sample, there in zip(samples, present, strict=True) if not there),
        manifest,
    )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in a folder of masks; None where there is none. Raises BadInput for a damaged one."""
    path = folder / MANIFEST
    try:
        manifest = read_json(path, _LONGEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is damaged: {said(error)}", "Make the masks again, with --fresh.") from error
    known = isinstance(manifest, dict) and manifest.get("schema") == SCHEMA
    if not known or not all(isinstance(manifest.get(key, {}), dict) for key in ("skipped", "notes")):
        raise BadInput(f"{path} is not a manifest of this version's masks", "Make the masks again, with --fresh.")
    return manifest
