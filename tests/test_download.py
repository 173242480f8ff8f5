"""`bench download` of weights: from a card to the file where `bench run` looks for it. Only 127.0.0.1 is contacted."""

import hashlib
import json
import pickle
import re
import shutil
import sys

import pytest

from bench.base.errors import BadInput
from bench.base.files import locked
from bench.cards import catalogue
from bench.cards.card import load_card
from bench.cards.datasets import DatasetCard
from bench.cards.local_files import weights_file
from bench.cards.models import ModelCard
from bench.cards.pins import Pins
from bench.cli.progress import progress_bar
from bench.download.items import items_of
from bench.download.part_files import Part
from bench.networks.find_model import find_model
from tests.webserver import File, answer

ID = "maskcontrast-mine"


@pytest.fixture
def cache(tmp_path):
    """Another for each test, in place of the shared one."""
    return tmp_path / "cache"


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


def test_weights_go_where_a_run_looks_for_them(bench, model, cache, small_file, web):
    done = bench("download", model())
    assert done.returncode == 0
    path = weights_file(cache, ID, "mine.pth.tar")
    assert path.read_bytes() == small_file.read_bytes()
    assert "CC BY 4.0" in done.stderr and "fetched" in done.stdout and str(path) in done.stdout
    assert "this hash is now pinned, and later files must have it" in done.stdout
    warned = []
    subject = find_model(str(model()), None, cache, warned.append)
    assert subject.weights_sha256 == hashlib.sha256(small_file.read_bytes()).hexdigest()
    assert "has the hash pinned on" in warned[0]


def test_size_and_licence_are_said_before_the_file_is_asked_for(bench, model, web, small_file):
    bench("download", model())
    assert [method for method, _, _ in web.requests] == ["HEAD", "GET"]
    web.requests.clear()
    done = bench("download", model(), "--list", "--cache", "other")
    assert done.returncode == 0 and not done.stderr
    assert [method for method, _, _ in web.requests] == ["HEAD"]
    assert f"{small_file.stat().st_size / 1e6:.1f} MB" in done.stdout and "CC BY 4.0" in done.stdout


def test_a_size_on_the_card_needs_no_request(bench, model, web):
    done = bench("download", model(bytes=12_000_000_000), "--dry-run")
    assert "12.0 GB" in done.stdout and not web.requests


def test_a_server_that_knows_no_size_keeps_nobody_from_fetching(bench, model, web, small_file):
    def only_get(handler):
        (answer(405) if handler.command == "HEAD" else answer(200, small_file.read_bytes()))(handler)

    web.table["/m"] = only_get
    done = bench("download", model())
    assert done.returncode == 0 and "not known" in done.stderr


def test_what_is_there_is_verified_and_not_fetched_again(bench, model, cache, web):
    bench("download", model())
    web.requests.clear()
    done = bench("download", model())
    assert done.returncode == 0 and not web.requests
    assert "found" in done.stdout and "as pinned on" in done.stdout
    weights_file(cache, ID, "mine.pth.tar").write_bytes(b"damaged")
    done = bench("download", model())
    assert done.returncode == 3 and "SHA-256" in done.stderr
    assert "Remove the file, and run the same command again" in done.stderr
    assert bench("download", model(), "--fresh").returncode == 0


def test_a_file_that_changes_after_it_was_pinned_is_an_error_with_the_remedy(bench, model, cache, web, small_file):
    bench("download", model())
    path = weights_file(cache, ID, "mine.pth.tar")
    path.unlink()
    web.table["/m"] = File(small_file.read_bytes() + b"more", etag='"two"')
    done = bench("download", model())
    assert done.returncode == 3 and not path.exists()
    assert "pinned hash (of" in done.stderr and web.url("/m") in done.stderr
    assert f"bench download {model()} --repin" in done.stderr
    assert bench("download", model(), "--repin").returncode == 0
    path.unlink()
    assert bench("download", model()).returncode == 0


@pytest.mark.slow
def test_a_run_refuses_downloaded_weights_that_are_not_the_pinned_ones(bench, model, cache, small_file, web):
    bench("download", model())
    Pins(cache).keep(f"weights/{ID}/mine.pth.tar", "0" * 64, 1, "elsewhere")
    with pytest.raises(BadInput, match=", pinned on"):
        find_model(str(model()), None, cache, lambda message: None)
    warned = []
    find_model(str(model()), small_file, cache, warned.append)
    assert "the record has the hash of the file used" in warned[0]


