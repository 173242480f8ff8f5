"""Which network a checkpoint holds: prefixes, wrappers, methods of pre-training, other libraries.

The names are those of the methods' own programs; docs/models.md#tensors lists them.
"""

import itertools
import json

import pytest
import torch

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cards.files import RandomWeights
from bench.cards.models import Architecture
from bench.cli import main
from bench.networks import known_weights
from bench.networks.checkpoints import check_fit, draw_random, read_checkpoint, recognise
from bench.networks.find_model import find_model
from bench.pretrain.initialise import initial_network
from tests.checkpoints import resnet_state

NARROW = resnet_state()
WHOLE = draw_random(
    Architecture(backbone="resnet18", width=4, decoder_width=4, embedding=3),
    RandomWeights(source="random", seed=0, saliency_scale=1, saliency_shift=0),
).state
COPY = {key: value + 1 for key, value in NARROW.items()}
CHILDREN = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
"""What `nn.Sequential(*resnet.children())` calls the parts of a ResNet."""
HEAD = {"0.weight": torch.zeros(4, 32), "0.bias": torch.zeros(4)}
QUEUE = {"queue": torch.zeros(4, 8), "queue_ptr": torch.zeros(1, dtype=torch.long)}


def below(prefix, state=NARROW):
    return {prefix + key: value for key, value in state.items()}


def numbered(state=NARROW):
    parts = ((*key.split(".", 1), value) for key, value in state.items())
    return {f"{CHILDREN[name]}.{rest}": value for name, rest, value in parts}


def read(tmp_path, content):
    """The weights of a file, and what they are recognised as."""
    torch.save(content, tmp_path / "file.pth")
    weights = read_checkpoint(tmp_path / "file.pth")
    architecture = recognise(weights.state, tmp_path / "file.pth")
    check_fit(architecture, weights, recognised=True)
    return weights, architecture


def assert_backbone(weights, wanted=NARROW):
    assert weights.state.keys() == below("backbone.", wanted).keys()
    assert all(torch.equal(weights.state[f"backbone.{key}"], value) for key, value in wanted.items())


