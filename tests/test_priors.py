"""Object mask proposals: the reader, the methods, the command, the evaluation."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest
from PIL import Image

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.data.decoding import read_image
from bench.data.samples import open_split
from bench.data.shapes_files import write_split
from bench.priors import open_priors, propose, read_mask
from bench.priors.masks import clean_up, write_mask
from bench.priors.methods import Precomputed
from tests.conftest import ROOT
from tests.terminal import said

IMAGES = 10


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A few images of the built-in data set's train split, under a root that only tests know."""
    root = tmp_path_factory.mktemp("shapes")
    write_split(root, "train", IMAGES)
    return root


@pytest.fixture
def own_shapes(tmp_path):
    """The same, to be changed."""
    write_split(tmp_path / "shapes", "train", IMAGES)
    return tmp_path / "shapes"


@pytest.fixture(scope="module")
def truth(shapes, tmp_path_factory):
    """A folder of mask files made from the labels."""
    folder = tmp_path_factory.mktemp("truth")
    for path in (shapes / "SegmentationClass").iterdir():
        with Image.open(path) as label:
            write_mask(folder / path.name, np.asarray(label) > 0)
    return folder


@pytest.fixture
def own_truth(truth, tmp_path):
    """The same, to be changed."""
    folder = tmp_path / "truth"
    folder.mkdir()
    for path in truth.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def priors(bench):
    """Run `bench priors shapes` in an empty folder, in this process: its exit code, stdout and stderr."""

    def call(root, *arguments, dataset="shapes", workers=1):
        return bench("priors", dataset, "--data-root", root, "--out", "masks", "--workers", workers, *arguments)

    return call


@pytest.fixture
def precomputed(priors):
    """Run `bench priors shapes --method precomputed --from folder`."""
    return lambda root, folder, *arguments: priors(root, "--method", "precomputed", "--from", folder, *arguments)


def read_manifest(folder):
    return json.loads((folder / "masks/priors.json").read_text(encoding="utf-8"))


