"""What a checkpoint file may be: its kind by its content, nothing run of it, nothing expanded."""

import argparse
import contextlib
import datetime
import functools
import gzip
import io
import math
import os
import pickle
import pickletools
import shutil
import struct
import tarfile
import typing
import warnings
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.base.errors import BadInput
from bench.networks import checkpoints, weights_file
from bench.networks.checkpoint_files import open_checkpoint, read_content
from bench.networks.checkpoints import read_checkpoint
from bench.networks.find_model import find_model
from tests.checkpoints import resnet_state, small_state

BASE = torch.arange(24.0).reshape(4, 6) - 7.5
KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32)
KINDS += (torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)


def error_of(path):
    with pytest.raises(BadInput) as caught:
        read_checkpoint(path)
    assert str(path) in caught.value.problem and caught.value.remedy
    return caught.value.problem


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


# --- what torch writes ---


def every_tensor():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    marked = torch.nn.Parameter(BASE.clone())
    marked.note = "an attribute"
    return {
        **{str(kind): BASE.abs().to(kind) for kind in KINDS},
        **{"transposed": BASE.t(), "part": BASE[1:3, 2:], "shared": BASE, "empty": torch.empty(0, 3)},
        **{"scalar": torch.tensor(3), "parameter": torch.nn.Parameter(BASE.clone()), "marked": marked},
        **{"channels last": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last)},
        **{"network": network.state_dict(), "values": [1, 2.5, "text", None, True, (1, BASE)], 5: {"deep": BASE}},
    }


def assert_equal(found, wanted):
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key, value in wanted.items():
            assert_equal(found[key], value)
    elif isinstance(wanted, (list, tuple)):
        assert type(found) is type(wanted) and len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_equal(one, other)
    elif isinstance(wanted, torch.Tensor):
        assert (found.dtype, found.shape, found.stride()) == (wanted.dtype, wanted.shape, wanted.stride())
        assert found.tolist() == wanted.tolist()
    else:
        assert type(found) is type(wanted) and found == wanted


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_everything_that_torch_saves_comes_back_as_it_was(tmp_path, archive, protocol):
    content = every_tensor()
    options = {"_use_new_zipfile_serialization": archive, "pickle_protocol": protocol}
    found = read_content(saved(tmp_path / "file", content, **options))
    assert_equal(found, content)
    assert found["shared"].data_ptr() == found["part"].data_ptr() - 8 * 4  # of one storage, as they were


def test_an_archive_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "file.pth", {"tensor": BASE})
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_content(path)["tensor"], BASE)


def test_only_the_network_is_read_of_a_file(tmp_path):
    """What lies beside it may be of any kind and size."""
    state = resnet_state() | {"fc.weight": torch.zeros(3, dtype=torch.int8), "queue": torch.zeros(2).to_sparse()}
    found = read_checkpoint(saved(tmp_path / "file.pth", {"state_dict": state, "optimizer": {"state": torch.ones(2)}}))
    assert "left out" in found.note and "`fc.*` (1 tensor)" in found.note and "`queue`" in found.note
    assert all(key.startswith("backbone.") for key in found.state)


def test_plain_values_beside_the_weights_run_no_code(tmp_path):
    beside = {
        **{"numpy": np.float64(0.42), "array": np.arange(3), "kind": np.dtype("int8"), "text": np.str_("a")},
        **{"args": argparse.Namespace(lr=0.1, root=Path("/data")), "path": Path("/a"), "windows": PureWindowsPath("a")},
        **{"ordered": OrderedDict(a=1), "default": defaultdict(list, a=[1]), "counter": Counter("aab")},
        **{"dtype": torch.float16, "size": torch.Size([1, 2]), "device": torch.device("cuda:0")},
        **{"time": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "set": {1, 2}, "frozen": frozenset({3})},
        **{"bytes": b"\xff\x00", "complex": 1j, "large": 2**100, "generator": np.random.default_rng(0)},
        **{"torch": torch.__version__, "state": np.random.RandomState(0).get_state()},
        **{"range": range(3), "ellipsis": ..., "any": typing.Any},
    }
    for archive in (True, False):
        content = {"state_dict": resnet_state(), **beside}
        path = saved(tmp_path / f"{archive}.pth", content, _use_new_zipfile_serialization=archive)
        assert torch.equal(read_checkpoint(path).state["backbone.conv1.weight"], resnet_state()["conv1.weight"])


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_lightning.utilities.parsing\nAttributeDict",
        "lightning.fabric.utilities.data\nAttributeDict",
        "pytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint",
        "mmengine.logging.history_buffer\nHistoryBuffer",
        "yacs.config\nCfgNode",
        "omegaconf.dictconfig\nDictConfig",
        "omegaconf.nodes\nAnyNode",
        "torch.distributed.tensor._dtensor_spec\nDTensorSpec",
    ],
)
def test_settings_and_histories_of_other_libraries_are_passed_over(tmp_path, name):
    """As values with entries and attributes, and as keys: old Lightning files have classes of callbacks there."""
    reference = f"c{name}\n".encode()
    entry = b"X\x01\x00\x00\x00a" + reference + b")\x81X\x02\x00\x00\x00lrK\x01s}X\x01\x00\x00\x00xK\x01sbs"
    path = torch_archive(tmp_path / "file.pth", instructions(b"}" + entry + reference + b"K\x01s"))
    assert list(open_checkpoint(path)) == ["a"]


