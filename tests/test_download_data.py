"""`bench download` of data sets: fetched, unpacked, and found by `bench run`. Only 127.0.0.1 is contacted."""

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zipfile

import pytest

from bench.base import folders
from bench.base.errors import BadInput
from bench.cards.card import load_card
from bench.cards.datasets import DatasetCard
from bench.cards.local_files import data_folder
from bench.cards.pins import Pins
from bench.data.find_samples import NoDataRoot, find_samples
from tests.archives import tree, write_tar, write_zip
from tests.webserver import File

pytestmark = pytest.mark.slow


@pytest.fixture
def cache(tmp_path):
    """Another for each test, in place of the shared one."""
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path, web):
    """A data set's card: PASCAL VOC under another name, its files on the server."""

    def write(*downloads):
        card = (folders.folder("datasets") / "pascal-voc.toml").read_text(encoding="utf-8")
        card = re.sub(r"\[\[downloads\]\].*?(?=\n# The paper)", "", card, flags=re.S)
        for download in downloads:
            card += "\n[[downloads]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in download.items())
        path = tmp_path / "data.toml"
        path.write_text(card.replace('id = "pascal-voc"', 'id = "my-voc"'), encoding="utf-8")
        return path

    return write


@pytest.fixture
def bundle(tmp_path, golden, web):
    """The authors' bundle in small, on the server as /v.tgz."""
    path = tmp_path / "v.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(golden / "VOCSegmentation", "VOCSegmentation")
    web.table["/v.tgz"] = File(path.read_bytes())
    return {"file": "v.tgz", "urls": [web.url("/v.tgz")], "unpack": True}


def test_a_data_set_is_unpacked_and_found(bench, data, bundle, cache, web):
    card = load_card(data(bundle), DatasetCard)
    with pytest.raises(NoDataRoot, match="no data root") as caught:
        find_samples(card, "val", None, cache)
    assert "`bench download" in caught.value.remedy
    done = bench("download", data(bundle))
    assert done.returncode == 0 and str(data_folder(cache, "my-voc")) in done.stdout
    assert len(find_samples(card, "val", None, cache)) == 40
    assert not (cache / "downloads/my-voc/v.tgz").exists()
    assert bench("show", data(bundle), "--samples", "1").stdout.count("samples in val at") == 1
    web.requests.clear()
    again = bench("download", data(bundle))
    assert again.returncode == 0 and "unpacked before" in again.stdout and not web.requests


def test_the_data_root_that_was_named_goes_before_the_downloaded_one(bench, data, bundle, cache, golden):
    bench("download", data(bundle))
    card = load_card(data(bundle), DatasetCard)
    assert find_samples(card, "val", golden, cache).root == golden
    mine = card.model_copy(update={"root": "own"})
    (card.path.parent / "own").symlink_to(golden)
    assert find_samples(mine, "val", None, cache).root == card.path.parent / "own"


def test_a_published_md5_is_checked_where_there_is_no_other(bench, data, cache, web):
    web.table["/t"] = File(b"ids")
    listed = {"file": "list.txt", "urls": [web.url("/t")]}
    done = bench("download", data(listed | {"md5": hashlib.md5(b"ids").hexdigest()}))
    assert done.returncode == 0 and "as published" in done.stdout and not Pins(cache).find("datasets/my-voc/list.txt")
    assert bench("download", data(listed | {"md5": "0" * 32})).returncode == 3  # the file that lies there
    wrong = bench("download", data(listed | {"md5": "0" * 32}), "--fresh")
    assert wrong.returncode == 3 and "its MD5 is" in wrong.stderr


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"sha256": 1, "date": "2026-01-01"}'])
def test_a_damaged_receipt_is_none(bench, data, bundle, cache, content):
    bench("download", data(bundle), "--keep-archive")
    (data_folder(cache, "my-voc") / ".downloads/v.tgz.json").write_text(content)
    done = bench("download", data(bundle), "--offline")
    assert done.returncode == 0 and "found" in done.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_in_a_receipts_or_a_journals_place_is_not_waited_for(bench, data, bundle, cache):
    bench("download", data(bundle), "--keep-archive")
    receipt = data_folder(cache, "my-voc") / ".downloads/v.tgz.json"
    receipt.unlink()
    os.mkfifo(receipt)
    (archive,) = (cache / "downloads").rglob("v.tgz")
    archive.unlink()
    os.mkfifo(archive.with_name("v.tgz.part.json"))
    done = bench("download", data(bundle))
    assert done.returncode == 0 and "fetched" in done.stdout and receipt.is_file()


