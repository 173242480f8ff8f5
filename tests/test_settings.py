"""Settings: flag before environment before bench.toml, one entry said once, none without effect."""

from pathlib import Path

import pytest

from bench.cli.settings import data_root_of
from tests.terminal import bench, said


@pytest.fixture(autouse=True)
def configured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bench.toml").write_text('[data_roots]\npascal-voc = "/of-the-file"\n')


@pytest.mark.parametrize(
    "given, root",
    [
        ((), "/of-the-file"),
        (("/bare",), "/bare"),
        (("pascal-voc=/named",), "/named"),
        (("/bare", "pascal-voc=/named"), "/named"),
        (("davis=/other",), "/of-the-file"),
    ],
)
def test_a_data_root_given_goes_before_one_of_the_file(given, root):
    assert data_root_of("pascal-voc", given) == Path(root)


@pytest.mark.parametrize(
    "words", [("run", "--dry-run"), ("score", "."), ("priors", "--method", "boundary", "--out", "p"), ("show",)]
)
@pytest.mark.parametrize("source", ["flag", "variable"])
def test_every_command_looks_where_it_is_told_to(words, source, monkeypatch):
    dataset = ("pascal-voc",) if words[0] in ("priors", "show") else ("--dataset", "pascal-voc")
    if source == "variable":
        monkeypatch.setenv("BENCH_DATA_ROOT", "told here")
    flag = ("--data-root", "told here") if source == "flag" else ()
    said(bench(words[0], *dataset, *words[1:], *flag), 3, "no data root at told here")


def test_show_finds_what_lies_in_the_cache_of_the_file(tmp_path, monkeypatch):
    """As `bench download` and `bench run`, which put it there."""
    monkeypatch.delenv("BENCH_CACHE", raising=False)
    Path("bench.toml").write_text(f"cache = '{tmp_path / 'kept'}'\n")
    assert str(tmp_path / "kept") in bench("show", "maskcontrast-sup").stdout


def test_a_mistake_in_the_settings_names_the_file_that_has_it(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text("[run]\ndevise = 'cpu'\n")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "mine.toml"))
    said(bench("list", "models"), 2, "mine.toml: [run] has no option 'devise'")


@pytest.mark.parametrize(
    "words, says",
    [
        (("--clusters", "5", "--set", "clusters=7"), "--set clusters=… and the option for it set the same entry"),
        (("--solver", "faiss", "--set", "solver=minibatch"), "--set solver=… and the option for it set the same entry"),
        (("--num-seeds", "1", "--set", "seeds=7"), "--set seeds=… and the option for it set the same entry"),
        (("--set", "clusters=5", "--set", "clusters=7"), "'clusters' is given twice"),
        (("--set", "batch=10"), "the entry 'batch' has no effect here: the solver is faiss"),
        (("--protocol", "retrieval-21", "--num-seeds", "3"), "--num-seeds belongs to --protocol clustering or"),
        (("--protocol", "retrieval-21", "--seed", "9"), "--seed belongs to --protocol clustering or"),
        (("--protocol", "clusterin"), "unknown protocol 'clusterin'"),
        (("--protocol", "overclustering-9"), "overclustering-9 was asked for, but the entries are those of clustering"),
        (
            ("--protocol", "overclustering-30", "--clusters", "40"),
            "overclustering-30 was asked for, but the entries are those of overclustering-40",
        ),
        (("--device", "cuda:99"), "device 'cuda:99' cannot be used"),
    ],
)
def test_what_contradicts_itself_or_has_no_effect_is_refused(words, says):
    done = bench("run", "--model", "random-shapes", "--dry-run", *words)
    said(done, 4 if "--device" in words else 2, says)


def test_overclustering_is_asked_for_by_its_name():
    done = bench("run", "--model", "random-shapes", "--dry-run", "--protocol", "overclustering-30")
    assert done.returncode == 0
    flag = bench("run", "--model", "random-shapes", "--dry-run", "--clusters", "30").stdout
    # how long it takes is measured anew
    asked, same = ([line for line in text.splitlines() if not line.startswith("cost")] for text in (done.stdout, flag))
    assert asked == same and any("overclustering-30" in line for line in asked)
