"""Cards and presets: what ships, what is refused, and what a fingerprint covers."""

import re
import shutil
from pathlib import Path

import pytest

from bench.base import folders
from bench.base.errors import BadInput, WrongName
from bench.base.paths import expand
from bench.base.toml_files import LARGEST
from bench.cards import catalogue
from bench.cards.backbone_names import backbone_name
from bench.cards.card import is_model_card, load_card
from bench.cards.datasets import DatasetCard
from bench.cards.local_files import local_weights, needs_download
from bench.cards.models import ModelCard
from bench.cards.presets import fingerprint, override, read_value
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.linear.preset import TRAINING_ENTRIES, LinearPreset

MODEL = folders.folder("models") / "maskcontrast-sup.toml"
DATASET = folders.folder("datasets") / "pascal-voc.toml"


@pytest.mark.parametrize("kind, where", [(ModelCard, "models"), (DatasetCard, "datasets")])
def test_every_shipped_card_loads_and_is_named_after_its_id(kind, where):
    paths = sorted(folders.folder(where).glob("*.toml"))
    assert paths
    for path in paths:
        assert load_card(path, kind).id == path.stem


def test_the_data_sets_default_models_exist():
    for card in catalogue.datasets().values():
        assert set(card.default_models) <= set(catalogue.models())


def test_pascal_voc_s_preset_is_the_paper_s():
    card = catalogue.dataset("pascal-voc")
    assert card.protocols.preset("clustering") == ClusteringPreset()
    assert len(card.classes) == 21
    assert {name: split.images for name, split in card.splits.items()} == {
        "val": 1449,
        "train": 1464,
        "trainaug": 10582,
    }


def test_every_model_card_says_which_labels_it_has_seen():
    assert all(card.training.supervision for card in catalogue.models().values())


def test_what_cards_say_of_training_images_is_of_data_sets_that_there_are():
    known = catalogue.datasets()
    for card in catalogue.models().values():
        assert set(card.training.overlaps) <= set(known), card.id
        assert card.training.images.strip(), card.id


def test_a_model_that_saw_imagenet_overlaps_every_size_of_imagenet_s():
    sizes = {name for name in catalogue.datasets() if name.startswith("imagenet-s")}
    for card in catalogue.models().values():
        if card.training.images.startswith(("ImageNet-1k", "LVD-142M")):
            assert sizes <= set(card.training.overlaps), card.id


@pytest.mark.slow
def test_the_baselines_have_the_names_and_the_normalisation_that_timm_has():
    registry = pytest.importorskip("timm.models")
    cards = [card for card in catalogue.models().values() if card.network and card.network.source == "timm"]
    assert len(cards) >= 13
    for card in cards:
        known = registry.get_pretrained_cfg(card.network.name, allow_unregistered=False)
        assert known is not None, card.id
        if card.weights is None:  # whose weights timm has: else only the shape is timm's
            assert known.has_weights, card.id
            assert (known.mean, known.std) == (card.network.mean, card.network.std), card.id


NETWORK = """schema = 1
id = "mine"
title = "Mine"
[network]
source = "timm"
name = "vit_small_patch16_224"
[training]
initialisation = "random"
prior = "none"
supervision = "none"
"""


def network_card(tmp_path, text=NETWORK):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_card_of_another_library_s_network_is_a_model_s_card(tmp_path):
    path = network_card(tmp_path)
    card = catalogue.model(str(path))
    assert is_model_card(path) and not is_model_card(DATASET)
    assert (card.backbone, card.origin, card.drawn, card.weights_sha256) == (card.network.name, "timm", False, None)
    assert (card.network.address, card.licence) == ("timm:vit_small_patch16_224", "not stated")
    assert needs_download(card) and local_weights(card, tmp_path) is None


def test_a_network_with_drawn_weights_has_nothing_to_fetch(tmp_path):
    card = load_card(
        network_card(tmp_path, NETWORK.replace("[training]", "options = {random = 0}\n[training]")), ModelCard
    )
    assert (card.origin, card.drawn, needs_download(card)) == ("random", True, False)