def test_a_receipt_is_no_receipt_for_another_file(bench, data, bundle, cache, web):
    bench("download", data(bundle))
    done = bench("download", data(bundle | {"sha256": "0" * 64}))
    assert done.returncode == 3 and "SHA-256" in done.stderr
    shutil.rmtree(data_folder(cache, "my-voc"))
    assert "fetched" in bench("download", data(bundle)).stdout


def test_an_archive_may_be_kept_and_is_then_checked(bench, data, bundle, cache):
    bench("download", data(bundle), "--keep-archive")
    assert (cache / "downloads/my-voc/v.tgz").is_file()
    shutil.rmtree(data_folder(cache, "my-voc"))
    done = bench("download", data(bundle), "--offline")
    assert done.returncode == 0 and "found" in done.stdout
    assert (data_folder(cache, "my-voc") / "VOCSegmentation/sets/val.txt").is_file()


def test_several_archives_share_a_root_and_files_need_no_unpacking(bench, data, cache, tmp_path, web):
    images = write_zip(tmp_path / "i.zip", {"common/a.jpg": b"a", "one.txt": b"1"})
    labels = write_tar(tmp_path / "l.tar", {"common/a.png": b"b"})
    web.table |= {"/i": File(images.read_bytes()), "/l": File(labels.read_bytes()), "/t": File(b"ids")}
    card = data(
        {"file": "i.zip", "urls": [web.url("/i")], "unpack": True},
        {"file": "l.tar", "urls": [web.url("/l")], "unpack": True, "licence": "CC0"},
        {"file": "list.txt", "urls": [web.url("/t")], "into": "sets"},
    )
    done = bench("download", card)
    assert done.returncode == 0 and "CC0" in done.stderr
    found = {name: body for name, body in tree(data_folder(cache, "my-voc")).items() if ".downloads" not in name}
    assert found == {"common/a.jpg": b"a", "common/a.png": b"b", "one.txt": b"1", "sets/list.txt": b"ids"}
    assert sorted(path.name for path in (cache / "datasets").iterdir()) == ["my-voc"]


def test_into_puts_an_archive_into_a_folder_of_its_own(bench, data, bundle, cache):
    bench("download", data(bundle | {"into": "deep/er"}))
    assert (data_folder(cache, "my-voc") / "deep/er/VOCSegmentation/sets/val.txt").is_file()


def test_optional_files_are_fetched_by_name_only(bench, data, bundle, cache, web):
    other = {"file": "other.txt", "urls": [web.url("/o")], "optional": True, "note": "an extra"}
    web.table["/o"] = File(b"other")
    card = data(bundle, other)
    assert "an extra" in bench("download", card, "--list").stdout
    done = bench("download", card)
    assert "only with --file: other.txt" in done.stderr
    assert not (data_folder(cache, "my-voc") / "other.txt").exists()
    assert bench("download", card, "--file", "other.txt").returncode == 0
    assert (data_folder(cache, "my-voc") / "other.txt").read_bytes() == b"other"
    done = bench("download", card, "--file", "othr.txt")
    assert done.returncode == 2 and "Did you mean other.txt" in done.stderr


