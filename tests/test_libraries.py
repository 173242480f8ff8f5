"""Networks of other libraries by their names: `timm:`, `torchvision:`, `hf:`, `python:`. No network is used."""

import hashlib
import json
import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest

from bench.base.errors import BadEnvironment, BadInput, WrongName
from bench.cards import catalogue
from bench.cards.card import require_model_id
from bench.cards.models import Network
from bench.cli.list_networks import network_rows
from bench.cli.show_model import show_model
from bench.cli.show_network import show_network
from bench.networks import adapters
from bench.networks.find_model import find_model
from bench.networks.libraries import request
from bench.networks.libraries.found import _ITS_OWN_ID, Found
from bench.networks.libraries.nearest import network_meant, parts_meant
from bench.networks.libraries.timm_models import Timm
from bench.protocols import registry
from tests.terminal import said

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
TINY = "timm:vit_tiny_patch16_224?random=0"


@pytest.fixture
def find(tmp_path):
    """The subject of a name, with a cache of the test's own."""

    def call(name, weights=None, **more):
        return find_model(name, weights, tmp_path / "libraries", more.pop("warn", lambda text: None), **more)

    return call


# --- names ---


def test_a_name_has_revision_options_and_seed(tmp_path):
    asked = request.parse("hf", "owner/name@v1?depth=3&on=true&word=x&random=4", tmp_path)
    assert (asked.name, asked.revision, asked.seed) == ("owner/name", "v1", 4)
    assert asked.options == {"depth": 3, "on": True, "word": "x"}
    assert asked.text == "hf:owner/name@v1?depth=3&on=true&word=x&random=4"
    folder = request.parse("hf", "./a@b/c", tmp_path)
    assert folder.revision is None and folder.shown == "hf:c"
    assert request.parse("hub", "./a/b:entry", tmp_path).shown == "hub:b:entry"


def test_a_name_of_another_form_is_refused(tmp_path):
    for text in ("?random=0", "name?random", "name?=1", "name?1a=2", "name?a=[1]", "name?random=-1", "name?random=x"):
        with pytest.raises(WrongName):
            request.parse("timm", text, tmp_path)
    for text, words in (
        ("name?a=1e999", "is no number"),
        ("name?a=NaN", "is no number"),
        ("name?a=1&a=2", "'a' twice"),
        ("name?random=0&random=1", "'random' twice"),
        (f"name?a={'9' * 5000}", "5012 characters"),
    ):
        with pytest.raises(WrongName, match=words):
            request.parse("timm", text, tmp_path)
    with pytest.raises(WrongName, match="is no number"):
        request.of_card(None, Network(source="timm", name="name", options={"a": float("inf")}), tmp_path)
    with pytest.raises(WrongName, match="draws its weights"):
        request.parse("timm", "name?random=0", tmp_path, weights=Path("x"))


NAMES = [
    ("hf:a/b-c", "hf:a-b/c", "hf:a/b@c", "hf:a-b-c", "hf:A/b-c", "hf:a/b?c=", "hf:a/b-c_"),
    ("hf:a/b?c=d", "hf:a/b-c-d", "hf:a/b@c-d", "hf:a/b@c?d="),
    ("timm:a?b=c&d=e", "timm:a?b=c-d-e", "timm:a?b=C&d=e", "timm:a?b=c&d=e+", "timm:a?b=c&d=%e"),
    ("timm:a?b=1", "timm:a?b=-1", "timm:a?b=1.0"),
    ("hub:a/b:c/d:e", "hub:a/b-c:d:e", "hub:a-b/c:d:e", "hub:a/b:c:d?e="),
    ("timm:a?b=" + 60 * "c", "timm:a?b=" + 61 * "c"),
]


@pytest.mark.parametrize("names", NAMES)
def test_no_two_networks_have_one_id(tmp_path, monkeypatch, names):
    ids = []
    for name in names:
        scheme, _, rest = name.partition(":")
        asked = request.parse(scheme, rest, tmp_path)
        found = Found.__new__(Found)
        found.request, found.library, found.hashes, found.given = asked, Timm(), ["0" * 64], ()
        monkeypatch.setattr(Timm, "more", lambda *given: {})
        ids.append(found.id)
    assert len({one.lower() for one in ids}) == len(ids)
    for one in ids:
        require_model_id(one)


def test_plain_names_are_plain_ids(find):
    assert find("timm:test_vit?random=0").id == "timm-test_vit-random-0"
    assert _ITS_OWN_ID.fullmatch("hf:facebook/dinov2-small") and _ITS_OWN_ID.fullmatch("torchvision:a@IMAGENET1K_V1")