DRAWN = '[weights]\nsource = "random"\nsaliency_scale = 1\nsaliency_shift = 0'


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("[network]", '[architecture]\nbackbone = "resnet50"\n[network]', "either [architecture] or [network]"),
        ('[network]\nsource = "timm"\nname = "vit_small_patch16_224"', "", "either [architecture] or [network]"),
        ('source = "timm"', 'source = "Timm!"', "network.source"),
        ('source = "timm"', 'source = "timm"\nfeatures = "a b"', "network.features"),
        ("[training]", 'mean = [0.5]\n[training]', "network.mean"),
        ('supervision = "none"', 'supervision = "none"\noverlaps = ["pascal-voc"]', "training.overlaps"),
        ("[training]", f"{DRAWN}\n[training]", "`random = SEED`"),
    ],
)  # fmt: skip
def test_a_faulty_card_of_a_network_names_file_and_key(tmp_path, old, new, said):
    assert old in NETWORK
    with pytest.raises(BadInput, match=re.escape(said)) as caught:
        load_card(network_card(tmp_path, NETWORK.replace(old, new)), ModelCard)
    assert caught.value.problem.startswith(f"{tmp_path / 'mine.toml'}: ")


@pytest.mark.parametrize(
    "name, said",
    [
        ("vit_small_patch14_reg4_dinov2.lvd142m", "ViT-S/14 with registers"),
        ("dinov2_vitb14_reg", "ViT-B/14 with registers"),
        ("vit_base_patch16_224.mae", "ViT-B/16"), ("vit_b_16", "ViT-B/16"), ("dino_vits8", "ViT-S/8"),
        ("dinov2_vitl14", "ViT-L/14"), ("vit_giant_patch14_dinov2", "ViT-g/14"), ("resnet50", "ResNet-50"),
        ("facebookresearch/dino:main:dino_resnet50", "ResNet-50"), ("resnet50.tv_in1k", "ResNet-50"),
        ("swin_tiny_patch4_window7_224", "Swin-T"), ("convnext_base.fb_in1k", "ConvNeXt-B"),
        *((name, name) for name in (
            "wide_resnet50_2", "resnet50_gn", "seresnet50", "resnetv2_50", "resnext50_32x4d",
            "vit_small_patch16_18x2_224",
            "facebook/dinov2-small", "vit_so150m_patch16_reg4_gap_256", "my.module:build", "ViT-S/16", "",
        )),
    ],
)  # fmt: skip
def test_a_backbone_has_the_field_s_name_or_its_own(name, said):
    assert backbone_name(name) == said


def edited(tmp_path, source, old, new):
    text = source.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "source, old, new, key",
    [
        (MODEL, "[architecture]", "colour = 1\n[architecture]", "colour"),
        (MODEL, 'backbone = "resnet50"', 'backbone = "resnet50"\nheads = 2', "architecture.heads"),
        (MODEL, 'backbone = "resnet50"', 'backbone = "vgg"', "architecture.backbone"),
        (MODEL, "width = 64", 'width = "wide"', "architecture.width"),
        (MODEL, "width = 64", "width = 0", "architecture.width"),
        (MODEL, 'source = "google-drive"', 'source = "ftp"', "weights"),
        (MODEL, 'licence = "CC BY-NC 4.0"', "", "licence"),
        (MODEL, 'licence = "CC BY-NC 4.0"', 'licence = "MIT"\nsha256 = "123"', "sha256"),
        (MODEL, 'supervision = "ImageNet labels and saliency labels"', "", "training.supervision"),
        (MODEL, 'id = "1UkzAZMBG1U8kTqO3yhO2nTtoRNtEvyRq"', "", "google-drive"),
        (MODEL, 'id = "maskcontrast-sup"', 'id = "../escape"', "id"),
        (MODEL, 'id = "maskcontrast-sup"', 'id = "Mask Contrast"', "id"),
        (MODEL, "schema = 1", "schema = 2", "schema"),
        (MODEL, "schema = 1", "", "schema"),
        (MODEL, "schema = 1", 'schema = 1\npath = "elsewhere"', "path"),
        (DATASET, "ignore = 255", "ignore = 7", "labels.ignore"),
        (DATASET, "ignore = 255", "ignore = 65536", "labels.ignore"),
        (DATASET, 'encoding = "index"', 'encoding = "colour"', "palette"),
        (DATASET, "[labels]", "[labels]\nignored_colours = [[0, 0, 0]]", "ignored_colours"),
        (DATASET, 'orientation = "stored"', 'orientation = "sideways"', "orientation"),
        (DATASET, "images = 1449", 'images = "many"', "splits.val.images"),
        (DATASET, '"aeroplane", "bicycle"', '"aeroplane", "aeroplane"', "classes"),
        (DATASET, 'default_split = "val"', 'default_split = "test"', "default_split"),
        (DATASET, "[splits.trainaug]", "[splits.other]", "splits"),
        (DATASET, "[splits.trainaug]", '[splits."../../trainaug"]', "splits.../../trainaug"),
        (DATASET, 'image = "images/{id}.jpg"', 'image = "images/one.jpg"', "{id}"),
        (DATASET, "clusters = 20", "cluster = 20", "protocols.clustering.cluster"),
        (DATASET, "clusters = 20", "clusters = 1", "protocols.clustering.clusters"),
        (DATASET, "saliency_threshold = 0.5", "saliency_threshold = nan", "protocols.clustering.saliency_threshold"),
        (DATASET, "[protocols.clustering]", "[protocols.clusterin]", "protocols.clusterin"),
        (DATASET, "ignore = 255", "ignore = 255\n[splits.more]\nimages = 10000000000", "splits.more.images"),
        (DATASET, 'licence = "', 'class_folders = 2147483648\nlicence = "', "class_folders"),
        (DATASET, "seeds = 5", "seeds = 2147483648", "protocols.clustering.seeds"),
        (DATASET, "clusters = 20", "clusters = 20\niterations = 2147483648", "protocols.clustering.iterations"),
    ],
)  # fmt: skip
def test_a_faulty_card_is_bad_input_that_names_file_and_key(tmp_path, source, old, new, key):
    path = edited(tmp_path, source, old, new)
    with pytest.raises(BadInput) as caught:
        load_card(path, ModelCard if source is MODEL else DatasetCard)
    assert caught.value.problem.startswith(f"{path}: ")
    assert key in caught.value.problem.removeprefix(f"{path}: ")


