"""transformers pyramids: CNNs and hierarchical transformers by their hidden states, backbones by their `feature_maps`.

`last` is the `last_hidden_state`, which is Swin's after the final norm; of a backbone it is the last map.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput
from bench.networks.reading.layers import Layer
from bench.networks.reading.maps import NAME_A_LAYER, as_map, words
from bench.networks.reading.paths import read_path
from bench.networks.reading.reader import Read, Reader, Structure
from bench.networks.reading.transformers_calls import body_of, of_transformers, outputs_of, patch_of

if TYPE_CHECKING:
    from torch import Tensor, nn


class TransformersPyramidReader(Reader):
    """Reads CNNs, hierarchical transformers and backbones of transformers, and refuses what reads no images."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether it is of transformers."""
        return of_transformers(module)

    @property
    def structure(self) -> Structure:
        """What the configuration says."""
        body = body_of(self.module)
        named = getattr(body, "out_features", None)
        stages = len(getattr(body.config, "depths", None) or getattr(body.config, "hidden_sizes", None) or ())
        known = ("last", *named, f"output1 to output{len(named)}") if named else ("last",)
        return Structure(
            family="transformers",
            patch=patch_of(body.config) if named and not stages else None,
            width=None if named else (getattr(body.config, "hidden_sizes", None) or [None])[-1],
            stages=stages or None,
            layers=known if named or not stages else ("last", f"stage1 to stage{stages}"),
        )

    def reading(self, layer: Layer) -> Read:
        """What gives a stage, or one of a backbone's maps."""
        body = body_of(self.module)
        if layer.kind in ("path", "part"):
            return read_path(self.module, layer.name)
        named = getattr(body, "out_features", None)
        if named:
            return self._of_backbone(body, list(named), layer)
        if layer.name == "last":
            return lambda images: _last(outputs_of(body, images))
        stages = self.structure.stages or 0
        if layer.kind != "stage" or (layer.number or 0) > stages:
            raise self.unknown(layer)
        back = stages + 1 - (layer.number or 1)

        def read(images: Tensor) -> Tensor:
            with _before_downsampling(body):
                return _states(outputs_of(body, images))[-back]

        return read

    def _of_backbone(self, body: Any, named: list[str], layer: Layer) -> Read:
        if layer.name == "last":
            place = len(named) - 1
        elif layer.kind == "output" and (layer.number or 0) <= len(named):
            place = (layer.number or 1) - 1
        elif layer.name in named:
            place = named.index(layer.name)
        else:
            raise self.unknown(layer)
        return lambda images: outputs_of(body, images).feature_maps[place]


@contextlib.contextmanager
def _before_downsampling(body: Any) -> Iterator[None]:
    """Swin and its kin state the end of a stage after it was made smaller, unless their encoder is told otherwise."""
    encoder, name = getattr(body, "encoder", None), "output_hidden_states_before_downsampling"
    if encoder is None or name not in inspect.signature(encoder.forward).parameters:
        yield
        return
    handle = encoder.register_forward_pre_hook(lambda _, given, more: (given, {**more, name: True}), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _states(output: Any) -> list[Tensor]:
    """The hidden states that are maps, B×D×h×w. Raises BadInput where there are none."""
    states = getattr(output, "reshaped_hidden_states", None) or getattr(output, "hidden_states", None) or ()
    maps = [state for state in states if getattr(state, "ndim", 0) == 4]
    if not maps:
        raise BadInput(f"a {type(output).__name__} has no hidden state B×D×h×w", NAME_A_LAYER)
    return maps


def _last(output: Any) -> Tensor:
    """The last hidden state, its tokens in the shape of the last map."""
    last = getattr(output, "last_hidden_state", None)
    if getattr(last, "ndim", 0) == 4:
        return last  # type: ignore[return-value]
    if last is None or last.ndim != 3:
        raise BadInput(f"a {type(output).__name__} has {words(last)} as its last hidden state", NAME_A_LAYER)
    rows, columns = _states(output)[-1].shape[-2:]
    return as_map(last, last.shape[1] - rows * columns, (rows, columns))
