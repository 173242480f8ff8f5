"""Networks of other libraries and plain modules, from a name or an object to a record."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bench
from bench.base.errors import BadEnvironment, BadInput, WrongName
from bench.cards.presets import ImagePreset, fingerprint
from bench.networks.find_model import find_model, from_module
from bench.networks.reading.layers import parse
from bench.networks.reading.reader import reader_of
from bench.passes.engine import Engine, tried
from bench.protocols.base import Settings
from bench.protocols.davis.preset import DavisPreset
from bench.records import record as records
from bench.records.card_says import against_cards
from bench.records.contradictions import contradictions
from bench.records.rerun_command import rerun_command
from bench.report.compare import compare
from bench.runs.fit_to_model import fit_to_model, nearest_multiple
from bench.runs.plan import make_plan
from bench.runs.rerun import rerun
from tests.terminal import said

SMALL = {"input": [64, 64], "clusters": 5, "pixels": 6, "restarts": 1, "iterations": 5}
VIT = "timm:test_vit?random=0"


def run(model, golden, tmp_path, protocol="clustering-dense", **more):
    entries = (SMALL if protocol == "clustering-dense" else {"input": [64, 64]}) | more.pop("entries", {})
    return bench.evaluate(
        model,
        "pascal-voc",
        protocol,
        data_root=golden / "VOCSegmentation",
        cache=tmp_path / "cache",
        entries=entries,
        limit=6,
        **({"num_seeds": 1} if protocol == "clustering-dense" else {}),
        **more,
    )


class Body(nn.Module):
    """One convolution; its submodule may have any name."""

    def __init__(self, name):
        super().__init__()
        torch.manual_seed(0)
        setattr(self, name, nn.Conv2d(3, 8, 8, stride=8))
        self.name = name

    def forward(self, images):
        return getattr(self, self.name)(images).abs() + 1


# --- what is read of a module ---


@pytest.mark.parametrize("protocol", ["clustering-dense", "linear"])
def test_what_forward_returns_is_read_whatever_other_attributes_are_called(golden, tmp_path, protocol):
    entries = {} if protocol == "clustering-dense" else {"train": "val", "train_images": 4, "batch": 2, "epochs": 1}
    made = [
        run(Body(name), golden, tmp_path, protocol, entries=entries, name=f"m-{name}") for name in ("features", "body")
    ]
    assert made[0]["metrics"] == made[1]["metrics"]
    assert made[0]["read"]["features"] == {"width": 8, "rows": 8, "columns": 8}
    assert made[0]["read"]["stride"] == [8.0, 8.0] and made[0]["model"]["network"]["class"].endswith(".Body")


def test_features_name_a_submodule_or_are_a_function(golden, tmp_path):
    named, given = (
        run(Body("body"), golden, tmp_path, features=features, name="m")
        for features in ("body", lambda images: Body("body").body(images))
    )
    assert named["metrics"] == given["metrics"]
    assert named["metrics"] != run(Body("body"), golden, tmp_path, name="m")["metrics"]
    assert named["pixels"]["of"] == "the output of `body`" and named["protocol"]["preset"]["features"] == "body"
    with pytest.raises(WrongName, match="is for a module in memory"):
        run(VIT, golden, tmp_path, features=lambda images: images)


def test_several_maps_are_refused_with_their_shapes(golden, tmp_path):
    class Maps(nn.Module):
        def forward(self, images):
            return [F.avg_pool2d(images, 4), F.avg_pool2d(images, 8), F.avg_pool2d(images, 16)]

    with pytest.raises(BadInput, match="3 ") as caught:
        run(Maps(), golden, tmp_path)
    assert "output2" in str(caught.value)
    assert run(Maps(), golden, tmp_path, features="output2")["read"]["stride"] == [8.0, 8.0]


def test_channels_that_come_last_are_refused(golden, tmp_path):
    class Last(nn.Module):
        def forward(self, images):
            return F.avg_pool2d(images, 8).permute(0, 2, 3, 1)

    with pytest.raises(BadInput, match=r"8.*3"):
        run(Last(), golden, tmp_path)


def test_a_modules_own_normalisation_goes_before_the_presets(golden, tmp_path):
    half = (0.5, 0.5, 0.5)
    own = run(Body("body"), golden, tmp_path, normalisation=(half, half), name="m", results=tmp_path / "own")
    asked = run(Body("body"), golden, tmp_path, entries={"mean": half, "std": half}, name="m")
    plain = run(Body("body"), golden, tmp_path, name="m")
    assert own["metrics"] == asked["metrics"] != plain["metrics"]
    assert own["protocol"]["by_model"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert own["read"]["normalisation"] == "the model's" and asked["read"]["normalisation"] == "the preset's"


def test_a_normalisation_that_is_of_no_pixels_in_0_to_1_is_refused(golden, tmp_path):
    body, ones = Body("body"), (1.0, 1.0, 1.0)
    for given in (((123, 116, 103), (58, 57, 57)), (ones, (0, 1, 1)), ((float("nan"),) * 3, ones)):
        with pytest.raises(BadInput, match="not of three channels in 0…1"):
            run(body, golden, tmp_path, normalisation=given)
    for given in ((0.5, 0.5), (ones, ones, ones), (ones, "no"), 3):
        with pytest.raises(WrongName, match="is not a mean and a standard deviation"):
            run(body, golden, tmp_path, normalisation=given)
    numbers = np.full((2, 3), 0.5)
    assert run(body, golden, tmp_path, normalisation=numbers, name="m")["protocol"]["preset"]["std"] == [0.5] * 3


def test_a_module_is_kept_only_under_the_callers_key(golden, tmp_path):
    first, again, other = (
        run(Body("body"), golden, tmp_path, cache_key=key, name="m")["observed"]["from_cache"] for key in "aab"
    )
    assert (first, again, other) == (0, 6, 0)
    assert run(Body("body"), golden, tmp_path, name="m")["observed"]["from_cache"] == 0


def test_what_a_function_gives_is_called_so_and_is_never_the_caches_of_forward(golden, tmp_path):
    half, body = (lambda images: F.avg_pool2d(images, 8)), Body("body")
    kept = run(body, golden, tmp_path, cache_key="a", name="m")
    given = run(body, golden, tmp_path, cache_key="a", name="m", features=half)
    assert given["observed"]["from_cache"] == 0 and given["metrics"] != kept["metrics"]
    assert given["read"]["layer"] == "a function" and "function" in given["pixels"]["of"]
    assert given["read"]["features"]["width"] == 3
    with pytest.raises(WrongName, match="takes no output stride"):
        run(body, golden, tmp_path, features=half, entries={"output_stride": 8})
    with pytest.raises(WrongName, match="a layer is asked for"):
        run(body, golden, tmp_path, features=half, entries={"features": "body"})


def test_two_classes_with_equal_weights_share_no_cache(golden, tmp_path):
    class Pool(nn.Module):
        def forward(self, images):
            return F.avg_pool2d(images, 8)

    class Edges(nn.Module):
        def forward(self, images):
            return F.avg_pool2d((images - F.avg_pool2d(images, 3, 1, 1)).abs(), 8)

    pool, edges = (run(kind(), golden, tmp_path, cache_key="a", name="m") for kind in (Pool, Edges))
    assert edges["observed"]["from_cache"] == 0 and edges["metrics"] != pool["metrics"]


class Unsteady(Body):
    """Gives an image other features in each batch."""

    def __init__(self, kind):
        super().__init__("body")
        self.kind, self.norm = kind, nn.BatchNorm2d(8)

    def train(self, mode=True):
        return super().train(mode or self.kind == "never in eval mode")

    def forward(self, images):
        if self.kind == "trains itself":
            self.train()
        found = self.norm(super().forward(images))
        if self.kind == "batch":
            found = found - found.mean(0)
        return F.dropout(found, 0.5) if self.kind == "chance" else found


@pytest.mark.parametrize("kind", ["never in eval mode", "trains itself", "batch", "chance", ""])
def test_a_network_that_depends_on_its_batch_or_on_chance_is_told(golden, tmp_path, kind):
    made = run(Unsteady(kind), golden, tmp_path, name="m")
    assert any("depends on the batch size, or on chance" in line for line in made["warnings"]) == bool(kind)


def _lazy():
    return nn.LazyConv2d(8, 8, stride=8)


class Packed(Body):
    """With all that a state may hold besides plain tensors."""

    def __init__(self, more=1):
        super().__init__("body")
        self.register_buffer("sparse", torch.eye(3).to_sparse())
        self.register_buffer("small", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
        self.more = more

    def get_extra_state(self):
        return {"more": (self.more, None)}

    def set_extra_state(self, state):
        self.more = state["more"][0]


def test_any_state_of_a_module_is_told_apart_and_one_without_values_is_refused():
    first, again, other = (from_module(Packed(more)).weights_sha256 for more in (1, 1, 2))
    assert first == again != other
    for module, words in ((Body("body").to("meta"), "meta device"), (_lazy(), "has no shape yet")):
        with pytest.raises(BadInput, match=words):
            from_module(module)
    assert len(from_module(type("Long" * 100, (Body,), {})("body")).id) < 80


def test_the_shape_in_a_record_is_that_of_its_own_run(golden, tmp_path):
    """One with the same height, or of another protocol, that ran in between does not change it."""
    wide = run(VIT, golden, tmp_path, entries={"input": [64, 128]})["read"]
    run(VIT, golden, tmp_path)
    again = run(VIT, golden, tmp_path, entries={"input": [64, 128]})
    assert again["observed"]["from_cache"] == 6 and again["read"] == wide
    few = {"train": "val", "train_images": 4, "batch": 2, "epochs": 1}
    dense, linear, again = (
        run("random-shapes", golden, tmp_path, name, entries=few if name == "linear" else {})["read"]["features"]
        for name in ("clustering-dense", "linear", "clustering-dense")
    )
    assert dense == again != linear


# --- networks of a library ---

timm = pytest.importorskip("timm")


def module(name="test_vit", **options):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0, **options).eval()


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_a_network_given_as_it_is_equals_the_same_by_its_name(golden, tmp_path, name):
    options = {"dynamic_img_size": True} if name == "test_vit" else {}
    given = run(module(name, **options), golden, tmp_path)
    named = run(f"timm:{name}?random=0", golden, tmp_path)
    assert given["metrics"] == named["metrics"] and given["read"] == named["read"]
    about = named["model"]["network"]
    assert about["library"] == "timm" and about["version"] == timm.__version__ and about["seed"] == 0
    assert about["class"].startswith("timm.") and about["parameters"] == sum(
        p.numel() for p in module(name).parameters()
    )
    assert named["model"]["supervision"] == "none: the weights are drawn at random"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit", "test_vit3", "test_resnet", "test_convnext2", "test_efficientnet"])
def test_every_protocol_on_features_measures_it(golden, tmp_path, name):
    model = f"timm:{name}?random=1"
    few = {"train": "val", "train_images": 4, "batch": 2, "epochs": 1}
    for protocol, entries in (("linear", few), ("distance-matching", {"bank": "val", "upsample": 1})):
        made = run(model, golden, tmp_path, protocol, entries=entries)
        assert 0 <= made["metrics"]["mIoU"]["value"] <= 100 and made["read"]["features"]["width"] > 8
    with pytest.raises(BadInput, match="is a network of timm: it has no embedding and saliency head"):
        run(model, golden, tmp_path, "clustering")


def test_an_input_goes_to_the_nearest_multiple_of_the_patch_and_that_is_said(golden, tmp_path):
    made = run(VIT, golden, tmp_path, entries={"input": [72, 70]})
    assert made["protocol"]["preset"]["input"] == [80, 64] and made["protocol"]["by_model"]["input"] == [72, 70]
    assert any("patch is 16: the input is 80×64 in place of 72×70 pixels" in line for line in made["warnings"])
    assert made["read"]["positions"] == "interpolated from 10×10 to 5×4 by timm"
    with pytest.raises(WrongName, match="is no multiple of the network's patch of 16"):
        run(VIT, golden, tmp_path, entries={"input": [72, 64]}, strict_input=True)
    assert [nearest_multiple(side, 14) for side in (512, 448, 7, 6, 1)] == [518, 448, 14, 14, 14]


CARD = """
schema = 1
id = "mine"
title = "Mine"

