"""Is a stated uncertainty the true one? Coverage of 95 % intervals and simulation-based calibration.

A truth is drawn from the prior, a record from the truth, and the posterior of it is asked where the truth lies. If the
posterior is right, the rank of the truth among draws from it is uniform, whatever the problem: Talts, Betancourt,
Simpson, Vehtari and Gelman (2018), Validating Bayesian inference algorithms with simulation-based calibration,
arXiv:1804.06788, theorem 1 and algorithm 1. The ranks are counted in bins and tested with the chi-square test.
"""

from typing import Any

import numpy as np
from scipy.stats import chisquare

DRAWS, BINS = 99, 20
Z95 = 1.959964


def judged(truth: np.ndarray, mean: np.ndarray, sd: np.ndarray, seed: int) -> dict[str, Any]:
    """Coverage and rank test of each of k unknowns; arrays (n, k), posteriors N(mean, sd^2)."""
    draws = mean + sd * np.random.default_rng([seed, 2018]).standard_normal((DRAWS, *mean.shape))
    ranks = (draws < truth).sum(axis=0)  # 0 ... DRAWS, uniform
    counts = [np.histogram(r, BINS, (-0.5, DRAWS + 0.5))[0] for r in ranks.T]
    return {
        "n": len(truth),
        "inside": (np.abs(truth - mean) <= Z95 * sd).mean(axis=0).tolist(),
        "sbc_p": [float(chisquare(c).pvalue) for c in counts],
        "rmse": np.sqrt(np.mean((truth - mean) ** 2, axis=0)).tolist(),
    }