METHODS = {
    "torchvision": ({**NARROW, **below("fc.", HEAD)}, "`fc.*` (2 tensors)"),
    "MoCo": (
        {**below("module.encoder_q."), **below("module.encoder_k.", COPY), **below("module.encoder_q.fc.", HEAD)}
        | below("module.", QUEUE),
        "read `encoder_q.*`; left out `encoder_k.*` (120 tensors), `encoder_q.fc.*` (2 tensors), `queue`, `queue_ptr`",
    ),
    "MoCo v3": (
        {**below("module.base_encoder."), **below("module.momentum_encoder.", COPY)}
        | {**below("module.base_encoder.fc.", HEAD), **below("module.predictor.", HEAD)},
        "`momentum_encoder.*`",
    ),
    "SimSiam": (
        {**below("module.encoder."), **below("module.encoder.fc.", HEAD), **below("module.predictor.", HEAD)},
        "`encoder.fc.*` (2 tensors), `predictor.*` (2 tensors)",
    ),
    "SwAV": (
        {**below("module."), **below("module.projection_head.", HEAD), "module.prototypes.weight": torch.zeros(9, 4)},
        "left out `projection_head.*` (2 tensors), `prototypes.*` (1 tensor)",
    ),
    "SwAV, several prototypes": ({**NARROW, **below("prototypes.prototypes", HEAD)}, "`prototypes.*` (2 tensors)"),
    "BYOL": (
        {**below("online_encoder.net."), **below("target_encoder.net.", COPY), **below("online_predictor.net.", HEAD)}
        | below("online_encoder.projector.", HEAD),
        "read `online_encoder.net.*`",
    ),
    "BYOL, networks": (
        {**below("online_network.encoder."), **below("target_network.encoder.", COPY), **below("predictor.", HEAD)},
        "`target_network.*`",
    ),
    "BYOL that keeps its network twice": (
        {**below("net."), **below("online_encoder.net."), **below("online_encoder.projector.", HEAD)},
        "read `net.*`; left out `online_encoder.*` (122 tensors)",
    ),
    "PixPro": (
        {**below("module.encoder."), **below("module.encoder_k.", COPY), **below("module.projector.linear1.", HEAD)}
        | {**below("module.projector_k.linear1.", HEAD), "module.value_transform.weight": torch.zeros(4, 4, 1, 1)},
        "`encoder_k.*` (120 tensors)",
    ),
    "Barlow Twins": (
        {**below("module.backbone."), **below("module.projector.", HEAD), "module.bn.running_mean": torch.zeros(4)},
        "`projector.*` (2 tensors), `bn.*` (1 tensor)",
    ),
    "DenseCL": (
        {**below("encoder_q.0."), **below("encoder_k.0.", COPY), **below("backbone."), **below("encoder_q.1.", HEAD)}
        | QUEUE
        | {"queue2": torch.zeros(4, 8), "queue2_ptr": torch.zeros(1, dtype=torch.long)},
        "read `backbone.*`; left out `encoder_q.*` (122 tensors), `encoder_k.*` (120 tensors), `queue`",
    ),
    "mmselfsup": ({**below("encoder_q.0."), **below("encoder_k.0.", COPY), **QUEUE}, "read `encoder_q.0.*`"),
    "mmsegmentation": (
        {**below("backbone."), **below("decode_head.conv_seg.", HEAD), **below("auxiliary_head.convs.", HEAD)},
        "read `backbone.*`; left out `decode_head.*` (2 tensors), `auxiliary_head.*` (2 tensors)",
    ),
    "torchvision's DeepLab": (
        {**below("backbone."), **below("classifier.0.convs.0.", HEAD), **below("aux_classifier.", HEAD)},
        "`classifier.*` (2 tensors), `aux_classifier.*` (2 tensors)",
    ),
    "segmentation_models.pytorch": (
        {**below("encoder."), **below("decoder.blocks.0.conv1.", HEAD), **below("segmentation_head.", HEAD)},
        "read `encoder.*`; left out `decoder.*` (2 tensors), `segmentation_head.*` (2 tensors)",
    ),
    "a classifier called head": ({**below("backbone."), "head.weight": torch.zeros(3, 32)}, "`head.*` (1 tensor)"),
    "teacher and student": (
        {**below("teacher.backbone."), **below("student.backbone.", COPY), **below("teacher.head.mlp.", HEAD)},
        "read `teacher.backbone.*`; left out `student.*` (120 tensors), `teacher.head.*` (2 tensors)",
    ),
    "teacher_backbone": (below("teacher_backbone.") | below("student_backbone.", COPY), "`student_backbone.*`"),
    "a Sequential of a ResNet's children": (
        {**below("backbone.", numbered()), **below("backbone_momentum.", numbered(COPY))}
        | below("projection_head.", HEAD),
        "read `backbone.*`; left out `backbone_momentum.*` (120 tensors), `projection_head.*` (2 tensors)",
    ),
    "torch's averaged model": ({"n_averaged": torch.tensor(9), **below("module.")}, "left out `n_averaged`"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrapper", ["state_dict", "model", None])
def test_a_methods_backbone_is_read_and_the_rest_said(tmp_path, method, wrapper):
    state, words = METHODS[method]
    weights, architecture = read(tmp_path, {wrapper: state, "epoch": 3} if wrapper else state)
    assert_backbone(weights)
    assert architecture.what == "a bare backbone" and words in weights.note and "\n" not in weights.note


@pytest.mark.parametrize("method", METHODS)
def test_the_prefix_of_a_data_parallel_wrapper_makes_no_difference(tmp_path, method):
    state, words = METHODS[method]
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    for other in (bare, below("module.", bare)):
        weights, _ = read(tmp_path, other)
        assert_backbone(weights)
        assert words in weights.note


@pytest.mark.parametrize("prefixes", list(itertools.permutations(["module.", "_orig_mod.", "model.", "net."], 3)))
def test_wrappers_are_seen_through_in_any_order(tmp_path, prefixes):
    weights, architecture = read(tmp_path, below("".join(prefixes), WHOLE))
    assert weights.state.keys() == WHOLE.keys() and architecture.embedding == 3 and not weights.note
    weights, _ = read(tmp_path, {"state_dict": below("".join(prefixes))})
    assert_backbone(weights)
    assert not weights.note


def test_a_compiled_part_is_seen_through(tmp_path):
    state = {key.replace("backbone.", "backbone._orig_mod."): value for key, value in WHOLE.items()}
    weights, _ = read(tmp_path, state)
    assert weights.state.keys() == WHOLE.keys()


@pytest.mark.parametrize("prefix", ["module.model_q.", "model_q."])
def test_a_training_file_of_one_process_is_read_like_one_of_many(tmp_path, prefix):
    outer = prefix.removesuffix("model_q.")
    state = below(prefix, WHOLE) | below(f"{outer}model_k.", WHOLE) | below(outer, QUEUE)
    weights, architecture = read(tmp_path, {"model": state, "optimizer": {"state": {}}})
    assert all(torch.equal(weights.state[key], value) for key, value in WHOLE.items())
    assert architecture.embedding == 3
    assert weights.note == "read `model_q.*`; left out `model_k.*` (165 tensors), `queue`, `queue_ptr`"


def test_a_whole_network_is_read_beside_states_of_the_training(tmp_path):
    state = below("model.", WHOLE) | {"criterion.weight": torch.ones(3), "iou.confusion": torch.ones(2, 2)}
    weights, architecture = read(tmp_path, {"state_dict": state, "pytorch-lightning_version": "2.1.0"})
    assert architecture.embedding == 3 and weights.state.keys() == WHOLE.keys()
    assert weights.note == "read `model.*`; left out `criterion.*` (1 tensor), `iou.*` (1 tensor)"


def test_a_tensor_too_many_in_a_network_is_still_an_error(tmp_path):
    for extra in ("layer1.2.conv1.weight", "layer1.0.extra", "conv2.weight"):
        with pytest.raises(BadInput):
            read(tmp_path, NARROW | {extra: torch.zeros(4)})
    with pytest.raises(BadInput, match=r"1 unexpected \(projector\.weight\)"):
        read(tmp_path, WHOLE | {"projector.weight": torch.zeros(4)})


# --- the dict that it lies in ---

WRAPPERS = ["model", "state_dict", "net", "network", "model_state_dict", "ema", "model_ema", "state_dict_ema"]
WRAPPERS += ["params", "weights", "teacher", "student", "a name of one's own"]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_one_dict_of_tensors_is_read(tmp_path, wrapper):
    beside = {"epoch": 7, "best": torch.tensor(0.5), "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3, 3)}}}}
    beside |= {"loss": {"center": torch.ones(1, 9)}, "args": {"arch": "resnet18"}}
    weights, _ = read(tmp_path, {wrapper: NARROW, **beside})
    assert_backbone(weights)
    assert weights.note == (f"read `{wrapper}.*`, an average of weights" if "ema" in wrapper else "")
    weights, _ = read(tmp_path, {wrapper: {"state_dict": NARROW}, **beside})
    assert_backbone(weights)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("teacher", "student"),
        ("model", "model_ema"),
        ("state_dict", "state_dict_ema"),
        ("model", "teacher"),
        ("ema", "student"),
        ("backbone", "projector"),
        ("state_dict", "a name of one's own"),
    ],
)
def test_of_two_dicts_the_documented_one_is_read_and_the_other_said(tmp_path, first, second):
    for content in ({first: NARROW, second: COPY}, {second: COPY, first: NARROW}):
        weights, _ = read(tmp_path, content)
        assert_backbone(weights)
        assert weights.note.startswith(f"read `{first}.*`")
        assert weights.note.endswith(f"left out `{second}` (120 tensors)")


def test_dinos_whole_file_is_read_as_the_teachers_backbone(tmp_path):
    def trained(state):
        return below("module.backbone.", state) | below("module.head.mlp.", HEAD)

    content = {"student": trained(COPY), "teacher": below("backbone.") | below("head.mlp.", HEAD), "epoch": 800}
    weights, _ = read(tmp_path, content | {"dino_loss": {"center": torch.zeros(1, 9)}})
    assert_backbone(weights)
    assert weights.note == "read `teacher.backbone.*`; left out `head.*` (2 tensors), `student` (122 tensors)"


@pytest.mark.parametrize("names", [("online_network_state_dict", "target_network_state_dict"), ("model_q", "model_k")])
def test_of_two_dicts_the_trained_network_is_read_and_its_slow_copy_left_out(tmp_path, names):
    trained, slow = names
    weights, _ = read(tmp_path, {slow: below("encoder.", COPY), trained: below("encoder.")})
    assert_backbone(weights)
    assert weights.note == f"read `{trained}.encoder.*`; left out `{slow}` (120 tensors)"


def test_a_network_lies_in_dicts_of_dicts(tmp_path):
    trunk = {"trunk": below("_feature_blocks."), "heads": below("0.clf.0.", HEAD)}
    weights, _ = read(
        tmp_path, {"classy_state_dict": {"base_model": {"model": trunk}, "optimizer": {}}, "iteration": 3}
    )
    assert_backbone(weights)
    assert "left out `classy_state_dict.base_model.model.heads` (2 tensors)" in weights.note


def test_numbers_that_name_no_resnet_are_left_as_they_are(tmp_path):
    state = {key: value for key, value in numbered().items() if not key.startswith("1.")}
    assert "it lacks 'backbone.conv1.weight'" in error_of(tmp_path, state)


def error_of(tmp_path, content):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(BadInput) as caught:
        find_model(tmp_path / "file.pth", None, tmp_path, print)
    assert "file.pth" in caught.value.problem and caught.value.remedy
    return caught.value.problem


def test_what_could_be_meant_is_named(tmp_path):
    assert "several dicts of tensors: `one`, `two`" in error_of(tmp_path, {"one": NARROW, "two": COPY})
    problem = error_of(tmp_path, below("left.") | below("right.", COPY))
    assert "several ResNets: 'left.*', 'right.*'" in problem
    assert "holds no tensors (it has 'epoch', 'lr')" in error_of(tmp_path, {"epoch": 3, "lr": 0.1})
    assert "holds no tensors (it has no keys)" in error_of(tmp_path, {})
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3, 3))]).state_dict()
    assert "the state of an optimiser, and no network" in error_of(tmp_path, optimiser)
    assert "the state of an optimiser, and no network" in error_of(tmp_path, {"optimizer": optimiser, "epoch": 1})
    arrays = {key: value.numpy() for key, value in NARROW.items()}
    assert "holds numpy arrays, and no tensors" in error_of(tmp_path, {"state_dict": arrays})
    assert "holds a list, not a dict" in error_of(tmp_path, [NARROW])
    assert "holds a tensor, not a dict" in error_of(tmp_path, torch.zeros(3))
    problem = error_of(tmp_path, below("module.model_k.", WHOLE) | QUEUE)
    assert "only the momentum network ('model_k.backbone.*')" in problem