[network]
source = "timm"
name = "test_resnet"
features = "stage2"
options = {{ random = 0 }}
mean = [0.1, 0.2, 0.3]
channels = "{channels}"

[training]
initialisation = "random"
prior = "none"
supervision = "none"
images = "none"
overlaps = {{ pascal-voc = "all of val" }}
"""


def test_a_card_says_what_is_read_and_how_channels_are_ordered(golden, tmp_path):
    path = tmp_path / "mine.toml"
    made = []
    for channels in ("RGB", "BGR", "BGR"):
        path.write_text(CARD.format(channels=channels))
        made.append(run(str(path), golden, tmp_path))
    one, other, again = made
    assert one["read"]["layer"] == "stage2" and one["protocol"]["preset"]["mean"] == [0.1, 0.2, 0.3]
    assert one["metrics"] != other["metrics"] == again["metrics"]
    assert (other["observed"]["from_cache"], again["observed"]["from_cache"]) == (0, 6)
    assert other["model"]["overlaps"] == {"pascal-voc": "all of val"} and other["model"]["id"] == "mine"
    given = module("test_resnet")
    swapped = run(
        given, golden, tmp_path, features=lambda images: reader_of(given).read(parse("stage2"))(images.flip(1)),
        normalisation=((0.1, 0.2, 0.3), (0.5, 0.5, 0.5)), name="swapped",
    )  # fmt: skip
    assert swapped["metrics"] == other["metrics"]


def plan_of(model, golden, tmp_path, **more):
    settings = Settings(data_root=golden / "VOCSegmentation", cache=tmp_path / "cache", **more)
    return make_plan(model, "pascal-voc", more.pop("protocol", "clustering-dense"), settings, lambda line: None)


def test_sides_of_frames_are_multiples_of_the_patch_or_of_what_the_user_asks_for(tmp_path):
    subject = find_model(VIT, None, tmp_path, print)
    plain, asked = (
        fit_to_model(DavisPreset(multiple=multiple), subject, {"multiple": multiple} if multiple != 8 else {})
        for multiple in (8, 32)
    )
    assert (plain.height, plain.multiple, asked.multiple) == (480, 16, 32)
    with pytest.raises(WrongName, match="multiple is 24, which is no multiple of the network's patch of 16"):
        fit_to_model(DavisPreset(multiple=24), subject, {"multiple": 24})


def test_a_row_of_another_patch_is_a_plain_row(golden, tmp_path):
    plan = plan_of("timm:vit_tiny_patch16_224?random=0&patch_size=14", golden, tmp_path)
    assert plan.preset.input == (518, 518) and plan.by_model["input"] == [512, 512]
    assert not plan.modified and plan.published_recipe


def record_of(plan, patch):
    """As much of a run's record as cards and contradictions are about."""
    protocol = {
        "id": plan.protocol,
        "fingerprint": plan.fingerprint,
        "preset": plan.preset.resolved(),
        "variations": [],
    }
    protocol |= {"modified": plan.modified, "published_recipe": plan.published_recipe, "by_model": dict(plan.by_model)}
    model = {"id": "m", "weights_sha256": "", "supervision": "none"}
    data = {"id": plan.card.id, "split": "val", "images": 1449, "limited": False}
    made = {"model": model, "dataset": data, "protocol": protocol, "seeds": [*plan.seeds], "metrics": {}}
    return json.loads(json.dumps(made | {"read": {"patch": patch}}))


