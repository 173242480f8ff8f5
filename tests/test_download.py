"""`bench download`: from a card to files where `bench run` looks for them. Only 127.0.0.1 is contacted."""

import gzip
import hashlib
import json
import re
import shutil
import sys
import tarfile
import zipfile
from dataclasses import dataclass

import pytest

from bench import catalogue, places
from bench.cards import DatasetCard, ModelCard, load_card
from bench.cli import main
from bench.cli.progress import progress_bar
from bench.download.items import data_folder, items_of, weights_file
from bench.download.pins import Pins, locked
from bench.errors import BadInput
from bench.subjects import NoDataRoot, find_model, find_samples
from tests.test_archives import tree, write_tar, write_zip
from tests.webserver import File, answer

ID = "maskcontrast-mine"


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def bench(cache, tmp_path, monkeypatch, capfd):
    """Run `bench` in this process with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(cache))

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        done = Done(left.value.code, *capfd.readouterr())
        assert "Traceback" not in done.err
        return done

    return call


@pytest.fixture
def model(tmp_path, web, small_file):
    """A model's card whose weights lie on the server, as /m."""

    def write(**entries):
        source = {"source": "url", "file": "mine.pth.tar", "url": web.url("/m"), "licence": "CC BY 4.0"} | entries
        (tmp_path / "model.toml").write_text(
            f'schema = 1\nid = "{ID}"\ntitle = "Mine"\n[architecture]\nbackbone = "resnet18"\nwidth = 16\n'
            "decoder_width = 64\n[weights]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in source.items())
            + '[training]\ninitialisation = "none"\nprior = "none"\nsupervision = "none"\n'
        )
        return tmp_path / "model.toml"

    web.table["/m"] = File(small_file.read_bytes())
    return write


@pytest.fixture
def data(tmp_path, web):
    """A data set's card: PASCAL VOC under another name, its files on the server."""

    def write(*downloads):
        card = (places.folder("datasets") / "pascal-voc.toml").read_text(encoding="utf-8")
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


def test_weights_go_where_a_run_looks_for_them(bench, model, cache, small_file, web):
    done = bench("download", model())
    assert done.code == 0
    path = weights_file(cache, ID, "mine.pth.tar")
    assert path.read_bytes() == small_file.read_bytes()
    assert "CC BY 4.0" in done.err and "fetched" in done.out and str(path) in done.out
    assert "pinned now and checked from now on" in done.out
    warned = []
    subject = find_model(str(model()), None, cache, warned.append)
    assert subject.weights_sha256 == hashlib.sha256(small_file.read_bytes()).hexdigest()
    assert "as first seen on" in warned[0]


def test_size_and_licence_are_said_before_the_file_is_asked_for(bench, model, web, small_file):
    bench("download", model())
    assert [method for method, _, _ in web.requests] == ["HEAD", "GET"]
    web.requests.clear()
    done = bench("download", model(), "--list", "--cache", "other")
    assert done.code == 0 and not done.err
    assert [method for method, _, _ in web.requests] == ["HEAD"]
    assert f"{small_file.stat().st_size / 1e6:.1f} MB" in done.out and "CC BY 4.0" in done.out


def test_a_size_on_the_card_needs_no_request(bench, model, web):
    done = bench("download", model(bytes=12_000_000_000), "--dry-run")
    assert "12.0 GB" in done.out and not web.requests


def test_a_server_that_knows_no_size_keeps_nobody_from_fetching(bench, model, web, small_file):
    def only_get(handler):
        (answer(405) if handler.command == "HEAD" else answer(200, small_file.read_bytes()))(handler)

    web.table["/m"] = only_get
    done = bench("download", model())
    assert done.code == 0 and "not known" in done.err


def test_what_is_there_is_verified_and_not_fetched_again(bench, model, cache, web):
    bench("download", model())
    web.requests.clear()
    done = bench("download", model())
    assert done.code == 0 and not web.requests
    assert "found" in done.out and "as first seen on" in done.out
    weights_file(cache, ID, "mine.pth.tar").write_bytes(b"damaged")
    done = bench("download", model())
    assert done.code == 3 and "SHA-256" in done.err and "Remove it and run the same command again" in done.err
    assert bench("download", model(), "--fresh").code == 0


def test_a_file_that_changes_after_it_was_pinned_is_an_error_with_the_remedy(bench, model, cache, web, small_file):
    bench("download", model())
    path = weights_file(cache, ID, "mine.pth.tar")
    path.unlink()
    web.table["/m"] = File(small_file.read_bytes() + b"more", etag='"two"')
    done = bench("download", model())
    assert done.code == 3 and not path.exists()
    assert "seen first" in done.err and web.url("/m") in done.err
    assert f"bench download {model()} --repin" in done.err
    assert bench("download", model(), "--repin").code == 0
    path.unlink()
    assert bench("download", model()).code == 0


