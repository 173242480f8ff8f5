"""The command line: what a user types, sees and gets back."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from bench import __version__, catalogue
from bench.cli import main
from bench.network import MaskContrastNetwork
from bench.record import check_rows, read_all
from tests.checkpoints import small_state
from tests.conftest import ROOT

INPUT = ("--set", "input=[64,64]")


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache for these tests, so that `shapes` is written once."""
    return tmp_path_factory.mktemp("cli-cache")


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
        return Done(left.value.code, *capfd.readouterr())

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
    def call(*arguments):
        return bench(
            "run",
            "--dataset",
            "pascal-voc",
            "--data-root",
            voc,
            "--model",
            small_file,
            *INPUT,
            "--results",
            tmp_path / "results",
            *arguments,
        )

    return call


def said(process, code, *words):
    """The process ended with `code`, a clear line on stderr, no traceback."""
    assert process.returncode == code, process.stderr
    assert "Traceback" not in process.stderr
    for word in words:
        assert word in process.stderr, process.stderr


def test_without_options_a_figure_its_interval_and_the_record(bench, tmp_path):
    done = bench("run", "--results", "records")
    assert done.returncode == 0, done.stderr
    assert "mIoU" in done.stdout and "95 % interval" in done.stdout
    trained, untrained = (
        tmp_path / "records" / part.split("\n")[0].strip() for part in done.stdout.split("record: records/")[1:]
    )
    figures = []
    for path, model in ((trained, "maskcontrast-shapes"), (untrained, "random-shapes")):
        record = json.loads(path.read_text())
        assert record["model"]["id"] == model
        assert record["dataset"]["images"] == 400 and not record["dataset"]["limited"]
        assert path.with_name(record["rows"]["file"]).is_file()
        figures.append(record["metrics"]["mIoU"]["value"])
    assert figures[0] > figures[1] + 20


def test_twice_gives_the_same_figures_to_the_last_digit(bench):
    arguments = ("run", "--json", "--results", "r", "--limit", "60", "--model", "random-shapes")
    first, cached, fresh = (json.loads(bench(*arguments, *extra).stdout) for extra in ((), (), ("--fresh",)))
    for key in ("metrics", "per_class", "confusion", "cluster_to_class", "rows"):
        assert first[key] == cached[key] == fresh[key]


def test_json_on_stdout_is_clean_and_has_the_documented_shape(bench):
    done = bench("run", "--json", "--limit", "40", "--results", "r", "--model", "random-shapes")
    record = json.loads(done.stdout)
    assert record["schema"] == 1
    assert record["model"].keys() >= {"id", "weights_sha256", "supervision"}
    assert record["dataset"].items() >= {"id": "shapes", "split": "val", "images": 40, "limited": True}.items()
    assert record["protocol"]["preset"].items() >= {"input": [80, 80], "clusters": 20, "solver": "faiss"}.items()
    assert record["seeds"] == [1234, 1235, 1236, 1237, 1238]
    assert record["metrics"]["mIoU"].keys() >= {"value", "std", "ci95", "per_seed"}
    assert record["cost"].keys() >= {"seconds", "images_per_second", "peak_memory_mb"}
    assert len(record["per_class"]) == 21 and record["environment"]["packages"]["torch"]


def test_several_models_print_an_array_and_one_failure_hides_no_figure(bench):
    done = bench(
        "run",
        "--json",
        "--limit",
        "40",
        "--results",
        "r",
        "--model",
        "random-shapes",
        "--model",
        "nope",
        "--model",
        "random-resnet18",
    )
    said(done, 2, "unknown model 'nope'")
    assert [r["model"]["id"] for r in json.loads(done.stdout)] == ["random-shapes", "random-resnet18"]


def test_all_runs_every_protocol_that_the_data_set_has(run_voc, bench):
    records = json.loads(run_voc("--protocol", "all", "--json").stdout)
    ids = ["clustering", "clustering-dense", "retrieval-21", "retrieval-7"]
    assert [record["protocol"]["id"] for record in records] == ids
    assert [record["observed"]["from_cache"] for record in records[2:]] == [40, 40]
    records = json.loads(run_voc("--protocol", "retrieval", "--json").stdout)
    assert len({record["bank"]["entries"] for record in records}) == 2


