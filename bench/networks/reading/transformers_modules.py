"""transformers modules: ViTs, read through `output_hidden_states`.

`last` is the last block after the final norm, for CLIP too, whose own `last_hidden_state` is without it. A head
(`ViTForImageClassification`) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName
from bench.networks.reading.block_reader import BlockReader, block_layers
from bench.networks.reading.hooks import attention_part
from bench.networks.reading.maps import as_map
from bench.networks.reading.reader import Read, Structure
from bench.networks.reading.transformers_calls import body_of, of_transformers, outputs_of, patch_of

if TYPE_CHECKING:
    from torch import Tensor, nn

_NORMS = ("layernorm", "norm", "post_layernorm", "rms_norm")
"""Names of the final norm: ViT's, DINOv3's, CLIP's, AIMv2's."""
_TOKENS = ("cls_token", "class_embedding", "distillation_token", "register_tokens")
"""Names of the embeddings that come before the patches."""


class TransformersReader(BlockReader):
    """Reads a ViT of transformers: ViT, DeiT, BEiT, MAE, DINOv2, DINOv3, the image part of CLIP and SigLIP."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether its configuration has one patch size, one width and one depth, and it is no backbone."""
        if not of_transformers(module) or hasattr(module, "out_features"):
            return False
        config: Any = module.config
        equal = not any(hasattr(config, name) for name in ("depths", "hidden_sizes", "vision_config"))
        known = all(isinstance(getattr(config, name, None), int) for name in ("num_hidden_layers", "hidden_size"))
        return equal and known and patch_of(config) is not None

    @property
    def structure(self) -> Structure:
        """What the configuration and the embeddings say."""
        body = body_of(self.module)
        config, patch = body.config, patch_of(body.config) or 1
        size = getattr(config, "image_size", None)
        sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        embedded = any(name.startswith("position_embedding") for name in _embeddings(body))
        return Structure(
            family="transformers",
            patch=patch,
            width=config.hidden_size,
            depth=config.num_hidden_layers,
            tokens=self._tokens(body),
            grid=(sides[0] // patch, sides[1] // patch) if embedded and size else None,
            layers=block_layers(config.num_hidden_layers),
        )

    def _tokens(self, body: Any) -> int:
        parts = _embeddings(body)
        sizes = (parts[name].numel() for name in _TOKENS if getattr(parts.get(name), "numel", None))
        return sum(size // body.config.hidden_size for size in sizes)

    def maps(self, images: Tensor, blocks: Sequence[int], norm: bool) -> Sequence[Tensor]:
        """The hidden states after the blocks, the first of which is what goes into the first block."""
        body = body_of(self.module)
        depth, tokens, final = body.config.num_hidden_layers, self._tokens(body), _norm(body)
        output = outputs_of(body, images)
        states, last = output.hidden_states, output.last_hidden_state
        # CLIP applies its norm to the class token alone
        outside = final is not None and final is getattr(body, "post_layernorm", None)
        found = []
        for block in blocks:
            if norm and block == depth and not outside:
                state = last  # as the library itself normalises it
            elif norm and final is None:
                raise WrongName(f"{type(body).__name__} has no final norm that is known", "Name a block without +norm.")
            else:
                state = states[block] if outside else self._raw(states[block], last, final)
                state = final(state) if norm else state
            found.append(as_map(state, tokens, self._grid(images)))
        return found

    def _raw(self, state: Tensor, last: Tensor, final: Any) -> Tensor:
        """A hidden state, if it is none after the norm: some models put theirs in the last one's place."""
        from torch import nn

        if state is last and isinstance(final, nn.Module) and not isinstance(final, nn.Identity):
            raise BadInput(
                f"{type(self.module).__name__} gives its last block's output only after the norm", "Name `last`."
            )
        return state

    def attention(self, block: int, kind: str) -> Read:
        """From the linear layers of the block's attention: transformers has no means of its own."""
        from torch import nn

        body = body_of(self.module)
        depth = body.config.num_hidden_layers
        lists = [part for part in body.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
        if not lists:
            raise WrongName(f"{type(body).__name__} has no list of {depth} blocks", "Name a block: block1.")
        part, tokens = attention_part(lists[0][block - 1], kind), self._tokens(body)
        return lambda images: as_map(part(lambda: outputs_of(body, images)), tokens, self._grid(images))

    def _grid(self, images: Tensor) -> tuple[int, int]:
        patch = patch_of(body_of(self.module).config) or 1
        return images.shape[-2] // patch, images.shape[-1] // patch


def _embeddings(body: Any) -> dict[str, Any]:
    """The parameters and modules of a model's embeddings, by name."""
    part = getattr(body, "embeddings", None)
    return {**part._parameters, **part._modules} if part is not None else {}


def _norm(body: Any) -> Any:
    return next((getattr(body, name) for name in _NORMS if callable(getattr(body, name, None))), None)
