"""Another package's protocol and model adapter: listed, planned, cached, recorded, reported and checked like ours."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from bench.base.errors import BadEnvironment, WrongName
from bench.cards import datasets
from bench.networks import adapters
from bench.protocols import registry
from tests.terminal import said

PLUGIN = Path(__file__).parent / "plugin" / "bench_nearest_mean.py"
POINTS = """[bench.protocols]
nearest-mean = bench_nearest_mean:ENTRY

[bench.networks]
tiny = bench_nearest_mean:tiny
"""


def forget():
    for known in (registry.protocols, datasets._sections, adapters.adapters):
        known.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with entry points where Python finds it, as pip does."""

    def call(points=POINTS, name="bench_plugin"):
        site = tmp_path / "site"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        shutil.copy(PLUGIN, site)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        forget()

    yield call
    sys.modules.pop("bench_nearest_mean", None)
    monkeypatch.undo()
    forget()


@pytest.mark.slow
def test_it_is_listed_and_shown(bench, install):
    assert "nearest-mean" not in bench("list", "protocols").stdout
    install()
    assert "nearest-mean" in bench("list", "protocols").stdout
    assert "The split whose labelled pixels" in " ".join(bench("show", "nearest-mean").stdout.split())
    assert registry.groups()["all"] == tuple(sorted(registry.protocols())) and "nearest-mean" in registry.protocols()


@pytest.mark.slow
def test_it_is_planned_cached_recorded_reported_and_checked(bench, install, tmp_path):
    install()
    line = ("run", "--model", "tiny:3", "--protocol", "nearest-mean", "--results", tmp_path / "r")
    assert "0 of 400 images of the bank are cached" in bench(*line, "--dry-run").stdout
    made = json.loads(bench(*line, "--json", "--save-predictions", tmp_path / "p").stdout)
    assert made["model"]["id"] == "tiny-3" and made["protocol"]["preset"]["bank"] == "val"
    assert made["means"] == 21 and 0 < made["metrics"]["mIoU"]["value"] < 100
    assert made["rows"]["file"].startswith("nearest-mean.") and len(list((tmp_path / "p").glob("*.png"))) == 400
    assert "400 of 400 images of the bank are cached" in bench(*line, "--dry-run").stdout
    again = json.loads(bench(*line, "--json").stdout)
    assert again["metrics"] == made["metrics"] and again["observed"]["from_cache"] == 400
    table = bench("report", "--format", "csv", "--results", tmp_path / "r").stdout
    assert "nearest-mean" in table and "tiny-3" in table
    site = bench("report", "--out", tmp_path / "pages", "--results", tmp_path / "r")
    assert site.returncode == 0 and "nearest-mean" in (tmp_path / "pages" / "index.html").read_text()
    shutil.move(tmp_path / "r", tmp_path / "earlier")
    assert bench(*line).returncode == 0
    done = bench("check", "--results", tmp_path / "r", "--against", tmp_path / "earlier")
    assert done.returncode == 0 and "reproduced" in done.stdout
    assert bench("list", "results", "--results", tmp_path / "r").returncode == 0


@pytest.mark.slow
def test_its_run_is_done_again_where_it_is_installed(bench, install, tmp_path):
    install()
    results = ("--results", tmp_path / "r")
    made = ("run", "--model", "tiny:3", "--protocol", "nearest-mean", "--limit", "20", "--set", "grid=2", *results)
    assert bench(*made).returncode == 0
    told = " ".join(bench("show", "tiny-3", *results).stdout.split())
    assert "Every pixel takes the class of the nearest mean feature. A class in no label" in told
    # a name in a record may be a stranger's, and an adapter does what a name tells it to
    said(bench("rerun", "tiny-3", *results), 3, "tiny:3, a model of the adapter 'tiny'", "--model")
    done = bench("rerun", "tiny-3", *results, "--model", "tiny:3")
    assert done.returncode == 0 and "identical: each of 20 images" in done.stdout
    said(bench("rerun", "tiny-3", *results, "--model", "tiny:4"), 3, "not the weights of the record")
    shutil.rmtree(tmp_path / "site")
    forget()
    said(bench("rerun", "tiny-3", *results), 3, "nearest-mean-every-2, is not installed here")
    assert "is not installed here" in " ".join(bench("show", "tiny-3", *results).stdout.split())


