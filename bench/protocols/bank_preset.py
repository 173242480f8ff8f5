"""The preset that `knn` and `linear-patches` share: a bank of labelled patches, and the images that settings are chosen
on."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import GeometryPreset, Positive, Presets, Seed, Side, learns_from


class BankPreset(GeometryPreset):
    """Entries of the protocols that learn from labelled patches (docs/protocols.md#knn)."""

    later: ClassVar[tuple[str, ...]] = ()

    input: tuple[Side, Side] = (224, 224)
    """Height and width, in pixels, to which each image is resized. The aspect ratio is not kept."""
    resizing: Literal["opencv", "torch", "pillow"] = "pillow"
    """`opencv` and `pillow` resize the 8-bit image, Pillow with antialiasing. `torch` resizes the normalised image,
    without antialiasing and with corners not aligned."""
    bank: str = "train"
    """The split whose labelled patches are the bank."""
    bank_images: Positive | None = None
    """Only so many images of it, the first. null: all."""
    val: str | None = None
    """The split on which settings are chosen; its patches then join the bank. null: images of the bank are drawn."""
    val_share: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the bank's images that are drawn where `val` is null."""
    val_seed: Seed = 1234
    """Seed of that draw."""
    void_classes: tuple[str, ...] = ()
    """Classes that count as void too: as labels they are left out, and a patch that is mostly one of them leaves the
    bank. Predicted, each is a class of its own, of IoU 0."""
    standardise: bool = True
    """Scale each dimension of the features by mean and deviation over the bank's images, without those of `val`."""
    void_order: Literal["last", "first"] = "last"
    """Where void stands among class ids: of labels that are as frequent the smallest id wins. `first` is for files
    whose void is 0, as ADE20K's."""

    def unread(self) -> dict[str, str]:
        """How images are drawn, where there is a split for them."""
        if self.val is None:
            return super().unread()
        return super().unread() | dict.fromkeys(("val_share", "val_seed"), "settings are chosen on the split `val`")

    @classmethod
    def selection(cls, run: Counted) -> str:
        """On what settings are chosen, as a clause."""
        of = run.entries.get("val")
        bank = counting.shown(run.entries.get("bank", "the bank"))
        where = f"on {counting.shown(of)}" if of is not None else f"on images drawn from {bank}"
        return f"settings are chosen by mIoU {where}"

    @classmethod
    def fallback(cls, presets: Presets) -> Self:
        """The reference's entries, with the bank that other protocols have here, and no larger input than theirs."""
        clustering = presets("clustering")
        entries: dict[str, Any] = {}
        if clustering is not None and max(dict(clustering)["input"]) < max(cls.model_fields["input"].default):
            entries["input"] = dict(clustering)["input"]
        if (bank := learns_from(presets, "bank")) is not None:
            entries["bank"] = bank
        return cls(**entries)
