"""Tolerances: quantile, p, power and what is found belong together."""

import math

import numpy as np
import pytest
import scipy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.scoring.tolerance import Tolerance, of_one_spread, of_two_samples, quantile

few = settings(max_examples=60, deadline=None)
freedoms = st.one_of(st.integers(1, 200).map(float), st.floats(1, 60), st.just(math.inf))
errors = st.floats(1e-3, 50)
values = st.lists(st.integers(0, 1000).map(lambda tenths: tenths / 10), min_size=2, max_size=8)


@given(freedoms, errors)
@few
def test_where_nothing_differs_one_in_twenty_falls_outside(freedom, error):
    assert Tolerance(error, freedom).power(0.0) == pytest.approx(0.05, abs=1e-4)


@given(freedoms, errors, st.floats(0, 10))
@few
def test_what_is_admitted_in_any_case_lets_more_pass(freedom, error, least):
    one = Tolerance(error, freedom, least)
    assert one.points == max(least, Tolerance(error, freedom).points)
    assert one.power(0.0) <= 0.0501
    assert one.power(error) <= Tolerance(error, freedom).power(error) + 1e-12


@given(freedoms, errors, st.floats(0, 5), st.floats(0, 200), st.floats(0, 200))
@few
def test_a_larger_difference_is_found_at_least_as_often(freedom, error, least, one, other):
    tolerance = Tolerance(error, freedom, least)
    low, high = sorted((one, other))
    assert 0 <= tolerance.power(low) <= tolerance.power(high) + 1e-9 <= 1 + 1e-6
    assert tolerance.power(-high) == pytest.approx(tolerance.power(high))


@given(freedoms, errors, st.floats(0, 5), st.floats(0.1, 0.95))
@few
def test_what_is_found_with_a_chance_has_that_power(freedom, error, least, chance):
    tolerance = Tolerance(error, freedom, least)
    found = tolerance.found(chance)
    assert tolerance.power(found) == pytest.approx(chance, abs=1e-6)
    assert chance < 0.5 or found > least


@pytest.mark.parametrize("least", [0.0, 1.5])
@pytest.mark.parametrize("freedom", [1, 2, 4, 19])
@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0, 12.0])
def test_the_power_is_how_often_drawn_figures_fall_outside(freedom, shift, least):
    """The spread is estimated anew in every draw, as it is in every run."""
    generator, draws = np.random.default_rng(freedom), 40_000
    apart = np.abs(shift + generator.normal(0, 1, draws))
    spread = np.sqrt(generator.chisquare(freedom, draws) / freedom)
    outside = np.mean(apart > np.maximum(least, quantile(freedom) * spread))
    assert Tolerance(1.0, freedom, least).power(shift) == pytest.approx(outside, abs=4 * 0.5 / math.sqrt(draws))


@given(freedoms, errors, st.floats(-100, 100))
@few
def test_p_is_below_5_percent_where_the_interval_leaves_out_0(freedom, error, difference):
    one = Tolerance(error, freedom)
    assume(abs(abs(difference) - one.points) > 1e-9 * one.points)
    assert (one.p(difference) < 0.05) == (abs(difference) > one.points)
    assert one.p(difference) == pytest.approx(one.p(-difference))
    assert one.p(0.0) == 1.0


def test_without_an_error_every_difference_is_one():
    exact, rounded = Tolerance(0.0, math.inf), Tolerance(0.0, math.inf, 0.05)
    assert (exact.points, exact.p(0.0), exact.p(0.01), exact.power(0.01), exact.power(0.0)) == (0.0, 1.0, 0.0, 1.0, 0.0)
    assert (rounded.points, rounded.power(0.04), rounded.power(0.06)) == (0.05, 0.0, 1.0)
    assert rounded.found() == pytest.approx(0.05)


def test_two_seeds_each_find_little():
    """With a single degree of freedom a standard error may be estimated much too small."""
    assert Tolerance(1.0, 1).found() > 15 and Tolerance(1.0, 1).power(8.0) < 0.5


@given(values, values)
@few
def test_two_samples_are_held_against_each_other_as_student_does(one, other):
    assume(len({*one}) > 1 and len({*other}) > 1)
    tolerance = of_two_samples(one, other, 0.0)
    known = scipy.stats.ttest_ind(one, other)
    assert tolerance.freedom == known.df
    assert tolerance.p(np.mean(one) - np.mean(other)) == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)


def test_of_two_samples_one_may_be_single():
    """Then the spread is the other one's; where neither has two values, only rounding is admitted."""
    tolerance = of_two_samples([40.0, 41.0, 42.0], [41.0], 0.0)
    assert tolerance.freedom == 2 and tolerance.error == pytest.approx(math.sqrt(1 + 1 / 3))
    assert of_two_samples([41.0], [40.0], 0.05) == Tolerance(0.0, math.inf, 0.05)


def test_a_rounded_mean_adds_the_deviation_of_its_rounding():
    assert of_one_spread(0.0, 5, 5, 4, 0.05).error == pytest.approx(0.1 / math.sqrt(12))
    assert of_one_spread(1.0, 20, 5, 19).error == pytest.approx(0.5)