def test_a_card_asks_for_the_same_as_a_name(tmp_path):
    entry = Network(source="timm", name="resnet18", options={"random": 3, "in_chans": 3})
    asked = request.of_card(None, entry, tmp_path)
    assert asked == request.parse("timm", "resnet18?random=3&in_chans=3", tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:vit_smal_patch16_224?random=0", "timm:vit_small_patch16_224"),
        ("timm:resnt50?random=0", "timm:resnet50"),
        ("timm:resnet50@v1", "have no revision"),
        ("torchvision:resnt50@IMAGENET1K_V1", "torchvision:resnet50"),
        ("torchvision:resnet50", "torchvision:resnet50@IMAGENET1K_V1 or torchvision:resnet50@IMAGENET1K_V2"),
        ("torchvision:resnet50@IMAGENET1K_V9", "It has IMAGENET1K_V1, IMAGENET1K_V2"),
        ("torchvision:resnet50@DEFAULT", "changes with the version"),
        ("torchvision:resnet50@IMAGENET1K_V1?random=0", "names weights and draws them"),
        ("timm:resnet18?random=0&blocks=3", "has no option 'blocks'"),
        ("timm:resnet18?random=0&checkpoint_path=x", "not the user's to give"),
        ("torchvision:resnet18?random=0&blocks=3", "has no option 'blocks'"),
        ("timm:resnet18?randm=0", "Did you mean random?"),
        ("torchvision:resnet18?seed=0", "Did you mean random?"),
        ("hf:owner/name?Randon=0", "Did you mean random?"),
        ("hf:a/b/c", "no repository"),
        ("hub:owner/repo", "hub:OWNER/NAME:BRANCH:ENTRY"),
        ("python:module", "python:MODULE:FUNCTION"),
    ],
)
def test_wrong_names_and_options_say_what_is_right(find, name, words):
    with pytest.raises(WrongName) as told:
        find(name)
    assert words in str(told.value)


@pytest.mark.parametrize(
    "name",
    [
        "timm:vit_tiny_patch16_224?embed_dim=abc&random=0",
        "timm:resnet18?block_args=abc&random=0",
        "torchvision:resnet18?width_per_group=abc&random=0",
    ],
)
def test_a_constructor_that_fails_names_the_options(find, name):
    with pytest.raises(BadInput) as told:
        find(name)
    given = name.partition("?")[2].partition("&")[0]
    assert f"cannot be built with {given}: " in told.value.problem and "random" not in told.value.problem


def test_a_part_of_a_name_has_nearest_parts():
    names = ["vit_small_patch14_dinov2.lvd142m", "vit_tiny_patch16_224", "gcvit_tiny", "resnet50"]
    assert parts_meant("vit_tinny", names)[0] == "vit_tiny"
    assert parts_meant("timm:*dinv2*", names) == ["dinov2"]
    assert parts_meant("resnt50", names) == ["resnet50"]
    assert parts_meant("xyzzy", names) == parts_meant("", names) == parts_meant("__", names) == []


def test_a_name_that_only_lacks_its_default_tag_is_listed_once(tmp_path):
    rows = dict(network_rows("resnet18", tmp_path))
    assert "timm:resnet18" not in rows and rows["timm:resnet18.a2_in1k"] == "pretrained"
    assert rows["timm:resnet18.a1_in1k"] == "pretrained; timm:resnet18 means these"
    assert rows["timm:seresnet18"] == "random only" and "torchvision:resnet18" in rows
    assert dict(network_rows("timm:vit_tiny_*_224", tmp_path))["timm:vit_tiny_patch16_224"].startswith("pretrained")


def test_names_of_other_libraries_are_near_once_they_are_kept(tmp_path):
    assert network_meant("resnet50", tmp_path) is None
    for scheme in ("timm", "torchvision"):
        adapters.library_of(scheme).names(tmp_path)
    assert "timm:resnet50 or torchvision:resnet50" in str(network_meant("resnet50", tmp_path))
    assert "timm:vit_small_patch16_224" in str(network_meant("vit_small_patch16_224", tmp_path))
    assert "Did you mean timm:resnet50" in str(network_meant("tim:resnet50", tmp_path))
    assert network_meant("maskcontrast-sup", tmp_path) is None and network_meant("C:/models/x.pth", tmp_path) is None
    wrong = adapters.library_of("torchvision").unknown(request.parse("torchvision", "vit_smal_patch16_224", tmp_path))
    assert "timm:vit_small_patch16_224" in str(wrong)


