"""Where records are written and read in a checkout: a run changes nothing that git tracks."""

import json
import shutil
from pathlib import Path

import pytest

from bench.base import folders
from bench.records.record import json_files
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

RUN = ("run", "--model", "random-shapes", "--limit", 30, "--clusters", 3, "--num-seeds", 1)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A checkout with its own records, as `bench` sees it."""
    root = tmp_path / "clone"
    shutil.copytree(folders.folder("results"), root / "results", ignore=shutil.ignore_patterns(folders.LOCAL))
    (root / "setup.cfg").touch()
    for name in ("bench", "models", "datasets"):
        (root / name).symlink_to(ROOT / name)
    monkeypatch.setattr(folders, "checkout", lambda: root)
    return root


def tracked(root):
    paths = [path for path in (root / "results").rglob("*") if path.is_file() and folders.LOCAL not in path.parts]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_run_leaves_the_records_alone_that_came_with_the_checkout(bench, clone):
    before = tracked(clone)
    made = bench("run", "--model", "random-shapes")
    assert made.returncode == 0 and tracked(clone) == before
    assert (clone / "results/local/random-shapes/shapes-val/clustering.json").is_file()


def test_what_was_run_here_is_shown_in_place_of_what_came_along(bench, clone):
    came = bench("list", "results").stdout
    bench("run", "--model", "random-shapes")
    own = bench("list", "results").stdout
    assert came.count("random-shapes") == own.count("random-shapes")
    done = bench("compare", "random-shapes", "maskcontrast-shapes", "--json")
    assert "/local/random-shapes/" in json.loads(done.stdout)["a"]["path"]


def test_an_installed_copy_leaves_the_checkout_alone_in_which_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "checkout", lambda: None)
    monkeypatch.chdir(tmp_path)
    assert folders.default_results() == Path("results") == folders.default_records()
    (tmp_path / "setup.cfg").touch()
    for name in ("bench", "models", "datasets"):
        (tmp_path / name).mkdir()
    assert folders.default_results() == Path("results/local") and folders.default_records() == Path("results")


def test_only_a_record_of_the_same_place_is_hidden(tmp_path):
    for place in ("a/x-val/clustering.json", "b/x-val/clustering.json", "local/a/x-val/clustering.json"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
    found = [path.relative_to(tmp_path).as_posix() for path in json_files(tmp_path)]
    assert found == ["b/x-val/clustering.json", "local/a/x-val/clustering.json"]
