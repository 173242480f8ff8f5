"""The cases of `snapshot.py`: commands of `bench`, in groups that share a folder, a cache and results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MAKE_DATA = """
import torch, torchvision
from pathlib import Path
from tests import checkpoints, imagenet, training, video
checkpoints.write_small_checkpoint(Path("small.pth.tar"))
checkpoints.write_linear_checkpoint(Path("linear.pth.tar"))
checkpoints.write_checkpoint(Path("resnet18.pth.tar"), "resnet18")
torch.manual_seed(0)
torch.save(torchvision.models.resnet18(weights=None).state_dict(), "bare.pth")
imagenet.write_tree(Path("ImageNetS50"))
for name, frames, objects in (("ball", 6, 2), ("kite", 5, 1), ("duck", 7, 2)):
    video.write_sequence(Path("davis"), name, frames, objects)
video.write_list(Path("davis"), ["ball", "kite", "duck"])
video.write_list(Path("davis"), ["ball", "kite"], "ImageSets/2016/val.txt")
Path("tiny.toml").write_text(training.RECIPE)
"""
CARD = """
schema = 1
id = "my-model"
title = "My model"
[architecture]
backbone = "resnet18"
width = 16
decoder_width = 64
embedding = 32
[weights]
source = "file"
file = "small.pth.tar"
licence = "CC0"
[training]
initialisation = "random"
prior = "none"
supervision = "none"
"""
PYTHON_USE = """
import bench, json, torch
class Colours(torch.nn.Module):
    def forward(self, images):
        return images, images.mean(1) + 0.5
made = bench.evaluate(Colours(), data_root=DATA, name="colours", limit=60, results="results", entries={"clusters": 30})
print(json.dumps(made))
print(sorted(bench.__all__))
"""


@dataclass(frozen=True)
class Case:
    """One command; files and folders that match `keep` in the group's folder are part of the snapshot."""

    name: str
    command: tuple[str, ...]
    keep: tuple[str, ...] = ()
    stderr: bool = False
    """Whether stderr is kept even where it does not fail."""
    digits: bool = True
    """Without them, numbers in its text are of the machine and left out."""


@dataclass(frozen=True)
class Places:
    out: Path
    program: Path
    data: Path
    parity: Path
    realdata: Path

    def neutral(self, text: str) -> str:
        """The text with folders named by their role; columns that their lengths have widened are closed up."""
        found = text
        for name in ("out", "data", "parity", "realdata", "program"):
            found = found.replace(str(getattr(self, name)), f"<{name}>")
        return text if found == text else re.sub(r"(?m)(?<=\S)[ -]{3,}", "  ", found)


def case(name: str, *words: object, keep: tuple[str, ...] = (), stderr: bool = False, digits: bool = True) -> Case:
    """A case of `bench`. Each word is split at spaces, unless it is a path."""
    split = [part for word in words for part in ([str(word)] if isinstance(word, Path) else str(word).split())]
    return Case(name, ("-m", "bench", *split), keep, stderr, digits)


# --- the cases ---