def test_what_is_not_installed_says_how_to_install_it(find, monkeypatch):
    library = adapters.library_of("timm")
    monkeypatch.setattr(type(library), "module", "no_such_module")
    with pytest.raises(BadEnvironment, match=r"pip install 'maskcontrast-bench\[timm\]'"):
        find(TINY)


# --- a card ---

NETWORK_CARD = """schema = 1
id = "my-net"
title = "My net"
[network]
source = "timm"
name = "resnet18"
mean = [0.5, 0.5, 0.25]
std = [0.5, 0.25, 0.5]
options = {random = 0}
[training]
initialisation = "random"
prior = "none"
supervision = "none"
"""


def card_of(tmp_path, *changes):
    text = NETWORK_CARD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "my-net.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ([("resnet18", "resnt18")], "name", "timm:resnet18"),
        ([("resnet18", "./nowhere"), ('"timm"', '"hf"')], "name", "there is no folder"),
        ([("random = 0", "random = 0, blocks = 3")], "options", "no option 'blocks'"),
        ([("random = 0", "randm = 0")], "options", "Did you mean random?"),
        ([("random = 0", "random = -1")], "options", "is not a seed"),
        ([('"timm"', '"torchvision"\nrevision = "V9"'), ("random = 0", "")], "revision", "It has IMAGENET1K_V1"),
        ([('"timm"', '"torchvision"'), ("random = 0", "")], "revision", "names no weights"),
        ([('"timm"', '"timm"\nrevision = "V9"')], "revision", "have no revision"),
        ([("mean =", 'features = "block99"\nmean =')], "features", "It has last, stage1 to stage4"),
    ],
)
def test_a_mistake_in_a_card_names_file_and_key(find, tmp_path, changes, key, words):
    path = card_of(tmp_path, *changes)
    with pytest.raises(BadInput) as told:
        find(str(path)).features("cpu")
    assert told.value.problem.startswith(f"{path}: network.{key}: ") and words in str(told.value)


def test_a_layer_that_the_user_names_is_no_mistake_in_the_card(find, tmp_path):
    with pytest.raises(WrongName, match="has no layer 'block99'"):
        find(str(card_of(tmp_path, ("mean =", 'features = "stage3"\nmean =')))).features("cpu", "block99")


def test_a_card_s_own_source_that_nothing_serves_is_named(find, tmp_path):
    path = card_of(tmp_path, ('"timm"', '"tim"'))
    with pytest.raises(BadEnvironment, match=r"network\.source") as told:
        find(str(path))
    assert str(path) in told.value.problem and "Did you mean timm?" in told.value.remedy


def shown_card(capsys, tmp_path, path):
    show_model(catalogue.model(str(path)), tmp_path / "cache", trust_code=False)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_card_is_shown_with_what_its_network_says(capsys, monkeypatch, tmp_path):
    path = card_of(tmp_path, ("mean =", 'channels = "BGR"\nfeatures = "stage3"\nmean ='))
    shown = shown_card(capsys, tmp_path, path)
    for row in (
        "width 256",
        "layers last; stage1 to stage4",
        "input any, BGR",
        "normalisation mean 0.5 0.5 0.25, std 0.5 0.25 0.5",
        f"protocols {', '.join(registry.that_measure(embeddings=False))}",
        "network option random 0",
    ):
        assert row in shown, shown
    assert not [row for row in shown if row.split()[0] == "about" or row.startswith("network mean")]
    monkeypatch.setattr(Timm, "outline", None)
    assert shown_card(capsys, tmp_path, path) == shown  # of the cache
    wrong = card_of(tmp_path, ("mean =", 'features = "block99"\nmean ='))
    monkeypatch.undo()
    with pytest.raises(BadInput, match=r"network\.features"):
        shown_card(capsys, tmp_path, wrong)