# --- hostile ones ---


class Calls:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


HOSTILE = {
    "posix.system": Calls(os.system, "touch executed"),
    "builtins.eval": Calls(eval, "open('executed', 'w')"),
    "builtins.exec": Calls(exec, "open('executed', 'w')"),
    "builtins.getattr": Calls(getattr, "text", "upper"),
    "functools.partial": functools.partial(os.system, "touch executed"),
    "torch.serialization.load": Calls(torch.load, "other.pth"),
    "torch.storage._load_from_bytes": Calls(torch.storage._load_from_bytes, b""),
    "shutil.rmtree": Calls(shutil.rmtree, "kept"),
    "numpy.load": Calls(np.load, "other.npy"),
    "torch.nn.modules.container.Sequential": torch.nn.Sequential(),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", ["archive", "legacy", "pickle 2", "pickle 4", "key"])
def test_what_would_run_code_is_refused_and_not_run(tmp_path, monkeypatch, name, form):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    path, content = tmp_path / "file.pth", {"state_dict": {"conv1.weight": torch.zeros(1)}, "payload": HOSTILE[name]}
    if form.startswith("pickle"):
        path.write_bytes(pickle.dumps({"payload": HOSTILE[name]}, int(form[-1])))
    elif form == "key":
        saved(path, {"state_dict": {"conv1.weight": HOSTILE[name]}})
    else:
        saved(path, content, _use_new_zipfile_serialization=form == "archive")
    assert f"would run code when it is opened ({name}), and is refused" in error_of(path)
    assert not (tmp_path / "executed").exists() and (tmp_path / "kept").exists()


@pytest.mark.parametrize("content", [torch.nn.Sequential(), {"model": torch.nn.Linear(2, 2), "ema": None}])
@pytest.mark.parametrize("archive", [True, False])
def test_a_whole_module_is_said_to_be_one(tmp_path, content, archive):
    path = saved(tmp_path / "file.pth", content, _use_new_zipfile_serialization=archive)
    assert "it holds a whole module, not its weights alone" in error_of(path)


def torch_archive(path, program, **storages):
    """A torch archive with a pickle of one's own."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file/data.pkl", program)
        for key, numbers in storages.items():
            archive.writestr(f"file/data/{key}", numbers)
    return path


def instructions(text):
    """A pickle of protocol 2 from opcodes as they are."""
    return b"\x80\x02" + text + b"."


@pytest.mark.parametrize(
    "program",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__code__K\x01s\x86b",  # attributes of what is called
        b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb",  # methods that are none
        b"cargparse\nNamespace\n(NtR}X\x06\x00\x00\x00appendK\x01sb",
        b"}" + b")" + b"\x85" * 150_000 + b"K\x01s",  # the hash of a nested tuple
        b"]" * 50_000 + b"a" * 49_999,
        b"}r\xff\xff\xff\x7f",  # a place in the memo
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x0f",  # bytes of 2**60
        b"\x96\xff\xff\xff\xff\x03\x00\x00\x00",
        b"\x82\x01",  # an extension
        b"(K\x01K\x02tQ",
        b"X\x07\x00\x00\x00storageq\x00)ctorch\nFloatStorage\nh\x00tQ",
    ],
)
def test_programs_that_would_change_the_reader_are_harmless(tmp_path, program):
    path = torch_archive(tmp_path / "file.pth", instructions(program))
    with pytest.raises(BadInput):
        read_checkpoint(path)
    assert_equal(read_content(saved(tmp_path / "sound.pth", {"a": BASE})), {"a": BASE})


# --- sizes ---


def test_compressed_archives_are_read_if_they_do_not_grow_by_much(tmp_path):
    path = saved(tmp_path / "stored.pth", {"a": BASE})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "file.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert torch.equal(read_content(tmp_path / "file.pth")["a"], BASE)


def test_a_small_archive_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "file.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("file/data.pkl", pickle.dumps({}, 2))
        archive.writestr("file/data/0", bytes(40 << 20))
    assert "would unpack to many times its size" in error_of(path)


def test_an_archive_whose_list_lies_about_a_size_is_refused(tmp_path):
    path = tmp_path / "file.pth"
    state = resnet_state()
    with zipfile.ZipFile(saved(tmp_path / "old.pth", state)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = bytes(20 << 20) if name.endswith("/data/0") else old.read(name)
            new.writestr(name, data, zipfile.ZIP_DEFLATED if name.endswith("/data/0") else zipfile.ZIP_STORED)
    data, true = bytearray(path.read_bytes()), struct.pack("<I", 20 << 20)
    told = struct.pack("<I", state["conv1.weight"].numel() * 4)
    path.write_bytes(bytes(data).replace(true, told))
    error_of(path)


@pytest.mark.parametrize("shape", [(8, 3, 7, 7), (30_000, 30_000)])
def test_an_expanded_tensor_is_refused_before_it_is_expanded(tmp_path, shape):
    state = resnet_state() | {"conv1.weight": torch.zeros(1).expand(*shape)}
    problem = error_of(saved(tmp_path / "file.pth", state))
    assert f"conv1.weight' is expanded ({math.prod(shape):,} values, of which 1 are in the file)" in problem


def test_many_views_of_one_storage_are_refused_before_they_are_expanded(tmp_path):
    numbers = torch.zeros(1 << 20, dtype=torch.float16)
    state = resnet_state() | {f"layer1.0.extra{number}.weight": numbers for number in range(100)}
    assert "many times its size" in error_of(saved(tmp_path / "file.pth", state))


def test_a_network_of_very_many_tensors_is_refused_before_they_are_read(tmp_path):
    state = resnet_state() | {f"layer1.0.extra{number}.weight": torch.zeros(()) for number in range(6000)}
    assert "holds a network of 6,120 tensors" in error_of(saved(tmp_path / "file.pth", state))


def test_tensors_of_one_storage_are_read(tmp_path):
    whole = torch.randn(20_000)
    state = resnet_state()
    for start, (key, value) in enumerate(state.items()):
        if value.is_floating_point():
            state[key] = whole[start : start + value.numel()].view(value.shape)
    found = read_checkpoint(saved(tmp_path / "file.pth", state | {"tied.weight": state["conv1.weight"]})).state
    assert torch.equal(found["backbone.conv1.weight"], state["conv1.weight"])


@pytest.mark.parametrize(("offset", "stride"), [(1, 1), (0, 2), (5_000_000_000, 1), (0, 5_000_000_000)])
def test_a_tensor_beyond_its_storage_is_damage(tmp_path, offset, stride):
    program = pickletools.optimize(pickle.dumps({"conv1.weight": 0}, 2))
    long = lambda number: b"\x8a\x08" + struct.pack("<q", number)  # noqa: E731
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + long(4) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + long(offset) + b"(" + long(4) + b"t("
    tensor += long(stride) + b"t\x89NtR"
    path = torch_archive(tmp_path / "file.pth", program.replace(b"K\x00", tensor), **{"0": bytes(16)})
    with pytest.raises(BadInput, match=r"'conv1\.weight' cannot be read"):
        read_content(path)


def test_a_list_in_a_list_in_a_list_is_not_multiplied(tmp_path):
    content = [BASE]
    for _ in range(40):
        content = [content, content]
    assert len(read_content(saved(tmp_path / "file.pth", content))) == 2


# --- damage ---


def test_a_changed_byte_of_the_weights_is_found_by_the_archives_checksum(tmp_path):
    path = saved(tmp_path / "file.pth", resnet_state())
    data = bytearray(path.read_bytes())
    where = data.find(resnet_state()["layer1.0.conv1.weight"].numpy().tobytes())
    data[where + 5] ^= 1
    path.write_bytes(data)
    assert "is damaged: " in error_of(path) and "layer1.0.conv1.weight" in error_of(path)


@pytest.mark.parametrize("archive", [True, False])
def test_half_a_file_is_an_error(tmp_path, archive):
    path = saved(tmp_path / "file.pth", resnet_state(), _use_new_zipfile_serialization=archive)
    data = path.read_bytes()
    for length in (len(data) // 3, len(data) // 2, len(data) - 200, len(data) - 1):
        path.write_bytes(data[:length])
        assert "is truncated or not a checkpoint" in error_of(path)


# --- kinds of tensors ---


def quantised(tensor):
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensor: tensor.to(torch.int8), "int8"),
        (lambda tensor: tensor.to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (lambda tensor: tensor.to(torch.bool), "bool"),
        (lambda tensor: tensor.to(torch.complex64), "complex64"),
        (lambda tensor: tensor.to(torch.int64), "int64"),
        (lambda tensor: tensor.to_sparse(), "sparse"),
        (lambda tensor: tensor.to("meta"), "on the meta device"),
        (quantised, "quantised"),
        (lambda tensor: torch.nested.nested_tensor([tensor[0], tensor[1]]), "nested"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's own words on kinds of tensors that it will drop
def test_weights_of_another_kind_are_refused_by_name(tmp_path, change, words):
    state = resnet_state()
    problem = error_of(saved(tmp_path / "file.pth", state | {"conv1.weight": change(state["conv1.weight"])}))
    assert f"conv1.weight' is {words}" in problem and "weights of this kind are not read" in problem


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_weights_of_any_width_are_read_as_float32(tmp_path, kind):
    state = {key: value.to(kind) if value.is_floating_point() else value for key, value in resnet_state().items()}
    for path in (saved(tmp_path / "file.pth", state), tmp_path / "file.safetensors"):
        if not path.exists():
            save_file(state, path)
        found = read_checkpoint(path).state["backbone.layer1.0.conv1.weight"]
        assert found.dtype == torch.float32 and torch.equal(found, state["layer1.0.conv1.weight"].float())


# --- kinds of files ---


@pytest.mark.parametrize("name", ["model.pth", "model.SAFETENSORS", "model.bin", "model"])
def test_the_content_of_a_file_decides_and_not_its_name(tmp_path, name):
    wanted = resnet_state()["conv1.weight"]
    save_file(resnet_state(), tmp_path / name)
    assert torch.equal(read_checkpoint(tmp_path / name).state["backbone.conv1.weight"], wanted)
    for archive in (True, False):
        saved(tmp_path / name, resnet_state(), _use_new_zipfile_serialization=archive)
        assert torch.equal(read_checkpoint(tmp_path / name).state["backbone.conv1.weight"], wanted)
    find_model(str(tmp_path / name), None, tmp_path / "cache", print)


class Program(torch.nn.Module):
    def forward(self, images):
        return images + 1


def write(path, kind):
    """A file of a kind that is no checkpoint."""
    torch_file = io.BytesIO()
    torch.save(resnet_state(), torch_file)
    if kind == "torchscript":
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
                archive.writestr(f"scripted/{name}", b"")
    elif kind == "npz":
        np.savez(path.with_suffix(".npz"), a=np.zeros(3))
        path.with_suffix(".npz").rename(path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.pth", torch_file.getvalue())
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            entry = tarfile.TarInfo("model.pth")
            entry.size = len(torch_file.getvalue())
            archive.addfile(entry, io.BytesIO(torch_file.getvalue()))
    elif kind == "gzip":
        path.write_bytes(gzip.compress(torch_file.getvalue()))
    else:
        path.write_bytes(KIND_BYTES[kind])
    return path


KIND_BYTES = {
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "npy": b"\x93NUMPY\x01\x00" + bytes(100),
    "onnx": b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:" + bytes(100),
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 102502400\n",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "pickle": pickle.dumps({"a": np.zeros(3)}, 5),
    "pickle 2": pickle.dumps({"a": 1.5}, 2),
    "empty zip": b"PK\x05\x06" + bytes(18),
    "short safetensors": struct.pack("<Q", 1000) + b'{"a": {',
}
WORDS = {
    "torchscript": "a TorchScript program, which has code in it",
    "npz": "a file of numpy arrays (.npz)",
    "zip": "a zip archive of other files (model.pth)",
    "tar": "a tar archive",
    "gzip": "compressed with gzip",
    "hdf5": "an HDF5 file (.h5)",
    "npy": "a numpy array (.npy)",
    "onnx": "an ONNX program",
    "lfs": "a Git LFS pointer, not the file itself",
    "png": "a PNG image",
    "pickle": "a Python pickle (protocol 5), not a file of torch.save",
    "pickle 2": "a Python pickle (protocol 2), not a file of torch.save",
    "empty zip": "an empty zip archive",
    "short safetensors": "not a whole safetensors file",
}


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
@pytest.mark.filterwarnings("error")
def test_a_file_of_another_kind_is_said_as_what_it_is(tmp_path, kind, name):
    assert f"is {WORDS[kind]}" in error_of(write(tmp_path / name, kind))


@pytest.mark.slow
def test_a_torchscript_program_is_told_what_to_do(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own words on the end of TorchScript
        torch.jit.save(torch.jit.trace(Program(), torch.zeros(1)), str(tmp_path / "file.pt"))
    with warnings.catch_warnings(), pytest.raises(BadInput, match="a TorchScript program") as caught:
        warnings.simplefilter("error")
        find_model(tmp_path / "file.pt", None, tmp_path, print)
    assert "model.state_dict()" in caught.value.remedy and "bench.evaluate" in caught.value.remedy


def test_a_path_that_is_no_ordinary_file_is_an_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    (tmp_path / "folder.pth").mkdir()
    expected = {
        "pipe.pth": "a pipe or a device",
        "loop.pth": "a link that leads to itself",
        "folder.pth": "a folder, not a checkpoint",
        "none.pth": "no checkpoint at",
        f"{'x' * 300}.pth": "the name is too long",
    }
    for name, words in expected.items():
        with pytest.raises(BadInput, match=words):
            find_model(str(tmp_path / name), None, tmp_path, print)
    with pytest.raises(BadInput, match="a pipe or a device"):
        open_checkpoint(Path("/dev/zero"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path):
    path = saved(tmp_path / "file.pth", resnet_state())
    path.chmod(0)
    with pytest.raises(BadInput, match="cannot be read"):
        find_model(path, None, tmp_path, print)


def test_a_name_that_is_no_text_is_read_and_can_be_recorded(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe.pth")
    try:
        saved(path, resnet_state())
    except (OSError, RuntimeError):
        pytest.skip("this file system wants names to be text")
    subject = find_model(path, None, tmp_path, print)
    assert subject.title.encode().decode() == subject.weights_source == "\N{REPLACEMENT CHARACTER}" * 2 + ".pth"


def test_a_file_is_hashed_once(tmp_path, monkeypatch):
    hashed = []
    for place in (checkpoints, weights_file):
        monkeypatch.setattr(place, "sha256_file", lambda path: hashed.append(path) or "0" * 64)
    find_model(saved(tmp_path / "file.pth", small_state()), None, tmp_path, print)
    assert len(hashed) == 1


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    path, read = saved(tmp_path / "file.pth", resnet_state()), checkpoints.read_checkpoint

    def read_and_change(path, sha256):
        weights = read(path, sha256)
        path.write_bytes(b"another file")
        return weights

    monkeypatch.setattr(checkpoints, "read_checkpoint", read_and_change)
    with pytest.raises(BadInput, match="changed while it was read"):
        find_model(path, None, tmp_path, print)


@pytest.mark.slow
@pytest.mark.parametrize("archive", [True, False, None])
def test_changed_files_are_read_or_are_bad_input(tmp_path, archive):
    path, random = tmp_path / "file.pth", np.random.default_rng(0)
    content = {"state_dict": resnet_state(), "lr": np.float64(0.1), "args": argparse.Namespace(a=1)}
    if archive is None:
        save_file(resnet_state(), path)
    else:
        saved(path, content, _use_new_zipfile_serialization=archive)
    sound = path.read_bytes()
    places = [place for place in range(len(sound)) if zlib.crc32(sound[place : place + 9]) % 7 == 0]
    for _ in range(300):
        data = bytearray(sound)
        for place in random.choice(places, 3):
            where = int(place) if random.random() < 0.5 else int(place) % 3000
            data[where] = random.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(BadInput):
            read_checkpoint(path)
