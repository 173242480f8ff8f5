"""Checkpoints: files of weights from unknown sources."""

import argparse
import io
import json
import pickle
import shutil
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from random import Random
from typing import Any

import torch

from tests.checkpoints import small_state, write_small_checkpoint
from tests.fuzz import mutators
from tests.fuzz.bombs import zip_with_zeros
from tests.fuzz.kind import Done, Kind, command
from tests.fuzz.kinds.data import put_data
from tests.fuzz.runner import ROOT
from tests.fuzz.world import World


class _Checkpoints(Kind):
    file: str

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)

    def put(self) -> None:
        self.put_copy()

    def use(self, random: Random) -> Done:
        if random.random() < 0.8:
            return command("show", f"./{self.file}")
        run = ("run", "--dataset", "./data.toml", "--model", f"./{self.file}", "--dry-run")
        return command(*run, "--results", self.world.out)


class Safetensors(_Checkpoints):
    name = "safetensors"
    file = "a.safetensors"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        shutil.copy(ROOT / "models" / "maskcontrast-shapes.safetensors", world.sound / self.file)

    def damage(self, random: Random) -> str:
        path = self.world.place / self.file
        how = random.random()
        if how < 0.35:
            return self.damage_file(random, path)
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        head, tensors = data[8 : 8 + length], data[8 + length :]
        if how < 0.5:
            how, head = mutators.changed(random, head, mutators.TEXTS)
        else:
            tree = json.loads(head)
            chosen = random.choice(list(tree))
            how, tree = mutators.changed_tree(random, tree, random.choice(((), (chosen,), (chosen,))))
            head = mutators.as_json(tree)
        path.write_bytes(struct.pack("<Q", len(head)) + head + tensors)
        return f"head: {how}"


class Torch(_Checkpoints):
    name = "torch"
    file = "a.pth"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        write_small_checkpoint(world.sound / self.file)
        self.state = small_state()

    def damage(self, random: Random) -> str:
        path = self.world.place / self.file
        how = random.random()
        if how < 0.3:
            return self.damage_file(random, path)
        if how < 0.5:
            return _change_members(random, path)
        content, how = self._content(random)
        try:
            torch.save(content, path, _use_new_zipfile_serialization=random.random() < 0.7)
        except Exception:  # noqa: BLE001 - torch does not save all of these in both forms
            torch.save(content, path)
        if random.random() < 0.2:
            how += ", " + self.damage_file(random, path)
        return how

    def _content(self, random: Random) -> tuple[Any, str]:
        """What people save, and what they would not."""
        state = dict(self.state)
        key = random.choice([key for key, tensor in state.items() if tensor.ndim])
        way = random.randrange(5)
        if way == 0:
            how, make = random.choice(TENSORS)
            return {"model": state | {key: make(state[key])}}, f"{how} tensor"
        if way == 1:
            name = random.choice((*mutators.TEXT_VALUES, 7, None, ("a", "b"), b"x", 1.5))
            return state | {name: state.pop(key)}, f"key {name!r:.40}"
        if way == 2:
            value = random.choice((*mutators.TEXT_VALUES, *mutators.NUMBERS, None, [], {}, [state[key]], {"x": state}))
            return random.choice((state | {key: value}, {"state_dict": value}, value)), f"value {value!r:.40}"
        if way == 3:
            content: Any = state
            for _ in range(random.choice((1, 3, 50, 400))):
                content = random.choice(({"model": content}, {"state_dict": content}, OrderedDict(net=content)))
            return content, "wrapped many times"
        how, other = random.choice(BESIDE)
        return {"model": state, "beside": other}, f"beside it {how}"


TENSORS = (
    ("an int8", lambda tensor: tensor.to(torch.int8)),
    ("a float8", lambda tensor: tensor.to(torch.float8_e4m3fn)),
    ("a bfloat16", lambda tensor: tensor.to(torch.bfloat16)),
    ("a float64", lambda tensor: tensor.double()),
    ("a bool", lambda tensor: tensor.bool()),
    ("a complex", lambda tensor: tensor.to(torch.complex64)),
    ("a sparse", lambda tensor: tensor.to_sparse()),
    ("a meta", lambda tensor: tensor.to("meta")),
    ("a stride-0", lambda tensor: torch.zeros(1).expand(tensor.shape)),
    ("a huge stride-0", lambda tensor: torch.zeros(1).expand(1 << 40)),
    ("a quantised", lambda tensor: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)),
    ("a 0-d", lambda tensor: torch.tensor(1.0)),
    ("an empty", lambda tensor: torch.zeros(0)),
    ("a NaN", lambda tensor: torch.full(tensor.shape, float("nan"))),
    ("a nested", lambda tensor: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])),
    ("a parameter", lambda tensor: torch.nn.Parameter(tensor.float())),
    ("a transposed", lambda tensor: tensor.T if tensor.ndim < 3 else tensor.permute(3, 2, 1, 0)),
)
BESIDE = (
    ("a Namespace", argparse.Namespace(lr=0.1, out="x")),
    ("a path", Path("x")),
    ("a module", torch.nn.Linear(2, 2)),
    ("a function", print),
    ("a class", Random),
    ("a generator's state", Random(0).getstate()),
    ("an exception", ValueError("\x1b[2J")),
)


def _change_members(random: Random, path: Path) -> str:
    """Another zip of the same members: one changed, left out, deflated zeros in its place, or its pickle changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(members))
    way = random.randrange(4)
    if way == 0:
        del members[name]
        how = "without"
    elif way == 1 and random.random() < 0.3:
        members.pop(name)
        path.write_bytes(zip_with_zeros(members, name, honest=random.random() < 0.5))
        return f"gigabytes of zeros in place of {name}"
    elif way == 1:
        members[name], how = bytes(random.choice((0, 100, 1000))), "zeros in place of"
    elif way == 2:
        name = next(member for member in members if member.endswith("data.pkl"))
        how, members[name] = mutators.changed(random, members[name])
    else:
        name = next(member for member in members if member.endswith("data.pkl"))
        how, members[name] = random.choice(PICKLES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return f"{how} {name}"


def _deep_pickle() -> bytes:
    stream = io.BytesIO()
    stream.write(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    return stream.getvalue()


PICKLES = (
    ("code:", pickle.dumps(print, 2)),
    ("a list of 10^9:", b"\x80\x02]\x8c\x01x\x94" + b"."),
    ("depth:", _deep_pickle()),
    ("a long string:", b"\x80\x02X\xff\xff\xff\x7fabc."),
    ("a long number:", b"\x80\x02\x8b\xff\xff\xff\x7fabc."),
    ("memo 2^32:", b"\x80\x02]r\xff\xff\xff\xff."),
    ("nothing:", b""),
    ("a stop:", b"\x80\x02."),
)
