"""Shell completion: what a shell offers for a line, and what it costs."""

import os
import subprocess
import sys
import tomllib

import pytest
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from bench.base import folders
from bench.cli import cli
from bench.cli.completion import VARIABLE
from tests.conftest import ROOT


def completed(*line, kind=BashComplete):
    """What a shell offers after these words, the last of which is incomplete."""
    shell = kind(cli, {}, "bench", VARIABLE)
    return [item.value for item in shell.get_completions(list(line[:-1]), line[-1]) if item.type == "plain"]


def test_commands_options_and_choices_are_completed():
    assert completed("do") == ["doctor", "download"]
    assert {"--solver", "--split", "--save-predictions"} <= set(completed("run", "--s"))
    assert completed("run", "--solver", "m") == ["minibatch"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("run", "--model", "random-r"), ["random-resnet18", "random-resnet50"]),
        (("run", "--dataset", "imagenet-s-9"), ["imagenet-s-919"]),
        (("run", "--protocol", "li"), ["linear", "linear+crf", "linear-dinov3", "linear-leopart", "linear-patches"]),
        (("run", "--dataset", "davis", "--split", "val"), ["val-2016", "val-2017"]),
        (("score", "masks", "--dataset", "pascal-voc", "--split", ""), ["train", "trainaug", "val"]),
        (("train", "--recipe", "maskcontrast-s"), ["maskcontrast-sup"]),
        (("priors", "coco-stuff-8"), ["coco-stuff-81"]),
        (("download", "maskcontrast-sup"), ["maskcontrast-sup", "maskcontrast-sup-linear"]),
        (("show", "dav"), ["davis"]),
        (("check", "--require", "random-s"), ["random-shapes"]),
        (("export", "imagenet-s-9"), ["imagenet-s-919"]),
        (("export", "--verify", "x.zip", "--dataset", "imagenet-s-9"), ["imagenet-s-919"]),
        (("export", "imagenet-s-50", "--model", "random-s"), ["random-shapes"]),
        (("run", "--set", "clu"), ["clusters="]),
        (("run", "--protocol", "linear+crf", "--set", "cl"), ["classifier="]),
        (("run", "--protocol", "retrieval", "--set", "ban"), ["bank="]),
        (
            ("run", "--protocol", "linear", "--protocol", "clustering", "--set", "cl"),
            ["classes_from=", "classifier=", "clusters="],
        ),
        (("run", "--protocol", "nosuch", "--set", "temp"), ["temperature="]),
        (("export", "--protocol", "distance-matching", "--set", "backg"), ["background="]),
        (("train", "--set", "architecture.e"), ["architecture.embedding="]),
        (("train", "--recipe", "shapes", "--set", "war"), ["warmup="]),
        (("reproduce", "maskc"), ["maskcontrast", "maskcontrast-bigbigan"]),
        (("reproduce", "maskcontrast", "--row", "2"), ["2", "20", "21", "22", "23"]),
    ],
)
def test_ids_are_completed(line, expected):
    assert sorted(completed(*line)) == expected


def test_every_id_of_the_catalogue_is_offered_and_files_as_well():
    assert completed("run", "--model", "") == list(
        dict.fromkeys(tomllib.loads(p.read_text())["id"] for p in sorted(folders.folder("models").glob("*.toml")))
    )
    shell = BashComplete(cli, {}, "bench", VARIABLE)
    items = shell.get_completions(["run", "--model"], "./my")
    assert [(item.type, item.value) for item in items] == [("file", "./my")]


def test_records_are_completed_below_the_folder_of_records(tmp_path, monkeypatch):
    for name in ("a/shapes-val/clustering@12345678-limit60.json", "a/shapes-val/linear.json", "b/x-val/davis.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "a/shapes-val/linear.examples").mkdir()
    (tmp_path / "a/shapes-val/linear.examples/examples.json").write_text("{}")
    own = ["a/shapes-val/clustering@12345678-limit60", "a/shapes-val/linear"]
    assert completed("compare", "--results", str(tmp_path), "a") == own
    assert completed("compare", "--results", str(tmp_path), own[0], "b") == ["b/x-val/davis"]
    for command in ("rerun", "show"):
        assert completed(command, "--results", str(tmp_path), "a/") == own
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path))
    assert completed("compare", "a/shapes-val/l") == own[1:]
    assert completed("compare", "--results", str(tmp_path / "nowhere"), "") == []


def test_completing_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from click.shell_completion import BashComplete; from bench.cli import cli\n"
        "shell = BashComplete(cli, {}, 'bench', '_')\n"
        "for line in (['run', '--model'], ['run', '--protocol'], ['run', '--split'], ['download'],\n"
        "             ['compare'], ['rerun'], ['show'], ['export'], ['run', '--set'], ['train', '--set']):\n"
        "    assert len(shell.get_completions(line, '')) > 1\n"
        "print([m for m in ('torch', 'numpy', 'pandas', 'faiss', 'cv2', 'scipy') if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("shell", "kind"), [("bash", BashComplete), ("zsh", ZshComplete), ("fish", FishComplete)])
def test_the_script_of_each_shell_is_printed(shell, kind, capfd):
    from bench.cli import main

    with pytest.raises(SystemExit) as left:
        main(["completion", shell])
    out = capfd.readouterr().out
    assert left.value.code == 0 and f"{VARIABLE}={shell}_complete" in out and "_bench_completion" in out
    assert out.strip() == kind(cli, {}, "bench", VARIABLE).source().strip()


def test_the_shell_s_question_is_answered_by_the_program_itself(tmp_path):
    words = {"COMP_WORDS": "bench list mod", "COMP_CWORD": "2", VARIABLE: "bash_complete", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()"],
        env=os.environ | words, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["plain,models"], done.stderr
