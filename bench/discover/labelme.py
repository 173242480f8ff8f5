"""Labelme: the folders that labelme_json_to_dataset writes, one for each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from bench.discover.file_words import PictureFile, read_name

# https://github.com/wkentaro/labelme/blob/main/examples/tutorial: apc2016_obj3_json/
IMAGE, LABEL, OVERLAY = "img.png", "label.png", "label_viz.png"
SUFFIX = "_json"
"""How such a folder is called: as the annotation file, with this in place of `.json`."""


def exported(paths: Sequence[str]) -> tuple[list[PictureFile], list[PictureFile], list[str]]:
    """The images and the masks in such folders, which are called as the folder is, and the paths of other pictures."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folders[str(PurePosixPath(path).parent)].add(PurePosixPath(path).name)
    own = {folder for folder, names in folders.items() if {IMAGE, LABEL} <= names}
    images: list[PictureFile] = []
    masks: list[PictureFile] = []
    others: list[str] = []
    for path in paths:
        folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
        if folder not in own or name not in (IMAGE, LABEL, OVERLAY):
            others.append(path)
            continue
        called = read_name(f"{folder.removesuffix(SUFFIX) if folder != '.' else 'img'}.png")
        if name != OVERLAY:
            file = replace(called, path=path, by_folder=name == LABEL, by_name=False, kind="labelme")
            (masks if name == LABEL else images).append(file)
    return images, masks, others
