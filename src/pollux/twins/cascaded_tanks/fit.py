"""Calibrate the tanks on the estimation half: `python -m pollux.twins.cascaded_tanks.fit`.

Parameters by `pollux.calibrate` (free run over the whole half), noise levels by the likelihood of the mirror's one-step
errors. The test half is not read. `--folds` adds a four-fold cross-validation within the estimation half.
"""

import argparse

import numpy as np

from pollux import Fit, Record, calibrate
from pollux.twins.cascaded_tanks.judge import METHOD, Z95, coverage, free_run, innovations, rmse
from pollux.twins.cascaded_tanks.record import halves
from pollux.twins.cascaded_tanks.twin import CascadedTanks

TAIL = 4.0
QUANTUM = 0.003
"""Least sensor noise that is considered, V: the scatter of the record while nothing moves is several times this."""

ROUGH = CascadedTanks(k1=0.01, k3=0.04, k4=0.03, ratio=2.0, caught=0.5, rim=10.3, sill=2.0, drain=0.05)
"""Where the fit starts from: orders of magnitude, so that the result does not hang on itself."""


def parameters(record: Record | list[Record], starts: int = 12) -> Fit:
    """Fit all parameters."""
    return calibrate(ROUGH, record, starts=starts, method=METHOD, seed=1)


def noise(twin: CascadedTanks, record: Record) -> tuple[float, float, float]:
    """(drift upper, drift lower, sensor noise) from the one-step errors of the mirror on `record`.

    Their proportions are those of greatest Student likelihood (`TAIL` degrees of freedom, by pattern search),

        -log L = sum 1/2 log S + (TAIL + 1)/2 log(1 + nu^2 / (TAIL S)),

    because a few jumps of the level would otherwise set everything; their common scale is the one at which the 95 %
    intervals cover 95 % of the record. A common scale leaves the gains as they are, so it divides the scores exactly.
    """

    def loss(log: np.ndarray) -> float:
        upper, lower, sensor = np.exp(log)
        scores, S = innovations(twin, record, (upper, lower, sensor))
        return float(np.sum(0.5 * np.log(S) + (TAIL + 1) / 2 * np.log1p(scores**2 / TAIL)))

    at, step = np.log([0.02, 0.02, 0.01]), 1.0
    best = loss(at)
    while step > 0.1:
        trials = [at + step * sign * e for e in np.eye(3) for sign in (1, -1)]
        trials = [trial for trial in trials if np.exp(trial[2]) >= QUANTUM]
        values = [loss(trial) for trial in trials]
        if min(values) < best - 1e-3:
            best, at = min(values), trials[int(np.argmin(values))]
        else:
            step /= 2
    upper, lower, sensor = np.exp(at)
    scores, _ = innovations(twin, record, (upper, lower, sensor))
    scale = float(np.quantile(np.abs(scores), 0.95)) / Z95
    return scale * float(upper), scale * float(lower), scale * float(sensor)


def folds(record: Record, count: int = 4) -> list[float]:
    """Free-run RMSE on each part when it is left out of the fit."""
    size = len(record) // count
    scores = []
    for i in range(count):
        rest = [record[: i * size], record[(i + 1) * size :]]
        fit = parameters([part for part in rest if len(part)], starts=4)
        scores.append(rmse(free_run(fit.twin, record[i * size : (i + 1) * size])))  # pyright: ignore[reportArgumentType]
    return scores


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", help="dataBenchmark.csv (default: under POLLUX_DATA)")
    parser.add_argument("--folds", action="store_true", help="cross-validate within the estimation half")
    options = parser.parse_args()
    record, _ = halves(options.data)
    fit = parameters(record)
    print(fit)
    found = noise(fit.twin, record)  # pyright: ignore[reportArgumentType]
    scores, _ = innovations(fit.twin, record, found)  # pyright: ignore[reportArgumentType]
    print(f"noise: drift upper {found[0]:.3g}, drift lower {found[1]:.3g} V/s^1/2, sensor {found[2]:.3g} V")
    print(f"one-step 95 % intervals cover {coverage(scores):.3f} of the estimation half")
    if options.folds:
        print(f"left-out free-run RMSE by quarter: {', '.join(f'{v:.3f}' for v in folds(record))} V")


if __name__ == "__main__":
    main()
