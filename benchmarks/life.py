"""Work item `life`: Monte Carlo time of event of a battery, against ProgPy's own model and predictor.

Both draw members from the same first state, add process noise of the same law to every state at every step of 1 s,
and report when the voltage of each falls below its threshold under the variable load of ProgPy's examples. Peers:
`progpy`, its `MonteCarlo` predictor, member by member; `progpy_vectorised`, all members as one array through its
`simulate_to_threshold`, with the time of each noted by an own event strategy, which is the fastest way to use it.
"""

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from progpy.models import BatteryCircuit
from progpy.predictors import MonteCarlo
from progpy.uncertain_data import ScalarData
from scipy import stats

from benchmarks import _battery
from pollux.core.signals import Belief, Health
from pollux.intervene.life import Events, Life, build_life

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Seconds for `samples` (default 50) members, warm; also for `many` (default 10,000).

    ProgPy's predictor runs `samples` members and its time for `many` is stated in proportion; its vectorised
    simulation runs both. `repeats` and `seed` may be set. A call of milliseconds finds a free moment on a busy machine
    and one of half a minute does not: each ratio is the lesser of that of wall-clock times and that of processor times
    (of all threads). The answers must agree: the deterministic time of event to the step, the distribution of `many`
    members by a two-sample test against ProgPy's, vectorised and not. The error is the largest difference of a quantile
    in seconds, of a step of 1 s.
    """
    samples, many = int(config.get("samples", 50)), int(config.get("many", 10_000))
    repeats, seed = int(config.get("repeats", 7)), int(config.get("seed", 0))
    np.random.seed(seed)  # the only generator that ProgPy draws from
    began = time.perf_counter()
    life = build_life(_battery.Battery(), step=_battery.DT)
    _pollux(life, samples, seed)
    cold = time.perf_counter() - began

    ours, _ = _best(lambda: _pollux(life, samples, seed), 3 * repeats)
    predictor, few = _best(lambda: _progpy(samples), 1)
    vectorised, _ = _best(lambda: _vectorised(samples), 1)
    ours_many, found = _best(lambda: _pollux(life, many, seed), repeats)
    vectorised_many, peer = _best(lambda: _vectorised(many), 1)
    predictor_many = predictor * many / samples

    sure = without_noise()
    steps = np.ceil(found.times / _battery.DT) * _battery.DT
    error = max(abs(_step_quantile(steps, q) - _step_quantile(peer, q)) for q in LEVELS)
    chances = {"progpy": _same(steps, few), "progpy_vectorised": _same(steps, peer)}
    if math.ceil(sure["pollux"]) != sure["progpy"] or min(chances.values()) < 1e-3:
        raise AssertionError(
            f"the answers disagree: without noise {sure}; two-sample p values {chances}, quantiles "
            f"{[_step_quantile(steps, q) for q in LEVELS]} and {[_step_quantile(peer, q) for q in LEVELS]}"
        )
    return {
        "item": "life",
        "config": {"samples": samples, "many": many, "noise": _battery.NOISE, "dt": _battery.DT, "method": "Euler"},
        "pollux": ours[0],
        "peers": {"progpy": predictor[0], "progpy_vectorised": vectorised[0]},
        "ratio": _ratio(predictor, ours),
        "unit": "s",
        "error": error,
        "ratio_vectorised": _ratio(vectorised, ours),
        "many": {
            "pollux": ours_many[0],
            "progpy_in_proportion": predictor_many[0],
            "progpy_vectorised": vectorised_many[0],
            "ratio": _ratio(predictor_many, ours_many),
            "ratio_vectorised": _ratio(vectorised_many, ours_many),
        },
        "processor_s": {"pollux": ours[1], "progpy": predictor[1], "pollux_many": ours_many[1]},
        "without_noise": sure,
        "quantiles": {f"{q:g}": _step_quantile(steps, q) for q in LEVELS},
        "two_sample_p": chances,
        "compile": cold,
    }


def without_noise() -> dict[str, float]:
    """Time of event (s) of one member without noise, by both."""
    sure = build_life(_battery.Battery(), step=_battery.DT, Q=np.zeros(4))
    return {"pollux": float(_pollux(sure, 1, 0).times[0]), "progpy": float(_progpy(1, noise=0.0)[0])}


def load(t: float) -> float:
    """Current (A) at a time (s)."""
    return next(amps for begin, amps in reversed(_battery.LOAD) if t >= begin)


def _pollux(life: Life, samples: int, seed: int) -> Events:
    unknown = np.full(2, np.nan)
    belief = Belief(
        "battery", 0.0, "battery/belief/0", "r0", life.space.x0, np.zeros((4, 4)), np.array([load(0.0)]),
        unknown, unknown, unknown, (Health.MISSING,) * 2, 0.0, 0, np.zeros(2),
    )  # fmt: skip
    times, plan = np.array(_battery.LOAD[1:]).T
    return life.time_of_event(belief, _battery.HORIZON, times, plan[:, None], samples=samples, seed=seed)


def _model(noise: float) -> BatteryCircuit:
    return BatteryCircuit(process_noise=noise, measurement_noise=noise)


def _loading(model: BatteryCircuit) -> Callable[..., Any]:
    """The load as ProgPy's documentation advises to write it: containers made once."""
    held = {amps: model.InputContainer({"i": amps}) for _, amps in _battery.LOAD}
    return lambda t, x=None: held[load(t)]