NO_TOML = [
    b"schema = ",
    b"\xff\xff",
    b"\xff\xfea",
    b"<html>",
    b"a = " + b"[" * 10**5,
    b"x = " + b"9" * 5000,
    b"#" * (LARGEST + 1),
]
NO_TOML += [
    b"x = " + b"[" * 500 + b"]" * 500,
    b"x = " + b"{a=" * 500 + b"1" + b"}" * 500,
    b"[" + b"a." * 90_000 + b"a]",
]
NO_TOML += [b'"a" . ' * 200_000 + b"'a' = 1", b'title = "a\\u0000b"', b'[a]\nb = [{"c\\u0000" = 1}]']


@pytest.mark.parametrize("content", NO_TOML, ids=lambda content: repr(content[:9]))
def test_what_is_no_toml_is_bad_input(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"mine\.toml is not a TOML file"):
        load_card(path, ModelCard)


def test_a_byte_order_mark_is_skipped_and_depth_that_does_no_harm_is_an_unknown_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + DATASET.read_bytes())
    assert load_card(path, DatasetCard).id == load_card(DATASET, DatasetCard).id
    path.write_bytes(b".".join([b"a"] * 20) + b" = 1\n" + DATASET.read_bytes())
    with pytest.raises(BadInput, match=r"mine\.toml: a: unknown key"):
        load_card(path, DatasetCard)


def test_no_more_pictures_are_drawn_than_a_disk_bears(tmp_path):
    text = (DATASET.parent / "shapes.toml").read_text(encoding="utf-8")
    assert "images = 400" in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("images = 400", "images = 100001"), encoding="utf-8")
    with pytest.raises(BadInput, match="at most 100000 images are generated"):
        load_card(path, DatasetCard)


@pytest.mark.parametrize("place", ["~no-such-user-here/x", "loop", "a\0b", "x" * 300])
def test_a_path_at_which_nothing_can_lie_is_bad_input(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(BadInput):
        expand(place)
    assert expand("~") == Path.home() and expand("not/there") == Path("not/there")


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "9" * 5000])
def test_a_value_that_json_cannot_hold_is_taken_as_text(text):
    assert read_value(text) == text


def test_a_missing_card_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="no card at"):
        catalogue.model(str(tmp_path / "none.toml"))


def test_a_folder_instead_of_a_card_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match=re.escape(str(tmp_path))):
        catalogue.dataset(str(tmp_path))


