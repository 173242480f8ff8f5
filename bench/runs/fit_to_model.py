"""Fit to model: what of a preset belongs to the model, and not to the protocol.

Normalisation and the multiple that an input must be are the model's. They are taken from it where it states them,
unless the user sets them; the record says what ran and what the protocol has in its place. A protocol whose reference
normalises all networks alike has an entry `normalisation`, which says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.base.errors import BadInput, WrongName
from bench.cards.presets import ImagePreset, Preset
from bench.networks.subject import Subject

_LARGEST = 4.0
"""Of any mean or standard deviation of channels in 0…1, with room for other ways to write it."""


def fit_to_model(preset: Preset, subject: Subject, asked: Mapping[str, Any], *, strict: bool = False) -> Preset:
    """The preset with the model's normalisation, and with an input that the network can take.

    `asked` are the entries that the user set. `strict` refuses an input that is no multiple of the patch; else it goes
    to the nearest that is.
    """
    stated = dict(zip(("mean", "std"), subject.normalisation, strict=True))
    if getattr(preset, "normalisation", "model") == "protocol":
        stated = {}
    update: dict[str, Any] = {key: value for key, value in stated.items() if value is not None and key not in asked}
    for key, value in update.items():
        _require_of_pixels(subject, key, value)
    patch = subject.structure.patch if subject.structure else None
    if isinstance(preset, ImagePreset):
        update |= _input(preset, patch, asked, strict=strict)
    elif patch is not None and "height" in type(preset).model_fields:
        update |= _height(preset, patch, asked, strict=strict)
    return preset.model_copy(update={key: value for key, value in update.items() if value != getattr(preset, key)})


def decided(protocols: Preset, fitted: Preset) -> dict[str, Any]:
    """The protocol's own values of the entries that the model decided, as plain JSON values."""
    before, after = protocols.model_dump(mode="json"), fitted.model_dump(mode="json")
    return {key: value for key, value in before.items() if value != after[key] and key != "input_by_patch"}


def _input(preset: ImagePreset, patch: int | None, asked: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    if "input" in asked or patch is None:
        preset = preset.model_copy(update={"input_by_patch": {}})
    size = wanted = preset.input_by_patch.get(patch or 0, preset.input)
    if patch is not None:
        fitted = preset.for_patch(patch)
        if "input" not in fitted:  # the input is filled up to a multiple instead
            return fitted
        size = fitted["input"]
        if strict and size != wanted:
            raise _refused("x".join(map(str, wanted)), patch, f"--set input=[{size[0]},{size[1]}]")
    return {"input": size, "input_by_patch": {}}


def _height(preset: Any, patch: int, asked: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Of video, where the width follows from the height."""
    multiple = preset.multiple if "multiple" in asked else patch
    if multiple % patch:
        raise WrongName(
            f"multiple is {multiple}, which is no multiple of the network's patch of {patch}",
            "Leave the entry out: the patch takes its place.",
        )
    fitted = preset.for_patch(patch)
    if strict and fitted["height"] != preset.height:
        raise _refused(f"a height of {preset.height}", patch, f"--set height={fitted['height']}")
    return {**fitted, "multiple": multiple}


def _require_of_pixels(subject: Subject, key: str, values: Any) -> None:
    """Raises BadInput for a mean or a standard deviation that is not of RGB in 0…1."""
    whole = len(values) == 3 and all(isinstance(one, (int, float)) and abs(one) <= _LARGEST for one in values)
    if not whole or (key == "std" and min(values) <= 0):
        raise BadInput(
            f"{subject.id} states a normalisation that is not of three channels in 0…1: {key} = {str(values)[:80]}",
            f"Where it is of 0…255, divide by 255; --set {key}=[R,G,B] goes before it.",
        )


def _refused(what: str, patch: int, remedy: str) -> WrongName:
    return WrongName(
        f"the input is {what}, which is no multiple of the network's patch of {patch}",
        f"Leave --strict-input out, or use {remedy}.",
    )


def said_of(before: Preset, after: Preset, subject: Subject) -> str:
    """A line about an input that was changed; empty where none was."""
    patch = subject.structure.patch if subject.structure else None
    for key in ("input", "height"):
        old, new = getattr(before, key, None), getattr(after, key, None)
        if old != new:
            shown = ["×".join(map(str, one)) if isinstance(one, tuple) else f"{one}" for one in (old, new)]
            what = "the frames' height" if key == "height" else "the input"
            return f"the network's patch is {patch}: {what} is {shown[1]} in place of {shown[0]} pixels"
    return ""
