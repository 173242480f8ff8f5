"""All kinds of input, by name: the module here that has each, and its class."""

from importlib import import_module

KINDS = {
    "cards": "cards.Cards",
    "bench.toml": "cards.Settings",
    "folders": "folders.Folders",
    "lists": "lists.Lists",
    "coco-json": "lists.Coco",
    "boxes": "lists.BoxFiles",
    "records": "results.Records",
    "rows": "results.Rows",
    "published": "results.PublishedFigures",
    "png": "pictures.Png",
    "jpeg": "pictures.Jpeg",
    "predictions": "pictures.Predictions",
    "safetensors": "checkpoints.Safetensors",
    "torch": "checkpoints.Torch",
    "archives": "archives.Archives",
    "submissions": "archives.Submissions",
    "caches": "caches.Caches",
    "command-lines": "commands.CommandLines",
    "environments": "commands.Environments",
}


def load(name: str) -> type:
    """The class of a kind, or of `module.Class`. Only its own module is loaded: some take seconds."""
    module, _, kind = KINDS.get(name, name).partition(".")
    return getattr(import_module(f"tests.fuzz.kinds.{module}"), kind)