def test_one_file_that_fails_hides_no_other(bench, data, bundle, web, cache):
    missing = {"file": "no.txt", "urls": [web.url("/none"), web.url("/also-none")]}
    done = bench("download", data(missing, bundle))
    assert done.returncode == 4 and done.stderr.count("(404)") == 3 and "v.tgz: fetched" in done.stdout
    assert (data_folder(cache, "my-voc") / "VOCSegmentation").is_dir()


@pytest.mark.parametrize("name", ["../out", "/out"])
def test_a_hostile_archive_leaves_nothing_and_is_not_pinned(bench, data, cache, tmp_path, web, name):
    web.table["/h"] = File(write_tar(tmp_path / "h.tar", {"good": b"1", name: b"2"}).read_bytes())
    done = bench("download", data({"file": "h.tar", "urls": [web.url("/h")], "unpack": True}))
    assert done.returncode == 3 and "is refused" in done.stderr and name in done.stderr
    assert not (cache / "datasets").exists() or not any((cache / "datasets").iterdir())
    assert not (cache / "downloads/pins.json").exists()


@pytest.mark.parametrize(("body", "words"), [(None, "is refused"), (b"PK\x03\x04 cut", "is damaged")])
def test_an_archive_that_cannot_be_used_is_discarded_so_that_a_mended_one_comes(
    bench, data, bundle, cache, tmp_path, web, body, words
):
    sound = web.table["/v.tgz"]
    web.table["/v.tgz"] = File(body or gzip.compress(write_tar(tmp_path / "h.tar", {"../out": b"2"}).read_bytes()))
    done = bench("download", data(bundle))
    assert done.returncode == 3 and words in done.stderr and "It was removed" in done.stderr
    assert not (cache / "downloads/my-voc/v.tgz").exists()
    web.table["/v.tgz"] = sound
    done = bench("download", data(bundle))
    assert done.returncode == 0 and "fetched" in done.stdout, done.stderr


@pytest.mark.parametrize("unpacked", [True, False])
@pytest.mark.parametrize("name", ["i.tar", "i.tgz", "i.zip"])
def test_an_archive_of_which_nobody_says_the_length_is_taken_only_whole_and_that_is_said(
    bench, data, cache, tmp_path, web, name, unpacked
):
    write = write_zip if name.endswith("zip") else write_tar
    body = write(tmp_path / name, {f"{i}.bin": os.urandom(9000) for i in range(9)}).read_bytes()
    card = data({"file": name, "urls": [web.url("/i")], "unpack": unpacked})
    for end in (512 * 19, len(body) // 2, len(body) - 10_000):
        web.table["/i"] = File(body, sized=False, breaks=[end])
        done = bench("download", card)
        assert done.returncode == 3 and "damaged" in done.stderr, done.stderr
        assert not (cache / "downloads/pins.json").exists() and not list(cache.rglob(f"*{name}*"))
    web.table["/i"] = File(body, sized=False)
    done = bench("download", card)
    assert done.returncode == 0 and f"nothing vouches for the length of {name}" in done.stderr
    assert Pins(cache).find(f"datasets/my-voc/{name}").bytes == len(body)


def test_an_archive_that_is_kept_as_it_is_is_read_before_it_is_pinned(bench, data, cache, tmp_path, web):
    content = os.urandom(9000)
    with zipfile.ZipFile(tmp_path / "i.zip", "w") as archive:
        archive.writestr("a.bin", content)
    body = (tmp_path / "i.zip").read_bytes()
    card = data({"file": "i.zip", "urls": [web.url("/i"), web.url("/j")]})
    web.table["/i"] = File(body.replace(content[4000:5000], bytes(1000)))
    done = bench("download", card)
    assert done.returncode == 4 and "Bad CRC" in done.stderr
    assert not (cache / "downloads/pins.json").exists() and not list(cache.rglob("i.zip"))
    web.table["/j"] = File(body)
    assert bench("download", card).returncode == 0 and list(cache.rglob("i.zip"))


def test_an_archive_cannot_bring_a_receipt(bench, data, cache, tmp_path, web):
    web.table["/i"] = File(write_tar(tmp_path / "i.tar", {"a": b"1", ".downloads": b"mine"}).read_bytes())
    assert bench("download", data({"file": "i.tar", "urls": [web.url("/i")], "unpack": True})).returncode == 0
    assert [path.name for path in (data_folder(cache, "my-voc") / ".downloads").iterdir()] == ["i.tar.json"]


def test_an_archive_that_somebody_put_there_is_kept_and_named(bench, data, bundle, cache):
    path = cache / "downloads/my-voc/v.tgz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no archive")
    done = bench("download", data(bundle))
    assert done.returncode == 3 and f"Remove {path}, and the same command fetches it again" in done.stderr
    assert path.exists()
    path.unlink()
    assert bench("download", data(bundle)).returncode == 0