def test_two_cards_of_one_id_are_bad_input(tmp_path):
    for name in ("a.toml", "b.toml"):
        shutil.copy(MODEL, tmp_path / name)
    with pytest.raises(BadInput, match=r"b\.toml: id: 'maskcontrast-sup' is already taken by .*a\.toml"):
        catalogue.load_all(tmp_path, ModelCard)


def test_a_card_cannot_pass_for_a_built_in_one(tmp_path):
    path = shutil.copy(MODEL, tmp_path / "mine.toml")
    with pytest.raises(BadInput, match=r"mine\.toml: id: 'maskcontrast-sup'"):
        catalogue.model(str(path))


def test_a_built_in_card_may_be_given_by_its_path():
    assert catalogue.model(str(MODEL)) is catalogue.model("maskcontrast-sup")


def test_a_card_of_one_s_own_is_given_by_its_path(tmp_path):
    path = edited(tmp_path, MODEL, 'id = "maskcontrast-sup"', 'id = "mine"')
    assert catalogue.model(str(path)).id == "mine"


@pytest.mark.parametrize(
    "find, name, nearest",
    [
        (catalogue.model, "maskcontrast-unsupp", "maskcontrast-unsup"),
        (catalogue.model, "MaskContrast-Sup", "maskcontrast-sup"),
        (catalogue.dataset, "pascal", "pascal-voc"),
        (catalogue.dataset, "shape", "shapes"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(find, name, nearest):
    with pytest.raises(WrongName, match=f"'{name}'") as caught:
        find(name)
    assert nearest in caught.value.remedy
    assert caught.value.exit_code == 2


def test_a_name_like_nothing_is_told_where_to_look():
    with pytest.raises(WrongName) as caught:
        catalogue.dataset("qqqqqqq")
    assert "Did you mean" not in caught.value.remedy
    assert "bench list datasets" in caught.value.remedy


def test_an_override_is_read_as_json_else_as_text():
    changed = override(
        ClusteringPreset(), {"clusters": "50", "solver": "minibatch", "input": "[320, 200]", "init": '"random"'}
    )
    assert (changed.clusters, changed.solver, changed.input, changed.init) == (50, "minibatch", (320, 200), "random")


def test_an_unknown_entry_is_a_wrong_name_with_the_nearest():
    with pytest.raises(WrongName, match="'cluster'") as caught:
        override(ClusteringPreset(), {"cluster": "50"})
    assert "clusters" in caught.value.remedy


@pytest.mark.parametrize(
    "key, text",
    [
        ("clusters", "many"),
        ("clusters", "1"),
        ("clusters", "2.5"),
        ("clusters", "NaN"),
        ("clusters", "null"),
        ("input", "512"),
        ("input", "[512]"),
        ("input", "[512, 0]"),
        ("solver", "magic"),
        ("saliency_threshold", "NaN"),
        ("saliency_threshold", "Infinity"),
        ("restarts", "0"),
        ("absent", "ignore"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_wrong_name_that_names_the_entry(key, text):
    with pytest.raises(WrongName, match=f"--set {key}") as caught:
        override(ClusteringPreset(), {key: text})
    assert key in caught.value.remedy


def test_a_deviation_of_zero_is_a_wrong_name():
    with pytest.raises(WrongName, match="std"):
        override(ClusteringPreset(), {"std": "[0, 1, 1]"})


OTHER = {
    "input": (256, 512),
    "interpolation": "linear",
    "mean": (0.5, 0.456, 0.406),
    "std": (0.229, 0.224, 0.5),
    "saliency_threshold": 0.6,
    "whiten": 16,
    "clusters": 21,
    "solver": "minibatch",
    "init": "random",
    "iterations": 50,
    "restarts": 5,
    "matching": "pixels",
    "grid": "input",
    "absent": "skip",
    "batch": 500,
    "resizing": "torch",
    "input_by_patch": {14: (504, 504)},
    "fit": "train",
    "matched_on": "val",
    "classes_from": "halves",
    "figures": "imagenet-s",
}


def print_of(**changes):
    return fingerprint("clustering", ClusteringPreset(**changes).resolved())


def test_the_fingerprint_covers_every_entry_but_the_seeds():
    assert set(OTHER) == set(ClusteringPreset.model_fields) - {"seeds"}
    # without which the entry is not read, or refused
    needs = {"batch": {"solver": "minibatch"}, "fit": {"whiten": 0}, "matched_on": {"whiten": 0, "fit": "test"}}
    prints = {key: print_of(**needs.get(key, {}), **{key: value}) for key, value in OTHER.items()}
    assert len({print_of(), *prints.values()}) == 1 + len(OTHER)


def test_the_fingerprint_does_not_cover_seeds_or_what_the_solver_does_not_read():
    assert print_of(seeds=20) == print_of()
    assert print_of(batch=500) == print_of()


def test_leaving_restarts_unset_is_the_same_as_naming_the_default():
    assert print_of(restarts=20) == print_of()
    assert print_of(solver="minibatch", restarts=3) == print_of(solver="minibatch")


def test_a_whole_number_for_a_fraction_makes_no_other_recipe():
    one, other = (override(ClusteringPreset(), {"saliency_threshold": text}) for text in ("1", "1.0"))
    assert fingerprint("clustering", one.resolved()) == fingerprint("clustering", other.resolved())


def test_the_fingerprint_depends_on_the_protocol():
    resolved = ClusteringPreset().resolved()
    assert fingerprint("clustering", resolved) != fingerprint("linear", resolved)


@pytest.mark.parametrize(
    ("protocol", "known"),
    [("clustering", "cd6c2fc66c920c1c"), ("linear", "8aabba89c1a9bce7"), ("retrieval-7", "9ea3b28625ca24d2")],
)
def test_entries_that_came_later_leave_earlier_fingerprints_as_they_were(protocol, known):
    preset = catalogue.dataset("pascal-voc").protocols.preset(protocol)
    assert fingerprint(protocol, preset.resolved()).startswith(known)
    assert fingerprint(protocol, override(preset, {"resizing": "torch"}).resolved()) != fingerprint(
        protocol, preset.resolved()
    )


def test_dense_clustering_needs_no_section_of_its_own():
    """It then sees and counts what clustering does, and finds the background as one more cluster."""
    coco = catalogue.dataset("coco-stuff-81").protocols
    dense, clustering = coco.preset("clustering-dense"), coco.preset("clustering")
    assert dense.clusters == 81 == clustering.clusters + 1
    for entry in ("input", "interpolation", "resizing", "mean", "std", "absent", "grid", "matching", "seeds"):
        assert getattr(dense, entry) == getattr(clustering, entry)
    for name, clusters in (("imagenet-s-50", 51), ("imagenet-s-300", 301), ("imagenet-s-919", 920), ("shapes", 21)):
        protocols = catalogue.dataset(name).protocols
        assert protocols.preset("clustering-dense").clusters == clusters and "clustering-dense" in protocols.given
    assert catalogue.dataset("davis").protocols.preset("clustering-dense") is None


@pytest.mark.parametrize("own, clusters, overclusters", [
    (7, 19, False), (7, 20, False), (7, 21, True), (7, 500, True),
    (20, 20, False), (21, 21, False), (500, 500, False), (500, 21, True),
])  # fmt: skip
def test_overclustering_begins_where_clusters_and_background_outnumber_the_classes(own, clusters, overclusters):
    """Of 21 classes; the data set's own number is plain, whatever it is."""
    variant = ClusteringPreset(clusters=clusters).variant(ClusteringPreset(clusters=own), 21)
    assert variant == ({"clusters": clusters} if overclusters else {})


def test_the_crf_gives_linear_another_name():
    assert LinearPreset(crf=True).variant(LinearPreset(), 21) == {"crf": True}
    assert LinearPreset().variant(LinearPreset(crf=True), 21) == {}


def test_a_released_classifier_has_no_training_and_no_seeds():
    trained, released = LinearPreset(seeds=3), LinearPreset(seeds=3, classifier="released")
    assert (trained.num_seeds, released.num_seeds) == (3, 0)
    assert not trained.unread() and released.unread().keys() == {*TRAINING_ENTRIES, "seeds"}
    shared = {"interpolation", "mean", "std", "input", "absent"}
    assert released.resolved().keys() == shared | {"classifier", "crf"}
    assert trained.resolved().keys() == shared | {"classifier", "crf", *TRAINING_ENTRIES}


def test_a_card_or_a_folder_at_hand_is_pointed_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.toml").write_text("")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(WrongName) as caught:
        catalogue.dataset("photos")
    assert "./photos.toml" in caught.value.remedy
    with pytest.raises(BadInput, match="is a folder, not the card") as folder:
        catalogue.dataset("./pictures")
    assert "bench init-dataset pictures" in folder.value.remedy