def test_a_run_refuses_downloaded_weights_that_are_not_the_pinned_ones(bench, model, cache, small_file, web):
    bench("download", model())
    Pins(cache).keep(f"weights/{ID}/mine.pth.tar", "0" * 64, 1, "elsewhere")
    with pytest.raises(BadInput, match="seen first on"):
        find_model(str(model()), None, cache, lambda message: None)
    warned = []
    find_model(str(model()), small_file, cache, warned.append)
    assert "the record keeps that of the file used" in warned[0]


def test_pins_say_when_and_from_where(bench, model, cache, web, small_file):
    bench("download", model())
    (entry,) = json.loads((cache / "downloads/pins.json").read_text()).items()
    key, pin = entry
    assert key == f"weights/{ID}/mine.pth.tar"
    assert pin["source"] == web.url("/m") and pin["bytes"] == small_file.stat().st_size
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", pin["date"])
    Pins(cache).keep("weights/other/x", "1" * 64, 1, "elsewhere")
    assert Pins(cache).find(key).sha256 == pin["sha256"] and Pins(cache).find("weights/other/x").bytes == 1
    for damage in ("{", "[]", f'{{"{key}": {{"sha256": 1}}}}'):
        (cache / "downloads/pins.json").write_text(damage)
        done = bench("download", model())
        assert done.code == 3 and "pins.json is damaged" in done.err


def test_a_published_hash_is_checked_and_nothing_pinned(bench, model, cache, small_file):
    digest = hashlib.sha256(small_file.read_bytes()).hexdigest()
    assert "as published" in bench("download", model(sha256=digest)).out
    assert not (cache / "downloads/pins.json").exists()
    done = bench("download", model(sha256="0" * 64), "--fresh")
    assert done.code == 3 and "the one published is 000000000000…" in done.err


def test_offline_says_what_is_missing_and_where_it_would_go(bench, model, cache, web, monkeypatch):
    for arguments, setting in ((("--offline",), ""), ((), "1")):
        monkeypatch.setenv("BENCH_OFFLINE", setting)
        done = bench("download", model(), *arguments)
        assert done.code == 4 and not web.requests
        assert "mine.pth.tar" in done.err and str(weights_file(cache, ID, "mine.pth.tar")) in done.err
    assert bench("download", model(), "--list").code == 0 and not web.requests


def test_offline_and_fresh_exclude_each_other(bench, model, web, monkeypatch):
    assert bench("download", model()).code == 0
    web.requests.clear()
    for arguments, setting in ((("--offline",), ""), ((), "1")):
        monkeypatch.setenv("BENCH_OFFLINE", setting)
        done = bench("download", model(), "--fresh", *arguments)
        assert done.code == 2 and "leave one out" in done.err and not web.requests


def test_offline_takes_what_was_put_there_by_hand(bench, model, cache, web, small_file):
    path = weights_file(cache, ID, "mine.pth.tar")
    path.parent.mkdir(parents=True)
    shutil.copy(small_file, path)
    done = bench("download", model(), "--offline")
    assert done.code == 0 and not web.requests
    assert "by hand" in Pins(cache).find(f"weights/{ID}/mine.pth.tar").source


def test_a_web_page_put_there_by_hand_is_refused(bench, model, cache):
    path = weights_file(cache, ID, "mine.pth.tar")
    path.parent.mkdir(parents=True)
    path.write_text("<!doctype html><title>Google Drive</title>")
    done = bench("download", model(), "--offline")
    assert done.code == 3 and "is a web page" in done.err


def test_no_network_is_one_line_and_exit_4(bench, model, web):
    web.table.clear()
    done = bench("download", model())
    assert done.code == 4 and "not there (404)" in done.err and "By hand: open" in done.err


def test_two_at_once_do_not_mix(bench, model, cache):
    with locked(cache / "downloads" / f"weights-{ID}.lock", 0, "held"):
        done = bench("download", model())
    assert done.code == 4 and "is being downloaded" in done.err
    assert bench("download", model()).code == 0