def test_names_that_differ_only_in_their_wrappers_are_kept_apart(tmp_path):
    assert "several ResNets" in error_of(tmp_path, NARROW | below("module.", COPY))


def test_long_names_make_no_long_line_and_no_long_wait(tmp_path):
    weights, _ = read(tmp_path, NARROW | {f"{'_' * 100_000}{number}": torch.zeros(1) for number in range(20)})
    assert len(weights.note) < 1000
    weights, _ = read(tmp_path, below(f"{'_' * 100_000}."))
    assert_backbone(weights)


def test_names_that_are_no_text_make_a_note_that_is_a_line(tmp_path):
    weights, _ = read(tmp_path, NARROW | {"a\nb\x1b[31m\ud800.weight": torch.zeros(1)})
    assert weights.note == "left out `a\ufffdb\ufffd[31m\ufffd.*` (1 tensor)"


def test_a_dict_in_a_million_places_is_looked_at_once(tmp_path):
    content = {"state_dict": NARROW}
    for _ in range(3):
        content = {"state_dict": NARROW} | {f"place {number}": content for number in range(2000)}
    assert_backbone(read(tmp_path, content)[0])


# --- counters of batches ---


def test_a_file_without_counters_gets_them(tmp_path):
    state = {key: value for key, value in NARROW.items() if not key.endswith("num_batches_tracked")}
    weights, _ = read(tmp_path, state)
    assert weights.state.keys() == below("backbone.").keys()
    counters = [value for key, value in weights.state.items() if key.endswith("num_batches_tracked")]
    assert len(counters) == 20 and all(value.dtype == torch.int64 and value == 0 for value in counters)
    whole = {key: value for key, value in WHOLE.items() if not key.endswith("num_batches_tracked")}
    assert read(tmp_path, whole)[0].state.keys() == WHOLE.keys()


