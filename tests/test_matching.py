"""Matching of clusters to classes, against trying every assignment."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.scoring.matching import UNMATCHED, best_class, iou_table, match

few = settings(max_examples=40, deadline=None)


def tables(more_ids: bool):
    """Small P×C pixel tables, ties and empty rows included; P ≤ C unless `more_ids`."""
    sizes = st.integers(2, 6).flatmap(
        lambda c: st.tuples(st.integers(c + 1, 9) if more_ids else st.integers(1, c), st.just(c))
    )
    return sizes.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 12)))


def score_of(table, objective):
    return iou_table(table) if objective == "iou" else table.astype(float)


@pytest.mark.parametrize("objective", ["iou", "pixels"])
@given(table=tables(more_ids=False))
@few
def test_no_assignment_scores_higher(objective, table):
    ids, classes = table.shape
    score = score_of(table, objective)
    best = max(score[range(ids), chosen].sum() for chosen in permutations(range(classes), ids))
    mapping = match(table, objective)
    assert score[range(ids), mapping].sum() == pytest.approx(best, abs=1e-9)


@given(table=tables(more_ids=False))
@few
def test_matching_is_one_to_one(table):
    mapping = match(table)
    assert len(mapping) == len(set(mapping.tolist())) == len(table)
    assert UNMATCHED not in mapping


@pytest.mark.parametrize("objective", ["iou", "pixels"])
@given(table=tables(more_ids=True))
@few
def test_with_more_ids_than_classes_each_goes_to_its_best_iou(objective, table):
    iou = iou_table(table)
    mapping = match(table, objective)
    np.testing.assert_array_equal(iou[np.arange(len(table)), mapping], iou.max(axis=1))


def test_objectives_may_differ():
    table = np.array([[100, 40], [30, 1]])
    assert match(table, "iou").tolist() == [0, 1]
    assert match(np.array([[100, 90], [60, 1]]), "pixels").tolist() == [1, 0]


def test_iou_is_intersection_over_union():
    np.testing.assert_allclose(iou_table(np.array([[3, 1], [2, 4]])), [[3 / 6, 1 / 8], [2 / 9, 4 / 7]])


def test_empty_clusters_take_what_is_left():
    table = np.array([[50, 0, 0], [0, 0, 0], [0, 0, 9]])
    assert match(table).tolist() == [0, 1, 2]
    assert iou_table(table)[1].tolist() == [0, 0, 0]


def test_a_table_without_any_pixel_still_matches_one_to_one():
    assert sorted(match(np.zeros((3, 3), np.int64)).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("objective", ["iou", "pixels"])
def test_ties_cost_nothing(objective):
    table = np.full((4, 4), 7)
    score = score_of(table, objective)
    mapping = match(table, objective)
    assert sorted(mapping.tolist()) == [0, 1, 2, 3]
    assert score[range(4), mapping].sum() == pytest.approx(score[0].sum())


def test_best_class_takes_the_first_at_a_tie():
    assert best_class(np.array([[5, 5], [0, 0], [0, 9]])).tolist() == [0, 0, 1]


@given(table=tables(more_ids=False) | tables(more_ids=True))
@few
def test_by_precision_an_id_takes_the_class_of_most_of_its_pixels_and_the_lowest_at_a_tie(table):
    for row, found in zip(table, match(table, "precision"), strict=True):
        assert found == min(np.flatnonzero(row == row.max()))


@given(table=arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.integers(0, 12)))
@few
def test_one_to_one_has_the_largest_summed_iou_and_leaves_class_0_to_other_ids(table):
    ids, classes = table.shape
    score, mapping = iou_table(table), match(table, "one-to-one")
    kept = min(ids, classes)
    best = max(
        score[list(chosen), list(own)].sum()
        for chosen in combinations(range(ids), kept)
        for own in permutations(range(classes), kept)
    )
    taken = [one for one in mapping.tolist() if one]
    assert len(taken) == len(set(taken)) and len(mapping) == ids
    assert sum(score[np.arange(ids), mapping][mapping > 0]) + score[mapping == 0, 0].max(initial=0) >= best - 1e-9


def test_with_more_ids_than_classes_the_best_of_the_first_class_is_matched_to_it_and_others_join_it():
    table = np.array([[0, 9], [8, 1], [0, 0], [3, 0]])
    assert match(table, "one-to-one").tolist() == [1, 0, 0, 0]
    assert match(table, "precision").tolist() == [1, 0, 0, 0]
    assert match(table, "many-iou").tolist() == [1, 0, 0, 0]
    few_ids = np.array([[0, 9, 0, 0], [0, 8, 0, 1]])
    assert match(few_ids, "precision").tolist() == [1, 1]
    assert match(few_ids, "one-to-one").tolist() == [1, 3]