def test_pins_say_when_and_from_where(bench, model, cache, web, small_file):
    bench("download", model())
    (entry,) = json.loads((cache / "downloads/pins.json").read_text()).items()
    key, pin = entry
    assert key == f"weights/{ID}/mine.pth.tar"
    assert pin["source"] == web.url("/m") and pin["bytes"] == small_file.stat().st_size
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", pin["date"])
    Pins(cache).keep("weights/other/x", "1" * 64, 1, "elsewhere")
    assert Pins(cache).find(key).sha256 == pin["sha256"] and Pins(cache).find("weights/other/x").bytes == 1
    wrong = (None, {"sha256": "0"}, pin | {"date": 1})
    for damage in ("{", "[]", "[" * 100_000, *(json.dumps({key: entry}) for entry in wrong)):
        (cache / "downloads/pins.json").write_text(damage)
        done = bench("download", model())
        assert done.returncode == 3 and "pins.json is damaged" in done.stderr
    (cache / "downloads/pins.json").unlink()
    (cache / "downloads/pins.json").symlink_to("/dev/zero")
    done = bench("download", model())
    assert done.returncode == 3 and "pins.json is damaged: not an ordinary file" in done.stderr


def zeroed(data):
    """With a hole in the middle, as a power loss leaves it."""
    return data[: len(data) // 2] + bytes(4096) + data[len(data) // 2 + 4096 :]


@pytest.mark.parametrize(
    "damage, words",
    [
        (zeroed, "damaged.*Bad CRC"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:2000] + bytes(len(data) - 2000), "damaged"),
        (lambda data: b"no weights at all" * 100, r"no checkpoint|not a checkpoint"),
        (lambda data: pickle.dumps(print, protocol=2), "code"),
        (lambda data: b"\xef\xbb\xbf<!-- sorry -->\n<HTML>" + data, "web page"),
    ],
)
def test_damaged_weights_are_not_pinned(bench, model, cache, web, small_file, damage, words):
    damaged = damage(small_file.read_bytes())
    path = weights_file(cache, ID, "mine.pth.tar")
    web.table["/m"] = File(damaged)
    done = bench("download", model())
    assert done.returncode == 3 and re.search(words, done.stderr), done.stderr
    assert "pinned" in done.stderr or words == "web page"
    assert not path.exists() and not list(path.parent.glob("*.part*"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damaged)
    done = bench("download", model(), "--offline")
    assert done.returncode == 3 and "Nothing was pinned. Remove the file" in done.stderr and path.exists()
    assert not (cache / "downloads/pins.json").exists()


def test_safetensors_are_opened_before_they_are_pinned(bench, model, cache, web, small_file):
    from safetensors.torch import save

    from bench.networks.checkpoints import read_checkpoint

    data = save(read_checkpoint(small_file).state)
    for damaged in (data[:-1], data + b"x", data[:100]):
        web.table["/m"] = File(damaged)
        done = bench("download", model(file="mine.safetensors"))
        assert done.returncode == 3 and not (cache / "downloads/pins.json").exists(), done.stderr
    web.table["/m"] = File(data)
    assert bench("download", model(file="mine.safetensors")).returncode == 0
    assert Pins(cache).find(f"weights/{ID}/mine.safetensors").bytes == len(data)


def test_weights_of_which_nobody_says_the_length_are_taken_only_whole_and_that_is_said(
    bench, model, cache, web, small_file
):
    data = small_file.read_bytes()
    for end in (len(data) - 1, len(data) // 2):
        web.table["/m"] = File(data, sized=False, breaks=[end])
        done = bench("download", model())
        assert done.returncode == 3 and not (cache / "downloads/pins.json").exists(), done.stderr
    web.table["/m"] = File(data, sized=False)
    done = bench("download", model())
    assert done.returncode == 0 and "nothing vouches for the length of mine.pth.tar" in done.stderr
    assert Pins(cache).find(f"weights/{ID}/mine.pth.tar")


def test_a_published_hash_is_checked_and_nothing_pinned(bench, model, cache, small_file):
    digest = hashlib.sha256(small_file.read_bytes()).hexdigest()
    assert "as published" in bench("download", model(sha256=digest)).stdout
    assert not (cache / "downloads/pins.json").exists()
    done = bench("download", model(sha256="0" * 64), "--fresh")
    assert done.returncode == 3 and "the one published is 000000000000…" in done.stderr


def test_offline_says_what_is_missing_and_where_it_would_go(bench, model, cache, web, monkeypatch):
    for arguments, setting in ((("--offline",), ""), ((), "1")):
        monkeypatch.setenv("BENCH_OFFLINE", setting)
        done = bench("download", model(), *arguments)
        assert done.returncode == 4 and not web.requests
        assert "mine.pth.tar" in done.stderr and str(weights_file(cache, ID, "mine.pth.tar")) in done.stderr
    assert bench("download", model(), "--list").returncode == 0 and not web.requests


def test_offline_and_fresh_exclude_each_other(bench, model, web, monkeypatch):
    assert bench("download", model()).returncode == 0
    web.requests.clear()
    for arguments, setting in ((("--offline",), ""), ((), "1")):
        monkeypatch.setenv("BENCH_OFFLINE", setting)
        done = bench("download", model(), "--fresh", *arguments)
        assert done.returncode == 2 and "leave one out" in done.stderr and not web.requests


def test_offline_takes_what_was_put_there_by_hand(bench, model, cache, web, small_file):
    path = weights_file(cache, ID, "mine.pth.tar")
    path.parent.mkdir(parents=True)
    shutil.copy(small_file, path)
    done = bench("download", model(), "--offline")
    assert done.returncode == 0 and not web.requests
    assert "by hand" in Pins(cache).find(f"weights/{ID}/mine.pth.tar").source


def test_what_a_broken_download_left_goes_when_the_file_is_there(bench, model, cache, web, small_file):
    path = weights_file(cache, ID, "mine.pth.tar")
    part = Part.of(path)
    part.describe(web.url("/m"), '"one"', 5000)
    with part.writer(0, lambda: 0.0) as write:
        write(b"x" * 1000)
    assert "1,000 bytes of it" in bench("download", model(), "--list").stdout
    shutil.copy(small_file, path)
    assert bench("download", model(), "--offline").returncode == 0
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_proxy_that_is_none_is_said(bench, model):
    for proxy in ("http://", "no proxy at all", "http://[::1", "http://127.0.0.1:port"):
        done = bench("download", model(), http_proxy=proxy)
        assert done.returncode in (3, 4) and "could not be fetched" in done.stderr, done.stderr


def test_a_web_page_put_there_by_hand_is_refused(bench, model, cache):
    path = weights_file(cache, ID, "mine.pth.tar")
    path.parent.mkdir(parents=True)
    path.write_text("<!doctype html><title>Google Drive</title>")
    done = bench("download", model(), "--offline")
    assert done.returncode == 3 and "is a web page" in done.stderr


def test_no_network_is_one_line_and_exit_4(bench, model, web):
    web.table.clear()
    done = bench("download", model())
    assert done.returncode == 4 and "not there (404)" in done.stderr and "By hand: open" in done.stderr


def test_two_at_once_do_not_mix(bench, model, cache):
    with locked(cache / "downloads" / f"weights-{ID}.lock", 0, "held", ""):
        done = bench("download", model())
    assert done.returncode == 4 and "is being downloaded" in done.stderr
    assert bench("download", model()).returncode == 0


def test_on_a_terminal_it_asks(bench, model, cache, monkeypatch, web):
    monkeypatch.setattr(sys.modules["bench.cli.download"], "_on_terminal", lambda: True)
    for reply, code, fetched in ((False, 0, False), (True, 0, True)):
        monkeypatch.setattr("click.confirm", lambda *a, reply=reply, **k: reply)
        done = bench("download", model())
        assert done.returncode == code
        assert weights_file(cache, ID, "mine.pth.tar").exists() is fetched
    weights_file(cache, ID, "mine.pth.tar").unlink()
    monkeypatch.setattr("click.confirm", lambda *a, **k: pytest.fail("asked"))
    assert bench("download", model(), "--yes").returncode == 0


def test_what_needs_no_download_says_so(bench, tmp_path):
    for name in ("shapes", "random-shapes"):
        done = bench("download", name)
        assert done.returncode == 0 and "nothing to fetch" in done.stderr


def test_what_a_library_keeps_is_fetched_by_its_card(bench):
    pytest.importorskip("timm")
    done = bench("download", "dino-vits16", "--list")
    assert done.returncode == 0 and "timm/vit_small_patch16_224.dino" in done.stdout + done.stderr


def test_a_run_without_weights_names_the_command(model, cache):
    with pytest.raises(BadInput, match="not on this machine") as caught:
        find_model(str(model()), None, cache, lambda message: None)
    assert f"`bench download {model()}`" in caught.value.remedy


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
            # of these nobody published a checksum, and their servers' https is not certain
            safe = item.urls[:1] if item.file.startswith(("stuffthingmaps", "DUT")) else item.urls
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
    drawn = capfd.readouterr().err
    assert "3.0/? MB" in drawn and "5.0/5.0 MB" in drawn
    with progress_bar() as show:
        show("observing", 1, 10)
    assert "1/10" in capfd.readouterr().err