def shapes(at: Places) -> list[Case]:
    start = ("run --dataset shapes --model maskcontrast-shapes --data-root", at.data / "shapes")
    score = ("score --dataset shapes --data-root", at.data / "shapes")
    variants = {
        "overclustering": "--clusters 30",
        "minibatch": "--solver minibatch --set restarts=1",
        "seeds": "--seed 7 --num-seeds 2",
        "bfloat16": "--precision bfloat16 --clusters 19",
        "random-start": "--set init=random --set iterations=5 --set restarts=2",
        "threshold": "--set saliency_threshold=0 --set absent=skip",
        "fit": "--set whiten=0 --set fit=train",
        "matched-on": "--set whiten=0 --set fit=train --set matched_on=train",
        "matched-on-train": "--set whiten=0 --set fit=val --set matched_on=train",
        "pixels": "--set matching=pixels",
        "images": "--set matching=images",
        "benchmark-figures": "--set figures=imagenet-s",
        "grid": "--set grid=input",
        "torch": "--set resizing=torch",
        "linear-interpolation": "--set interpolation=linear",
        "area": "--set interpolation=area --batch-size 7 --workers 1",
        "size": "--set input=[64,96] --set mean=[0.5,0.5,0.5]",
        "fresh": "--fresh",
        "dense": "--protocol clustering-dense --num-seeds 2 --set input=[80,80]",
        "dense-pixels": "--protocol clustering-dense --set matching=pixels --set grid=input --clusters 25",
        "retrieval": "--protocol retrieval-21 --set grid=label --set averaged=objects --set void_classes=['disc']",
        "distance": "--protocol distance-matching --set background=true --set input=[80,80] --set neighbours=5",
        "linear": "--protocol linear --epochs 2 --num-seeds 2",
        "crf": "--protocol linear --epochs 2 --num-seeds 2 --crf",
        "last": "--protocol linear+crf --epochs 2 --set selection=last",
        "train-images": "--protocol linear --epochs 1 --set train_images=64 --set batch=8 --precision bfloat16",
    }
    return [
        case(
            "whole", *start, "--save-examples 2", keep=("results/maskcontrast-shapes/shapes-val/clustering.examples",)
        ),
        case("dry", *start, "--protocol all --dry-run"),
        case("all", *start, "--protocol all --limit 60 --epochs 1"),
        case("limit-40", *start, "--limit 40"),
        *(case(name, *start, "--limit 80", more.replace("'", '"')) for name, more in variants.items()),
        case("save", *start, "--limit 60 --num-seeds 2 --save-predictions saved", keep=("saved",)),
        case("save-again", *start, "--limit 60 --num-seeds 2 --save-predictions saved"),
        case("save-other", *start, "--limit 60 --clusters 25 --save-predictions saved", stderr=True),
        case("score", *score, "saved --limit 60"),
        case("score-iou", *score, "saved --limit 60 --match iou --name matched --supervision none"),
        case("score-pixels", *score, "saved/seed-1234 --limit 60 --match pixels --name pixels"),
        case("score-images", *score, "saved/seed-1235 --limit 60 --match images --name images --json"),
        case("save-linear", *start, "--limit 30 --protocol linear --epochs 1 --save-predictions lin", keep=("lin",)),
        case("score-linear", *score, "lin --limit 30"),
        case("json", *start, "--limit 40 --json"),
        Case("from-python", ("-c", f"DATA = {str(at.data / 'shapes')!r}\n{PYTHON_USE}")),
        case("check", "check --json"),
    ]


def voc(at: Places) -> list[Case]:
    tree = ("--dataset pascal-voc --data-root", at.parity / "inputs/VOCSegmentation")
    start = ("run", *tree, "--set input=[64,64] --num-seeds 2 --model", at.data / "resnet18.pth.tar", "--name parity")
    plain = ("run", *tree, "--set input=[64,64] --model", at.data / "resnet18.pth.tar", "--name parity")
    train = "--epochs 1 --set batch=8"
    linear = ("run", *tree, "--set input=[96,96] --protocol linear --model", at.data / "linear.pth.tar")
    return [
        case("clustering", *start, "--supervision none --save-examples 1"),
        case("dense", *start, "--protocol clustering-dense"),
        case("retrieval", *plain, "--protocol retrieval --save-predictions found --protocol davis", stderr=True),
        case("retrieval-both", *plain, "--protocol retrieval"),
        case("linear", *start, "--protocol linear", train),
        case("linear-crf", *plain, "--protocol linear+crf", train),
        case("distance", *plain, "--protocol distance-matching", stderr=True),
        case("save", *start, "--protocol clustering-dense --num-seeds 1 --save-predictions near", keep=("near",)),
        case("released", *linear, "--name released --save-predictions released", keep=("released",)),
        case("released-crf", *linear, "--name released --crf"),
        case("score", "score released", *tree),
        case("score-name", "score near --name near --match pixels --json", *tree),
        case("bare", "run", *tree, "--set input=[64,64] --model", at.data / "bare.pth", "--name bare --protocol linear",
             train),
        case("bare-dense", "run", *tree, "--set input=[64,64] --protocol clustering-dense --name bare --model",
             at.data / "bare.pth"),
        case("card", "run", *tree, "--set input=[64,64] --model", at.data / "my-model.toml"),
        case("trainaug", "run", *tree, "--split trainaug --set input=[64,64] --model", at.data / "my-model.toml"),
        case("all", "run", *tree, "--dry-run --protocol all --model", at.data / "small.pth.tar"),
    ]  # fmt: skip


