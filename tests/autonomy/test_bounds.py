"""Clopper-Pearson against SciPy's beta quantiles, and the sample sizes that TRUST names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from pollux.autonomy.bounds import beta_cdf, lower_bound, risk, upper_bound
from pollux.autonomy.policy import fewest_samples


@pytest.mark.parametrize("k", [0, 1, 2, 7, 100, 458, 459])
@pytest.mark.parametrize("confidence", [0.9, 0.99, 0.999])
def test_equals_the_beta_quantiles(k, confidence):
    n = 459
    upper = 1.0 if k == n else beta.ppf(confidence, k + 1, n - k)
    lower = 0.0 if k == 0 else beta.ppf(1 - confidence, k, n - k + 1)
    assert upper_bound(k, n, confidence) == pytest.approx(upper, rel=1e-9)
    assert lower_bound(k, n, confidence) == pytest.approx(lower, rel=1e-9, abs=1e-12)


@given(st.floats(0.001, 0.999), st.floats(0.5, 500.0), st.floats(0.5, 500.0))
def test_incomplete_beta(x, a, b):
    assert beta_cdf(x, a, b) == pytest.approx(beta.cdf(x, a, b), rel=1e-8, abs=1e-12)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bounds_hold_the_share_and_are_ordered(case):
    k, n = case
    found = risk(k, n, 0.99)
    assert 0.0 <= found.lower <= k / n <= found.upper <= 1.0


@pytest.mark.parametrize(("eps", "confidence", "n"), [(0.01, 0.99, 459), (0.001, 0.99, 4603), (0.05, 0.95, 59)])
def test_sample_sizes(eps, confidence, n):
    assert fewest_samples(eps, confidence) == n
    assert upper_bound(0, n, confidence) <= eps < upper_bound(0, n - 1, confidence)
    assert upper_bound(1, n, confidence) > eps
