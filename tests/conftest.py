"""Fixtures shared by all tests. Nothing here reaches the network or the user's own cache."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory, monkeypatch):
    """No setting of the developer's shell or home leaks into a test."""
    for name in [name for name in os.environ if name.startswith("BENCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Small cuts of the real data sets, where they are at hand."""
    folder = Path(os.environ.get("BENCH_TEST_REALDATA", ROOT.parent / "shared" / "realdata"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set BENCH_TEST_REALDATA)")
    return folder


@pytest.fixture(scope="session")
def resnet18_file(tmp_path_factory) -> Path:
    from tests.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("weights") / "resnet18.pth.tar", "resnet18")


@pytest.fixture(scope="session")
def small_file(tmp_path_factory) -> Path:
    """A narrow network in the authors' file format: a few hundred kB, a millisecond an image."""
    from tests.checkpoints import write_small_checkpoint

    return write_small_checkpoint(tmp_path_factory.mktemp("weights") / "small.pth.tar")
