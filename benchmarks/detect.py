"""Work item `detect`: does the detector name what is wrong, and when; against CUSUM charts of the same innovations.

Two vessels in a row, fed at a constant rate, three sensors; a leak, and a bias of each sensor. Both contenders are set
to the same stated mean time between false alarms; charts name the sensor that crosses first, which cannot be a leak.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pollux import NoInput, Readings, Scalar, Signals, Twin, build_detector, build_mirror, compile, param, var
from pollux.core.signals import Cause
from pollux.intervene.cusum import cusum, cusum_threshold

DT, FINE = 10.0, 10
FAULTS = (("leak", 0.002), ("leak", 0.001), ("la", 0.08), ("lb", -0.08), ("flow", 0.008))


class State(Signals):
    a: Scalar = var("m", start=1.0, drift=0.003, within=(0.05, 5.0), spread=0.05)
    b: Scalar = var("m", start=1.0, drift=0.003, within=(0.05, 5.0), spread=0.05)


class Sensors(Signals):
    la: Scalar = var("m", noise=0.01)
    lb: Scalar = var("m", noise=0.01)
    flow: Scalar = var("m/s", noise=0.002)


class Pair(Twin[State, NoInput, Sensors]):
    """Two vessels in a row."""

    feed: Scalar = param("m/s", 0.02)
    k: Scalar = param("1/s", 0.02)
    leak: Scalar = param("m/s", 0.0, within=(0.0, 0.02))

    def dynamics(self, t: Scalar, x: State, u: NoInput) -> State:
        """Linear outflow."""
        return State(a=self.feed - self.k * x.a - self.leak, b=self.k * (x.a - x.b))

    def observe(self, t: Scalar, x: State, u: NoInput) -> Sensors:
        """Both levels and the flow between."""
        return Sensors(la=x.a, lb=x.b, flow=self.k * x.a)


def run(config: dict[str, Any]) -> dict[str, Any]:
    """`seeds` runs of every fault, and `quiet` updates without one; `alarm_every` in updates."""
    seeds, quiet = int(config.get("seeds", 5)), int(config.get("quiet", 6000))
    alarm_every = float(config.get("alarm_every", 1000.0))
    kernels = compile(Pair())
    mirror = build_mirror(kernels, dt_max=100.0)
    detector = build_detector(
        kernels, faults=("leak",), one_sided=("leak",), alarm_every=alarm_every * DT, dt_max=100.0, memory=3000.0
    )
    level = cusum_threshold(alarm_every * 3, 2.0)
    table, ours, theirs, wrong = [], [], [], {"pollux": 0, "cusum": 0}
    for fault, size in FAULTS:
        delays: dict[str, list[float]] = {"pollux": [], "cusum": []}
        for seed in range(seeds):
            found = _walk(kernels, mirror, detector, level, (fault, size), seed, 100, 300)
            for name, (step, subject) in found.items():
                delays[name].append(step - 99.0)
                wrong[name] += subject != fault
        table.append({"fault": fault, "size": size, **{f"{k}_delay": float(np.median(v)) for k, v in delays.items()}})
        ours += delays["pollux"]
        theirs += delays["cusum"]
    alarms = _quiet(kernels, mirror, detector, quiet)
    runs = seeds * len(FAULTS)
    return {
        "item": "detect",
        "config": {"seeds": seeds, "quiet": quiet, "alarm_every": alarm_every},
        "pollux": 1.0 - wrong["pollux"] / runs,
        "peers": {"cusum": 1.0 - wrong["cusum"] / runs},
        "ratio": (runs - wrong["pollux"]) / max(runs - wrong["cusum"], 1),
        "unit": "share of faults named rightly at the first call",
        "error": wrong["pollux"] / runs,
        "delay": {"pollux": float(np.median(ours)), "cusum": float(np.median(theirs)), "unit": "updates"},
        "false_alarms": {"measured": alarms, "stated_at_most": quiet / alarm_every},
        "table": table,
    }


def _plant(kernels: Any, seed: int, fault: tuple[str, float], on: Callable[[int], bool]):
    g, space, x = np.random.default_rng(seed), kernels.space, kernels.space.x0
    i = 0
    while True:
        p = space.p0
        if on(i) and fault[0] == "leak":
            p[space.index("p", "leak")] = fault[1]
        for _ in range(FINE):  # noise enters all the time, as the mirror takes it
            (x,) = kernels.flow(0.0, DT / FINE, x, space.u0, p)
            x = x + np.sqrt(DT / FINE * space.Q) * g.standard_normal(2)
        y = np.asarray(kernels.observe(0.0, x, space.u0, p)[0]) + np.sqrt(space.R) * g.standard_normal(3)
        if on(i) and fault[0] in space.system.y_names:
            y[space.index("y", fault[0])] += fault[1]
        i += 1
        yield Readings("Pair", DT * i, f"r{i}", "", y, space.u0)


def _walk(kernels, mirror, detector, level, fault, seed, at, most) -> dict[str, tuple[float, str]]:
    """First (step, subject) of each contender from the onset on; the charts' mirror excludes nothing."""
    belief, plain, state = mirror.start(0.0), mirror.start(0.0), detector.start()
    up = down = np.zeros(3)
    found: dict[str, tuple[float, str]] = {}
    for i, readings in enumerate(_plant(kernels, seed, fault, lambda i: i >= at)):
        if i >= at + most or len(found) == 2:
            break
        if "pollux" not in found:
            belief = mirror.update(belief, readings)
            state, findings = detector.update(state, belief)
            if i >= at and findings:
                found["pollux"] = (i, findings[0].subject)
        if "cusum" not in found:
            plain = mirror.update(plain, readings)
            e = plain.innovation / np.sqrt(plain.innovation_var)
            up, down = cusum(up, down, e, 2.0, 2 * level)
            over = np.maximum(up, down)
            if i >= at and over.max() > level:
                found["cusum"] = (i, kernels.space.system.y_names[int(over.argmax())])
            elif i < at:
                up, down = np.where(over > level, 0.0, up), np.where(over > level, 0.0, down)
    for name in ("pollux", "cusum"):
        found.setdefault(name, (at + most, "nothing"))
    return found


def _quiet(kernels, mirror, detector, steps: int) -> int:
    """Number of false alarms: how often a finding begins."""
    belief, state, before, alarms = mirror.start(0.0), detector.start(), frozenset(), 0
    excluded: frozenset[str] = frozenset()
    for i, readings in enumerate(_plant(kernels, 1234, ("", 0.0), lambda i: False)):
        if i >= steps:
            return alarms
        belief = mirror.update(belief, readings, excluded)
        state, findings = detector.update(state, belief)
        now = frozenset((f.cause, f.subject) for f in findings)
        alarms += len(now - before)
        before = now
        excluded = frozenset(f.subject for f in findings if f.cause is Cause.SENSOR)
    return alarms
