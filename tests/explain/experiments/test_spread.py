"""Mean, spread and intervals of seeds against scipy, and what a paired comparison may claim."""

import math

import numpy as np
import pytest

from kernelearn.explain.experiments.spread import compare, summarise, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30, 31, 50, 200, 5000])
def test_the_quantile_is_that_of_scipy(freedom):
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=6e-5)


def test_the_interval_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).normal(size=7)
    summary = summarise(values)
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert (summary.low, summary.high) == pytest.approx((low, high), abs=1e-4)
    assert summary.std == pytest.approx(values.std(ddof=1))


def test_one_value_has_no_spread():
    summary = summarise([0.5])
    assert summary.mean == 0.5 and math.isnan(summary.std) and math.isnan(summary.low)
    assert summary.to_dict() == {"mean": 0.5, "std": None, "low": None, "high": None}
    assert summarise([]).count == 0


def test_pairs_show_what_separate_means_hide():
    """The seeds differ by far more than the conditions, but always by the same."""
    first, second = [0.51, 0.71, 0.92], [0.50, 0.70, 0.90]
    comparison = compare("a", first, "b", second)
    assert summarise(first).low < summarise(second).high  # the separate intervals overlap widely
    assert comparison.difference.mean == pytest.approx(0.04 / 3)
    assert comparison.difference.std == pytest.approx(np.std([0.01, 0.01, 0.02], ddof=1))


@pytest.mark.parametrize(("shift", "verdict"), [(0.1, "higher"), (-0.1, "lower"), (0.0, "unclear")])
def test_the_sentence_follows_from_the_interval(shift, verdict):
    noise = np.array([0.01, -0.02, 0.01, 0.0])
    comparison = compare("a", 0.5 + shift + noise, "b", [0.5] * 4)
    assert comparison.verdict == verdict
    claim = comparison.claim("HIGHER", "LOWER", "UNCLEAR")
    assert claim.startswith(verdict.upper() + " (") and f"{100 * shift:+.1f} points" in claim


def test_one_seed_supports_no_claim():
    comparison = compare("a", [0.9], "b", [0.1])
    assert comparison.verdict == "unclear"
    assert comparison.points == "+80.0 points, one seed"


def test_pairs_have_to_be_complete():
    with pytest.raises(ValueError):
        compare("a", [0.1, 0.2], "b", [0.1])
