"""Checkpoints: the authors' file format with all that exact resumption needs, and the export of a network."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from bench.base.errors import BadEnvironment, BadInput
from bench.base.files import atomic_write
from bench.networks.checkpoint_files import read_content
from bench.pretrain.momentum import MomentumContrast

FILE = "checkpoint.pth.tar"
EXPORT = "network.safetensors"
PREFIX = "module."
"""The authors trained in a data-parallel wrapper, and their keys have kept its name."""
START_OVER = "Give another --out, or --fresh to start again."


def save(path: Path, module: MomentumContrast, optimizer: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
    """Write `model` (`module.model_q.*`, `module.model_k.*`, `module.queue`, `module.queue_ptr`), `optimizer`,
    and the entries of `progress` (plain values: `epoch`, `step` and so on), atomically.

    Raises BadEnvironment where the disk is full; the checkpoint that was there before is then intact.
    """
    buffer = io.BytesIO()
    model = {PREFIX + key: value for key, value in module.state_dict().items()}
    torch.save({"model": model, "optimizer": optimizer.state_dict()} | progress, buffer)
    _write(path, buffer.getbuffer())


def _write(path: Path, data: bytes | memoryview) -> None:
    with environment_errors(path), atomic_write(path) as stream:
        stream.write(data)


@contextmanager
def environment_errors(path: Path) -> Iterator[None]:
    """Raise BadEnvironment where `path`, a file of a run, cannot be written; it says from where the run can go on."""
    try:
        yield
    except OSError as error:
        last = path.parent / FILE
        there = last.is_file()
        going_on = f"continues from {last}, without --fresh" if there else "starts again: there is no checkpoint yet"
        raise BadEnvironment(
            f"cannot write {path}: {error.strerror or error}",
            f"Free space, or correct the permissions; the same command then {going_on}.",
        ) from error


def remove(path: Path) -> None:
    """Remove the checkpoint of a run that is started over: what lies there is then always the present run's."""
    with environment_errors(path):
        path.unlink(missing_ok=True)


def load(
    path: Path, module: MomentumContrast, optimizer: torch.optim.Optimizer, entries: Iterable[str]
) -> dict[str, Any]:
    """Load a checkpoint of the same recipe into module and optimiser; returns these of its other entries.

    Raises BadInput for a file that `save` has not written.
    """
    content = _read(path)
    try:
        model = {key.removeprefix(PREFIX): value for key, value in content.pop("model").items()}
        module.load_state_dict(model)
        optimizer.load_state_dict(content.pop("optimizer"))
        return {key: content[key] for key in entries}
    except (KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise BadInput(
            f"{path} is not a checkpoint of this recipe: {str(error).splitlines()[0]}",
            START_OVER,
        ) from error


def peek(path: Path) -> dict[str, Any]:
    """The entries of a checkpoint besides its tensors, for a look before a module is built."""
    return {key: value for key, value in _read(path).items() if key not in ("model", "optimizer")}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_content(path)
    except BadInput as error:
        raise BadInput(error.problem, START_OVER) from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} is not a training checkpoint", START_OVER)
    return content


def export(path: Path, network: nn.Module) -> None:
    """Write a network alone as safetensors: convolutions in half precision, vectors in float32, atomically.

    Vectors stay as they are because a batch norm's variance may leave half precision's range; they are few.
    """
    state = {key: _halved(value).contiguous() for key, value in network.state_dict().items()}
    _write(path, to_safetensors(state))


def _halved(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.half() if value.is_floating_point() and value.ndim > 1 else value