def test_a_card_is_shown_where_its_library_is_not_installed(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(Timm, "module", "no_such_module")
    shown = "\n".join(shown_card(capsys, tmp_path, card_of(tmp_path)))
    assert "network name resnet18" in shown and "network mean 0.5 0.5 0.25" in shown
    assert "network itself not shown: timm: needs the package" in shown
    assert "pip install 'maskcontrast-bench[timm]'" in shown


# --- identity ---


@pytest.mark.slow
def test_a_seed_tells_the_weights(find):
    first, again, other = find(TINY), find(TINY), find(TINY.replace("=0", "=1"))
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert first.id == "timm-vit_tiny_patch16_224-random-0" and first.cacheable
    assert first.training.supervision.startswith("none") and first.training.images.startswith("none")
    assert first.origin["version"] and first.origin["seed"] == 0 and first.origin["parameters"] == 5_524_416
    state = torch.random.get_rng_state()
    find("timm:resnet18?random=5").network("cpu")
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
def test_whatever_changes_a_network_changes_its_key(find, tmp_path, monkeypatch):
    keys = [find(name).key for name in (TINY, f"{TINY}&init_values=0.1", "timm:vit_tiny_patch16_224?random=1")]
    library = type(adapters.library_of("timm"))
    monkeypatch.setattr(library, "version", lambda self: "0.0.1")
    keys.append(find(TINY).key)
    card = tmp_path / "card.toml"
    text = (
        'schema = 1\nid = "mine"\ntitle = "Mine"\n[network]\nsource = "timm"\nname = "vit_tiny_patch16_224"\n'
        '{}options = {{ random = 0 }}\n[training]\ninitialisation = "none"\nprior = "none"\nsupervision = "none"\n'
    )
    for features in ("", 'features = "key"\n', 'features = "last2"\n'):
        card.write_text(text.format(features))
        keys.append(find(str(card)).key)
    assert len(set(keys)) == len(keys) - 1  # a card without features is the network of its name
    card.write_text(text.format("mean = [0.1, 0.2, 0.3]\n"))
    assert find(str(card)).structure.mean == (0.1, 0.2, 0.3) != find(TINY).structure.mean


@pytest.mark.slow
def test_weights_of_a_file_are_told_apart(find, tmp_path):
    import timm

    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        paths.append(tmp_path / f"{seed}.pth")
        state = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
        torch.save({"teacher": {f"backbone.{key}": value for key, value in state.items()}}, paths[-1])
    warned = []
    one, two = (find("timm:vit_tiny_patch16_224", path, warn=warned.append) for path in paths)
    assert one.key != two.key and one.weights_sha256 != two.weights_sha256
    images = torch.zeros(1, 3, 32, 32)
    assert not torch.equal(one.features("cpu")(images), two.features("cpu")(images))
    assert any("teacher.backbone." in text for text in warned)
    torch.save({"conv.weight": torch.zeros(3, 3)}, paths[0])
    with pytest.raises(BadInput, match="does not fit VisionTransformer: it lacks 'blocks"):
        _ = find("timm:vit_tiny_patch16_224", paths[0]).network("cpu")


# --- torchvision ---


@pytest.mark.slow
@pytest.mark.parametrize(("stride", "side"), [(8, 8), (16, 4), (32, 2), (None, 2)])
def test_a_resnet_of_torchvision_can_be_dilated(find, stride, side):
    read = find("torchvision:resnet50?random=0").features("cpu", "stage4", stride)
    with torch.inference_mode():
        assert read(torch.zeros(1, 3, 64, 64)).shape == (1, 2048, side, side)


@pytest.mark.slow
def test_what_cannot_be_dilated_is_said(find):
    for name in ("torchvision:resnet18?random=0", "torchvision:swin_t?random=0", "torchvision:resnet50?random=0"):
        with pytest.raises(WrongName, match="cannot be given an output stride"):
            find(name).features("cpu", None, 4 if "50" in name else 8)


@pytest.mark.slow
def test_the_same_weights_give_equal_features_in_two_libraries(find, tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(1)
    torch.save(resnet50().state_dict(), tmp_path / "resnet50.pth")
    images = torch.rand(1, 3, 96, 64)
    with torch.inference_mode():
        one, two = (
            find(name, tmp_path / "resnet50.pth").features("cpu")(images)
            for name in ("timm:resnet50", "torchvision:resnet50")
        )
    assert one.shape == (1, 2048, 3, 2) and torch.allclose(one, two, atol=1e-4)


# --- transformers ---


@pytest.fixture
def saved(tmp_path):
    """A folder that transformers wrote."""
    transformers = pytest.importorskip("transformers")

    def write(kind="Dinov2", name="folder", **more):
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = getattr(transformers, f"{kind}Config")(**small | more)
        torch.manual_seed(2)
        model = getattr(transformers, f"{kind}Model")(config).eval()
        model.save_pretrained(tmp_path / name)
        return tmp_path / name, model

    return write


@pytest.mark.slow
def test_a_folder_gives_what_transformers_gives(find, saved, tmp_path):
    folder, model = saved(image_size=28)
    found = find(f"hf:{folder}")
    assert found.origin["name"] == "folder" and str(tmp_path) not in json.dumps(found.origin) + found.title + found.id
    images = torch.rand(1, 3, 28, 28)
    with torch.inference_mode():
        expected = model(images).last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
        assert torch.allclose(found.features("cpu")(images), expected, atol=1e-5)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with torch.inference_mode():
        assert torch.allclose(find(f"hf:{folder}").features("cpu")(images), expected, atol=1e-5)
    assert find(f"hf:{folder}?random=1").weights_sha256 != find(f"hf:{folder}?random=2").weights_sha256
    config = json.loads((folder / "config.json").read_text()) | {"layer_norm_eps": 0.1}
    before = find(f"hf:{folder}").key
    (folder / "config.json").write_text(json.dumps(config))
    assert find(f"hf:{folder}").key != before


@pytest.mark.slow
def test_dinov2_of_two_libraries_gives_equal_features(find, saved):
    name = "timm:vit_small_patch14_dinov2?random=0&depth=2&embed_dim=32&num_heads=2&mlp_ratio=4&img_size=56"
    state = find(name).network("cpu").state_dict()
    folder, model = saved(image_size=56)
    copied = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["pos_embed"],
        "embeddings.mask_token": torch.zeros(1, 32),
    }
    outer = {"patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    inner = {
        "norm1": "norm1",
        "attn.proj": "attention.o_proj",
        "norm2": "norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    pairs = outer | {
        f"blocks.{i}.{ours}": f"encoder.layer.{i}.{theirs}" for i in range(2) for ours, theirs in inner.items()
    }
    for part in ("weight", "bias"):
        copied |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for ours, theirs in pairs.items()}
        for i in range(2):
            parts = state[f"blocks.{i}.attn.qkv.{part}"].chunk(3)
            copied |= {f"encoder.layer.{i}.attention.{k}_proj.{part}": one for k, one in zip("qkv", parts, strict=True)}
    for i in range(2):
        copied |= {f"encoder.layer.{i}.layer_scale{n}.lambda1": state[f"blocks.{i}.ls{n}.gamma"] for n in (1, 2)}
    model.load_state_dict(copied)
    model.save_pretrained(folder)
    images = torch.rand(2, 3, 56, 56)
    with torch.inference_mode():
        for layer in ("last", "last2", "block1", "key", "value1"):
            one, two = (find(text).features("cpu", layer)(images) for text in (name, f"hf:{folder}"))
            assert one.shape[2:] == (4, 4) and torch.allclose(one, two, atol=1e-4), layer