def objections(made):
    return [one.text for one in (*contradictions(made, None), *against_cards(made, None))]


@pytest.mark.parametrize("entries", [{}, {"input": [518, 518]}])
def test_what_a_model_may_decide_casts_no_doubt_on_its_row_and_anything_else_does(golden, tmp_path, entries):
    plan = plan_of("timm:vit_tiny_patch16_224?random=0&patch_size=14", golden, tmp_path, entries=entries)
    made = record_of(plan, 14)
    assert not objections(made) and made["protocol"]["preset"]["mean"] == [0.5] * 3
    for patch in (7, 16, 0, -14, True, None, "14", 10**9):
        assert objections(made | {"read": {"patch": patch}})
    assert objections({key: value for key, value in made.items() if key != "read"})
    for key, value in (
        ("input", [896, 896]),
        ("input", [100, 100]),
        ("input", 3),
        ("input", []),
        ("interpolation", ""),
    ):
        forged = json.loads(json.dumps(made))
        forged["protocol"]["by_model"][key] = value
        assert objections(forged)
    forged = json.loads(json.dumps(made))
    forged["protocol"]["preset"]["input"] = [896, 896]
    forged["protocol"]["fingerprint"] = fingerprint("clustering-dense", forged["protocol"]["preset"])
    assert objections(forged)


