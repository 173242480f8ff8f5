"""Maps: tokens brought into the shape of a feature map, and the words for shapes in messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

NAME_A_LAYER = "Name another layer with features=…, such as a stage, or the dotted path of a submodule."


def as_map(tokens: Tensor, before: int, grid: tuple[int, int]) -> Tensor:
    """B×N×D tokens, the first `before` of which are no patches, as B×D×h×w.

    Raises BadInput where the patches that are left are not as many as the grid has cells.
    """
    rows, columns = grid
    if tokens.ndim == 3 and tokens.shape[1] == rows * columns:
        before = 0  # a class token that joins in later blocks only, as XCiT's
    if tokens.ndim != 3 or tokens.shape[1] != before + rows * columns:
        raise BadInput(
            f"the layer gives {words(tokens)}, and not the {before} + {rows}×{columns} tokens of an image",
            NAME_A_LAYER,
        )
    return tokens[:, before:].transpose(1, 2).reshape(len(tokens), -1, rows, columns)


def channels_second(features: Tensor) -> Tensor:
    """B×h×w×D → B×D×h×w."""
    return features.permute(0, 3, 1, 2).contiguous()


def concatenated(maps: Sequence[Tensor]) -> Tensor:
    """Maps of one size as one, along the channels; a single one as it is."""
    import torch

    return maps[0] if len(maps) == 1 else torch.cat(tuple(maps), dim=1)


def words(output: Any) -> str:
    """What an output is, in words: `a tensor of shape 2×384×16×16`, `3 things: …`."""
    if hasattr(output, "shape"):
        return "a tensor of shape " + "×".join(map(str, output.shape))
    return f"a {type(output).__name__}"