def real(at: Places) -> list[Case]:
    def start(dataset: str, tree: str, size: str) -> tuple[object, ...]:
        return (f"run --set input=[{size}] --dataset {dataset} --data-root", at.realdata / tree,
                "--name real --model", at.data / "small.pth.tar")  # fmt: skip

    coco = start("coco-stuff-81", "COCO", "96,96")
    return [
        case("voc", *start("pascal-voc", "VOCdevkit", "96,96")),
        case("voc-dense", *start("pascal-voc", "VOCdevkit", "64,64"), "--protocol clustering-dense"),
        case("voc-linear", *start("pascal-voc", "VOCdevkit", "64,64"), "--protocol linear --epochs 1"),
        case("coco", *coco, "--clusters 5"),
        case("coco-dense", *coco, "--protocol clustering-dense --clusters 9 --save-predictions coco", keep=("coco",)),
        case("coco-label", *coco, "--clusters 8 --set grid=label --set matching=iou"),
        case("davis", "run --dataset davis --split val-2016 --protocol davis --set height=96 --limit 1 --data-root",
             at.realdata / "DAVIS", "--name real --model", at.data / "small.pth.tar"),
        case("show-voc", "show pascal-voc --data-root", at.realdata / "VOCdevkit"),
        case("show-coco", "show coco-stuff-81 --samples 2 --pictures sheet.png --data-root", at.realdata / "COCO",
             keep=("sheet.png",)),
    ]  # fmt: skip


def video(at: Places) -> list[Case]:
    tree = ("--dataset davis --data-root", at.data / "davis")
    start = ("run", *tree, "--protocol davis --set height=64 --name small --model", at.data / "small.pth.tar")
    decoder = ("run", *tree, "--protocol davis --set height=64 --name decoder --model", at.data / "linear.pth.tar")
    return [
        case("2017", *start, "--split val-2017 --save-predictions masks --save-examples 1", keep=("masks",)),
        case("2016", *start, "--split val-2016"),
        case("decoder", *decoder, "--split val-2017 --set features=decoder --set context=2"),
        case("plain-shares", *start, "--split val-2017 --set stretch=false --set top_k=3 --set neighbourhood=3"),
        case("limit", *start, "--split val-2017 --limit 2 --precision bfloat16 --json"),
        case("score", "score masks --split val-2017", *tree),
        case("score-2016", "score masks --split val-2016 --name other --supervision none", *tree, stderr=True),
        case("show", "show davis --data-root", at.data / "davis"),
        case("dry", *start, "--split val-2017 --dry-run"),
    ]


def imagenet(at: Places) -> list[Case]:
    tree = ("--data-root", at.data / "ImageNetS50", "--model", at.data / "small.pth.tar")
    small = "--set input=[32,32] --set restarts=1 --set iterations=10"
    start = ("run --dataset imagenet-s-50 --num-seeds 2 --name small", small, *tree)
    distance = ("--protocol distance-matching --set input=[32,32]", *tree)
    verify = ("--data-root", at.data / "ImageNetS50")
    return [
        case("clustering", *start, "--save-predictions saved", keep=("saved",)),
        case("fit-val", *start, "--set fit=val"),
        case("unmatched", *start, "--set fit=train --split train-semi"),
        case("distance", "run --dataset imagenet-s-50 --name small", *distance),
        case("score", "score saved/seed-1234 --dataset imagenet-s-50 --match images --name scored", *verify),
        case("export", "export imagenet-s-50 --out a.zip", small, *tree, keep=("a.zip",)),
        case("export-clusters", "export imagenet-s-50 --ids clusters --split val --out b.zip --json", small, *tree,
             keep=("b.zip",)),
        case("export-distance", "export imagenet-s-50 --out c.zip", *distance, keep=("c.zip",)),
        case("export-from", "export imagenet-s-50 --split val --from saved/seed-1234 --name mine --supervision none "
             "--out d.zip", *verify, keep=("d.zip",)),
        case("verify", "export --verify a.zip", *verify, stderr=True),
        case("verify-clusters", "export --verify b.zip", *verify, stderr=True),
    ]  # fmt: skip