def test_a_file_without_some_of_its_counters_is_damaged(tmp_path):
    state = {key: value for key, value in NARROW.items() if key != "bn1.num_batches_tracked"}
    assert "1 missing (backbone.bn1.num_batches_tracked)" in error_of(tmp_path, state)


# --- other networks ---


def bottlenecks(**changes):
    """The first stage of a ResNet-50, and what tells its kind apart."""
    state = {"conv1.weight": torch.zeros(8, 3, 7, 7), "bn1.weight": torch.ones(8)}
    for block in range(3):
        state |= {f"layer1.{block}.conv{number}.weight": torch.zeros(8, 8, 1, 1) for number in (1, 2, 3)}
    return state | {key.replace("__", "."): value for key, value in changes.items()}


def grouped():
    return {f"layer1.{block}.conv2.weight": torch.zeros(16, 2, 3, 3) for block in range(3)}


def wide():
    return {f"layer1.{block}.conv1.weight": torch.zeros(16, 8, 1, 1) for block in range(3)}


def without(state, *keys):
    return {key: value for key, value in state.items() if key not in keys}


DEEP = {f"layer{stage}.{block}.conv3.weight": torch.zeros(8, 8, 1, 1) for stage in (1, 2, 3, 4) for block in range(3)}
NAMES_OF_23_BLOCKS = {f"{number}.x": torch.ones(1) for number in range(23)}
STEMLESS = without(NARROW, "conv1.weight")
OTHERS = {
    "a ResNet-34": resnet_state(depths=(3, 4, 6, 3)),
    "a ResNet of another depth (3, 3, 3, 3 blocks)": resnet_state(depths=(3, 3, 3, 3)),
    "a ResNet-101": bottlenecks() | DEEP | {"layer2.3.x": torch.ones(1)} | below("layer3.", NAMES_OF_23_BLOCKS),
    "a ResNeXt, with grouped convolutions": bottlenecks() | grouped(),
    "a wide ResNet": bottlenecks() | wide(),
    "an SE-ResNet": NARROW | {"layer1.0.se.fc1.weight": torch.zeros(2, 4, 1, 1)},
    "a ResNet with a deep stem": STEMLESS | below("stem.", HEAD),
    "a ResNet with a deep stem (ResNet-C, ResNet-D, ResNetV1c)": STEMLESS | below("conv1.", HEAD),
    "a ResNet of CLIP": bottlenecks() | {"attnpool.positional_embedding": torch.zeros(50, 8)},
    "a ResNet for small images, with a 3×3 stem": NARROW | {"conv1.weight": torch.zeros(4, 3, 3, 3)},
    "a vision transformer": {"cls_token": torch.zeros(1, 1, 8), "patch_embed.proj.weight": torch.zeros(8, 3, 16, 16)},
    "a Swin transformer": {"layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(9, 3)},
    "a VGG, AlexNet or MobileNet": below("features.", HEAD),
    "a DenseNet": {"features.denseblock1.denselayer1.conv1.weight": torch.zeros(8, 8, 1, 1)},
    "a ResNet of the transformers library": {"resnet.embedder.embedder.convolution.weight": torch.zeros(8, 3, 7, 7)},
}  # fmt: skip


@pytest.mark.parametrize("words", OTHERS)
@pytest.mark.parametrize("prefix", ["", "module.backbone."])
def test_another_network_is_refused_as_what_it_looks_like(tmp_path, words, prefix):
    problem = error_of(tmp_path, {"state_dict": below(prefix, OTHERS[words])})
    assert f"looks like {words}" in problem and "ResNet-18 and ResNet-50" in problem


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet34", "ResNet-34"),
        ("resnet101", "ResNet-101"),
        ("resnext50_32x4d", "ResNeXt"),
        ("wide_resnet50_2", "wide ResNet"),
        ("vit_b_16", "vision transformer"),
        ("swin_t", "Swin"),
        ("convnext_tiny", "ConvNeXt"),
        ("densenet121", "DenseNet"),
        ("vgg11", "VGG"),
    ],
)
def test_torchvisions_other_networks_are_told_apart(tmp_path, name, words):
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        shapes = models.get_model(name).state_dict()
    # nothing of it is read or expanded before it is refused
    assert words in error_of(tmp_path, {key: torch.zeros(()).expand(value.shape) for key, value in shapes.items()})