def test_weights_with_code_in_them_are_refused_and_run_nothing(find, saved, tmp_path):
    folder, _ = saved(image_size=28)
    (folder / "model.safetensors").unlink()

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Evil()}, protocol=2))
    with pytest.raises(BadInput, match="would run code"):
        find(f"hf:{folder}").network("cpu")
    assert not (tmp_path / "ran").exists()


def test_code_of_a_folder_runs_only_where_it_is_trusted(find, saved, tmp_path):
    folder, _ = saved(image_size=28)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(BadInput, match=r"needs code of .*") as told:
        find(f"hf:{folder}")
    assert "--trust-code" in told.value.remedy and not (tmp_path / "ran").exists()


def test_models_of_anything_but_pictures_are_refused(find, saved, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder, _ = saved("Bert", vocab_size=20)
    with pytest.raises(BadInput, match="a model of text"):
        find(f"hf:{folder}?random=0")
    transformers.CLIPConfig().save_pretrained(tmp_path / "clip")
    with pytest.raises(BadInput, match="of pictures and of something else"):
        find(f"hf:{tmp_path / 'clip'}?random=0")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"model_type": "nonsense"}', "cannot read its config.json"),
        ("{}", "cannot read its config.json"),
        ("[]", "not a table of settings"),
        ("{", "cannot be read"),
        ('{"model_type": "dinov2", "hidden_size": "wide"}', "cannot read its config.json"),
    ],
)
def test_a_wrong_configuration_is_one_line(find, tmp_path, config, words):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(BadInput) as told:
        find(f"hf:{tmp_path}?random=0")
    assert words in told.value.problem and "\n" not in told.value.problem


def test_weights_of_another_network_are_refused(find, saved):
    folder, _ = saved(image_size=28)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"num_hidden_layers": 3, "out_features": None, "out_indices": None})
    )
    with pytest.raises(BadInput, match=r"lack 'encoder\.layer\.2"):
        find(f"hf:{folder}").network("cpu")
    with pytest.raises(BadInput, match="there is no folder"):
        find("hf:./nowhere")


def test_a_preprocessor_that_was_edited_is_read_again(find, saved, tmp_path):
    folder, _ = saved(image_size=28)
    for value in (0.5, 0.25):
        (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [value] * 3, "image_std": value}))
        assert find(f"hf:{folder}").normalisation == ((value,) * 3, (value,) * 3)
    (folder / "preprocessor_config.json").unlink()
    assert find(f"hf:{folder}").normalisation == (None, None)