def photos(at: Places) -> list[Case]:
    card = ("run --dataset ./photos.toml --set input=[64,64] --name small --model", at.data / "small.pth.tar")
    labelled = ("run --dataset ./labelled.toml --set input=[64,64] --clusters 8 --name small --model",
                at.data / "small.pth.tar")  # fmt: skip
    return [
        case("init", "init-dataset", at.data / "photos", stderr=True, keep=("photos.*",)),
        case("init-again", "init-dataset", at.data / "photos", stderr=True),
        case("clustering", *card, "--clusters 5 --set whiten=8 --save-examples 2 --save-predictions painted",
             keep=("painted",)),
        case("dense", *card, "--protocol clustering-dense --clusters 4 --save-examples 1"),
        case("linear", *card, "--protocol linear", stderr=True),
        case("init-labelled", "init-dataset", at.data / "labelled", stderr=True, keep=("labelled.*",)),
        case("labelled", *labelled),
        case("labelled-dense", *labelled, "--protocol clustering-dense"),
        case("without", "init-dataset --without-labels --id bare --out cards/bare.toml", at.data / "labelled",
             keep=("cards",)),
        case("show", "show ./photos.toml --pictures sheet.png", keep=("sheet.png",)),
        case("show-labelled", "show ./labelled.toml --samples 3"),
    ]  # fmt: skip


def training(at: Places) -> list[Case]:
    voc = ("priors pascal-voc --split train --data-root", at.parity / "inputs/VOCSegmentation")
    drawn = ("--data-root", at.data / "shapes")
    train = ("train --dataset shapes --priors masks --recipe", at.data / "tiny.toml", *drawn)
    return [
        case("boundary", *voc, "--limit 6 --method boundary --evaluate --json --out boundary", keep=("boundary",)),
        case("precomputed", *voc, "--method precomputed --from saliency_unsupervised_model --out made --evaluate",
             keep=("made",)),
        case("masks", "priors shapes --split train --method boundary --out masks", *drawn, keep=("masks/priors.json",)),
        case("train", *train, "--out run --eval-every 1 --set queue=4", keep=("run",)),
        case("train-again", *train, "--out run --eval-every 1 --set queue=4", stderr=True),
        case("train-bfloat16", *train, "--out half --epochs 1 --precision bfloat16 --seed 3", keep=("half",)),
        case("measured", "run --dataset shapes --limit 40 --name trained --model run/network.safetensors", *drawn),
    ]  # fmt: skip


