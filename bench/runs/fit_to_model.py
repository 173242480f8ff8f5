"""Fit to model: what of a preset belongs to the model, and not to the protocol.

Normalisation and the multiple that an input must be are the model's. They are taken from it where it states them,
unless the user sets them; the record says what ran and what the protocol has in its place. A protocol whose reference
normalises all networks alike has an entry `normalisation`, which says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.base.errors import BadInput, WrongName
from bench.cards.presets import ImagePreset, Preset, WindowsPreset, filled
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
    elif patch is not None and "multiple" in type(preset).model_fields:
        update |= _multiple(preset, patch, asked, strict=strict)
    return preset.model_copy(update={key: value for key, value in update.items() if value != getattr(preset, key)})


def decided(protocols: Preset, fitted: Preset) -> dict[str, Any]:
    """The protocol's own values of the entries that the model decided, as plain JSON values."""
    before, after = protocols.model_dump(mode="json"), fitted.model_dump(mode="json")
    return {key: value for key, value in before.items() if value != after[key] and key != "input_by_patch"}


def _input(preset: ImagePreset, patch: int | None, asked: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    if "input" in asked or patch is None:
        preset = preset.model_copy(update={"input_by_patch": {}})
    wanted = preset.input_by_patch.get(patch or 0, preset.input)
    if patch is None:
        return {"input": wanted, "input_by_patch": {}}
    _require_multiple(getattr(preset, "multiple", None), patch)
    if strict and (odd := _filled_up(preset, patch)):
        name, side, whole = odd[0]
        raise _refused(f"a {name} of {side}", patch, f"--set {name}={whole}")
    fitted = preset.for_patch(patch)
    size = fitted.get("input", wanted)  # without one the input is filled up to a multiple instead
    if strict and size != wanted:
        raise _refused("x".join(map(str, wanted)), patch, f"--set input=[{size[0]},{size[1]}]")
    return {**fitted, "input": size, "input_by_patch": {}}


def _multiple(preset: Any, patch: int, asked: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Of images and frames that keep their proportions; of video the width follows from the height."""
    multiple = preset.multiple if "multiple" in asked else patch
    _require_multiple(multiple, patch)
    fitted = preset.for_patch(patch)
    if strict and "height" in fitted and fitted["height"] != preset.height:
        raise _refused(f"a height of {preset.height}", patch, f"--set height={fitted['height']}")
    return {**fitted, "multiple": multiple}


def _require_multiple(multiple: int | None, patch: int) -> None:
    if multiple is not None and multiple % patch:
        raise WrongName(
            f"multiple is {multiple}, which is no multiple of the network's patch of {patch}",
            "Leave the entry out: the patch takes its place.",
        )


def _filled_up(preset: Preset, patch: int) -> list[tuple[str, int, int]]:
    """Entry, pixels, and pixels after filling, of what is filled up with zeros because the patch does not divide it."""
    if not isinstance(preset, WindowsPreset):
        return []
    sides = {name: getattr(preset, name) for name in preset.filled_up}
    return [(name, side, filled(side, patch)) for name, side in sides.items() if side is not None and side % patch]


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
    """A line about an input that was changed or is filled up; empty where none is."""
    patch = subject.structure.patch if subject.structure else None
    for key in ("input", "height"):
        old, new = getattr(before, key, None), getattr(after, key, None)
        if old != new:
            shown = ["×".join(map(str, one)) if isinstance(one, tuple) else f"{one}" for one in (old, new)]
            what = "the frames' height" if key == "height" else "the input"
            return f"the network's patch is {patch}: {what} is {shown[1]} in place of {shown[0]} pixels"
    odd = [f"{name} of {side} to {whole} pixels" for name, side, whole in _filled_up(after, patch)] if patch else []
    return f"the network's patch is {patch}: zeros fill each {' and each '.join(odd)}" if odd else ""
