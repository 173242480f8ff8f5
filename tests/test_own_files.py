"""What the program keeps for itself is sealed, checked, and dropped with a line where it is damaged; leftovers."""

import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.base import temporaries
from bench.base.files import atomic_folder, atomic_write, is_device, load_npz, save_npz
from bench.base.own_files import load_arrays, load_json, save_arrays, save_json

ARRAYS = {
    "a": np.arange(600, dtype=np.int32).reshape(2, 300),
    "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.empty((0, 4), np.int64),
    "one": np.array(3.5),
    "text": np.array(["ab", "c"]),
}


def same(found, expected):
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in expected.items()
    )


def test_arrays_come_back_as_they_were_and_can_be_written_to(tmp_path):
    save_arrays(tmp_path / "x.npz", ARRAYS)
    found = load_arrays(tmp_path / "x.npz")
    assert same(found, ARRAYS) and found["f"].flags.f_contiguous
    found["a"][0] = 1
    assert same(load_arrays(tmp_path / "x.npz", only=("a",)), {"a": ARRAYS["a"]})
    with np.load(tmp_path / "x.npz") as archive:
        assert np.array_equal(archive["a"], ARRAYS["a"])
    assert load_arrays(tmp_path / "none.npz") is None


def test_a_file_of_an_earlier_version_has_no_seal_and_is_read(tmp_path):
    save_npz(tmp_path / "x.npz", ARRAYS)
    assert same(load_arrays(tmp_path / "x.npz"), ARRAYS)
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert load_json(tmp_path / "x.json") == {"a": 1}


def test_no_byte_can_change_without_being_noticed_or_without_being_idle(tmp_path, caplog):
    path = tmp_path / "x.npz"
    save_arrays(path, {"a": np.arange(50), "b": np.arange(7.0)})
    data = path.read_bytes()
    before = load_arrays(path)
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        found = load_arrays(path)
        assert same(found, before) if found is not None else not path.exists()
    dropped = len(caplog.records)
    assert len(data) / 2 < dropped < len(data)
    assert caplog.records[0].message.endswith("x.npz is damaged: it is dropped and made again")


@pytest.mark.parametrize("harm", ["half", "zeros", "empty", "text", "neighbour", "folder"])
def test_what_a_power_loss_leaves_is_dropped_with_one_line(tmp_path, caplog, harm):
    arrays, values = tmp_path / "x.npz", tmp_path / "x.json"
    for name in ("x", "y"):
        save_arrays(tmp_path / f"{name}.npz", ARRAYS)
        save_json(tmp_path / f"{name}.json", {"a": 1, "b": [1.5, None]})
    for path in (arrays, values):
        data = path.read_bytes()
        half = len(data) // 2
        content = {
            "half": data[:half],
            "zeros": data[:half] + bytes(len(data) - half),
            "empty": b"",
            "text": b"\xff\xfe not a text",
            "neighbour": path.with_stem("y").read_bytes(),
        }
        if harm == "folder":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(content[harm])
    assert load_arrays(arrays) is None and load_json(values) is None
    assert len(caplog.records) == 2
    if harm != "folder":
        assert not arrays.exists() and not values.exists()
        assert load_arrays(arrays) is None and load_json(values) is None and len(caplog.records) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize(
    "put",
    [
        lambda path: os.mkfifo(path, 0o600),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
    ],
)
def test_what_never_ends_or_never_comes_is_dropped_and_not_waited_for(tmp_path, put):
    for path, load in ((tmp_path / "x.npz", load_arrays), (tmp_path / "x.json", load_json)):
        put(path)
        assert load(path) is None and not os.path.lexists(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 2, "seal": "x"}', "[1]", "1", "NaN"])