@pytest.mark.parametrize(
    ("told", "pixels"),
    [
        ({}, lambda given: (given - 0.5) / 0.25),
        ({"do_rescale": False, "image_mean": 120, "image_std": 60}, lambda given: (255 * given - 120) / 60),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True}, lambda given: (2 * given - 1 - 0.5) / 0.25),
        ({"do_normalize": False}, lambda given: given),
        ({"do_normalize": False, "do_rescale": False}, lambda given: 255 * given),
    ],
)
def test_what_a_preprocessor_does_to_pixels_is_what_the_normalisation_does(find, saved, told, pixels):
    folder, _ = saved(image_size=28)
    told = {"image_mean": 0.5, "image_std": 0.25} | told
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    mean, std = (torch.tensor(one) for one in find(f"hf:{folder}").normalisation)
    given = torch.rand(5, 3)
    assert torch.allclose((given - mean) / std, pixels(given), atol=1e-4)


def test_a_network_of_bgr_sees_bgr(find, saved):
    folder, _ = saved(image_size=28)
    given = torch.rand(1, 3, 28, 28)
    plain = find(f"hf:{folder}")
    rgb, flipped = plain.features("cpu")(given), plain.features("cpu")(given.flip(1))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_flip_channel_order": True}))
    subject = find(f"hf:{folder}")
    assert subject.structure.channels == "BGR" and subject.key != plain.key
    assert torch.equal(subject.features("cpu")(given), flipped) and not torch.equal(flipped, rgb)


def test_a_layer_too_many_in_the_weights_is_told(find, saved):
    folder, _ = saved("ViT", image_size=28, patch_size=14)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": config["num_hidden_layers"] - 1}))
    told = []
    find(f"hf:{folder}", warn=told.append)
    assert "left out" in told[0] and "more" in told[0]


@pytest.mark.parametrize(
    "damage",
    [
        {"structure": 5},
        {"structure": {"family": "timm", "unknown": 1}},
        {"structure": {"family": "timm", "patch": "x"}},
        {"structure": {"family": "timm", "mean": [1, 2]}},
        {"parameters": None},
        {"names": 5},
        {"names": {"test_vit": 5}},
        {"names": {}},
    ],
)
def test_what_another_version_kept_of_a_network_is_found_again(find, tmp_path, damage):
    first = find("timm:test_vit?random=0")
    for path in (tmp_path / "libraries/networks").glob("*.json"):
        kept = json.loads(path.read_text())
        kept.pop("seal")  # as files of earlier versions
        if kept.keys() & damage.keys():
            path.write_text(json.dumps(kept | damage))
    again = find("timm:test_vit?random=0")
    assert (again.structure, again.origin, again.key) == (first.structure, first.origin, first.key)


# --- weights of a file ---


CARD = """
schema = 1
id = "mine"
title = "Mine"
[network]
source = "timm"
name = "test_vit"
{weights}
[training]
initialisation = "random"
prior = "none"
supervision = "none"
"""


def test_weights_that_are_given_for_a_card_are_held_to_its_hash(find, tmp_path):
    timm, files = pytest.importorskip("timm"), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        files.append(tmp_path / f"{seed}.pth")
        torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), files[-1])
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    card, told = tmp_path / "card.toml", []
    entry = f'[weights]\nsource = "file"\nfile = "1.pth"\nsha256 = "{digest}"\nlicence = "none"'
    card.write_text(CARD.format(weights=entry))
    assert find(card).weights_sha256 == find(card, weights=files[0]).weights_sha256 == digest
    with pytest.raises(BadInput, match=r"2\.pth is not the file of mine"):
        find(card, weights=files[1])
    card.write_text(CARD.format(weights=""))
    assert find(card, weights=files[1], warn=told.append).weights_sha256 != digest
    assert "they are not those of its card" in told[0]


def test_weights_that_are_no_file_are_named(find, tmp_path):
    for path in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(BadInput, match=path.name):
            find("timm:test_vit", weights=path)


# --- adapters of other packages ---

