"""Fixtures shared by all tests. Nothing here reaches the network or the user's own cache."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers are the parallelism; libraries read this when they are loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from filelock import FileLock

from bench.cards.catalogue import dataset
from bench.cards.datasets import Split
from bench.cli import main
from bench.data.decoding import read_label
from bench.data.find_samples import SHAPES_VERSION
from bench.data.preprocessing import resize_nearest
from bench.passes.observations import Observation, stack
from tests.terminal import Done

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
PHONE, DESKTOP = 390, 1440
"""Widths of a browser, CSS pixels."""


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory, monkeypatch):
    """No setting of the developer's shell or home, or of a service that runs the tests, leaks into one."""
    for name in [name for name in os.environ if name.startswith(("BENCH_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))


@pytest.fixture
def golden() -> Path:
    return GOLDEN


def folder_at_hand(name: str, what: str) -> Path:
    """The folder that `BENCH_TEST_<NAME>` names; skips where there is none."""
    variable = f"BENCH_TEST_{name.upper()}"
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / name)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no {what} at {folder} (set {variable})")
    return folder


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Small cuts of the real data sets, where they are at hand."""
    return folder_at_hand("realdata", "real data")


@pytest.fixture(scope="session")
def parity() -> Path:
    """All that the reference implementation produced, where it is at hand; what is small lies in golden/."""
    return folder_at_hand("parity", "reference output")


@pytest.fixture(scope="session")
def common(tmp_path_factory) -> Path:
    """A folder that all workers share, for what takes seconds to make and nobody changes: see `once`."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common"
    folder.mkdir(exist_ok=True)
    return folder


def once(path: Path, make: Callable[[Path], object]) -> Path:
    """A file or folder that whoever asks first makes; those who ask meanwhile wait."""
    with FileLock(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            part = path.with_name(f"part-{path.name}")
            make(part)
            part.rename(path)
    return path


@pytest.fixture(scope="session")
def resnet18_file(common) -> Path:
    from tests.checkpoints import write_checkpoint

    return once(common / "resnet18.pth.tar", lambda path: write_checkpoint(path, "resnet18"))


@pytest.fixture(scope="session")
def resnet50_file(common) -> Path:
    from tests.checkpoints import write_checkpoint

    return once(common / "resnet50.pth.tar", lambda path: write_checkpoint(path, "resnet50"))


@pytest.fixture(scope="session")
def golden_run(common, resnet18_file):
    """What `bench.evaluate` of that file on the golden images left."""
    from tests.golden_run import GoldenRun

    return GoldenRun(
        once(common / "golden-run", lambda path: GoldenRun(path).make(resnet18_file, GOLDEN / "VOCSegmentation"))
    )


@pytest.fixture(scope="session")
def small_file(tmp_path_factory) -> Path:
    """A narrow network in the authors' file format: a few hundred kB, a millisecond an image."""
    from tests.checkpoints import write_small_checkpoint

    return write_small_checkpoint(tmp_path_factory.mktemp("weights") / "small.pth.tar")


@pytest.fixture(scope="session")
def imagenet_tree(tmp_path_factory) -> Path:
    """A small tree in ImageNet-S-50's format."""
    from tests.imagenet import write_tree

    return write_tree(tmp_path_factory.mktemp("imagenet-s") / "ImageNetS50")


S50_COUNTS = {split: dataset("imagenet-s-50").splits[split] for split in ("test", "val")}
"""As the card has them."""


@pytest.fixture
def s50_tree(imagenet_tree, monkeypatch) -> Path:
    """That tree made whole: its 50 images a split are all that the card counts."""
    for split in S50_COUNTS:
        monkeypatch.setitem(dataset("imagenet-s-50").splits, split, Split(images=50))
    return imagenet_tree


@pytest.fixture
def official_counts(s50_tree, monkeypatch) -> None:
    """The card's own numbers again."""
    for split, counted in S50_COUNTS.items():
        monkeypatch.setitem(dataset("imagenet-s-50").splits, split, counted)


@pytest.fixture
def submission(s50_tree, small_file, tmp_path) -> Path:
    """A sound one, of the narrow network on the test split of that tree."""
    from tests.submissions import write

    write(small_file, s50_tree, tmp_path / "sound.zip")
    return tmp_path / "sound.zip"


@pytest.fixture(scope="session")
def linear_file(tmp_path_factory) -> Path:
    """A released classifier of 21 classes on the narrow network, in the authors' file format."""
    from tests.checkpoints import write_linear_checkpoint

    return write_linear_checkpoint(tmp_path_factory.mktemp("weights") / "linear.pth.tar")


@pytest.fixture(scope="session")
def cache(tmp_path_factory, common):
    """One cache for these tests; `shapes`, which takes half a minute to draw, lies where all workers find it."""
    folder = tmp_path_factory.mktemp("cli-cache")
    shapes = common / f"shapes-v{SHAPES_VERSION}"
    shapes.mkdir(exist_ok=True)
    (folder / "datasets").mkdir()
    (folder / "datasets" / shapes.name).symlink_to(shapes)
    return folder


@pytest.fixture
def bench(cache, tmp_path, monkeypatch, capfd):
    """Run `bench` in an empty folder, in this process: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(cache))

    def call(*arguments, **extra):
        for name, value in extra.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        for name in extra:
            monkeypatch.delenv(name)
        done = Done(left.value.code, *capfd.readouterr())
        assert "--debug" in arguments or "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture
def environment(tmp_path):
    """The environment of a process of its own, with a new cache."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BENCH_")}
    return clean | {"BENCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def voc(golden, tmp_path):
    """A writable copy of the generated data in the authors' layout."""
    shutil.copytree(golden / "VOCSegmentation", tmp_path / "voc")
    return tmp_path / "voc"


@pytest.fixture
def run_voc(bench, voc, small_file, tmp_path):
    """Run it on that data with a narrow network at a small size."""

    def call(*arguments):
        return bench(
            "run",
            "--dataset",
            "pascal-voc",
            "--data-root",
            voc,
            "--model",
            small_file,
            "--set",
            "input=[64,64]",
            "--results",
            tmp_path / "results",
            *arguments,
        )

    return call


def histogram(label, where, ignore=255):
    return np.bincount(label[where & (label != ignore)], minlength=21)


@pytest.fixture(scope="session")
def painted():
    """`paint_golden` of the ResNet-18."""
    return paint_golden("resnet18")


def paint_golden(backbone: str):
    """The reference's masks, counted on the generated labels; its figures."""
    card = dataset("pascal-voc")
    found = []
    with np.load(GOLDEN / f"clustering_{backbone}.npz") as arrays:
        for name, packed, prototype in zip(arrays["names"], arrays["masks"], arrays["prototypes"], strict=True):
            label, digest = read_label(GOLDEN / f"VOCSegmentation/SegmentationClass/{name}.png", card)
            small = np.unpackbits(packed).reshape(512, 512)
            at_label, at_input = resize_nearest(small, label.shape), resize_nearest(label, small.shape)
            pairs = ((label, at_label), (at_input, small))
            columns = [histogram(grid, mask == side) for grid, mask in pairs for side in (1, 0)]
            counts = np.stack(columns, axis=1)
            classes = np.flatnonzero(counts.any(axis=1))
            found.append(
                Observation(
                    prototype, int(small.sum()), 0, label.shape, classes.astype(np.uint16),
                    counts[classes].astype(np.int32), digest[:16], packed,
                )
            )  # fmt: skip
        observations = stack(arrays["names"].tolist(), found, {})
    return observations, json.loads((GOLDEN / f"clustering_{backbone}.json").read_text(encoding="utf-8"))


@pytest.fixture
def web(monkeypatch):
    """A web server on 127.0.0.1; no proxy of the developer's stands before it."""
    from tests.webserver import WebServer

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = WebServer()
    yield server
    server.stop()


@pytest.fixture
def client(tmp_path, web):
    """What fetches one file from it."""
    from tests.client import Client

    return Client(tmp_path, web)


@pytest.fixture(scope="session")
def shown_site(tmp_path_factory):
    """A web site with every kind of page, as `bench report` writes it."""
    from tests.site_records import build_site

    return build_site(tmp_path_factory.mktemp("shown"))


@pytest.fixture(scope="session")
def full_site(common):
    """The web site of every published figure and a hundred records."""
    from tests.site_records import build_full_site

    return once(common / "full-site", build_full_site)


@pytest.fixture(scope="session")
def chromium():
    """A headless browser; skips where there is none."""
    from tests.browser import start

    driver = start()
    yield driver
    driver.quit()


@pytest.fixture
def any_size(chromium, shown_site):
    """The browser, its size not set yet. No page may write to the console or ask for anything but files."""
    from tests.browser import Browser

    browser = Browser(chromium, shown_site)
    browser.reset()
    yield browser
    said, asked = browser.logs()
    assert not said
    assert {address.partition(":")[0] for address in asked} == {"file"}


@pytest.fixture
def desktop(any_size):
    """The browser as wide as a desktop's."""
    any_size.size(DESKTOP)
    return any_size


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def browser(any_size, request):
    """The browser as wide as a phone, and as wide as a desktop's."""
    any_size.size(request.param)
    return any_size