def grey(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


# --- the reader ---


def test_the_reader_tells_which_samples_have_a_mask(shapes, own_truth):
    samples = open_split(catalogue.dataset("shapes"), "train", shapes)
    (own_truth / "train_00003.png").unlink()
    found = open_priors(own_truth, samples)
    assert len(found.entries) == IMAGES - 1 and found.missing == ("train_00003",) and found.manifest is None
    sample = found.entries[0]
    size = read_image(sample.image)[0].shape[:2]
    assert read_mask(found.path(sample), size).shape == size


def test_the_reader_refuses_folders_that_hold_no_masks(shapes, truth, tmp_path):
    samples = open_split(catalogue.dataset("shapes"), "train", shapes)
    with pytest.raises(BadInput, match="no folder of masks at"):
        open_priors(tmp_path / "nowhere", samples)
    with pytest.raises(BadInput, match="for none of the 10 images of shapes train"):
        open_priors(tmp_path, samples)
    (tmp_path / "priors.json").write_text("{")
    with pytest.raises(BadInput, match=r"priors\.json is damaged"):
        open_priors(tmp_path, samples)
    for manifest in ([], {"schema": 2}, {"schema": 1, "skipped": 3}):
        (tmp_path / "priors.json").write_text(json.dumps(manifest))
        with pytest.raises(BadInput, match=r"priors\.json is not a manifest of this version's masks"):
            open_priors(tmp_path, samples)


# --- boundary ---


@pytest.mark.slow
def test_it_beats_an_ellipse_by_far_on_shapes_and_says_so(priors, shapes):
    done = priors(shapes, "--method", "boundary", "--evaluate", "--json")
    outcome = json.loads(done.stdout)
    assert outcome["written"] == IMAGES and outcome["method"] == "boundary"
    found = outcome["evaluation"]
    assert found["images"] == IMAGES and found["without_mask"] == 0
    assert found["proposals"]["iou"] > 80 and found["proposals"]["f_measure"] > 80
    assert found["proposals"]["iou"] > 30 + found["ellipse"]["iou"]


@pytest.mark.slow
def test_it_beats_an_ellipse_on_real_images(priors, realdata):
    options = ("--split", "trainaug", "--method", "boundary", "--limit", 48, "--evaluate", "--json")
    done = priors(realdata / "VOCdevkit", *options, dataset="pascal-voc")
    found = json.loads(done.stdout)["evaluation"]
    assert found["proposals"]["iou"] > 3 + found["ellipse"]["iou"]


@pytest.mark.slow
def test_processes_give_the_same_masks_as_none(priors, shapes, tmp_path):
    said(priors(shapes, "--method", "boundary", "--limit", 4), 0)
    alone = {path.name: path.read_bytes() for path in (tmp_path / "masks").glob("*.png")}
    said(priors(shapes, "--method", "boundary", "--limit", 4, "--fresh", workers=2), 0)
    assert len(alone) == 4
    assert alone == {path.name: path.read_bytes() for path in (tmp_path / "masks").glob("*.png")}


def test_without_scikit_image_one_line_says_what_to_install(priors, shapes, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    done = priors(shapes, "--method", "boundary")
    said(done, 4, "needs scikit-image", "pip install 'maskcontrast-bench[train]'")
    assert not (tmp_path / "masks").exists()


# --- the command ---


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom bench.cli import cli\n"
        "cli.main(['priors', '--help'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'cv2', 'skimage', 'numpy') if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_masks_a_manifest_and_a_line_are_what_comes_out(precomputed, shapes, truth, tmp_path):
    done = precomputed(shapes, truth)
    said(done, 0)
    assert done.stdout.startswith("masks: 10 written, 0 kept, 0 skipped; ") and "images/s" in done.stdout
    for path in truth.iterdir():
        written = grey(tmp_path / "masks" / path.name)
        assert (written == 255 * clean_up(grey(path) == 255)).all()
    expected = {
        "schema": 1,
        "method": "precomputed",
        "parameters": {"from": str(truth.resolve()), "clean_up": True},
        "dataset": "shapes",
        "split": "train",
        "images": IMAGES,
        "masks": IMAGES,
        "complete": True,
        "skipped": {},
    }
    assert read_manifest(tmp_path).items() >= expected.items()
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_authors_masks_are_found_beside_the_images_and_may_stay_as_they_are(precomputed, own_shapes, own_truth):
    mask = np.ones(grey(own_truth / "train_00000.png").shape, bool)
    mask[5, 5] = False
    write_mask(own_truth / "train_00000.png", mask)
    own_truth.rename(own_shapes / "saliency_supervised_model")
    done = precomputed(own_shapes, "saliency_supervised_model", "--no-clean-up", "--limit", 1)
    said(done, 0)
    assert (grey("masks/train_00000.png") == 255 * mask).all()


def test_what_is_there_is_kept_and_what_is_not_good_is_made_again(precomputed, own_shapes, own_truth, tmp_path):
    said(precomputed(own_shapes, own_truth), 0)
    masks = tmp_path / "masks"
    before = {path.name: path.read_bytes() for path in masks.glob("*.png")}
    assert "0 written, 10 kept" in precomputed(own_shapes, own_truth).stdout
    (masks / "train_00000.png").unlink()
    (masks / "train_00001.png").write_bytes(b"")
    write_mask(masks / "train_00002.png", np.ones((3, 3), bool))
    Image.fromarray(np.full(grey(masks / "train_00003.png").shape, 7, np.uint8)).save(masks / "train_00003.png")
    later = (masks / "train_00004.png").stat().st_mtime_ns + 1
    os.utime(own_truth / "train_00004.png", ns=(later, later))
    assert "5 written, 5 kept" in precomputed(own_shapes, own_truth).stdout
    assert before == {path.name: path.read_bytes() for path in masks.glob("*.png")}


def test_a_limited_run_is_marked_and_the_full_one_goes_on(precomputed, shapes, truth, tmp_path):
    assert "4 written" in precomputed(shapes, truth, "--limit", 4).stdout
    assert read_manifest(tmp_path)["complete"] is False
    assert "6 written, 4 kept" in precomputed(shapes, truth).stdout
    assert "0 written, 4 kept" in precomputed(shapes, truth, "--limit", 4).stdout
    assert read_manifest(tmp_path)["complete"] and read_manifest(tmp_path)["masks"] == IMAGES


def test_masks_of_two_recipes_never_mix(priors, precomputed, shapes, truth, tmp_path):
    said(precomputed(shapes, truth), 0)
    said(
        precomputed(shapes, truth, "--no-clean-up"), 2, "masks that were made in another way: parameters is", "--fresh"
    )
    said(priors(shapes, "--method", "boundary"), 2, "made in another way: method is precomputed, not boundary")
    said(precomputed(shapes, truth, "--no-clean-up", "--fresh", "--limit", 2), 0)
    assert len(list((tmp_path / "masks").glob("*.png"))) == 2
    assert read_manifest(tmp_path)["parameters"]["clean_up"] is False


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_pictures_of_somebody_else_are_never_touched(precomputed, shapes, truth, tmp_path, fresh):
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks/train_00000.png", np.ones((2, 2), bool))
    said(precomputed(shapes, truth, *fresh), 2, "holds PNG files that `bench priors` did not make")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["train_00000.png"]
    assert grey(tmp_path / "masks/train_00000.png").shape == (2, 2)


def test_samples_without_a_usable_mask_are_skipped_counted_and_named(precomputed, shapes, own_truth, tmp_path):
    (own_truth / "train_00000.png").unlink()
    (own_truth / "train_00001.png").unlink()
    never, empty, small, odd = (grey(own_truth / f"train_0000{i}.png").copy() for i in range(2, 6))
    never[:] = 254
    empty[:] = small[:] = 0
    small[:9, :9] = 255
    odd[0, 0] = 128
    for i, values in enumerate((never, empty, small, odd), start=2):
        Image.fromarray(values).save(own_truth / f"train_0000{i}.png")
    for _ in range(2):
        done = precomputed(shapes, own_truth)
        said(done, 0, "2 of 10 images have no mask and are skipped; the first is", "train_00000.png")
        assert "5 skipped" in done.stdout
        for reason in ("2 no mask file", "2 mask without the value 255", "1 mask under 1 % of the image"):
            assert reason in done.stdout
        manifest = read_manifest(tmp_path)
        assert manifest["complete"] and manifest["masks"] == 5
        assert manifest["skipped"]["train_00004"] == "mask under 1 % of the image"
        assert set(manifest["notes"]) == {"train_00002", "train_00005"}
    fresh = precomputed(shapes, own_truth, "--fresh")
    said(fresh, 0, "2 of 10 images: mask with values other than 0 and 255", "the first is train_00002")


def test_masks_that_are_no_longer_there_go(precomputed, shapes, own_truth, tmp_path):
    said(precomputed(shapes, own_truth), 0)
    (own_truth / "train_00000.png").unlink()
    assert "0 written, 9 kept, 1 skipped" in precomputed(shapes, own_truth).stdout
    assert not (tmp_path / "masks/train_00000.png").exists()


def test_folders_and_files_that_cannot_be_used_are_named(precomputed, shapes, own_truth, tmp_path):
    said(precomputed(shapes, "nowhere"), 3, "no folder of masks at nowhere", "--from")
    (tmp_path / "empty").mkdir()
    said(precomputed(shapes, "empty"), 3, "a mask for none of the 10 images of shapes train", "train_00000.png")
    assert not (tmp_path / "masks").exists()
    good = (own_truth / "train_00002.png").read_bytes()
    (own_truth / "train_00002.png").write_bytes(good[:50])
    said(precomputed(shapes, own_truth), 3, "train_00002.png is damaged")
    assert {path.name for path in (tmp_path / "masks").glob("*.png")} >= {"train_00000.png", "train_00001.png"}
    write_mask(own_truth / "train_00002.png", np.ones((4, 5), bool))
    said(precomputed(shapes, own_truth), 3, "train_00002.png is 5×4 pixels, its image")
    (own_truth / "train_00002.png").write_bytes(good)
    assert "8 written, 2 kept" in precomputed(shapes, own_truth).stdout


def test_no_mask_at_all_is_an_error(precomputed, shapes, own_truth):
    for path in own_truth.iterdir():
        write_mask(path, np.zeros(grey(path).shape, bool))
    said(precomputed(shapes, own_truth), 3, "none of the 10 images gets a mask (10 mask without the value 255)")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--method", "boundry"), 2, ("unknown method 'boundry'", "Did you mean boundary?")),
        (("--method", "precomputed"), 2, ("needs --from",)),
        (("--method", "boundary", "--from", "x"), 2, ("does not take --from",)),
        (("--method", "boundary", "--no-clean-up"), 2, ("does not take --no-clean-up",)),
        (("--method", "boundary", "--split", "tran"), 2, ("unknown split", "train")),
        ((), 2, ("--method",)),
    ],
)
def test_wrong_names_and_flags_are_answered_with_the_remedy(priors, shapes, arguments, code, words):
    said(priors(shapes, *arguments), code, *words)