ADAPTERS = """
import sys
from bench.networks.subject import Subject

def returns_nothing(name): pass
def leaves(name): sys.exit(5)
def broken(device): raise ValueError("no such device")
def late(name): return Subject("late", name, "0" * 64, "", broken)
def outside(name): return Subject("../../outside", name, "0" * 64, "", broken)
def taken(name): return Subject("dinov2-vits14", name, "0" * 64, "", broken)
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("returns_nothing", "returned a NoneType, not a bench.networks.subject.Subject"),
        ("leaves", "SystemExit: 5"),
        ("late", "ValueError: no such device"),
        ("outside", "not allowed as a model's id"),
        ("taken", "is a built-in card's id"),
    ],
)
def test_an_adapter_that_goes_wrong_is_one_line(find, tmp_path, monkeypatch, function, words):
    (tmp_path / "some_adapters.py").write_text(ADAPTERS)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", f"some_adapters:{function}", adapters.ENTRY_POINTS)
    monkeypatch.setattr(adapters, "adapters", lambda: {"mine": point})
    with pytest.raises(BadEnvironment, match=words):
        find("mine:x").features("cpu")
    sys.modules.pop("some_adapters", None)


def test_a_file_of_another_size_says_which_size_it_is_of(find, tmp_path):
    timm = pytest.importorskip("timm")
    big = timm.create_model("vit_tiny_patch16_384", depth=1)
    torch.save(big.state_dict(), tmp_path / "big.pth")
    name = "timm:vit_tiny_patch16_224?depth=1"
    with pytest.raises(BadInput, match="does not fit") as told:
        find(name, tmp_path / "big.pth").network("cpu")
    assert "images of 384×384 pixels" in told.value.remedy and f"{name}&img_size=384" in told.value.remedy
    assert find(f"{name}&img_size=384", tmp_path / "big.pth").structure.grid == (24, 24)
    assert find("timm:vit_tiny_patch16_384?depth=1", tmp_path / "big.pth").structure.grid == (24, 24)
    wide = timm.create_model("vit_tiny_patch16_224", depth=1, embed_dim=96)
    torch.save(wide.state_dict(), tmp_path / "wide.pth")
    with pytest.raises(BadInput, match="does not fit") as told:
        find(name, tmp_path / "wide.pth").network("cpu")
    assert "img_size" not in told.value.remedy


def test_a_file_of_another_size_for_a_folder_of_transformers(find, tmp_path):
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    transformers.ViTConfig(image_size=32, **small).save_pretrained(tmp_path / "vit")
    module = transformers.ViTModel(transformers.ViTConfig(image_size=64, **small))
    torch.save(module.state_dict(), tmp_path / "big.pth")
    name = f"hf:{tmp_path / 'vit'}"
    with pytest.raises(BadInput) as told:
        find(name, tmp_path / "big.pth")
    assert "images of 64×64 pixels" in told.value.remedy and f"{name}?image_size=64" in told.value.remedy
    assert find(f"{name}?image_size=64", tmp_path / "big.pth").structure.grid == (4, 4)


def test_weights_beside_the_name_are_weights_that_are_named(tmp_path):
    adapters.require_known("torchvision:resnet18", tmp_path)
    with pytest.raises(WrongName, match="unknown network"):
        adapters.require_known("torchvision:resnt18", tmp_path)
    with pytest.raises(WrongName, match="has no weights 'V9'"):
        adapters.require_known("torchvision:resnet18@V9", tmp_path)


# --- a factory ---

FACTORIES = """
import socket, torch

def build(width=4):
    return torch.nn.Conv2d(3, width, 4, stride=4)

def nothing():
    return None

def kind():
    return torch.nn.Conv2d

def needs(width):
    return build(width)

def broken():
    raise KeyError("weights")

def leaves():
    raise SystemExit(3)

def online():
    socket.create_connection(("127.0.0.1", 9))

thing = 3
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """A module of the current folder."""
    (tmp_path / "my_factories.py").write_text(FACTORIES)
    (tmp_path / "my_broken.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "my_wrong.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("my_factories", "my_broken", "my_wrong"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_factories:nothing", "returned a NoneType, not a torch.nn.Module"),
        ("my_factories:kind", "returned the class Conv2d"),
        ("my_factories:needs", "missing a required argument: 'width'"),
        ("my_factories:build?widht=3", "Did you mean width?"),
        ("my_factories:build?randm=3", "Did you mean random?"),
        ("my_factories:build?width=abc", "Correct the function, or its options (width=abc)"),
        ("my_factories:broken", "KeyError: 'weights' (my_factories.py, line 17)"),
        ("my_factories:leaves", "SystemExit: 3"),
        ("my_factories:biuld", "Did you mean build?"),
        ("my_factories:thing", "is a int, not a factory"),
        ("my_factories:online", "a run never uses the network"),
        ("my_factorys:build", "there is no Python module 'my_factorys'"),
        ("my_factories.deep:build", "there is no Python module 'my_factories.deep'"),
        ("my_broken:build", "needs the Python module 'no_such_module_anywhere'"),
        ("my_wrong:build", "ZeroDivisionError: division by zero (my_wrong.py, line 1)"),
    ],
)
def test_a_factory_that_fails_is_one_line(find, factories, name, words):
    with pytest.raises((WrongName, BadInput)) as told:
        find(f"python:{name}")
    assert words in str(told.value) and "\n" not in told.value.problem