def test_a_hostile_archive_harms_no_data_that_are_there(bench, data, bundle, cache, tmp_path, web):
    bench("download", data(bundle))
    before = tree(data_folder(cache, "my-voc"))
    with zipfile.ZipFile(tmp_path / "h.zip", "w") as archive:
        archive.writestr("VOCSegmentation/sets/val.txt", "mine")
        archive.writestr("../../out", "2")
    web.table["/h"] = File((tmp_path / "h.zip").read_bytes())
    hostile = {"file": "h.zip", "urls": [web.url("/h")], "unpack": True}
    assert bench("download", data(bundle, hostile)).returncode == 3
    assert tree(data_folder(cache, "my-voc")) == before


def test_what_cannot_be_moved_into_place_is_not_taken_for_whole(bench, data, bundle, cache):
    folder = data_folder(cache, "my-voc") / "VOCSegmentation/sets/val.txt"
    folder.mkdir(parents=True)
    done = bench("download", data(bundle))
    assert done.returncode == 3 and "val.txt is in the way" in done.stderr
    assert [path.name for path in (cache / "datasets").iterdir()] == ["my-voc"]
    folder.rmdir()
    assert bench("download", data(bundle), "--offline").returncode == 0
    assert folder.is_file()


def test_what_a_killed_unpacking_left_is_cleared_away(bench, data, bundle, cache):
    (cache / "datasets/.my-voc.unpacking/half").mkdir(parents=True)
    assert bench("download", data(bundle)).returncode == 0
    assert [path.name for path in (cache / "datasets").iterdir()] == ["my-voc"]


def test_wrong_names_and_cards(bench, data, tmp_path):
    done = bench("download", "pascal-vo")
    assert done.returncode == 2 and "pascal-voc" in done.stderr
    done = bench("download", data())
    assert done.returncode == 3 and "names no files to fetch" in done.stderr
    assert "http://host.robots.ox.ac.uk" in done.stderr
    assert bench("download", tmp_path / "none.toml").returncode == 3
    assert bench("download").returncode == 2


@pytest.mark.parametrize(
    "change, key",
    [
        ({"urls": ["ftp://example.org/f"]}, "http or https"),
        ({"urls": ["file:///etc/passwd"]}, "http or https"),
        ({"urls": []}, "needs urls or google-drive"),
        ({"file": "../f.tgz"}, "plain file name"),
        ({"file": ".f.tgz"}, "plain file name"),
        ({"file": "f.rar"}, "unpack is for .tar"),
        ({"into": "../x"}, "below the data root"),
        ({"into": "/x"}, "below the data root"),
        ({"sha256": "abc"}, "sha256"),
        ({"bytes": 0}, "bytes"),
        ({"google-drive": "a b"}, "google-drive"),
        ({"size": 3}, "size"),
    ],
)
def test_a_faulty_download_on_a_card_is_named(data, bundle, change, key):
    with pytest.raises(BadInput, match=re.escape(key)):
        load_card(data(bundle | change), DatasetCard)


def test_two_downloads_of_one_name_are_refused(data, bundle):
    with pytest.raises(BadInput, match="two have the same file name"):
        load_card(data(bundle, bundle), DatasetCard)