def _progpy(samples: int, noise: float = _battery.NOISE) -> np.ndarray:
    """Times of event by the predictor; nothing is saved on the way that need not be."""
    model = _model(noise)
    result = MonteCarlo(model).predict(
        ScalarData(model.initialize(_loading(model)(0.0))),
        _loading(model),
        n_samples=samples,
        dt=_battery.DT,
        horizon=_battery.HORIZON,
        save_freq=_battery.HORIZON,
    )
    return np.array([float(s["EOD"]) for s in result.time_of_event])


def _vectorised(samples: int) -> np.ndarray:
    """Times of event of all members in one simulation, which goes on until the last of them."""
    model = _model(_battery.NOISE)
    first = model.StateContainer({k: np.full(samples, float(v)) for k, v in model["x0"].items()})
    times, step = np.full(samples, np.nan), 0

    def noted(met: dict[str, np.ndarray]) -> bool:
        nonlocal step
        step += 1
        times[met["EOD"] & np.isnan(times)] = step * _battery.DT
        return not np.isnan(times).any()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a member that is past its end runs into the bounds of the model
        model.simulate_to_threshold(
            _loading(model), x=first, dt=_battery.DT, horizon=_battery.HORIZON, save_freq=_battery.HORIZON,
            event_strategy=noted,
        )  # fmt: skip
    return times


def _step_quantile(values: np.ndarray, level: float) -> float:
    return float(np.quantile(values, level, method="inverted_cdf"))


def _same(a: np.ndarray, b: np.ndarray) -> float:
    """Probability of a difference like this one between two samples of one law: chi-square over the steps."""
    edges = np.unique(np.concatenate([a, b]))
    table = np.array([[np.sum(v == e) for e in edges] for v in (a, b)])
    enough = table.sum(axis=0) >= 10 * table.sum() / min(len(a), len(b))
    pooled = np.concatenate([table[:, enough], table[:, ~enough].sum(axis=1, keepdims=True)], axis=1)
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    return float(stats.chi2_contingency(pooled)[1])  # pyright: ignore[reportArgumentType]


def _best(fn: Callable[[], Any], repeats: int) -> tuple[np.ndarray, Any]:
    """(seconds on the wall, seconds of the processors), each the least, and the last value."""
    best, value = np.full(2, math.inf), None
    for _ in range(repeats):
        began = np.array([time.perf_counter(), time.process_time()])
        value = fn()
        best = np.minimum(best, np.array([time.perf_counter(), time.process_time()]) - began)
    return best, value


def _ratio(peer: np.ndarray, ours: np.ndarray) -> float:
    return float(np.min(peer / ours))
