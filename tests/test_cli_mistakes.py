"""The command line: what a user gets back for a mistake."""

import errno
import json
import os
import shutil

import click
import numpy as np
import pytest
import torch
from PIL import Image

from bench.base.environment import has_bfloat16
from bench.cli import cli
from bench.cli.parameters import NameOrPath, Place
from tests.checkpoints import small_state
from tests.terminal import bench, said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--model", "random-shape"), ("unknown model", "random-shapes")),
        (("run", "--dataset", "pascalvoc"), ("unknown data set", "pascal-voc")),
        (("run", "--protocol", "clusterng"), ("unknown protocol", "clustering")),
        (("run", "--split", "vall"), ("unknown split", "val")),
        (("run", "--set", "restart=1"), ("unknown preset entry", "restarts")),
        (("run", "--set", "restarts=many"), ("restarts",)),
        (("run", "--set", "restarts"), ("ENTRY=VALUE",)),
        (("run", "--clusters", "0"), ("--clusters",)),
        (("run", "--weights", "x.pth"), ("--weights is for one model",)),
        (("run", "--weights", "x.pth", "--model", "random-shapes"), ("random-shapes",)),
        (("run", "--seed", "2147483647"), ("seeds 2147483647 to", "out of range")),
        (("run", "--set", "std=[0,0,0]"), ("--set std", "must be positive")),
        (("run", "--set", "input=[1000000,9]"), ("--set input",)),
        (("run", "--device", "banana"), ("unknown device 'banana'",)),
        (("run", "--split", ""), ("unknown split",)),
        (("run", "--data-root", "nosuch=."), ("unknown data set 'nosuch'",)),
        (("run", "--crf"), ("--crf belongs to --protocol clustering-dense or", "linear or stego-cluster or")),
        (("run", "--epochs", "2", "--protocol", "retrieval"), ("--epochs belongs to --protocol linear",)),
        (("run", "--clusters", "5", "--protocol", "retrieval"), ("--clusters belongs to --protocol clustering",)),
        (("run", "--clusters", "5", "--protocol", "linear+crf"), ("--clusters belongs to --protocol clustering",)),
        (("run", "--crf", "--protocol", "lineer"), ("unknown protocol 'lineer'",)),
        (("rum",), ("rum",)),
        (("run", "--limt", "3"), ("--limt",)),
        (("show", "pascal"), ("pascal-voc",)),
        (("show", "maskdistill"), ("is a paper", "bench reproduce maskdistill")),
        (("list", "paper"), ("Did you mean papers?",)),
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


def test_an_entry_that_one_of_several_protocols_lacks_is_said_before_the_first_image(bench, tmp_path):
    asked = ("--protocol", "clustering", "--protocol", "linear", "--set", "clusters=5")
    done = bench("run", "--model", "random-shapes", "--limit", "30", "--results", "r", "--fresh", *asked)
    said(done, 2, "random-shapes on shapes, linear failed:", "unknown preset entry 'clusters'")
    assert not done.stdout and not list(tmp_path.glob("r/*"))
    done = bench("run", "--model", "random-shapes", "--limit", "30", "--dry-run", *asked[:2], "--protocol",
                 "clustering-dense", *asked[4:])  # fmt: skip
    assert done.returncode == 0 and done.stdout.count("protocol     clustering") == 2


@pytest.mark.parametrize(("there", "warned"), [(True, False), (None, False), (False, True)])
def test_bfloat16_is_warned_of_where_the_processor_has_no_instructions_for_it(bench, monkeypatch, there, warned):
    monkeypatch.setattr("bench.base.environment.has_bfloat16", lambda: there)
    asked = ("run", "--dry-run", "--device", "cpu", "--protocol", "clustering", "--protocol", "clustering-dense")
    done = bench(*asked, "--model", "random-shapes", "--precision", "bfloat16")
    assert done.returncode == 0
    assert done.stderr.count("no instructions for bfloat16, so it takes up to ten times as long as float32") == warned
    assert "bfloat16" not in bench(*asked, "--model", "random-shapes").stderr