def test_presets_may_give_the_input_by_patch(golden, tmp_path):
    entries = {"input_by_patch": {"16": [160, 160], "14": [140, 140]}}
    plan = plan_of(VIT, golden, tmp_path, entries=entries)
    assert plan.preset.input == (160, 160) and "input_by_patch" not in plan.preset.resolved()
    assert ImagePreset().input_by_patch == {}


def test_runs_that_differ_in_what_belongs_to_their_models_are_compared(golden, tmp_path):
    class Stated(Body):
        pretrained_cfg = None

    paths = []
    for name, half in (("one", None), ("other", ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))):
        torch.manual_seed(3)
        run(Body("body"), golden, tmp_path, name=name, normalisation=half, results=tmp_path / "r")
        paths.append(next((tmp_path / "r" / name).rglob("*.json")))
    stored, problems = records.read_all(tmp_path / "r")
    assert not problems and len(stored) == 2
    assert stored[0].record["protocol"]["fingerprint"] != stored[1].record["protocol"]["fingerprint"]
    assert compare(stored[0], stored[1]).metric == "mIoU"


# --- the same run again ---


@pytest.fixture
def rerun_of(golden, tmp_path):
    """Runs a model, and does the run of the record again."""

    def call(model, again=None, change=lambda made: None, entries=None, **more):
        run(model, golden, tmp_path, results=tmp_path / "r", entries=entries or {}, **more)
        (stored,), _ = records.read_all(tmp_path / "r")
        change(stored.record)
        settings = Settings(data_root=golden / "VOCSegmentation", cache=tmp_path / "cache", **more)
        return stored.record, rerun(stored, tmp_path / "again", settings, model=again).record

    return call


