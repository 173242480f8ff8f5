"""Unpacking: what is taken, and what is refused and leaves nothing."""

import gzip
import os
import stat
import struct
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.base import archives
from bench.base.archive_members import Limits
from bench.base.archives import read_through, unpack
from bench.base.errors import BadEnvironment, BadInput
from tests.archives import tree, write_tar, write_zip

FILES = {"a/one.txt": b"one", "a/b/two.bin": bytes(range(256)) * 40, "three": b""}


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


DEFAULT = Limits()


def refused(archive, match, limits=DEFAULT):
    """Refused as bad input, and nothing is left, neither in the target nor beside it."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(BadInput, match=match) as caught:
        unpack(archive, archive.parent / "target", limits)
    assert str(archive) in caught.value.problem and caught.value.exit_code == 3
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["f.tar", "f.tar.gz", "f.tgz", "f.zip"])
def test_files_and_folders_come_out(tmp_path, name):
    write = write_zip if name.endswith("zip") else write_tar
    steps = []
    unpack(write(tmp_path / name, FILES), tmp_path / "deep/target", progress=lambda *step: steps.append(step))
    assert tree(tmp_path / "deep/target") == FILES
    assert len(steps) == 3 and all(total == (tmp_path / name).stat().st_size for _, total in steps)


def test_dots_and_empty_folders_are_harmless(tmp_path):
    archive = write_tar(
        tmp_path / "f.tar", {"./x/one": b"1"}, special(".", tarfile.DIRTYPE), special("e", tarfile.DIRTYPE)
    )
    unpack(archive, tmp_path / "target")
    assert tree(tmp_path / "target") == {"x/one": b"1"} and (tmp_path / "target/e").is_dir()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", "C:\\out", "C:out", "..\\out", "a\\..\\..\\out"])
@pytest.mark.parametrize("kind", ["f.tar", "f.tgz", "f.zip"])
def test_no_path_leads_out(tmp_path, name, kind):
    write = write_zip if kind.endswith("zip") else write_tar
    refused(write(tmp_path / kind, {"good": b"1", name: b"out"}), "absolute|leads out")
    assert not (tmp_path.parent / "out").exists()


@pytest.mark.parametrize("name", ["n" * 256, "n" * 256 + "/file", "\u00fc" * 200])
@pytest.mark.parametrize("kind", ["f.tar", "f.zip"])
def test_a_name_too_long_for_the_system_is_the_archive_s_fault(tmp_path, name, kind):
    write = write_zip if kind.endswith("zip") else write_tar
    refused(write(tmp_path / kind, {"good": b"1", name: b"2"}), "is a longer name than this system takes")


@pytest.mark.parametrize(
    "kind, target, words",
    [
        (tarfile.SYMTYPE, "/etc", "a link"),
        (tarfile.SYMTYPE, "../..", "a link"),
        (tarfile.SYMTYPE, "good", "a link"),
        (tarfile.LNKTYPE, "good", "a hard link"),
        (tarfile.LNKTYPE, "../../etc/passwd", "a hard link"),
        (tarfile.CHRTYPE, "", "a device"),
        (tarfile.BLKTYPE, "", "a device"),
        (tarfile.FIFOTYPE, "", "a pipe"),
    ],
)
def test_no_links_devices_or_pipes_in_a_tar(tmp_path, kind, target, words):
    refused(write_tar(tmp_path / "f.tar", {"good": b"1"}, special("bad", kind, target)), f"'bad' is {words}")


def test_a_file_cannot_follow_a_link(tmp_path):
    entry = tarfile.TarInfo("door/out")
    entry.size = 3
    archive = write_tar(tmp_path / "f.tar", {}, special("door", tarfile.SYMTYPE, str(tmp_path)), (entry, b"out"))
    refused(archive, "'door' is a link")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "mode, words", [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a special file"), (stat.S_IFIFO, "a special file")]
)
def test_no_links_or_devices_in_a_zip(tmp_path, mode, words):
    entry = zipfile.ZipInfo("bad")
    entry.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.writestr("good", b"1")
        archive.writestr(entry, b"/etc/passwd")
    refused(tmp_path / "f.zip", f"'bad' is {words}")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "f.zip", {"secret": b"1"})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    refused(path, "'secret' is encrypted")


@pytest.mark.parametrize("name", ["f.tgz", "f.zip"])
def test_a_bomb_is_refused_by_its_ratio(tmp_path, name):
    write = write_zip if name.endswith("zip") else write_tar
    archive = write(tmp_path / name, {"good": b"1", "zeros": bytes(4 * 2**20)})
    refused(archive, "unpacks to more than", Limits(small=2**20))
    unpack(archive, tmp_path / "target", Limits(small=2**23))


def test_the_default_bounds_stop_a_bomb(tmp_path):
    archive = write_tar(tmp_path / "f.tgz", {"zeros": bytes(80 * 2**20)})
    refused(archive, "unpacks to more than 67,108,864 bytes")


def test_a_zip_that_lies_about_its_sizes_gives_no_more_than_it_says(tmp_path):
    path = write_zip(tmp_path / "f.zip", {"zeros": bytes(4 * 2**20)})
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 4 * 2**20)) == 2
    path.write_bytes(data.replace(struct.pack("<I", 4 * 2**20), struct.pack("<I", 10)))
    refused(path, "damaged")


def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path):
    path = write_zip(tmp_path / "f.zip", {"zeros": os.urandom(5000)})
    with zipfile.ZipFile(path, "a") as archive:
        (first,) = archive.infolist()
        for i in range(50):
            twin = zipfile.ZipInfo(f"twin{i:01}")
            for key in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "flag_bits"):
                setattr(twin, key, getattr(first, key))
            archive.filelist.append(twin)
        archive._didModify = True
    refused(path, "its members overlap")


def test_too_many_members_are_refused(tmp_path):
    refused(write_tar(tmp_path / "f.tar", {str(i): b"" for i in range(20)}), "more than 10 members", Limits(members=10))


def test_a_total_beyond_the_bound_is_refused(tmp_path):
    files = {str(i): os.urandom(1000) for i in range(20)}
    refused(write_tar(tmp_path / "f.tar", files), "more than 10,000 bytes", Limits(bytes=10_000))


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 40 * 2**20
    with gzip.open(tmp_path / "f.tgz", "wb") as stream:
        stream.write(header.tobuf())
        for _ in range(40):
            stream.write(bytes(2**20))
    refused(tmp_path / "f.tgz", "header of more than 262,144 bytes")


def test_a_sparse_file_is_refused(tmp_path):
    sparse = tarfile.TarInfo("holes")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    content = b"1\n0\n1\n".ljust(512, b"\0") + b"x".ljust(512, b"\0")
    sparse.size = len(content)
    refused(write_tar(tmp_path / "f.tar", {}, (sparse, content)), "has a sparse file")


@pytest.mark.parametrize("name", ["f.tar", "f.zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path, name):
    if name == "f.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x", b"1")
            archive.writestr("x", b"2")
    else:
        twin = tarfile.TarInfo("x")
        write_tar(tmp_path / name, {"x": b"1"}, twin)
    refused(tmp_path / name, "'x' comes twice")


@pytest.mark.parametrize("files", [{"x": b"1", "x/y": b"2"}, {"x/y": b"2", "x": b"1"}])
def test_a_file_in_a_folder_s_place_is_refused(tmp_path, files):
    refused(write_tar(tmp_path / "f.tar", files), "comes twice|is a folder where")


def test_control_characters_are_refused(tmp_path):
    refused(write_tar(tmp_path / "f.tar", {"x\n\x1b[31m": b"1"}), "control characters")


@pytest.mark.parametrize("name", ["f.tar", "f.tgz", "f.zip"])
def test_what_is_no_archive_is_damaged(tmp_path, name):
    for content in (b"", b"no archive at all" * 100):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "damaged or not an archive|empty")


def test_a_pipe_or_a_device_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "device.tar").symlink_to("/dev/zero")
    for place in (tmp_path / "pipe.tar", tmp_path / "device.tar", tmp_path / "nowhere.tar"):
        refused(place, "is no regular file")
        with pytest.raises(BadInput, match="is no regular file"):
            read_through(place)


def test_an_empty_archive_is_refused(tmp_path):
    refused(write_tar(tmp_path / "f.tar", {}), "it is empty")


@pytest.mark.parametrize("name", ["f.tar", "f.tgz", "f.zip"])
def test_a_truncated_archive_leaves_nothing(tmp_path, name):
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, {"one": os.urandom(5000), "two": os.urandom(50_000)})
    path.write_bytes(path.read_bytes()[:30_000])
    refused(path, "damaged")


def tar_bytes(tmp_path, files=FILES):
    return write_tar(tmp_path / "whole.tar", files).read_bytes()


def header(name, size, kind=tarfile.REGTYPE):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda data: data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512), "the mark of its end is missing"),
        (lambda data: data[: 512 * 24], "the mark of its end is missing"),
        (lambda data: data + data, "more data behind its end"),
        (lambda data: data + b"x", "more data behind its end"),
        (lambda data: data.replace(b"three", b"three!"), "a header is damaged"),
        (lambda data: data[:512] + bytes(4096) + data[4608:], "more data behind its end"),
        (lambda data: data[: data.index(b"three") + 100], "truncated|a header is damaged|mark of its end"),
    ],
)
def test_a_tar_ends_as_the_format_has_it(tmp_path, damage, words, compress):
    data = tar_bytes(tmp_path)
    (tmp_path / "whole.tar").unlink()
    damaged = damage(data)
    assert damaged != data
    (tmp_path / "f.tar").write_bytes(compress(damaged))
    refused(tmp_path / "f.tar", f"damaged or not an archive: .*({words})")
    with pytest.raises(BadInput, match=words):
        read_through(tmp_path / "f.tar")


def test_a_tar_whose_tail_was_lost_to_zeros_is_damaged(tmp_path):
    data = tar_bytes(tmp_path, {f"{i}.bin": os.urandom(9_000) for i in range(20)})
    (tmp_path / "whole.tar").unlink()
    half = len(data) // 2
    (tmp_path / "f.tar").write_bytes(data[:half] + bytes(len(data) - half))
    refused(tmp_path / "f.tar", "zeros, in the place of what was lost")


@pytest.mark.parametrize("record", [512, 10_240, 65_536, 1_048_576])
def test_padding_to_a_whole_record_is_no_damage(tmp_path, record):
    members = tar_bytes(tmp_path).rstrip(b"\0")
    members += bytes(-len(members) % 512) + bytes(1024)
    (tmp_path / "f.tar").write_bytes(members + bytes(-len(members) % record))
    unpack(tmp_path / "f.tar", tmp_path / "target")
    assert tree(tmp_path / "target") == FILES


@pytest.mark.parametrize("where", [-8, -4, 200])
def test_the_checksum_of_a_gz_is_read(tmp_path, where):
    path = write_tar(tmp_path / "f.tgz", {"one": os.urandom(5000)})
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    refused(path, "damaged")


def test_a_gz_that_lost_its_end_is_damaged(tmp_path):
    path = write_tar(tmp_path / "f.tgz", FILES)
    path.write_bytes(path.read_bytes()[:-8])
    refused(path, "damaged")


def test_an_archive_is_what_it_holds_not_what_it_is_called(tmp_path):
    for number, (name, write) in enumerate((("f.zip", write_tar), ("f.tar", write_zip), ("f.tgz", write_tar))):
        write(tmp_path / f"{number}.tar", FILES)
        unpack((tmp_path / f"{number}.tar").rename(tmp_path / name), tmp_path / str(number))
        assert tree(tmp_path / str(number)) == FILES


@pytest.mark.parametrize("name", ["f.tar", "f.tgz", "f.zip"])
def test_reading_through_writes_nothing_and_says_what_unpacking_says(tmp_path, name):
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, FILES)
    read_through(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    hostile = write(tmp_path / f"h{name}", {"../out": b"1"})
    with pytest.raises(BadInput, match="leads out"):
        read_through(hostile)


def test_a_member_of_a_zip_whose_checksum_fails_is_named(tmp_path):
    content = os.urandom(5000)
    path = tmp_path / "f.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good", b"1")
        archive.writestr("bad.png", content)
    path.write_bytes(path.read_bytes().replace(content[2000:3000], bytes(1000)))
    refused(path, "damaged.*bad.png")
    with pytest.raises(BadInput, match=r"bad\.png"):
        read_through(path)


def test_a_compression_whose_memory_the_archive_decides_on_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x", b"1" * 100)
    refused(tmp_path / "f.zip", "'x' is compressed by method 14")


@pytest.mark.parametrize("size", [b"\x80" + b"\x7f" * 11, b"\xff" * 12, b"\xff" * 10 + b"\xfe\x00"])
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"Z"])
def test_sizes_that_are_negative_or_huge_are_no_endless_loop(tmp_path, size, kind):
    block = bytearray(header("x", 0, kind))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "f.tar").write_bytes(header("a", 0) + bytes(block) + header("b", 0) + bytes(1024))
    refused(tmp_path / "f.tar", "damaged|refused")


@pytest.mark.parametrize(
    "extended, words",
    [
        (b"9" * 100_000, "extended header is damaged"),
        (b"2 " * 50_000 + b"=", "extended header is damaged"),
        (b"17 path=../../out\n", "extended header is damaged"),
        (b"18 path=../../out\n", "leads out"),
        (b"12 path=a\0b\n", "control characters"),
        (b"12 path=/ab\n", "absolute"),
        (b"1009 comment=" + b"7" * 995 + b"\n", "more than 200 digits"),
        (b"22 GNU.sparse.major=1\n", "a sparse file"),
        (b"16 size=-100000\n", "headers lead in a circle"),
    ],
)
def test_extended_headers_are_judged_before_they_are_read(tmp_path, extended, words):
    padded = extended + bytes(-len(extended) % 512)
    data = header("p", len(extended), tarfile.XHDTYPE) + padded + header("x", 3) + b"abc".ljust(512, b"\0")
    data += bytes(1024)
    (tmp_path / "f.tar").write_bytes(data)
    refused(tmp_path / "f.tar", words)


def test_extended_headers_of_other_programs_are_read(tmp_path):
    entry = tarfile.TarInfo("caf\u00e9/" + "n" * 150)
    entry.size = 1
    entry.pax_headers = {"LIBARCHIVE.xattr.user.note": "YWJj", "mtime": "1700000000.123456789", "comment": "a=b c\nd"}
    path = tmp_path / "f.tar"
    write_tar(path, {"good": b"1"}, (entry, b"2"))
    unpack(path, tmp_path / "target")
    assert tree(tmp_path / "target") == {"good": b"1", entry.name: b"2"}


@pytest.mark.parametrize("name", ["f.tar", "f.zip"])
def test_a_file_without_a_name_is_refused(tmp_path, name):
    write = write_zip if name.endswith("zip") else write_tar
    refused(write(tmp_path / name, {"good": b"1", ".": b"2"}), "a file without a name")


@pytest.mark.parametrize("name", ["f.tar", "f.zip"])
def test_folders_within_folders_without_an_end_are_refused(tmp_path, name):
    write = write_zip if name.endswith("zip") else write_tar
    refused(write(tmp_path / name, {"good": b"1", "deep/" * 2000 + "file": b"2"}), "more than 64 folders")


@pytest.mark.parametrize("name", ["f.tar", "f.tgz", "f.zip"])
def test_an_archive_larger_than_the_disk_is_said_so_and_leaves_nothing(tmp_path, monkeypatch, name):
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, {"one": bytes(3_000_000), "two": bytes(3_000_000)})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5_000_000})())
    with pytest.raises(BadEnvironment, match=r"5,000,000 bytes that are left on the disk") as caught:
        unpack(path, tmp_path / "target")
    assert str(path) in caught.value.problem and "Free space" in caught.value.remedy
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["f.tar", "f.tgz", "f.zip"]), st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_is_no_bug_of_ours(tmp_path, name, where, change):
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, FILES)
    data = bytearray(path.read_bytes())
    data[where % len(data)] ^= change
    path.write_bytes(data)
    target = tmp_path / "target"
    try:
        unpack(path, target)
        for entry in target.rglob("*"):
            assert not entry.is_symlink()
            entry.unlink() if entry.is_file() else None
    except (BadInput, BadEnvironment):
        assert not target.exists()
    finally:
        import shutil

        shutil.rmtree(target, ignore_errors=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted({p.name for p in tmp_path.glob("f.*")})


def test_headers_do_not_pile_up_in_memory(tmp_path, monkeypatch):
    archive = write_tar(tmp_path / "f.tar", {f"{i:04}": b"" for i in range(200)})
    opened, held, real = [], [], tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda **options: opened.append(real(**options)) or opened[0])
    unpack(archive, tmp_path / "target", progress=lambda done, total: held.append(len(opened[0].members)))
    assert len(held) == 200 and max(held) <= 1


def test_an_interruption_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(write_tar(tmp_path / "f.tar", FILES), tmp_path / "target", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["f.tar"]