# --- where it is said ---


def test_what_was_left_out_is_warned_of_also_when_the_cache_knows_the_file(tmp_path):
    torch.save({**NARROW, **below("fc.", HEAD)}, tmp_path / "file.pth")
    for _ in range(2):
        said = []
        subject = find_model(str(tmp_path / "file.pth"), None, tmp_path / "cache", said.append)
        assert said == ["file.pth: left out `fc.*` (2 tensors)"] and subject.note == "left out `fc.*` (2 tensors)"


def test_a_receipt_of_before_is_still_valid(tmp_path, monkeypatch):
    torch.save({**NARROW, **below("fc.", HEAD)}, tmp_path / "file.pth")
    first = find_model(str(tmp_path / "file.pth"), None, tmp_path / "cache", print)
    (receipt,) = (tmp_path / "cache/networks").iterdir()
    assert known_weights.READER_VERSION == 1
    receipt.write_text(json.dumps({"architecture": json.loads(receipt.read_text())["architecture"]}))
    monkeypatch.setattr("bench.networks.checkpoints.read_checkpoint", None)
    second = find_model(str(tmp_path / "file.pth"), None, tmp_path / "cache", print)
    assert second.weights_sha256 == first.weights_sha256 and second.architecture == first.architecture


def test_show_says_what_was_left_out(tmp_path, capsys):
    torch.save({"net": {**NARROW, **below("fc.", HEAD)}}, tmp_path / "file.pth")
    with pytest.raises(SystemExit) as ended:
        main(["show", str(tmp_path / "file.pth"), "--cache", str(tmp_path / "cache")])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "left out `fc.*` (2 tensors)" in out and "a bare backbone" in out


def test_pre_training_starts_from_any_of_these_files(tmp_path):
    recipe = catalogue.recipe("shapes")
    state = resnet_state(recipe.architecture.width)
    torch.save(below("module.", state) | {"module.prototypes.weight": torch.zeros(9, 4)}, tmp_path / "swav.pth")
    said = []
    network = initial_network(recipe, str(tmp_path / "swav.pth"), 0, said.append)
    assert torch.equal(network.backbone.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])
    assert said == ["swav.pth: left out `prototypes.*` (1 tensor)"]