def test_the_same_data_in_both_layouts_gives_the_same_figures(run_voc, bench, voc, small_file, tmp_path):
    first = json.loads(run_voc("--json").stdout)
    stock = tmp_path / "stock/VOC2012"
    stock.mkdir(parents=True)
    (voc / "images").rename(stock / "JPEGImages")
    (voc / "SegmentationClass").rename(stock / "SegmentationClass")
    (stock / "ImageSets").mkdir()
    (voc / "sets").rename(stock / "ImageSets/Segmentation")
    done = bench(
        "run",
        "--dataset",
        "pascal-voc",
        "--data-root",
        stock.parent,
        "--model",
        small_file,
        *INPUT,
        "--results",
        "r",
        "--json",
    )
    second = json.loads(done.stdout)
    assert first["dataset"]["manifest"] == second["dataset"]["manifest"]
    assert first["metrics"] == second["metrics"]


def test_limited_and_modified_runs_leave_the_full_record_alone(bench, tmp_path):
    bench("run", "--model", "random-shapes", "--results", "r")
    full = tmp_path / "r/random-shapes/shapes-val/clustering.json"
    before = full.read_bytes()
    for extra in (
        ("--limit", "50"),
        ("--num-seeds", "2"),
        ("--seed", "7"),
        ("--solver", "minibatch"),
        ("--set", "whiten=8"),
        ("--clusters", "30"),
        ("--precision", "bfloat16"),
    ):
        done = bench("run", "--model", "random-shapes", "--results", "r", *extra)
        assert done.returncode == 0, done.stderr
    assert full.read_bytes() == before
    names = sorted(path.name for path in full.parent.glob("*.json"))
    assert len(names) == 8 and "overclustering-30.json" in names
    assert sum("limit50" in name for name in names) == 1


def test_two_processes_at_once_harm_neither_cache_nor_records(environment, tmp_path):
    command = [sys.executable, "-m", "bench", "run", "--model", "random-shapes", "--results", "r", "--json"]
    pair = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    records = [json.loads(process.communicate(timeout=120)[0]) for process in pair]
    assert records[0]["metrics"] == records[1]["metrics"]
    (stored,), problems = read_all(tmp_path / "r")
    assert problems == [] and check_rows(stored) is None
    assert stored.record["metrics"] == records[0]["metrics"]
    assert not list(tmp_path.rglob("*.tmp"))


def wait_until(process, condition):
    """Until the condition holds or the process has ended."""
    while process.poll() is None and not condition():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)


def test_ctrl_c_leaves_nothing_half_written_and_the_next_run_goes_on(environment, tmp_path):
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--model",
        "random-resnet50",
        "--results",
        "r",
        "--batch-size",
        "2",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(process, (tmp_path / "cache/datasets/shapes-v1/sets/val.txt").exists)
    meter = psutil.Process(process.pid)
    before = meter.cpu_times().user
    # in time of its own, whatever else the machine does: well into the pass, which takes several times as long
    wait_until(process, lambda: meter.cpu_times().user - before > 8)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr and "Traceback" not in stderr
    assert not list(tmp_path.rglob("*.tmp")) and not list((tmp_path / "r").rglob("*.json"))
    plan = subprocess.run(
        [*command, "--dry-run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    kept = int(plan.stdout.split("done         ")[1].split(" of 400")[0])
    assert 0 < kept < 400


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--model", "random-shape"), ("unknown model", "random-shapes")),
        (("run", "--dataset", "pascalvoc"), ("unknown data set", "pascal-voc")),
        (("run", "--protocol", "clusterng"), ("unknown protocol", "clustering")),
        (("run", "--split", "vall"), ("unknown split", "val")),
        (("run", "--set", "restart=1"), ("unknown preset entry", "restarts")),
        (("run", "--set", "restarts=many"), ("restarts",)),
        (("run", "--set", "restarts"), ("KEY=VALUE",)),
        (("run", "--clusters", "0"), ("--clusters",)),
        (("run", "--weights", "x.pth"), ("--weights fits one model",)),
        (("run", "--weights", "x.pth", "--model", "random-shapes"), ("random-shapes",)),
        (("run", "--seed", "2147483647"), ("seeds 2147483647 to", "out of range")),
        (("run", "--set", "std=[0,0,0]"), ("--set std", "must be positive")),
        (("run", "--set", "input=[1000000,9]"), ("--set input",)),
        (("run", "--device", "banana"), ("unknown device 'banana'",)),
        (("run", "--split", ""), ("unknown split",)),
        (("run", "--data-root", "nosuch=."), ("unknown data set 'nosuch'",)),
        (("run", "--crf"), ("--crf belongs to --protocol linear",)),
        (("run", "--epochs", "2", "--protocol", "retrieval"), ("--epochs belongs to --protocol linear",)),
        (("run", "--clusters", "5", "--protocol", "retrieval"), ("--clusters belongs to --protocol clustering",)),
        (("run", "--clusters", "5", "--protocol", "linear+crf"), ("--clusters belongs to --protocol clustering",)),
        (("run", "--crf", "--protocol", "lineer"), ("unknown protocol 'lineer'",)),
        (("rum",), ("rum",)),
        (("run", "--limt", "3"), ("--limt",)),
        (("show", "pascal"), ("pascal-voc",)),
        (("check", "--require", "maskcontrast"), ("maskcontrast-sup",)),
    ],
)
def test_wrong_names_and_flags_exit_2_and_say_what_is_meant(bench, arguments, words):
    said(bench(*arguments), 2, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "clusters=abc"), "--set clusters: "),
        (("--split", "test"), "unknown split"),
        (("--device", "banana"), "unknown device"),
    ],
)
def test_one_mistake_is_said_once_for_all_runs(bench, arguments, words):
    done = bench("run", *arguments)
    said(done, 2, words, "maskcontrast-shapes on shapes", "random-shapes on shapes")
    assert done.stderr.count(words) == done.stderr.count("error: ") == 1