def test_json_that_is_not_what_was_written_is_dropped(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert load_json(tmp_path / "x.json") is None and not (tmp_path / "x.json").exists()


def test_a_changed_number_is_noticed(tmp_path):
    path = tmp_path / "gap.json"
    save_json(path, {"gap": 0.125})
    assert load_json(path) == {"gap": 0.125}
    path.write_text(path.read_text().replace("0.125", "0.925"))
    assert load_json(path) is None


def member(header, size):
    """An array file of `size` zeros under a header of its own."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + bytes(size)


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 62, 1 << 62), (3,), (0,), (-1,)])
def test_an_array_whose_header_says_another_length_is_damaged(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", member({"descr": "<i8", "fortran_order": False, "shape": shape}, 80))
    assert load_npz(tmp_path / "x.npz") is None


def test_objects_and_what_expands_to_gigabytes_are_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", member({"descr": "|O", "fortran_order": False, "shape": (10,)}, 80))
    assert load_npz(tmp_path / "x.npz") is None
    size = 1100 << 20
    with zipfile.ZipFile(tmp_path / "y.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", member({"descr": "|u1", "fortran_order": False, "shape": (size,)}, 1 << 20))
        archive.infolist()[0].file_size = size + 128  # the directory alone says so: nothing must be expanded for it
    assert load_npz(tmp_path / "y.npz") is None


# --- leftovers ---


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def name_of(process, name="a.txt", machine=None, ending="tmp"):
    return f".{name}.bench-{machine or temporaries._machine()}-{process}.abcdefg1.{ending}"


def test_a_temporary_name_tells_whose_it_is_and_fits_the_file_system(tmp_path):
    for name in ("a.txt", "é" * 120):
        with atomic_write(tmp_path / name) as stream:
            stream.write(b"x")
            (temporary,) = (path for path in tmp_path.iterdir() if path.suffix == ".tmp")
            assert f"-{os.getpid()}." in temporary.name and temporaries._OURS.fullmatch(temporary.name)
        assert (tmp_path / name).read_bytes() == b"x"
    assert len(list(tmp_path.iterdir())) == 2


def test_leftovers_of_dead_processes_are_swept_and_nothing_else_is(tmp_path, dead):
    living = os.getppid()
    kept = [
        name_of(os.getpid()), name_of(living), name_of(dead, machine="00000000"), "a.txt", ".a.txt.abcdefg1.tmp",
        f".a.bench-{dead}.abcdefg1.tmp", name_of(dead) + ".bak", name_of(dead)[1:], ".hidden.tmp",
    ]  # fmt: skip
    for name in kept:
        (tmp_path / name).write_text("x")
    (tmp_path / name_of(dead)).write_text("x")
    (tmp_path / name_of(dead, "site")).mkdir()
    (tmp_path / name_of(dead, "site") / "page.html").write_text("x")
    (tmp_path / name_of(dead, "link")).symlink_to(tmp_path / "a.txt")
    with atomic_write(tmp_path / "b.txt") as stream:  # the next to write here
        stream.write(b"x")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "b.txt"}
    assert (tmp_path / "a.txt").read_text() == "x"


def test_what_nobody_on_any_machine_has_touched_for_a_day_is_swept(tmp_path, dead):
    for process, machine in ((dead, "00000000"), (os.getpid(), None)):
        path = tmp_path / name_of(process, machine=machine)
        path.write_text("x")
        old = path.stat().st_mtime - temporaries.DAY - 60
        os.utime(path, (old, old))
    assert len(temporaries.sweep(tmp_path)) == 2 and not list(tmp_path.iterdir())


def test_a_folder_that_was_moved_away_for_one_that_never_came_is_put_back(tmp_path, dead):
    for name in ("gone", "there"):
        (tmp_path / name_of(dead, name, ending="old")).mkdir()
        (tmp_path / name_of(dead, name, ending="old") / "page").write_text("old")
        (tmp_path / name_of(dead, name)).mkdir()
    (tmp_path / "there").mkdir()
    temporaries.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"gone", "there"}
    assert (tmp_path / "gone" / "page").read_text() == "old" and not list((tmp_path / "there").iterdir())


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_one_temporary_file_and_the_next_sweeps_it(tmp_path):
    code = (
        "import os, signal, sys, pathlib\nfrom bench.base.files import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_write(tmp_path / "b") as stream:
        stream.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_an_error_leaves_no_folder_and_scratch_folders_vanish(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "site"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(temporaries.tempfile, "gettempdir", lambda: str(tmp_path))
    with temporaries.scratch_folder("held-out") as folder:
        (folder / "x").write_text(json.dumps({}))
        assert folder.parent == tmp_path and temporaries._OURS.fullmatch(folder.name)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def null_device(tmp_path):
    """A device of one's own; only root can make one."""
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except (PermissionError, AttributeError):
        pytest.skip("no device can be made here")
    return tmp_path / "null"


def test_a_device_is_written_into_and_stays_one(null_device):
    with atomic_write(null_device) as stream:
        stream.write(b"x")
    assert stat.S_ISCHR(null_device.lstat().st_mode)
    assert [path.name for path in null_device.parent.iterdir()] == ["null"]


def test_the_systems_links_to_open_files_are_written_through_and_others_replaced(tmp_path, capfd):
    with atomic_write(Path("/dev/stdout")) as stream:
        stream.write(b"said\n")
    assert Path("/dev/stdout").is_symlink() and capfd.readouterr().out == "said\n"
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to("there")
    assert not is_device(tmp_path / "link") and not is_device(tmp_path / "gone")
    with atomic_write(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "there").read_text() == "old" and (tmp_path / "link").read_text() == "new"
