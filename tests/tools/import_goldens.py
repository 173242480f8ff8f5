"""Copy figures and generated inputs of the reference implementation: `python tests/tools/import_goldens.py PARITY`.

PARITY is the folder with `inputs/`, `golden/` and `metrics/`. The figures were measured once on the reference
implementation; this only selects what the tests read, so running it again changes nothing.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent.parent / "golden"
SPLITS = ("train", "val")
BACKBONES = ("resnet18", "resnet50")
STEGO = ("golden_arrays", "maps", "scenes", "net", "probe_train")


def copy_images(parity: Path) -> None:
    source, target = parity / "inputs" / "VOCSegmentation", HERE / "VOCSegmentation"
    for folder in ("sets", "images", "SegmentationClass"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        shutil.copyfile(source / "sets" / f"{split}.txt", target / "sets" / f"{split}.txt")
        for name in (source / "sets" / f"{split}.txt").read_text().split():
            for path in (f"images/{name}.jpg", f"SegmentationClass/{name}.png"):
                shutil.copyfile(source / path, target / path)


def select_clustering(parity: Path, backbone: str) -> None:
    arrays = np.load(parity / "golden" / f"a_kmeans_{backbone}.npz")
    figures = json.loads((parity / "golden" / f"a_kmeans_{backbone}.json").read_text())
    masks = np.unpackbits(arrays["sal_mask_packed"]).reshape(len(arrays["proto"]), -1)
    seeds = figures["seeds"]
    np.savez_compressed(
        HERE / f"clustering_{backbone}.npz",
        names=arrays["names"],
        prototypes=arrays["proto"],
        whitened=arrays["white"],
        areas=arrays["sal_area"],
        near=arrays["sal_near"],
        masks=np.packbits(masks, axis=1),
    )
    kept = [{key: seed[key] for key in ("seed", "mIoU", "iou", "match", "labels")} for seed in seeds]
    summary = {"seeds": kept, "mIoU": figures["average_mIoU"], "versions": figures["versions"]}
    (HERE / f"clustering_{backbone}.json").write_text(json.dumps(summary, indent=1) + "\n")


def select_retrieval(parity: Path, classes: int) -> None:
    arrays = np.load(parity / "golden" / f"c_retrieval{classes}_resnet18.npz")
    figures = json.loads((parity / "golden" / f"c_retrieval{classes}_resnet18.json").read_text())
    names = ("bank_labels", "bank_prototypes", "train_names", "val_names", "neighbours")
    np.savez_compressed(HERE / f"retrieval_{classes}.npz", **{name: arrays[name] for name in names})
    (HERE / f"retrieval_{classes}.json").write_text(json.dumps(figures, indent=1) + "\n")


def select_linear(parity: Path) -> None:
    arrays = np.load(parity / "golden" / "b_linear_resnet18.npz")
    np.savez_compressed(HERE / "linear.npz", **{name: arrays[name] for name in arrays.files})
    figures = json.loads((parity / "golden" / "b_linear_resnet18.json").read_text())
    crf = json.loads((parity / "golden" / "b_linear_crf_resnet18.json").read_text())
    steps = [{key: step[key] for key in ("loss", "images", "img_sum", "aug_draws")} for step in figures["iters"]]
    summary = {"steps": steps, "online": [epoch["mIoU"] for epoch in figures["val_online"]]}
    summary |= {"offline": figures["offline"], "crf": crf, "versions": figures["versions"]}
    (HERE / "linear.json").write_text(json.dumps(summary, indent=1) + "\n")


def copy_davis(parity: Path) -> None:
    source = parity / "metrics" / "davis"
    shutil.copyfile(source / "golden.json", HERE / "davis.json")
    shutil.copyfile(source / "synthetic.npz", HERE / "davis.npz")


FOLDERS = (
    "coco81",
    "imagenet_s",
    "leopart",
    "saliency",
    "corloc",
    "mmseg_linear",
    "capi_dense",
    "hummingbird",
    "stego27",
)


def copy_metrics(parity: Path) -> None:
    """What other protocols and data sets are checked against: inputs, and figures measured on them."""
    for name in FOLDERS:
        for source in (parity / "metrics" / name).rglob("*.*"):
            if source.suffix in (".json", ".npz", ".png", ".txt"):
                target = HERE / name / source.relative_to(parity / "metrics" / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


def copy_stego(parity: Path) -> None:
    """Of the 27-class evaluation all inputs and figures."""
    source, target = parity / "metrics" / "stego27", HERE / "stego27"
    target.mkdir(exist_ok=True)
    for name in ("golden.json", "classes.json", *(f"{part}.npz" for part in STEGO)):
        shutil.copyfile(source / name, target / name)


def select_pretraining(parity: Path, dropout: str) -> None:
    """All figures of the golden steps; their inputs (13 MB) stay where they are."""
    arrays = np.load(parity / "golden" / f"d_pretrain_resnet18_{dropout}.npz")
    names = [f"{name}_{step}" for name in ("logits_first_rows", "queue") for step in range(3)]
    np.savez_compressed(HERE / f"pretrain_{dropout}.npz", **{name: arrays[name] for name in names})
    figures = json.loads((parity / "golden" / f"d_pretrain_resnet18_{dropout}.json").read_text())
    kept = {key: figures[key] for key in ("steps", "lr_schedule")}
    (HERE / f"pretrain_{dropout}.json").write_text(json.dumps(kept) + "\n")


def main(parity: Path) -> None:
    copy_images(parity)
    for backbone in BACKBONES:
        select_clustering(parity, backbone)
    for classes in (21, 7):
        select_retrieval(parity, classes)
    select_linear(parity)
    copy_davis(parity)
    copy_metrics(parity)
    copy_stego(parity)
    for dropout in ("nodrop", "drop"):
        select_pretraining(parity, dropout)
    shutil.copyfile(parity / "golden" / "b_preproc_cv5.json", HERE / "preprocessing.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
