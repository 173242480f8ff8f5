"""Segment retrieval: against the reference implementation's figures, and at the edges."""

import json

import numpy as np
import pytest

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.protocols.retrieval.scoring import bank_labels, neighbours, paint, score, valid_classes
from bench.scoring.metrics import seed_metrics
from tests.synthetic import observe_counts

CARD = catalogue.dataset("pascal-voc")


def preset(classes):
    return CARD.protocols.preset(f"retrieval-{classes}").resolved()


@pytest.mark.parametrize("classes", [21, 7])
def test_golden_masks_and_neighbours_give_the_golden_figure(golden, painted, classes):
    queries, _ = painted
    arrays = np.load(golden / f"retrieval_{classes}.npz")
    predicted = arrays["bank_labels"][arrays["neighbours"]]
    valid = valid_classes(CARD.classes, preset(classes)["void_classes"])
    rows = paint(queries, predicted, valid, preset(classes)["averaged"])
    reference = json.loads((golden / f"retrieval_{classes}.json").read_text())
    assert seed_metrics(rows, "zero")[0]["mIoU"] / 100 == pytest.approx(reference["mIoU"], abs=1e-9)
    table = rows.confusion(0)
    assert np.diag(table[:-1]).tolist() == reference["tp"]


@pytest.mark.parametrize("classes", [21, 7])
def test_golden_prototypes_give_the_golden_neighbours(golden, painted, classes):
    arrays = np.load(golden / f"retrieval_{classes}.npz")
    assert neighbours(arrays["bank_prototypes"], painted[0].prototypes).tolist() == arrays["neighbours"].tolist()


def counted(rows):
    """Observations whose pixels under the mask have these class counts."""
    inside = np.array(rows)
    return observe_counts(inside, np.ones_like(inside), inputs=(inside, np.ones_like(inside)))


def test_a_bank_entry_takes_its_most_frequent_object_the_larger_id_at_a_tie():
    bank = counted([[90, 5, 5, 0], [9, 0, 0, 0], [0, 3, 2, 2], [0, 0, 4, 4]])
    assert bank_labels(bank, np.array([True] * 4)).tolist() == [2, 0, 1, 3]
    assert bank_labels(bank, np.array([True, True, True, False])).tolist() == [2, 0, 1, 2]


def test_a_zero_prototype_takes_entry_zero_and_ties_the_first():
    bank = np.array([[0, -1], [1, 0], [1, 0]], np.float32)
    assert neighbours(bank, np.array([[0, 0], [1, 0]], np.float32)).tolist() == [0, 1]


def test_a_bank_without_objects_and_an_unknown_void_class_are_bad_input():
    bank = counted([[5, 0, 0, 0]])
    entries = {"void_classes": [], "averaged": "all", "bank": "train"}
    with pytest.raises(BadInput, match="none of the 1 images of the bank"):
        score(bank, bank, entries, ["background", "a", "b", "c"])
    with pytest.raises(BadInput, match="'dog' is not one of the classes"):
        score(bank, bank, entries | {"void_classes": ["dog"]}, ["background", "a", "b", "c"])


def test_void_classes_are_counted_nowhere():
    queries = counted([[4, 3, 2, 0], [1, 0, 0, 5]])
    valid = np.array([True, True, False, True])
    rows = paint(queries, np.array([1, 3]), valid, "objects")
    assert rows.counted == (1, 3)
    assert rows.confusion(0)[:, 2].sum() == 0