@pytest.mark.parametrize(
    ("content", "there"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512_bf16 avx2\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f\nbugs\t\t: bf16\n", False),
        ("processor\t: 0\n", None),
    ],
)
def test_the_processor_s_flags_say_whether_it_has_bfloat16(tmp_path, content, there):
    (tmp_path / "cpuinfo").write_text(content)
    assert has_bfloat16(tmp_path / "cpuinfo") is there
    assert has_bfloat16(tmp_path / "none") is None


def paths_of(command):
    """The options and arguments that take a path, by what a user calls them."""
    kinds = (Place, NameOrPath)
    return [one for one in cli.commands[command].params if isinstance(one.type, kinds)]


@pytest.mark.parametrize("command", sorted(cli.commands))
@pytest.mark.parametrize("path", ["~no-such-user-here/x.toml", "./loop", "a/\0"])
def test_a_path_at_which_nothing_can_lie_is_a_usage_error_of_every_option(tmp_path, monkeypatch, command, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for one in paths_of(command):
        with pytest.raises(click.BadParameter):
            one.type.convert(path, one, None)


@pytest.mark.parametrize("variable", ["BENCH_CACHE", "BENCH_RESULTS", "BENCH_DATA_ROOT", "BENCH_CONFIG"])
def test_so_is_one_in_a_variable(bench, variable):
    said(bench("run", "--dry-run", **{variable: "~no-such-user-here/x"}), 2, "there is no home folder of that name")


def test_text_that_is_no_utf_8_goes_into_no_record(bench):
    asked = ("run", "--model", "random-shapes", "--supervision", os.fsdecode(b"\xff"))
    said(bench(*asked), 2, r"'\udcff' is no text in UTF-8")


@pytest.mark.slow
def test_names_that_are_no_utf_8_are_read_written_and_shown(bench, voc, small_file, tmp_path):
    odd = os.fsdecode(b"\xff\xe9")
    data, file, results = (tmp_path / f"{name}{odd}" for name in ("voc", "weights.pth", "results"))
    voc.rename(data)
    weights = shutil.copy(small_file, file.with_name(f"{odd}.pth"))
    asked = ("--dataset", "pascal-voc", "--data-root", data, "--results", results)
    done = bench("run", *asked, "--model", weights, "--set", "input=[64,64]", "--num-seeds", "1",
                 "--save-predictions", tmp_path / f"masks{odd}", "--json")  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"]["title"] == "\N{REPLACEMENT CHARACTER}" * 2 + ".pth"
    assert bench("score", tmp_path / f"masks{odd}", *asked, "--name", "other").returncode == 0
    assert len(json.loads(bench("list", "results", "--results", results, "--json").stdout)) > 2
    assert bench("report", "--results", results, "--out", tmp_path / f"site{odd}").returncode == 0
    assert bench("show", weights).returncode == 0


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"RANK": "abc"}, 4, "$RANK is 'abc', which is not a whole number"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, 4, "cannot join the processes that $WORLD_SIZE announces"),
    ],
)
def test_variables_of_a_launcher_that_make_no_sense_are_named(bench, variables, code, words):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    asked = ("train", "--recipe", "shapes", "--dataset", "shapes", "--priors", ".", "--out", "o")
    said(bench(*asked, **variables), code, words)


@pytest.mark.parametrize(
    "variables",
    [{"COLUMNS": "abc"}, {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"OMP_NUM_THREADS": "abc"}, {"BENCH_DATA_ROOT": ""},
     {"BENCH_CONFIG": ""}, {"HOME": ""}, {"XDG_CONFIG_HOME": "."}, {"TMPDIR": "/no/where"},
     {"TORCHELASTIC_RUN_ID": "x"}],
)  # fmt: skip
def test_odd_values_of_other_variables_do_no_harm(bench, variables):
    assert bench("list", "models", **variables).returncode == 0


def test_different_mistakes_are_all_said(bench):
    done = bench("run", "--model", "nope", "--model", "nope2", "--limit", "30", "--results", "r")
    said(done, 2, "unknown model 'nope'", "unknown model 'nope2'")
    assert done.stderr.count("error: ") == 2


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


@pytest.mark.slow
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


