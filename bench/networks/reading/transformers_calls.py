"""transformers calls: how a model of transformers is told from others, rid of its head, and run."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.base.errors import WrongName

if TYPE_CHECKING:
    from torch import Tensor, nn


def of_transformers(module: nn.Module) -> bool:
    """Whether it is a PreTrainedModel, without importing the library, and runs a `forward` of it or of the hub's code.

    That of a user's subclass counts as its author wrote it.
    """
    if not any(kind.__module__ == "transformers.modeling_utils" for kind in type(module).__mro__):
        return False
    return getattr(module.forward, "__module__", "").partition(".")[0] in ("transformers", "transformers_modules")


def body_of(module: Any) -> Any:
    """The model without its head. Raises WrongName for one that reads no images, or not only images."""
    name, kinds = type(module).__name__, getattr(module, "input_modalities", None)
    config = module.config
    if hasattr(config, "vision_config") and hasattr(module, "vision_model"):
        raise WrongName(f"{name} reads images and text", "Give its image part alone: model.vision_model.")
    if getattr(module, "main_input_name", "") != "pixel_values" or "video" in (kinds or ()):
        what = kinds if isinstance(kinds, str) else " and ".join(kinds or ()) or "text"
        raise WrongName(
            f"{name} is a model of {what}, which has no features of an image", "Give a model that takes `pixel_values`."
        )
    inner = getattr(module.base_model, "vision_model", module.base_model)
    headed = not hasattr(module, "out_features") and "pixel_values" in inspect.signature(inner.forward).parameters
    return inner if headed else module


def outputs_of(body: Any, images: Tensor, **more: Any) -> Any:
    """Its outputs with all hidden states; position embeddings interpolated where that must be asked for."""
    known = inspect.signature(body.forward).parameters
    if "interpolate_pos_encoding" in known:
        more["interpolate_pos_encoding"] = True
    with _unmasked(body, images, known) as given:
        return body(pixel_values=images, output_hidden_states=True, return_dict=True, **given, **more)


@contextlib.contextmanager
def _unmasked(body: Any, images: Tensor, known: Any) -> Iterator[dict[str, Any]]:
    """ViTMAE hides and shuffles patches whenever it runs; here it keeps all of them, in order."""
    if "noise" not in known or body.config.model_type != "vit_mae":
        yield {}
        return
    import torch

    ratio = body.config.mask_ratio
    patches = (images.shape[-2] // body.config.patch_size) * (images.shape[-1] // body.config.patch_size)
    body.config.mask_ratio = 0.0
    try:
        yield {"noise": torch.arange(patches, device=images.device).expand(len(images), -1)}
    finally:
        body.config.mask_ratio = ratio


def patch_of(config: Any) -> int | None:
    """The side of its patches; None where the configuration has none."""
    patch = getattr(config, "patch_size", None)
    return max(patch) if isinstance(patch, (list, tuple)) else patch