def test_different_mistakes_are_all_said(bench):
    done = bench("run", "--model", "nope", "--model", "nope2", "--limit", "30", "--results", "r")
    said(done, 2, "unknown model 'nope'", "unknown model 'nope2'")
    assert done.stderr.count("error: ") == 2


def test_a_flag_counts_for_those_protocols_that_have_it(run_voc):
    done = run_voc("--protocol", "clustering", "--protocol", "retrieval-21", "--clusters", "25", "--json")
    clustering, retrieval = json.loads(done.stdout)
    assert clustering["protocol"]["id"] == "overclustering-25" and retrieval["protocol"]["id"] == "retrieval-21"
    assert done.returncode == 0 and "clusters" not in retrieval["protocol"]["preset"]


def test_missing_weights_say_where_to_get_them(bench, voc):
    done = bench("run", "--dataset", "pascal-voc", "--data-root", voc, "--model", "maskcontrast-sup")
    said(done, 3, "maskcontrast-sup are not on this machine", "1UkzAZMBG1U8kTqO3yhO2nTtoRNtEvyRq", "--weights")


def test_missing_data_say_how_to_name_them(bench, small_file):
    said(bench("run", "--dataset", "pascal-voc", "--model", small_file), 3, "no data root", "--data-root")
    said(bench("run", "--dataset", "pascal-voc", "--model", small_file, "--data-root", "gone"), 3, "no data root at")


def damage(voc, kind):
    """Damage the data in one way; returns words that the message must have."""
    image, label = sorted((voc / "images").iterdir())[-3], sorted((voc / "SegmentationClass").iterdir())[-3]
    if kind == "image missing":
        image.unlink()
        return image.name, "is missing"
    if kind == "label missing":
        label.unlink()
        return label.name, "is missing"
    if kind == "image truncated":
        image.write_bytes(image.read_bytes()[:3000])
        return image.name, "damaged"
    if kind == "label truncated":
        label.write_bytes(label.read_bytes()[:300])
        return label.name, "damaged"
    array = np.asarray(Image.open(label)).copy()
    if kind == "sizes differ":
        Image.fromarray(array[:-1]).save(label)
        return label.name, "same size"
    if kind == "label out of range":
        array[0, 0] = 77
        Image.fromarray(array).save(label)
        return label.name, "label 77"
    assert kind == "empty split file"
    (voc / "sets/val.txt").write_text("")
    return "val.txt", "is empty"


