"""DINO modules: those with `get_intermediate_layers`, as the torch.hub models of DINO, iBOT, DINOv2 and DINOv3 have it.

DINO's gives the last n blocks after the final norm, B×N×D, class token included (dino, vision_transformer.py). DINOv2's
also takes `reshape`, `return_class_token` and `norm` (dinov2, models/vision_transformer.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.base.errors import WrongName
from bench.networks.reading.block_reader import BlockReader, block_layers
from bench.networks.reading.hooks import attention_part, output_of
from bench.networks.reading.maps import as_map
from bench.networks.reading.reader import Read, Structure

if TYPE_CHECKING:
    from torch import Tensor, nn


class DinoReader(BlockReader):
    """Reads a vision transformer that gives its intermediate layers itself."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether it gives intermediate layers, and says where its patches are; `forward` must be of the same class.

        That of a subclass, or of a wrapper which passes attributes on, is as its author wrote it, and counts.
        """
        kinds = type(module).__mro__
        giving, running = (
            next((place for place, kind in enumerate(kinds) if name in vars(kind)), len(kinds))
            for name in ("get_intermediate_layers", "forward")
        )
        own = giving <= running and giving < len(kinds) and "forward" not in vars(module)
        return own and _patch(module) is not None

    @property
    def _blocks(self) -> list[Any]:
        """The blocks in their order; DINOv2 may keep them in chunks, padded with identities."""
        from torch import nn

        found: list[Any] = []
        for block in getattr(self.module, "blocks", ()):
            inside = list(block) if isinstance(block, (nn.ModuleList, nn.Sequential)) else [block]
            found += [one for one in inside if not isinstance(one, nn.Identity)]
        return found

    @property
    def structure(self) -> Structure:
        """What the module's attributes say."""
        depth = getattr(self.module, "n_blocks", None) or len(self._blocks)
        positions: Any = getattr(self.module, "pos_embed", None)
        side = int((positions.shape[1] - 1) ** 0.5) if getattr(positions, "ndim", 0) == 3 else 0
        registers: int = getattr(self.module, "num_register_tokens", 0) or getattr(self.module, "n_storage_tokens", 0)
        return Structure(
            family="DINO",
            patch=_patch(self.module),
            width=getattr(self.module, "embed_dim", None),
            depth=depth or None,
            tokens=1 + registers,
            grid=(side, side) if side else None,
            layers=block_layers(depth) if depth else ("last",),
        )

    @property
    def _keywords(self) -> bool:
        """Whether it is of DINOv2's kind."""
        return "norm" in inspect.signature(self.module.get_intermediate_layers).parameters

    def maps(self, images: Tensor, blocks: Sequence[int], norm: bool) -> Sequence[Tensor]:
        """As the module gives them, which DINO's own does only after the norm: a raw block is read by a hook."""
        depth, tokens = self.structure.depth or 0, self.structure.tokens
        if self._keywords:
            given = self.module.get_intermediate_layers(images, [block - 1 for block in blocks], norm=norm)
            return [as_map(one, 0, self._grid(images)) for one in given]
        if norm:
            given = self.module.get_intermediate_layers(images, depth - blocks[0] + 1)
            return [as_map(given[block - blocks[0]], tokens, self._grid(images)) for block in blocks]
        if max(blocks) > len(self._blocks):
            raise WrongName(f"{type(self.module).__name__} has no list `blocks`", "Name a block after the norm.")
        return [
            as_map(output_of(self._blocks[block - 1], self._run(images)), tokens, self._grid(images))
            for block in blocks
        ]

    def attention(self, block: int, kind: str) -> Read:
        """From the linear layer of the block's attention, as in DINO's own examples."""
        if block > len(self._blocks):
            raise WrongName(f"{type(self.module).__name__} has no list `blocks`", "Name a block: block1+norm.")
        part, tokens = attention_part(self._blocks[block - 1], kind), self.structure.tokens
        return lambda images: as_map(part(self._run(images)), tokens, self._grid(images))

    def _run(self, images: Tensor) -> Any:
        return lambda: self.module.get_intermediate_layers(images, 1)

    def _grid(self, images: Tensor) -> tuple[int, int]:
        patch = _patch(self.module) or 1
        return images.shape[-2] // patch, images.shape[-1] // patch


def _patch(module: Any) -> int | None:
    """The side of its patches; None where it does not say."""
    for holder in (module, getattr(module, "patch_embed", None)):
        patch = getattr(holder, "patch_size", None)
        if isinstance(patch, int):
            return patch
        if isinstance(patch, (tuple, list)) and len(patch) == 2:
            return int(patch[0])
    return None