def test_what_the_model_decided_is_left_to_it_again(rerun_of):
    made, again = rerun_of(VIT, VIT, entries={"input": [72, 70]})
    for part in ("protocol", "model", "read", "metrics"):
        assert again[part] == made[part]
    assert again["protocol"]["by_model"]["input"] == [72, 70] and "mean" in again["protocol"]["by_model"]


def test_what_a_record_only_says_that_the_model_decided_is_refused(rerun_of):
    def forge(made):
        made["protocol"]["by_model"]["input"] = [160, 160]

    with pytest.raises(BadInput, match="preset entry input is"):
        rerun_of(VIT, VIT, forge)


def test_a_network_that_was_built_otherwise_from_equal_weights_is_no_same_run(rerun_of):
    with pytest.raises(BadInput, match=r"the network's options is \{'act_layer': 'relu'\} in the record"):
        rerun_of("timm:test_vit?random=0&act_layer=relu", VIT)


def test_other_drawn_weights_say_what_they_depend_on(rerun_of):
    with pytest.raises(BadInput, match="versions of numpy, torch and the library"):
        rerun_of(VIT, "timm:test_vit?random=1")


def test_a_network_with_a_files_weights_is_asked_for_by_both(rerun_of, tmp_path):
    torch.save(module().state_dict(), tmp_path / "own.pth")
    with pytest.raises(BadInput, match="give it with --model, and the file with --weights") as told:
        rerun_of("timm:test_vit", weights=tmp_path / "own.pth")
    assert "own.pth in timm:test_vit, a model of the adapter 'timm'" in told.value.problem
    (stored,), _ = records.read_all(tmp_path / "r")
    assert rerun_command(stored.record, "R").endswith("--model MODEL --weights WEIGHTS")
    stored.record["model"]["weights_source"] = "timm:test_vit"
    assert rerun_command(stored.record, "R").endswith("--data-root DATA --model MODEL")


# --- the cache ---

OTHERS = {
    "weights": {"model": "timm:test_vit?random=1"},
    "network": {"model": "timm:test_vit2?random=0"},
    "option": {"model": "timm:test_vit?random=0&qk_norm=true"},
    "layer": {"features": "block2"},
    "input": {"entries": {"input": [80, 64]}},
    "normalisation": {"entries": {"mean": [0.4, 0.4, 0.4]}},
}


