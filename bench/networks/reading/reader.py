"""Reader: what can be read of one family of modules, and how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName
from bench.networks.reading.layers import Layer

if TYPE_CHECKING:
    from torch import Tensor, nn

PLAIN = "a module"
"""The family of modules of which nobody knows more than what `forward` returns."""
Read = Callable[["Tensor"], "Tensor"]
"""B×3×H×W normalised images → B×D×h×w features."""


@dataclass(frozen=True)
class Structure:
    """What a module says of itself."""

    family: str
    """Whose way of reading fits: `timm`, `torchvision`, `transformers`, `DINO`, or `PLAIN`."""
    patch: int | None = None
    """Both sides of the input must be multiples of this, pixels; None where any size will do."""
    size: tuple[int, int] | None = None
    """The only input, height and width, that the module takes as it is; None where it takes others."""
    width: int | None = None
    """Dimensions of `last`; None where only its output tells."""
    depth: int | None = None
    """How many blocks a transformer has."""
    stages: int | None = None
    """How many stages a CNN or a hierarchical transformer has."""
    tokens: int = 0
    """Class and register tokens, which are dropped."""
    grid: tuple[int, int] | None = None
    """Rows and columns of the position embeddings as they were trained; None without any that would be interpolated."""
    mean: tuple[float, float, float] | None = None
    """Of the normalisation that the module states, RGB in 0…1."""
    std: tuple[float, float, float] | None = None
    channels: str = "RGB"
    """The order of the input's channels that it was trained with."""
    layers: tuple[str, ...] = ("last",)
    """Examples of what can be read, for messages and `bench show`: ("last", "last1 to last12", "block1 to block12")."""
    other_sizes: str = ""
    """Where there is only one `size`: how the module is made for others, a sentence."""


class Reader(ABC):
    """Reads a module of one family. The module is in eval mode, on its device, and stays the caller's."""

    def __init__(self, module: nn.Module) -> None:
        self.module: Any = module

    @classmethod
    @abstractmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether the module is of this family. Cheap; it imports no library that is not imported already."""

    @property
    @abstractmethod
    def structure(self) -> Structure:
        """What the module says of itself, without running it."""

    @abstractmethod
    def reading(self, layer: Layer) -> Read:
        """What gives the layer's features of images of a fitting size. Raises WrongName for a layer it lacks."""

    def read(self, layer: Layer) -> Read:
        """What gives the layer's features. Raises WrongName for a layer that the module lacks.

        The function raises BadInput for images of a size that the module does not take, and says what to do.
        """
        structure, run = self.structure, self.reading(layer)

        def features(images: Tensor) -> Tensor:
            self._require_size(structure, (images.shape[-2], images.shape[-1]))
            return run(images)

        return features

    def _require_size(self, structure: Structure, given: tuple[int, int]) -> None:
        name, (height, width) = type(self.module).__name__, given
        if structure.size and structure.size != given:
            raise BadInput(
                f"{name} only takes images of {structure.size[0]}×{structure.size[1]} pixels, not {height}×{width}",
                structure.other_sizes or f"Set the input to {structure.size[0]}×{structure.size[1]}.",
            )
        patch = structure.patch
        if patch and (height % patch or width % patch):
            rows, columns = (max(1, round(side / patch)) * patch for side in given)
            raise BadInput(
                f"images of {height}×{width} pixels do not divide into the {patch}×{patch} patches of {name}",
                f"Set the input to {rows}×{columns}.",
            )

    def unknown(self, layer: Layer) -> WrongName:
        """The error for a layer that the module lacks."""
        known = ", ".join(self.structure.layers)
        return WrongName(f"{type(self.module).__name__} has no layer '{layer.name}'", f"It has {known}.")


def reader_of(module: nn.Module) -> Reader:
    """The reader of the first family that fits; every module is at least one whose `forward` can be called."""
    from bench.networks.reading import families

    inner = families.unwrapped(module)
    return next(kind for kind in families.READERS if kind.reads(inner))(inner)