@pytest.mark.slow
def test_its_variant_has_a_name_of_its_own(bench, install, tmp_path):
    install()
    made = json.loads(
        bench(
            "run", "--model", "tiny:3", "--protocol", "nearest-mean-every-2", "--limit", 4,
            "--results", tmp_path / "r", "--json",
        ).stdout
    )  # fmt: skip
    assert made["protocol"]["id"] == "nearest-mean-every-2" and made["protocol"]["preset"]["grid"] == 2
    assert registry.command_words("nearest-mean-every-2") == ["--protocol", "nearest-mean", "--set", "grid=2"]


@pytest.mark.slow
def test_a_card_may_have_its_preset(bench, install, tmp_path):
    install()
    card = tmp_path / "mine.toml"
    text = (Path(__file__).parents[1] / "datasets" / "shapes.toml").read_text()
    text = text.replace('id = "shapes"', 'id = "mine"')
    card.write_text(text + "\n[protocols.nearest-mean]\ngrid = 3\n")
    said = bench("run", "--dataset", card, "--model", "tiny:1", "--protocol", "nearest-mean", "--dry-run").stdout
    assert '"grid": 3' in said
    card.write_text(text + "\n[protocols.nearest-mean]\ngird = 3\n")
    done = bench("run", "--dataset", card, "--model", "tiny:1", "--protocol", "nearest-mean", "--dry-run")
    assert done.returncode == 3 and "protocols.nearest-mean.gird: unknown key" in done.stderr


def test_a_saliency_protocol_refuses_its_model(bench, install):
    install()
    done = bench("run", "--model", "tiny:1")
    assert done.returncode == 3 and "tiny-1 is a module: it has no embedding and saliency head" in done.stderr


def test_a_broken_package_is_left_out_and_said(install):
    install("[bench.protocols]\nbroken = bench_nearest_mean:missing\n")
    with pytest.warns(UserWarning, match="the protocol 'broken' of bench_nearest_mean:missing was left out"):
        assert "nearest-mean" not in registry.protocols()


def test_an_adapter_that_fails_is_named(install, tmp_path):
    install()
    with pytest.raises(BadEnvironment, match=r"the adapter 'tiny' .* failed on 'x': ValueError"):
        adapters.adapted("tiny:x", tmp_path)
    assert adapters.adapted("huge:1", tmp_path) is None and adapters.adapted("C:1", tmp_path) is None


def test_an_unknown_scheme_is_an_unknown_model(bench, install):
    install()
    done = bench("run", "--model", "huge:1")
    assert done.returncode == 2 and "unknown model 'huge:1'" in done.stderr


def test_the_registry_parses_what_it_names():
    for name in ("linear+crf", "overclustering-30", "clustering", "davis", "patch-overclustering-9+fixed"):
        base, entries = registry.parse(name)
        variants = [variant for variant in registry.protocols()[base].variants if set(variant.keys) == set(entries)]
        assert name == (variants[0].name(entries) if entries else base)
    for name in ("retrieval", "all"):
        with pytest.raises(WrongName, match="stands for several protocols"):
            registry.parse(name)
    for name in ("overclustering-", "overclustering-x", "linear+crf+crf", "davis+crf", "overclustering-1234567"):
        assert registry.parsed(name) is None


def test_plain_names_hold_no_number_of_their_own():
    names, ids = registry.plain_names(), sorted(registry.protocols())
    assert names[: len(ids)] == ids and {"linear+crf", "patch-clustering+fixed"} <= set(names[len(ids) :])
    assert not [name for name in names if "{" in name] and all(registry.parsed(name) for name in names)