@pytest.mark.parametrize("what", OTHERS)
def test_features_of_a_warm_cache_are_never_anothers(golden, tmp_path, what):
    run(VIT, golden, tmp_path)
    other = {"model": VIT} | OTHERS[what]
    assert run(golden=golden, tmp_path=tmp_path, **other)["observed"]["from_cache"] == 0
    assert run(VIT, golden, tmp_path)["observed"]["from_cache"] == 6


@pytest.mark.parametrize("what", ["version", "stride"])
def test_nor_another_versions_or_strides(golden, tmp_path, monkeypatch, what):
    from bench.networks.libraries.timm_models import Timm

    model = "timm:test_resnet?random=0"
    run(model, golden, tmp_path)
    more = {}
    if what == "version":
        monkeypatch.setattr(Timm, "version", lambda self: "0.0.1")
    else:
        more = {"entries": {"output_stride": 16}}
    made = run(model, golden, tmp_path, **more)
    assert made["observed"]["from_cache"] == 0
    assert what != "stride" or made["read"]["stride"] == [16.0, 16.0]


# --- names and commands ---


def test_an_unknown_model_is_refused_before_the_data_are_opened(bench, tmp_path):
    line = ("run", "--dataset", "pascal-voc", "--data-root", tmp_path / "nowhere", "--protocol", "linear")
    said(bench(*line, "--model", "maskcontrst"), 2, "unknown model 'maskcontrst'")
    said(bench(*line, "--model", "timm:vit_smal_patch16_224"), 2, "unknown network", "vit_small_patch16_224")


def test_a_dry_run_tells_the_cost_and_auto_finds_a_batch(bench, golden, tmp_path):
    line = [
        "run", "--model", VIT, "--dataset", "pascal-voc", "--data-root", golden / "VOCSegmentation", "--limit", 6,
        "--protocol", "clustering-dense", "--cache", tmp_path, "--results", tmp_path / "r", "--num-seeds", 1,
        *(word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")),
    ]  # fmt: skip
    told = bench(*line, "--dry-run", "--batch-size", "auto").stdout
    assert "of the network (12 images" in told and "GB of memory" in told and "4 at once" in told
    made = json.loads(bench(*line, "--batch-size", "auto", "--json").stdout)
    assert made["cost"]["batch_size"] == 4
    assert "of the network (6 images" in bench(*line, "--dry-run").stdout
    assert bench(*line, "--batch-size", "some").returncode == 2


@pytest.mark.parametrize("more", [["--dry-run"], ["--batch-size", "auto"], []])
def test_a_network_that_fails_is_said_before_a_run_as_well(bench, golden, tmp_path, more):
    line = (
        "run",
        "--model",
        "timm:test_vit?random=0&in_chans=1",
        "--dataset",
        "pascal-voc",
        "--limit",
        6,
        "--data-root",
    )
    line = (*line, golden / "VOCSegmentation", "--protocol", "clustering-dense", "--set", "input=[64,64]")
    said(bench(*line, "--results", tmp_path, *more), 3, "the network fails on images of shape", "expected input")


def test_a_batch_that_does_not_fit_is_said_before_a_run(tmp_path):
    def full(images):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    with pytest.raises(BadEnvironment, match="with 2 images of 8×9"):
        tried(full, torch.zeros(2, 3, 8, 9), Engine("cpu"))


def test_what_is_public_is_shown():
    assert dir(bench) == ["__version__", "evaluate", "record"]


# --- the same weights through two libraries ---


@pytest.mark.slow
def test_the_same_weights_of_two_libraries_give_equal_figures(golden, tmp_path):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    one = torchvision.models.resnet50().eval()
    other = timm.create_model("resnet50").eval()
    other.load_state_dict(one.state_dict())
    first, second = (
        run(each, golden, tmp_path, name="r", normalisation=((0.5,) * 3, (0.5,) * 3)) for each in (one, other)
    )
    assert first["read"] == second["read"] and first["read"]["features"]["width"] == 2048
    assert first["metrics"]["mIoU"]["value"] == pytest.approx(second["metrics"]["mIoU"]["value"], abs=1e-6)
    assert np.array_equal(first["confusion"]["mean"], second["confusion"]["mean"])


def test_a_subject_tells_what_it_is(tmp_path):
    subject = find_model(VIT, None, tmp_path, print)
    assert subject.structure.patch == 16 and not subject.has_embedding and subject.cacheable
    assert set(subject.protocols) >= {"linear", "clustering-dense", "distance-matching", "davis"}
    assert "clustering" not in subject.protocols
    assert from_module(Body("body")).has_embedding and not from_module(Body("body")).cacheable


# --- a file of your own in an architecture ---

QUEUE = {"queue": torch.zeros(3, 4)}


def saved(content, tmp_path, golden, name="test_vit"):
    torch.save(content, tmp_path / "mine.pth")
    lines = []
    subject = find_model(f"timm:{name}", tmp_path / "mine.pth", tmp_path / "cache", lines.append)
    state = subject.network("cpu").state_dict()
    return float(state["blocks.0.norm1.weight"].mean()), " ".join(lines)


def state_of(value, **more):
    """A network's tensors, its first norm of this value."""
    state = module().state_dict()
    return {
        key: torch.full_like(one, value) if key == "blocks.0.norm1.weight" else one for key, one in state.items()
    } | more


def below(prefix, state):
    return {f"{prefix}.{key}": one for key, one in state.items()}


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (lambda: {"state_dict": below("student", state_of(2.0)) | below("teacher", state_of(3.0))}, "student.*"),
        (lambda: below("encoder_k", state_of(2.0)) | below("encoder_q", state_of(3.0)) | QUEUE, "encoder_k.*"),
        (lambda: below("momentum_encoder", state_of(2.0)) | below("base_encoder", state_of(3.0)), "momentum_encoder.*"),
        (lambda: {"student": state_of(2.0), "teacher": below("backbone", state_of(3.0))}, "student.*"),
        (lambda: state_of(3.0, mask_token=torch.zeros(1), **{"head.weight": torch.zeros(3, 64)}), "mask_token"),
    ],
)  # fmt: skip
def test_the_trained_network_of_a_file_is_read_and_what_is_left_out_is_said(tmp_path, golden, content, left):
    mean, said_of = saved(content(), tmp_path, golden)
    assert mean == 3.0 and "left out" in said_of and left in said_of