def test_a_folder_that_cannot_be_written_is_said_before_the_work(precomputed, shapes, truth, tmp_path):
    (tmp_path / "masks").write_text("a file")
    said(precomputed(shapes, truth, "--out", "masks/below"), 4, "cannot write the masks to masks/below", "--out")


def test_on_a_full_disk_what_was_written_stays(precomputed, shapes, truth, tmp_path, monkeypatch):
    def full(path, mask):
        if path.name == "train_00003.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_mask(path, mask)

    with monkeypatch.context() as patch:
        patch.setattr(propose, "write_mask", full)
        said(precomputed(shapes, truth), 4, "train_00003.png: No space left on device", "finished masks are kept")
    assert read_manifest(tmp_path)["masks"] == 3 and not read_manifest(tmp_path)["complete"]
    assert "7 written, 3 kept" in precomputed(shapes, truth).stdout


def test_ctrl_c_leaves_a_state_from_which_the_same_command_goes_on(precomputed, shapes, truth, tmp_path, monkeypatch):
    def interrupted(path, mask):
        if path.name == "train_00004.png":
            raise KeyboardInterrupt
        write_mask(path, mask)

    with monkeypatch.context() as patch:
        patch.setattr(propose, "write_mask", interrupted)
        said(precomputed(shapes, truth), 130, "interrupted", "continues")
    assert not read_manifest(tmp_path)["complete"] and not list(tmp_path.rglob("*.tmp"))
    assert "6 written, 4 kept" in precomputed(shapes, truth).stdout