def texts(at: Places) -> list[Case]:
    commands = (
        "run rerun score download priors train export report compare check list show init-dataset doctor completion"
    )
    listed = "models datasets protocols recipes published results"
    protocols = "clustering clustering-dense davis distance-matching linear retrieval-21 retrieval-7"
    shown = "maskcontrast-shapes maskcontrast-sup maskcontrast-unsup-linear random-resnet50 pascal-voc coco-stuff-81"
    dry = ("run --dry-run --dataset pascal-voc --data-root", at.parity / "inputs/VOCSegmentation", "--model",
           at.data / "small.pth.tar")  # fmt: skip
    mistakes = {
        "model": "run --model random-shape",
        "models": "run --model nope --model nope2 --limit 30",
        "dataset": "run --dataset pascalvoc",
        "protocol": "run --protocol clusterng",
        "split": "run --split vall",
        "entry": "run --set restart=1",
        "entry-value": "run --set restarts=many",
        "entry-form": "run --set restarts",
        "entry-range": "run --set std=[0,0,0]",
        "fit-whitened": "run --set fit=train",
        "clusters": "run --clusters 0",
        "device": "run --device banana",
        "flag": "run --limt 3",
        "command": "rum",
        "crf": "run --crf",
        "epochs": "run --epochs 2 --protocol retrieval",
        "weights": "run --weights x.pth",
        "no-weights": "run --model maskcontrast-sup",
        "no-data": "run --dataset pascal-voc --model random-shapes",
        "no-root": "run --dataset pascal-voc --model random-shapes --data-root gone",
        "no-folder": "score gone --dataset shapes",
        "few-images": "run --limit 3 --data-root SHAPES",
        "file": "run --model gone.pth.tar",
        "show": "show pascal",
        "check": "check --require maskcontrast",
        "compare": "compare a b",
        "recipe": "train --recipe nope --dataset shapes --priors x --out y",
        "method": "priors shapes --method nope --out y --data-root SHAPES",
        "offline": "download maskcontrast-sup --offline",
    }
    return [
        case("help", "--help"),
        case("version", "--version"),
        *(case(f"help-{name}", f"{name} --help") for name in [*commands.split(), "completion"]),
        *(case(f"list-{name}", f"list {name}") for name in listed.split()),
        *(case(f"show-{name}", f"show {name}", stderr=True) for name in f"{shown} {protocols}".split()),
        case("show-shapes", "show shapes --samples 3 --data-root", at.data / "shapes"),
        *(case(f"show-{file}", "show", at.data / file) for file in
          ("small.pth.tar", "linear.pth.tar", "resnet18.pth.tar", "bare.pth", "my-model.toml")),
        *(case(f"dry-{name}", *dry, f"--protocol {name}", stderr=True) for name in protocols.split()),
        *(case(f"bad-{name}", words.replace("SHAPES", str(at.data / "shapes")), stderr=True)
          for name, words in mistakes.items()),
        case("template", "init-dataset --template"),
        case("completion", "completion bash"),
        case("download", "download pascal-voc --list", digits=False),
        case("doctor", "doctor --results", at.program / "results", digits=False),
        case("tracked-report", "report --format json --results", at.program / "results"),
        case("tracked-check", "check --results", at.program / "results", "--against", at.program / "results"),
        case("tracked-site", "report --out site --results", at.program / "results", keep=("site",)),
    ]  # fmt: skip


def reports(at: Places) -> list[Case]:
    """Of the records of all groups, laid together with what is free set to constants: then pages are equal too."""
    mine, formats = "maskcontrast-shapes/shapes-val/clustering", "md csv json latex pwc badge"
    return [
        *(case(f"report-{name}", f"report --format {name}", stderr=True)
          for name in formats.split()),
        case("figure", f"report --format badge --figure {mine}"),
        case("figure-metric", f"report --format badge --figure {mine}/pixel_accuracy"),
        case("site", "report --out site", keep=("site",)),
        case("list", "list results"),
        case("check", "check --json", stderr=True),
        case("check-all", "check --all --require maskcontrast-shapes", stderr=True),
        case("check-against", "check --against", at.program / "results", "--require random-shapes --annotations "
             "--summary summary.md", stderr=True, keep=("summary.md",)),
        case("show", f"show {mine}"),
        case("compare", f"compare random-shapes/shapes-val/clustering {mine}"),
        case("compare-json", f"compare random-shapes/shapes-val/clustering {mine} --metric pixel_accuracy --json"),
        case("compare-other", f"compare released/pascal-voc-val/linear {mine}", stderr=True),
    ]  # fmt: skip


def plain(_: Places) -> list[Case]:
    return [case("run", "run"), case("again", "run --model random-shapes --json"), case("results", "list results")]


def groups(at: Places) -> dict[str, list[Case]]:
    """The longest first."""
    made = (shapes, texts, voc, imagenet, real, photos, video, training, plain)
    return {make.__name__: make(at) for make in made}