def test_a_network_that_is_there_twice_is_refused(tmp_path, golden):
    with pytest.raises(BadInput, match=r"holds the network twice: `a\.\*` and `b\.\*`"):
        saved({"a": state_of(2.0), "b": state_of(3.0)}, tmp_path, golden)


@pytest.mark.parametrize("extra", ["blocks.0.ls9.gamma", "blocks.6.norm1.weight"])
def test_tensors_of_blocks_that_the_network_lacks_are_refused(tmp_path, golden, extra):
    with pytest.raises(BadInput, match="which the network lacks"):
        saved(state_of(2.0, **{extra: torch.ones(64)}), tmp_path, golden)


# --- mistakes from Python ---


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": {"a": 1}}, "a dict is not a model"),
        ({"model": Body}, "the class Body is not a model"),
        ({"model": lambda images: images}, "a function is not a model"),
        ({"model": VIT, "protocol": ["linear"]}, "a list is not a protocol"),
    ],
)
def test_what_is_no_model_or_protocol_is_named(given, words):
    with pytest.raises(WrongName, match=words):
        bench.evaluate(**{"dataset": "shapes"} | given)


def test_weights_of_another_kind_are_named(golden, tmp_path):
    with pytest.raises(BadInput) as caught:
        run(Body("body").half(), golden, tmp_path)
    assert "call .float()" in str(caught.value)


def test_a_prediction_of_one_class_alone_is_said(golden, tmp_path):
    class Even(nn.Module):
        def forward(self, images):
            return F.avg_pool2d(images, 8) * 1e-3 + 5

    entries = {"train": "val", "train_images": 2, "batch": 2, "epochs": 1, "lr": 1e-6}
    made = run(Even(), golden, tmp_path, "linear", entries=entries, name="even")
    predicted = np.array(made["confusion"]["mean"]).sum(axis=1)
    lone = (predicted > 0).sum() == 1
    assert lone == any("every pixel was predicted as" in line for line in made["warnings"])
