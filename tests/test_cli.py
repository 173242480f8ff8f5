"""The command line: what a user types, sees and gets back."""

import contextlib
import hashlib
import json
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
import torch

from bench import __version__
from bench.cards import catalogue
from bench.networks.architectures import MaskContrastNetwork
from bench.protocols import registry
from bench.records.record import check_rows, read_all
from tests.checkpoints import small_state
from tests.conftest import ROOT
from tests.terminal import said


@pytest.mark.slow
def test_without_options_a_figure_its_interval_and_the_record(bench, tmp_path):
    done = bench("run", "--results", "records")
    assert done.returncode == 0, done.stderr
    assert "mIoU" in done.stdout and "95 % interval" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "record: " not in line)
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


@pytest.mark.slow
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
    assert record["environment"]["image_resizing"].keys() == {"library", "version", "ipp", "instructions", "bits"}


@pytest.mark.slow
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
    assert "several runs give an array" in " ".join(bench("run", "--help").stdout.split())


@pytest.mark.slow
def test_all_runs_every_protocol_that_the_data_set_has(run_voc, bench, tmp_path):
    records = json.loads(run_voc("--protocol", "all", "--json").stdout)
    ids = ["clustering", "clustering-dense", "distance-matching", "retrieval-21", "retrieval-7"]
    found = {record["protocol"]["id"]: record["observed"]["from_cache"] for record in records}
    assert [name for name in found if name in ids] == ids and "patch-clustering" in found
    assert [found[name] for name in ids if name.startswith("retrieval")] == [40, 40]
    assert "skipped" not in bench("list", "results", "--results", tmp_path / "results").stderr
    records = json.loads(run_voc("--protocol", "retrieval", "--json").stdout)
    assert len({record["bank"]["entries"] for record in records}) == 2


@pytest.mark.slow
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
        "--set",
        "input=[64,64]",
        "--results",
        "r",
        "--json",
    )
    second = json.loads(done.stdout)
    assert first["dataset"]["manifest"] == second["dataset"]["manifest"]
    assert first["metrics"] == second["metrics"]


@pytest.mark.slow
def test_limited_and_modified_runs_leave_the_full_record_alone(bench, tmp_path):
    card = (ROOT / "datasets/shapes.toml").read_text()
    for whole, few in (
        ('id = "shapes"', 'id = "few"'),
        ("images = 400", "images = 70"),
        ("images = 2000", "images = 8"),
    ):
        assert whole in card
        card = card.replace(whole, few)
    (tmp_path / "few.toml").write_text(card)
    run = ("run", "--model", "random-shapes", "--dataset", "few.toml", "--results", "r")
    bench(*run)
    full = tmp_path / "r/random-shapes/few-val/clustering.json"
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
        done = bench(*run, *extra)
        assert done.returncode == 0, done.stderr
    assert full.read_bytes() == before
    names = sorted(path.name for path in full.parent.glob("*.json"))
    assert len(names) == 8 and "overclustering-30.json" in names
    assert sum("limit50" in name for name in names) == 1


@pytest.mark.slow
def test_two_processes_at_once_harm_neither_cache_nor_records(environment, tmp_path):
    command = [sys.executable, "-m", "bench", "run", "--model", "random-shapes", "--results", "r", "--json"]
    command += ["--num-seeds", "2"]
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


@pytest.mark.slow
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
    # what a shell runs in the background ignores the signal, and so would what is started from there
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    wait_until(process, (tmp_path / "cache/datasets/shapes-v1/sets/val.txt").exists)
    meter = psutil.Process(process.pid)
    started = meter.cpu_times().user
    # in time of its own, whatever else the machine does: well into the pass, which takes several times as long
    wait_until(process, lambda: meter.cpu_times().user - started > 8)
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


@pytest.mark.slow
def test_a_flag_counts_for_those_protocols_that_have_it(run_voc):
    done = run_voc("--protocol", "clustering", "--protocol", "retrieval-21", "--clusters", "25", "--json")
    clustering, retrieval = json.loads(done.stdout)
    assert clustering["protocol"]["id"] == "overclustering-25" and retrieval["protocol"]["id"] == "retrieval-21"
    assert done.returncode == 0 and "clusters" not in retrieval["protocol"]["preset"]


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
    assert "bench run --model bare.weights --protocol clustering-dense evaluates it" in shown
    assert "--protocol linear evaluates it" in bench("show", linear_file).stdout
    assert "a bare backbone" in shown
    assert ", ".join(registry.that_measure(embeddings=False)) in " ".join(shown.split())
    said(bench("show", "./nofile.pth"), 3, "no checkpoint at nofile.pth")
    (tmp_path / "half.pth").write_bytes(small_file.read_bytes()[:9000])
    said(bench("show", "half.pth"), 3, "half.pth is truncated")
    said(bench("show", small_file, "--pictures", "x.png"), 2, "--pictures is for data sets")


@pytest.mark.slow
def test_a_checkpoint_is_called_what_its_owner_says(run_voc, bench, small_file, tmp_path):
    said_so = ("--name", "mine-v2", "--supervision", "none")
    record = json.loads(run_voc(*said_so, "--json").stdout)
    assert {key: record["model"][key] for key in ("id", "title", "supervision")} == {
        "id": "mine-v2", "title": "mine-v2", "supervision": "none"
    }  # fmt: skip
    assert (tmp_path / "results/mine-v2/pascal-voc-val").is_dir()
    said(run_voc("--name", "My Model v1.0!"), 2, "is not allowed as a model's id", "such as 'my-model-v1.0'")
    said(run_voc("--name", "../x"), 2, "is not allowed as a model's id")
    said(run_voc("--name", "random-shapes"), 2, "is a built-in card's id")
    said(run_voc("--model", "random-shapes", *said_so[:2]), 2, "--name and --supervision are for one model")
    said(bench("run", *said_so[2:]), 2, "--name and --supervision are for one model")
    said(bench("run", "--model", "random-shapes", *said_so[2:]), 2, "random-shapes is a card's model")


@pytest.mark.slow
def test_a_record_of_other_weights_is_not_replaced_without_a_word(run_voc, bench, voc, tmp_path):
    again = ("--set", "input=[64,64]", "--results", tmp_path / "results", "--name", "mine")
    assert run_voc("--name", "mine").returncode == 0
    assert "different weights" not in run_voc("--name", "mine").stderr
    state = small_state()
    state["head.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    done = bench("run", "--dataset", "pascal-voc", "--data-root", voc, "--model", "./other.pth", *again, "--json")
    assert done.returncode == 0 and "a record made with different weights" in done.stderr
    assert any("a record made with different weights" in warning for warning in json.loads(done.stdout)["warnings"])


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