@pytest.mark.parametrize(
    "kind",
    [
        "image missing",
        "label missing",
        "image truncated",
        "label truncated",
        "sizes differ",
        "label out of range",
        "empty split file",
    ],
)
def test_damaged_data_exit_3_and_name_the_file(run_voc, voc, kind):
    words = damage(voc, kind)
    said(run_voc(), 3, *words)


def test_work_done_before_a_bad_file_is_kept(run_voc, voc, golden):
    damage(voc, "image truncated")
    said(run_voc("--batch-size", "4"), 3)
    broken = sorted((voc / "images").iterdir())[-3]
    shutil.copy(golden / "VOCSegmentation/images" / broken.name, broken)
    record = json.loads(run_voc("--json").stdout)
    assert record["observed"]["from_cache"] == 36  # of 37 before it: whole batches of four


def bad_checkpoint(path, kind, small_file):
    state = small_state()
    if kind == "web page":
        path.write_bytes(b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>")
        return "web page"
    if kind == "truncated":
        path.write_bytes(small_file.read_bytes()[:9000])
        return "truncated"
    if kind == "another architecture":
        torch.save({"conv1.weight": torch.zeros(2)}, path)
        return "not a MaskContrast network"
    if kind == "code":

        class Bomb:
            def __reduce__(self):
                return (os.system, ("touch executed",))

        torch.save({"model": Bomb()}, path)
        return "wants to run code"
    assert kind == "NaN"
    state["head.weight"][0] = float("nan")
    torch.save(state, path)
    return "NaN or infinity in 'head.weight'"


@pytest.mark.parametrize("kind", ["web page", "truncated", "another architecture", "code", "NaN"])
def test_bad_checkpoints_exit_3_and_say_what_they_are(bench, voc, tmp_path, small_file, kind):
    words = bad_checkpoint(tmp_path / "bad.pth", kind, small_file)
    said(bench("run", "--model", "./bad.pth"), 3, "bad.pth", words)
    said(bench("run", "--model", "./bad.pth", "--limit", "4"), 3, "bad.pth", words)
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_that_is_not_there_is_named_before_the_number_of_images(bench):
    said(bench("run", "--model", "./nofile.pth", "--limit", "4"), 3, "no checkpoint at nofile.pth")


def test_fewer_images_than_clusters_and_nothing_salient(run_voc):
    ways = "For a trial: --limit 20, or --clusters 7, or --protocol clustering-dense."
    said(run_voc("--limit", "7"), 3, "7 images cannot form 20 clusters", ways)
    done = run_voc("--limit", "1", "--clusters", "41")
    said(done, 3, "1 images cannot form 41 clusters", "For a trial: --protocol clustering-dense.")
    said(run_voc("--set", "saliency_threshold=1e9"), 3, "nothing is salient in any of the 40 images")


def test_an_unwritable_results_folder_is_found_before_the_work(bench, tmp_path):
    (tmp_path / "file").write_text("")
    said(bench("run", "--results", "file/below", "--fresh"), 4, "cannot write the record", "--results")
    said(bench("run", "--cache", "file/below"), 4, "cannot write the cache", "--cache")


def test_a_full_disk_is_said_and_leaves_no_half_file(bench, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.files.os.fsync", full)
    said(bench("run", "--model", "random-shapes", "--limit", "30", "--results", "r"), 4, "No space left on device")
    assert not list((tmp_path / "r").rglob("*.*"))


def test_a_damaged_record_is_reported_and_skipped(bench, tmp_path):
    bench("run", "--model", "random-shapes", "--limit", "30", "--results", "r")
    (tmp_path / "r/broken.json").write_text('{"schema": 1, "metrics": ')
    (tmp_path / "r/foreign.json").write_text('{"name": "package"}')
    for command in (("report",), ("report", "--format", "json"), ("list", "results"), ("check",)):
        done = bench(*command, "--results", "r")
        assert "broken.json is damaged" in done.stderr and "foreign.json is not a record" in done.stderr
        assert "Traceback" not in done.stderr
    assert json.loads(bench("report", "--format", "json", "--results", "r").stdout)["measured"]


def test_a_check_that_compared_nothing_fails(bench):
    done = bench("check", "--results", "none")
    assert done.returncode == 1 and "nothing was compared" in done.stdout


def test_reports_go_to_stdout_or_to_a_file(bench, tmp_path):
    done = bench("report", "--format", "pwc", "--results", "none")
    assert done.returncode == 0 and done.stdout.count("MaskContrast") == 24
    assert bench("report", "--out", "out/board.md", "--results", "none").returncode == 0
    assert "# Leaderboard" in (tmp_path / "out/board.md").read_text()


def test_settings_go_flag_then_environment_then_file(bench, tmp_path):
    (tmp_path / "bench.toml").write_text('results = "from-file"\n[run]\nlimit = 30\nnum-seeds = 1\n')
    record = json.loads(bench("run", "--json", "--model", "random-shapes").stdout)
    assert record["dataset"]["images"] == 30 and (tmp_path / "from-file").is_dir()
    bench("run", "--model", "random-shapes", BENCH_RESULTS="from-environment")
    assert (tmp_path / "from-environment").is_dir()
    given = ("run", "--json", "--model", "random-shapes", "--limit", "40", "--results", "from-flag")
    record = json.loads(bench(*given).stdout)
    assert record["dataset"]["images"] == 40 and (tmp_path / "from-flag").is_dir()
    (tmp_path / "bench.toml").write_text("[run]\nlimt = 3\n")
    said(bench("run"), 2, "bench.toml", "limt")


def test_list_and_show(bench, voc):
    for kind in ("models", "datasets", "protocols", "published"):
        assert bench("list", kind).returncode == 0
        assert json.loads(bench("list", kind, "--json").stdout)
    shown = bench("show", "pascal-voc", "--data-root", voc).stdout
    assert "2007_000324" in shown and "tvmonitor" in shown and "291×234" in shown
    assert "MoCo v2" in bench("show", "maskcontrast-unsup").stdout
    assert "saliency_threshold" in bench("show", "clustering").stdout


def test_show_says_what_a_checkpoint_is_recognised_as(bench, small_file, linear_file, tmp_path):
    shown = bench("show", small_file).stdout
    assert (
        "resnet18 (width 16, decoder 64, embedding 32)" in shown
        and hashlib.sha256(small_file.read_bytes()).hexdigest() in shown
    )
    module = MaskContrastNetwork(catalogue.model("random-shapes").architecture)
    assert f"{sum(parameter.numel() for parameter in module.parameters()):,}" in shown
    assert "retrieval-21" in shown and "retrieval" not in bench("show", linear_file).stdout
    assert "21 classes" in bench("show", linear_file).stdout
    backbone = {key: value for key, value in small_state().items() if key.startswith("backbone.")}
    torch.save(backbone, tmp_path / "bare.weights")
    shown = bench("show", "bare.weights").stdout
    assert "a bare backbone" in shown and "clustering-dense, davis, distance-matching, linear\n" in shown
    said(bench("show", "./nofile.pth"), 3, "no checkpoint at nofile.pth")
    (tmp_path / "half.pth").write_bytes(small_file.read_bytes()[:9000])
    said(bench("show", "half.pth"), 3, "half.pth is truncated")
    said(bench("show", small_file, "--pictures", "x.png"), 2, "--pictures is for data sets")


def test_a_checkpoint_is_called_what_its_owner_says(run_voc, bench, small_file, tmp_path):
    said_so = ("--name", "mine-v2", "--supervision", "none")
    record = json.loads(run_voc(*said_so, "--json").stdout)
    assert {key: record["model"][key] for key in ("id", "title", "supervision")} == {
        "id": "mine-v2", "title": "mine-v2", "supervision": "none"
    }  # fmt: skip
    assert (tmp_path / "results/mine-v2/pascal-voc-val").is_dir()
    said(run_voc("--name", "../x"), 2, "cannot be a model's id")
    said(run_voc("--name", "random-shapes"), 2, "is a built-in card's id")
    said(run_voc("--model", "random-shapes", *said_so[:2]), 2, "--name and --supervision are of one model")
    said(bench("run", *said_so[2:]), 2, "--name and --supervision are of one model")
    said(bench("run", "--model", "random-shapes", *said_so[2:]), 2, "random-shapes is a card's model")


def test_a_record_of_other_weights_is_not_replaced_without_a_word(run_voc, bench, voc, tmp_path):
    again = (*INPUT, "--results", tmp_path / "results", "--name", "mine")
    assert run_voc("--name", "mine").returncode == 0
    assert "other weights" not in run_voc("--name", "mine").stderr
    state = small_state()
    state["head.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    done = bench("run", "--dataset", "pascal-voc", "--data-root", voc, "--model", "./other.pth", *again, "--json")
    assert done.returncode == 0 and "was of other weights" in done.stderr
    assert any("was of other weights" in warning for warning in json.loads(done.stdout)["warnings"])


def test_a_model_and_a_data_set_of_ones_own_by_path(bench, tmp_path, golden, small_file):
    shutil.copytree(golden / "VOCSegmentation", tmp_path / "mine/data")
    shutil.copy(small_file, tmp_path / "mine/weights.pth.tar")
    model = (ROOT / "models/random-shapes.toml").read_text().replace('id = "random-shapes"', 'id = "my-model"')
    head, tail = model.split("[weights]")
    tail = "[training]" + tail.split("[training]")[1]
    weights = '[weights]\nsource = "file"\nfile = "weights.pth.tar"\nlicence = "mine"\n'
    (tmp_path / "mine/model.toml").write_text(head + weights + tail)
    card = (ROOT / "datasets/pascal-voc.toml").read_text().replace('id = "pascal-voc"', 'id = "my-data"')
    card = card.replace('title = "PASCAL VOC 2012"', 'title = "Mine"\nroot = "data"').replace("[512, 512]", "[64, 64]")
    (tmp_path / "mine/data.toml").write_text(card)
    done = bench("run", "--model", "mine/model.toml", "--dataset", "mine/data.toml", "--json", "--results", "r")
    record = json.loads(done.stdout)
    assert (record["model"]["id"], record["dataset"]["id"]) == ("my-model", "my-data")
    assert "my-model" in bench("show", "mine/model.toml").stdout


def test_version_and_help_import_nothing_heavy(bench, environment):
    assert __version__ in bench("--version").stdout
    for command in ((), ("run",), ("report",), ("check",), ("list",), ("show",)):
        assert bench(*command, "--help").returncode == 0
    code = (
        "import sys; from bench.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'pandas', 'numpy', 'rich', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, cwd=ROOT)


def test_debug_shows_the_traceback(bench):
    done = bench("run", "--model", "nope", "--debug")
    assert done.returncode == 2 and "Traceback" in done.stderr


def test_a_warm_cache_does_not_let_a_file_pass_for_another_card(run_voc, bench, voc, small_file):
    assert run_voc().returncode == 0
    done = bench("run", "--dataset", "pascal-voc", "--data-root", voc, *INPUT, "--model", "maskcontrast-sup",
                 "--weights", small_file, "--results", "r")  # fmt: skip
    said(done, 3, "does not fit resnet50", "missing")


@pytest.mark.parametrize("line", ["results = 3", "cache = 3", "data_roots = 3", "[data_roots]\nshapes = 3", "x = 1"])
def test_settings_of_a_wrong_type_are_named(bench, tmp_path, line):
    (tmp_path / "bench.toml").write_text(line + "\n")
    said(bench("run"), 2, "bench.toml")


def test_labels_that_are_all_ignored_give_no_figure(run_voc, voc):
    for path in (voc / "SegmentationClass").iterdir():
        with Image.open(path) as label:
            Image.new("L", label.size, 255).save(path)
    said(run_voc(), 3, "no labelled pixel in any of the 40 images")


def test_show_fails_on_damaged_data_and_only_asks_for_a_root_that_is_unknown(bench, voc):
    assert bench("show", "pascal-voc").returncode == 0
    damage(voc, "label missing")
    said(bench("show", "pascal-voc", "--data-root", voc), 3, "is missing")


@pytest.mark.parametrize("command", [("report",), ("check",), ("list", "results")])
def test_a_named_folder_of_records_that_is_not_there_is_said(bench, command):
    assert "there is no folder nowhere, so no records" in bench(*command, "--results", "nowhere").stderr
    assert not bench(*command).stderr  # that nothing was run yet is no mistake


def test_a_requirement_that_nothing_answers_to_is_said(bench):
    said(bench("check", "--require", "maskcontrast-sup/linaer", "--results", "none"), 2, "Did you mean linear")
    done = bench("check", "--require", "maskcontrast-sup/davis", "--results", "none")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].endswith("no published figure answers to it  [fails]")
