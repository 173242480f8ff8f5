"""Backbone names: what the field calls a network that a library has under a name of its own."""

from __future__ import annotations

import re

_SIZES = {"t": "T", "ti": "Ti", "tiny": "T", "s": "S", "small": "S", "b": "B", "base": "B"}
_SIZES |= {"l": "L", "large": "L", "h": "H", "huge": "H", "so400m": "SO400M", "g": "g", "giant": "g"}
"""A size as libraries write it, and as papers do."""
_SIZE = f"(?P<size>{'|'.join(sorted(_SIZES, key=len, reverse=True))})"
_RESNET = re.compile(r"(^|[/:]|dino_)resnet(?P<depth>18|34|50|101|152)($|[.@])")
_VIT = re.compile(rf"(^|[/:_])vit_?{_SIZE}_?(patch)?(?P<patch>\d+)(?!_plus|_\d+x)(?P<more>($|[_.@]).*)$")
_STAGED = re.compile(rf"(^|[/:])(?P<kind>swin|convnext)_{_SIZE}($|[.@]|_patch4)")
_KINDS = {"swin": "Swin", "convnext": "ConvNeXt"}
_REGISTERS = re.compile(r"(_\w*)?_reg\d*($|[_.@])")


def backbone_name(name: str) -> str:
    """`ViT-S/14` for `vit_small_patch14_dinov2.lvd142m`, `ResNet-50` for `resnet50`; any other name as it is.

    The names are those of timm, torchvision and the hubs of DINO and DINOv2. Registers change the network, so they are
    named; which weights it has is no matter of the backbone.
    """
    if found := _RESNET.search(name):
        return f"ResNet-{found['depth']}"
    if found := _VIT.search(name):
        registers = " with registers" if _REGISTERS.match(found["more"]) else ""
        return f"ViT-{_SIZES[found['size']]}/{found['patch']}{registers}"
    if found := _STAGED.search(name):
        return f"{_KINDS[found['kind']]}-{_SIZES[found['size']]}"
    return name