@pytest.mark.slow
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
        return "would run code"
    assert kind == "NaN"
    state["head.weight"][0] = float("nan")
    torch.save(state, path)
    return "NaN or infinity in 'head.weight'"


@pytest.mark.slow
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


def test_images_that_whitening_makes_equally_far_apart(run_voc):
    few = ("--limit", "20", "--clusters", "4", "--num-seeds", "1")
    refused = run_voc(*few, "--set", "whiten=32")
    said(refused, 3, "20 images whitened to 19 components are all equally far from each other", "--set whiten=9")
    done = run_voc(*few)
    said(done, 0, "whitening to 9 components, not 32: with more these 20 images")
    assert done.stderr.count("whitening to") == 1 and "clustering, modified" in done.stdout


def test_an_unwritable_results_folder_is_found_before_the_work(bench, tmp_path):
    (tmp_path / "file").write_text("")
    said(bench("run", "--results", "file/below", "--fresh"), 4, "cannot write the record", "--results")
    said(bench("run", "--cache", "file/below"), 4, "cannot write the cache", "--cache")


def test_a_full_disk_is_said_and_leaves_no_half_file(bench, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.base.files.os.fsync", full)
    done = bench("run", "--model", "random-shapes", "--limit", "30", "--results", "r")
    said(done, 4, "No space left on device (")
    assert not list((tmp_path / "r").rglob("*.*"))


def test_a_figure_that_finds_no_room_is_said(bench, tmp_path, monkeypatch):
    def full(path, writer):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("bench.records.record.write_with", full)
    done = bench("run", "--model", "random-shapes", "--limit", "30", "--results", "r")
    said(done, 4, "cannot write the record, whose mIoU is ", "No space left on device (r/random-shapes/shapes-val/")
    assert not list((tmp_path / "r").rglob("*.json"))


def test_debug_shows_the_traceback(bench):
    done = bench("run", "--model", "nope", "--debug")
    assert done.returncode == 2 and "Traceback" in done.stderr


@pytest.mark.slow
def test_a_warm_cache_does_not_let_a_file_pass_for_another_card(run_voc, bench, voc, small_file):
    assert run_voc().returncode == 0
    done = bench("run", "--dataset", "pascal-voc", "--data-root", voc, "--set", "input=[64,64]",
                 "--model", "maskcontrast-sup", "--weights", small_file, "--results", "r")  # fmt: skip
    said(done, 3, "does not fit resnet50", "missing")


@pytest.mark.parametrize("line", ["results = 3", "cache = 3", "data_roots = 3", "[data_roots]\nshapes = 3", "x = 1"])
def test_settings_of_a_wrong_type_are_named(bench, tmp_path, line):
    (tmp_path / "bench.toml").write_text(line + "\n")
    said(bench("run"), 2, "bench.toml")


@pytest.mark.slow
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
    assert "there is no folder nowhere, so there are no records" in bench(*command, "--results", "nowhere").stderr
    assert not bench(*command).stderr  # that nothing was run yet is no mistake


def test_a_requirement_that_nothing_answers_to_is_said(bench):
    said(bench("check", "--require", "maskcontrast-sup/linaer", "--results", "none"), 2, "Did you mean linear")
    done = bench("check", "--require", "maskcontrast-sup/davis", "--results", "none")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].endswith("required, but it has no published figure [fails]")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize(
    "arguments", [("report", "--out"), ("report", "--format", "html", "--out"), ("report", "--results")]
)
def test_no_file_takes_the_place_of_a_pipe_or_a_device(tmp_path, arguments):
    pipe = tmp_path / "pipe.md"
    os.mkfifo(pipe)
    said(bench(*arguments, pipe), 2, "is a pipe or a device")
    assert pipe.is_fifo()


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_no_file_takes_the_place_of_the_name_of_a_stream(place):
    with pytest.raises(click.BadParameter, match="is a pipe or a device"):
        Place(writes=True).convert(place, None, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_summary_does_not_wait_for_a_reader_who_never_comes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    said(bench("check", "--results", tmp_path, "--summary", tmp_path / "pipe"), 4, "cannot write the summary")