def test_a_factory_is_cached_only_by_the_users_word(find, factories):
    plain = find("python:my_factories:build?random=0")
    keyed = find("python:my_factories:build?random=0&cache_key=v1")
    other = find("python:my_factories:build?random=0&cache_key=v2")
    assert not plain.cacheable and keyed.cacheable and other.cacheable
    assert plain.weights_sha256 == keyed.weights_sha256 and keyed.key != other.key
    assert keyed.key != find("python:my_factories:build?random=1&cache_key=v1").key
    assert keyed.features("cpu")(torch.zeros(1, 3, 16, 16)).shape == (1, 4, 4, 4)
    wide = find("python:my_factories:build?width=6&random=0")
    assert wide.features("cpu")(torch.zeros(1, 3, 16, 16)).shape == (1, 6, 4, 4)


def test_the_library_of_a_factory_is_said_with_what_has_its_version(factories, capsys, tmp_path):
    show_network("python:my_factories:build", tmp_path / "cache", trust_code=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"library a factory of your own (torch {version('torch')})" in shown


# --- the command line ---


@pytest.mark.slow
def test_networks_are_listed_by_a_part_of_their_name(bench):
    listed = bench("list", "networks", "ResNet18").stdout
    assert "torchvision:resnet18" in listed and "timm:resnet18.a1_in1k" in listed and "vit" not in listed
    rows = json.loads(bench("list", "networks", "timm:vit_*_patch14_dinov2*", "--json").stdout)
    pretrained = "pretrained; timm:vit_small_patch14_dinov2 means these"
    assert {"name": "timm:vit_small_patch14_dinov2.lvd142m", "weights": pretrained} in rows
    said(bench("list", "networks", "nothing-like-it"), 2, "no installed library has a network like", "have no list")
    said(bench("list", "networks", "dinv2"), 2, "Did you mean dinov2?")
    said(bench("show", "vit_tiny_patch16_224"), 2, "Did you mean timm:vit_tiny_patch16_224?")
    said(bench("show", "tim:resnet50"), 2, "Did you mean timm:resnet50?")
    said(bench("download", "tim:resnet50"), 2, "Did you mean timm:resnet50?")
    said(bench("list", "models", "x"), 2, "PATTERN is for")


@pytest.mark.slow
def test_a_network_is_shown_without_its_weights(bench, tmp_path):
    shown = " ".join(bench("show", "timm:vit_large_patch14_reg4_dinov2.lvd142m").stdout.split())
    for words in (
        "parameters 304,370,688",
        "width 1024",
        "stride 14 pixels",
        "tokens dropped 5",
        "trained on 37×37",
        "mean 0.485 0.456 0.406",
        "licence of the weights apache-2.0",
        "bench download timm:vit_large_patch14_reg4_dinov2.lvd142m",
        ", ".join(registry.that_measure(embeddings=False)),
    ):
        assert words in shown
    shown = " ".join(bench("show", "torchvision:resnet50").stdout.split())
    assert "width 2048" in shown and "torchvision:resnet50@IMAGENET1K_V1" in shown
    said(bench("show", "timm:resnt50"), 2, "unknown network 'timm:resnt50'", "timm:resnet50")


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [["--help"], ["list", "models"], ["list", "networks", "--help"], ["list", "protocols"]]
)
def test_lists_and_help_load_no_library(line):
    code = (
        f"import sys; from bench.cli import main\ntry: main({line})\nexcept SystemExit: pass\n"
        "loaded = {'torch', 'timm', 'transformers', 'torchvision', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_folder_that_is_named_as_no_path_is_pointed_at(bench, find, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    for folder, file in (("vit", "config.json"), ("code", "hubconf.py")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("{}")
    for name, words in (
        ("hf:vit", "hf:./vit"),
        ("./vit", "hf:./vit"),
        ("vit", "hf:./vit"),
        (str(tmp_path / "vit"), f"hf:{tmp_path / 'vit'}"),
        ("hub:code:entry", "hub:./code:ENTRY"),
        ("./code", "hub:./code:ENTRY"),
    ):
        with pytest.raises((WrongName, BadInput)) as told:
            find(name)
        assert words in told.value.remedy, name
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said(bench("download", "hf:vit"), 4, "hf:./vit")
    said(bench("download", "hf:vit", "--offline"), 4, "hf:./vit")
    said(bench("download", "vit"), 2, "hf:./vit")
    said(bench("show", "hf:vit"), 3, "hf:./vit")
    said(bench("show", "./vit"), 3, "hf:./vit")
