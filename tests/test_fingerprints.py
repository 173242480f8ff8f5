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
    "discovery": "0c9c7003327d8009",
    "distance-matching": "7fdc9d4d27634287",
    "linear": "8aabba89c1a9bce7",
    "patch-clustering": "650b587e1d8fad1b",
    "linear-dinov3": "42f791d89755e281",
    "retrieval-21": "30020a571cab8b30",
    "retrieval-7": "48fba6e5975d2df2",
    "ade20k-151/clustering-dense": "f325349bcb95626b",
    "saliency": "019cb608b79ab022",
    "ade20k-151/clustering-dense": "6ca834b3a6ad0743",
    "ade20k-151/patch-clustering": "a2cfe5641f5d21e0",
    "ade20k/clustering-dense": "3e2c05415d0fbac0",
    "ade20k/patch-clustering": "a2cfe5641f5d21e0",
    "cityscapes-19/clustering-dense": "fabc51826b45c59a",
    "cityscapes-19/patch-clustering": "a2cfe5641f5d21e0",
    "cityscapes-27/clustering-dense": "9a330d830983c2bc",
    "cityscapes-27/patch-clustering": "a2cfe5641f5d21e0",
    "coco-stuff-15/clustering-dense": "d8172b68dcf09529",
    "coco-stuff-15/patch-clustering": "a2cfe5641f5d21e0",
    "coco-stuff-171/clustering-dense": "305bbf3b8c18fc30",
    "coco-stuff-171/patch-clustering": "a2cfe5641f5d21e0",
    "coco-stuff-27/clustering-dense": "9a330d830983c2bc",
    "coco-stuff-27/patch-clustering": "a2cfe5641f5d21e0",
    "coco-stuff-81/clustering": "4f2705fbe0297b0d",
    "coco-stuff-81/clustering-dense": "e08211105547839f",
    "coco-stuff-81/linear-dinov3": "42f791d89755e281",
    "coco-stuff-81/patch-clustering": "a2cfe5641f5d21e0",
    "coco20k/discovery": "0c9c7003327d8009",
    "coco-things-12/clustering-dense": "0504335ca6e58145",
    "coco-things-12/patch-clustering": "a2cfe5641f5d21e0",
    "davis/davis": "fb8e8c37e823f33a",
    "dut-omron/saliency": "019cb608b79ab022",
    "duts-te/saliency": "019cb608b79ab022",
    "ecssd/saliency": "019cb608b79ab022",
    "imagenet-s-300/clustering": "48886fdb73376ecf",
    "imagenet-s-300/clustering-dense": "89f61dab23aaba0f",
    "imagenet-s-300/distance-matching": "15ee77c9c8001195",
    "imagenet-s-300/linear-dinov3": "7c7833f6df88a6ef",
    "imagenet-s-300/patch-clustering": "73f518c2b6b836f8",
    "imagenet-s-50/clustering": "1d7e69058a20d96d",
    "imagenet-s-50/clustering-dense": "3145147f77740860",
    "imagenet-s-50/distance-matching": "15ee77c9c8001195",
    "imagenet-s-50/linear-dinov3": "7c7833f6df88a6ef",
    "imagenet-s-50/patch-clustering": "73f518c2b6b836f8",
    "imagenet-s-919/clustering": "5d16887ff21de7bf",
    "imagenet-s-919/clustering-dense": "ef2f45d3f4b68abe",
    "imagenet-s-919/distance-matching": "15ee77c9c8001195",
    "imagenet-s-919/linear-dinov3": "7c7833f6df88a6ef",
    "imagenet-s-919/patch-clustering": "73f518c2b6b836f8",
    "pascal-context-59/clustering-dense": "ed623ebba42bd22d",
    "pascal-context-59/patch-clustering": "a2cfe5641f5d21e0",
    "pascal-voc/clustering": "cd6c2fc66c920c1c",
    "pascal-voc/clustering-dense": "d3d795acae6f265b",
    "pascal-voc/distance-matching": "01a05314908cabf2",
    "pascal-voc/linear": "8aabba89c1a9bce7",
    "pascal-voc/linear-dinov3": "2bde1f17e19d807c",
    "pascal-voc/patch-clustering": "650b587e1d8fad1b",
    "pascal-voc/retrieval-21": "30020a571cab8b30",
    "pascal-voc/retrieval-7": "9ea3b28625ca24d2",
    "potsdam-3/clustering-dense": "e67d02f52477f268",
    "potsdam-3/patch-clustering": "a2cfe5641f5d21e0",
    "shapes/clustering": "2ece72377634d765",
    "shapes/clustering-dense": "55a5da5241194105",
    "shapes/linear": "cd5e0304ab927a51",
    "shapes/linear-dinov3": "321d28c4d4263bb4",
    "shapes/patch-clustering": "31c8cbfcbb784b33",
    "shapes/retrieval-21": "3e6268f93f84f785",
    "coco-stuff-81/linear-dinov3": "42f791d89755e281",
    "imagenet-s-300/linear-dinov3": "7c7833f6df88a6ef",
    "imagenet-s-50/linear-dinov3": "7c7833f6df88a6ef",
    "imagenet-s-919/linear-dinov3": "7c7833f6df88a6ef",
    "pascal-voc/linear-dinov3": "2bde1f17e19d807c",
    "shapes/linear-dinov3": "321d28c4d4263bb4",
    "voc2007/discovery": "0c9c7003327d8009",
    "voc2012/discovery": "0c9c7003327d8009",
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