def test_a_data_set_is_unpacked_and_found(bench, data, bundle, cache, web):
    card = load_card(data(bundle), DatasetCard)
    with pytest.raises(NoDataRoot, match="no data root") as caught:
        find_samples(card, "val", None, cache)
    assert "`bench download" in caught.value.remedy
    done = bench("download", data(bundle))
    assert done.code == 0 and str(data_folder(cache, "my-voc")) in done.out
    assert len(find_samples(card, "val", None, cache)) == 40
    assert not (cache / "downloads/my-voc/v.tgz").exists()
    assert bench("show", data(bundle), "--samples", "1").out.count("samples in val at") == 1
    web.requests.clear()
    again = bench("download", data(bundle))
    assert again.code == 0 and "unpacked before" in again.out and not web.requests


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
    assert done.code == 0 and "as published" in done.out and not Pins(cache).find("datasets/my-voc/list.txt")
    assert bench("download", data(listed | {"md5": "0" * 32})).code == 3  # the file that lies there
    wrong = bench("download", data(listed | {"md5": "0" * 32}), "--fresh")
    assert wrong.code == 3 and "its MD5 is" in wrong.err


def test_a_receipt_is_no_receipt_for_another_file(bench, data, bundle, cache, web):
    bench("download", data(bundle))
    done = bench("download", data(bundle | {"sha256": "0" * 64}))
    assert done.code == 3 and "SHA-256" in done.err
    shutil.rmtree(data_folder(cache, "my-voc"))
    assert "fetched" in bench("download", data(bundle)).out


def test_an_archive_may_be_kept_and_is_then_checked(bench, data, bundle, cache):
    bench("download", data(bundle), "--keep-archive")
    assert (cache / "downloads/my-voc/v.tgz").is_file()
    shutil.rmtree(data_folder(cache, "my-voc"))
    done = bench("download", data(bundle), "--offline")
    assert done.code == 0 and "found" in done.out
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
    assert done.code == 0 and "CC0" in done.err
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
    assert "an extra" in bench("download", card, "--list").out
    done = bench("download", card)
    assert "only with --file: other.txt" in done.err
    assert not (data_folder(cache, "my-voc") / "other.txt").exists()
    assert bench("download", card, "--file", "other.txt").code == 0
    assert (data_folder(cache, "my-voc") / "other.txt").read_bytes() == b"other"
    done = bench("download", card, "--file", "othr.txt")
    assert done.code == 2 and "Did you mean other.txt" in done.err


def test_one_file_that_fails_hides_no_other(bench, data, bundle, web, cache):
    missing = {"file": "no.txt", "urls": [web.url("/none"), web.url("/also-none")]}
    done = bench("download", data(missing, bundle))
    assert done.code == 4 and done.err.count("(404)") == 3 and "v.tgz: fetched" in done.out
    assert (data_folder(cache, "my-voc") / "VOCSegmentation").is_dir()


@pytest.mark.parametrize("name", ["../out", "/out"])
def test_a_hostile_archive_leaves_nothing_and_is_not_pinned(bench, data, cache, tmp_path, web, name):
    web.table["/h"] = File(write_tar(tmp_path / "h.tar", {"good": b"1", name: b"2"}).read_bytes())
    done = bench("download", data({"file": "h.tar", "urls": [web.url("/h")], "unpack": True}))
    assert done.code == 3 and "is refused" in done.err and name in done.err
    assert not (cache / "datasets").exists() or not any((cache / "datasets").iterdir())
    assert not (cache / "downloads/pins.json").exists()


@pytest.mark.parametrize(("body", "words"), [(None, "is refused"), (b"PK\x03\x04 cut", "is damaged")])
def test_an_archive_that_cannot_be_used_is_discarded_so_that_a_mended_one_comes(
    bench, data, bundle, cache, tmp_path, web, body, words
):
    sound = web.table["/v.tgz"]
    web.table["/v.tgz"] = File(body or gzip.compress(write_tar(tmp_path / "h.tar", {"../out": b"2"}).read_bytes()))
    done = bench("download", data(bundle))
    assert done.code == 3 and words in done.err and "It was discarded" in done.err
    assert not (cache / "downloads/my-voc/v.tgz").exists()
    web.table["/v.tgz"] = sound
    done = bench("download", data(bundle))
    assert done.code == 0 and "fetched" in done.out, done.err


def test_an_archive_that_somebody_put_there_is_kept_and_named(bench, data, bundle, cache):
    path = cache / "downloads/my-voc/v.tgz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no archive")
    done = bench("download", data(bundle))
    assert done.code == 3 and f"Remove {path}, and the same command fetches it again" in done.err
    assert path.exists()
    path.unlink()
    assert bench("download", data(bundle)).code == 0