def test_ids_with_folders_keep_them(truth, shapes, tmp_path):
    samples = open_split(catalogue.dataset("shapes"), "train", shapes).first(1)
    samples = replace(samples, entries=(replace(samples.entries[0], id="a/b/train"),))
    (tmp_path / "from/a/b").mkdir(parents=True)
    (tmp_path / "from/a/b/train.png").write_bytes((truth / "train_00000.png").read_bytes())
    method = Precomputed(tmp_path / "from")
    report = propose.propose(method, samples, tmp_path / "masks", workers=1)
    assert report.written == 1 and (tmp_path / "masks/a/b/train.png").is_file()
    assert open_priors(tmp_path / "masks", samples).manifest["method"] == "precomputed"


# --- evaluation ---


def test_ignored_pixels_are_left_out_and_missing_masks_count_as_empty(precomputed, own_shapes, own_truth):
    label = grey(own_shapes / "SegmentationClass/train_00000.png").copy()
    label[:] = 0
    Image.fromarray(label).save(own_shapes / "SegmentationClass/train_00000.png")
    (own_truth / "train_00001.png").unlink()
    done = precomputed(own_shapes, own_truth, "--no-clean-up", "--evaluate", "--json")
    found = json.loads(done.stdout)["evaluation"]
    assert (found["images"], found["without_mask"], found["without_foreground"]) == (9, 1, 1)
    # the masks take in the void border, which is not counted: all but the missing one are right to the pixel
    assert found["proposals"]["iou"] == pytest.approx(100 * 8 / 9)
    table = precomputed(own_shapes, own_truth, "--no-clean-up", "--evaluate").stdout.splitlines()
    assert table[1].split() == ["MASKS", "IOU", "%", "F", "%", "IMAGES"]
    assert table[2].split()[:3] == ["precomputed", "88.89", "88.89"] and table[3].startswith("centred ellipse")


def test_a_split_without_labels_cannot_be_evaluated(priors, own_shapes, tmp_path):
    text = (ROOT / "datasets/shapes.toml").read_text(encoding="utf-8")
    card = tmp_path / "bare.toml"
    card.write_text(
        text.replace('"shapes"', '"bare"')
        .replace('generator = "bare"', "")
        .replace('label = "SegmentationClass/{id}.png"', "")
    )
    done = priors(own_shapes, "--method", "boundary", "--evaluate", dataset=card)
    said(done, 2, "bare train has no labels to evaluate with", "--evaluate")


_PARENT = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from bench.priors.propose import _prepare_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), _prepare_worker)
    import os
    print(pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(environment, tmp_path):
    (tmp_path / "parent.py").write_text(_PARENT)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, env=environment, **pipes) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([worker], timeout=60)[1] == []
