"""Fingerprints stay what they are: records of today must meet those of tomorrow, and a moved default is another preset.

They were taken down before the program was last rebuilt. One that changes needs a reason in the changelog.
"""

import pytest

from bench.cards import catalogue
from bench.cards.presets import fingerprint
from bench.protocols import registry

FINGERPRINTS = {
    "clustering": "cd6c2fc66c920c1c",
    "clustering-dense": "d3d795acae6f265b",
    "davis": "fb8e8c37e823f33a",
    "distance-matching": "7fdc9d4d27634287",
    "linear": "8aabba89c1a9bce7",
    "retrieval-21": "30020a571cab8b30",
    "retrieval-7": "48fba6e5975d2df2",
    "ade20k-151/clustering-dense": "f325349bcb95626b",
    "ade20k/clustering-dense": "3e2c05415d0fbac0",
    "cityscapes-19/clustering-dense": "fabc51826b45c59a",
    "cityscapes-27/clustering-dense": "9a330d830983c2bc",
    "coco-stuff-15/clustering-dense": "d8172b68dcf09529",
    "coco-stuff-171/clustering-dense": "305bbf3b8c18fc30",
    "coco-stuff-27/clustering-dense": "9a330d830983c2bc",
    "coco-stuff-81/clustering": "4f2705fbe0297b0d",
    "coco-stuff-81/clustering-dense": "e08211105547839f",
    "coco-things-12/clustering-dense": "0504335ca6e58145",
    "davis/davis": "fb8e8c37e823f33a",
    "imagenet-s-300/clustering": "48886fdb73376ecf",
    "imagenet-s-300/clustering-dense": "89f61dab23aaba0f",
    "imagenet-s-300/distance-matching": "15ee77c9c8001195",
    "imagenet-s-50/clustering": "1d7e69058a20d96d",
    "imagenet-s-50/clustering-dense": "3145147f77740860",
    "imagenet-s-50/distance-matching": "15ee77c9c8001195",
    "imagenet-s-919/clustering": "5d16887ff21de7bf",
    "imagenet-s-919/clustering-dense": "ef2f45d3f4b68abe",
    "imagenet-s-919/distance-matching": "15ee77c9c8001195",
    "pascal-context-59/clustering-dense": "ed623ebba42bd22d",
    "pascal-voc/clustering": "cd6c2fc66c920c1c",
    "pascal-voc/clustering-dense": "d3d795acae6f265b",
    "pascal-voc/distance-matching": "01a05314908cabf2",
    "pascal-voc/linear": "8aabba89c1a9bce7",
    "pascal-voc/retrieval-21": "30020a571cab8b30",
    "pascal-voc/retrieval-7": "9ea3b28625ca24d2",
    "potsdam-3/clustering-dense": "e67d02f52477f268",
    "shapes/clustering": "2ece72377634d765",
    "shapes/clustering-dense": "55a5da5241194105",
    "shapes/linear": "cd5e0304ab927a51",
    "shapes/retrieval-21": "3e6268f93f84f785",
    "stego-cluster": "806f8683a1198373",
    "stego-kmeans": "fcdaca7d60b74d4e",
    "stego-linear": "31d54b111431a80b",
    "ade20k/stego-cluster": "806f8683a1198373",
    "ade20k/stego-kmeans": "fcdaca7d60b74d4e",
    "ade20k/stego-linear": "31d54b111431a80b",
    "ade20k-151/stego-cluster": "806f8683a1198373",
    "ade20k-151/stego-kmeans": "fcdaca7d60b74d4e",
    "ade20k-151/stego-linear": "31d54b111431a80b",
    "cityscapes-19/stego-cluster": "806f8683a1198373",
    "cityscapes-19/stego-kmeans": "fcdaca7d60b74d4e",
    "cityscapes-19/stego-linear": "31d54b111431a80b",
    "cityscapes-27/stego-cluster": "806f8683a1198373",
    "cityscapes-27/stego-kmeans": "fcdaca7d60b74d4e",
    "cityscapes-27/stego-linear": "31d54b111431a80b",
    "coco-stuff-15/stego-cluster": "806f8683a1198373",
    "coco-stuff-15/stego-kmeans": "fcdaca7d60b74d4e",
    "coco-stuff-15/stego-linear": "31d54b111431a80b",
    "coco-stuff-171/stego-cluster": "806f8683a1198373",
    "coco-stuff-171/stego-kmeans": "fcdaca7d60b74d4e",
    "coco-stuff-171/stego-linear": "31d54b111431a80b",
    "coco-stuff-27/stego-cluster": "806f8683a1198373",
    "coco-stuff-27/stego-kmeans": "fcdaca7d60b74d4e",
    "coco-stuff-27/stego-linear": "31d54b111431a80b",
    "coco-stuff-81/stego-cluster": "806f8683a1198373",
    "coco-stuff-81/stego-kmeans": "fcdaca7d60b74d4e",
    "coco-stuff-81/stego-linear": "31d54b111431a80b",
    "coco-things-12/stego-cluster": "806f8683a1198373",
    "coco-things-12/stego-kmeans": "fcdaca7d60b74d4e",
    "coco-things-12/stego-linear": "31d54b111431a80b",
    "coco20k/stego-cluster": "806f8683a1198373",
    "coco20k/stego-kmeans": "fcdaca7d60b74d4e",
    "coco20k/stego-linear": "31d54b111431a80b",
    "dut-omron/stego-cluster": "806f8683a1198373",
    "dut-omron/stego-kmeans": "fcdaca7d60b74d4e",
    "dut-omron/stego-linear": "31d54b111431a80b",
    "duts-te/stego-cluster": "806f8683a1198373",
    "duts-te/stego-kmeans": "fcdaca7d60b74d4e",
    "duts-te/stego-linear": "31d54b111431a80b",
    "ecssd/stego-cluster": "806f8683a1198373",
    "ecssd/stego-kmeans": "fcdaca7d60b74d4e",
    "ecssd/stego-linear": "31d54b111431a80b",
    "imagenet-s-300/stego-cluster": "27ff395e400b22a7",
    "imagenet-s-300/stego-kmeans": "59fbd904866e1736",
    "imagenet-s-300/stego-linear": "56b57af037e42127",
    "imagenet-s-50/stego-cluster": "27ff395e400b22a7",
    "imagenet-s-50/stego-kmeans": "59fbd904866e1736",
    "imagenet-s-50/stego-linear": "56b57af037e42127",
    "imagenet-s-919/stego-cluster": "27ff395e400b22a7",
    "imagenet-s-919/stego-kmeans": "59fbd904866e1736",
    "imagenet-s-919/stego-linear": "56b57af037e42127",
    "pascal-context-59/stego-cluster": "806f8683a1198373",
    "pascal-context-59/stego-kmeans": "fcdaca7d60b74d4e",
    "pascal-context-59/stego-linear": "31d54b111431a80b",
    "pascal-voc/stego-cluster": "994ffa61ba774b07",
    "pascal-voc/stego-kmeans": "e0fbe7014b6c0589",
    "pascal-voc/stego-linear": "80e46978cdf364b9",
    "potsdam-3/stego-cluster": "806f8683a1198373",
    "potsdam-3/stego-kmeans": "fcdaca7d60b74d4e",
    "potsdam-3/stego-linear": "31d54b111431a80b",
    "shapes/stego-cluster": "f841fbd072513954",
    "shapes/stego-kmeans": "b761c3b3fbe0f844",
    "shapes/stego-linear": "5a4dbdff4edfd396",
    "voc2007/stego-cluster": "806f8683a1198373",
    "voc2007/stego-kmeans": "fcdaca7d60b74d4e",
    "voc2007/stego-linear": "31d54b111431a80b",
}
"""Protocol, or data set and protocol → the first half of the fingerprint of its unmodified preset."""


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_an_unmodified_preset_keeps_its_fingerprint(name):
    dataset, _, protocol = name.rpartition("/")
    preset = catalogue.dataset(dataset).protocols.preset(protocol) if dataset else registry.preset_type(protocol)()
    assert fingerprint(protocol, preset.resolved())[:16] == FINGERPRINTS[name]


def test_every_built_in_preset_is_among_them():
    own = {entry.id for entry in registry.BUILT_IN}
    given = {f"{card.id}/{name}" for card in catalogue.datasets().values() for name in card.protocols.given}
    assert own | given == set(FINGERPRINTS)