def test_a_hostile_archive_harms_no_data_that_are_there(bench, data, bundle, cache, tmp_path, web):
    bench("download", data(bundle))
    before = tree(data_folder(cache, "my-voc"))
    with zipfile.ZipFile(tmp_path / "h.zip", "w") as archive:
        archive.writestr("VOCSegmentation/sets/val.txt", "mine")
        archive.writestr("../../out", "2")
    web.table["/h"] = File((tmp_path / "h.zip").read_bytes())
    hostile = {"file": "h.zip", "urls": [web.url("/h")], "unpack": True}
    assert bench("download", data(bundle, hostile)).code == 3
    assert tree(data_folder(cache, "my-voc")) == before


def test_what_cannot_be_moved_into_place_is_not_taken_for_whole(bench, data, bundle, cache):
    folder = data_folder(cache, "my-voc") / "VOCSegmentation/sets/val.txt"
    folder.mkdir(parents=True)
    done = bench("download", data(bundle))
    assert done.code == 3 and "val.txt is in the way" in done.err
    assert [path.name for path in (cache / "datasets").iterdir()] == ["my-voc"]
    folder.rmdir()
    assert bench("download", data(bundle), "--offline").code == 0
    assert folder.is_file()


def test_what_a_killed_unpacking_left_is_cleared_away(bench, data, bundle, cache):
    (cache / "datasets/.my-voc.unpacking/half").mkdir(parents=True)
    assert bench("download", data(bundle)).code == 0
    assert [path.name for path in (cache / "datasets").iterdir()] == ["my-voc"]


def test_on_a_terminal_it_asks(bench, model, cache, monkeypatch, web):
    monkeypatch.setattr(sys.modules["bench.cli.download"], "_on_terminal", lambda: True)
    for reply, code, fetched in ((False, 0, False), (True, 0, True)):
        monkeypatch.setattr("click.confirm", lambda *a, reply=reply, **k: reply)
        done = bench("download", model())
        assert done.code == code
        assert weights_file(cache, ID, "mine.pth.tar").exists() is fetched
    weights_file(cache, ID, "mine.pth.tar").unlink()
    monkeypatch.setattr("click.confirm", lambda *a, **k: pytest.fail("asked"))
    assert bench("download", model(), "--yes").code == 0


def test_what_needs_no_download_says_so(bench, tmp_path):
    for name in ("shapes", "random-shapes"):
        done = bench("download", name)
        assert done.code == 0 and "nothing to fetch" in done.err


def test_wrong_names_and_cards(bench, data, tmp_path):
    done = bench("download", "pascal-vo")
    assert done.code == 2 and "pascal-voc" in done.err
    done = bench("download", data())
    assert done.code == 3 and "names no files to fetch" in done.err and "http://host.robots.ox.ac.uk" in done.err
    assert bench("download", tmp_path / "none.toml").code == 3
    assert bench("download").code == 2


def test_a_run_without_weights_names_the_command(model, cache):
    with pytest.raises(BadInput, match="not on this machine") as caught:
        find_model(str(model()), None, cache, lambda message: None)
    assert f"`bench download {model()}`" in caught.value.remedy


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


@pytest.mark.parametrize("change", [{"file": "../../x.pth"}, {"url": "file:///etc/passwd"}])
def test_a_model_s_card_cannot_write_or_read_elsewhere(model, change):
    with pytest.raises(BadInput, match=r"plain file name|http or https"):
        load_card(model(**change), ModelCard)


def test_every_shipped_card_with_files_names_their_licence_and_https_or_a_hash(tmp_path):
    for card in (*catalogue.models().values(), *catalogue.datasets().values()):
        if isinstance(card, DatasetCard) and not card.downloads:
            continue
        for item in items_of(card, tmp_path):
            assert item.licence
            # of this one nobody published a checksum, and its server's https is not certain
            safe = item.urls[:1] if item.file == "stuffthingmaps_trainval2017.zip" else item.urls
            assert item.sha256 or all(url.startswith("https://") for url in safe), item.file


def test_the_pascal_voc_bundle_is_the_authors():
    bundle, official = catalogue.dataset("pascal-voc").downloads
    assert bundle.google_drive == "1pxhY5vsLwXuz6UHZVUKhtb7EJdCg2kuH" and not bundle.optional
    assert official.optional and official.file == official.urls[0].rpartition("/")[2]


def test_the_bar_counts_bytes_even_where_their_number_is_not_known(monkeypatch, capfd):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar("bytes") as show:
        show("fetching x", 3_000_000, None)
        show("fetching y", 3_000_000, 5_000_000)
        show("fetching y", 5_000_000, 5_000_000)
    with progress_bar() as show:
        show("observing", 1, 10)
