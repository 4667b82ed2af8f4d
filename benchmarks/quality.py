"""Work item `quality`: does the detector alarm as rarely as it states, and how soon does it name each sensor fault?

1. Sound plants, long runs: new alarms per update against the stated rate, with the exact 95 % interval of a Poisson
   count. The stated rate belongs to everything that is said: bank, charts and the watch over single sensors.
2. Every kind of fault in several sizes (in standard deviations of the sensor's noise, where a size makes sense): delay
   in updates, share found within `WITHIN` updates, share called by the right name in the end, share of runs in which
   another sensor or the process was called besides.

Peers in the same run, on the same readings, at the same stated rate: a chi-square gate on every reading, and a CUSUM
chart (shift of one standard deviation) on every sensor. Neither leaves a sensor out, neither names a kind.
"""

import math
import multiprocessing
from collections import Counter
from typing import Any

import numpy as np
from scipy.stats import chi2

from benchmarks._vessels import Plant, Spoil, plant
from pollux.core.signals import Cause
from pollux.core.units import convert
from pollux.intervene.cusum import cap, cusum, cusum_threshold
from pollux.intervene.diagnose import kind_of

AT, WITHIN = 100, 150
"""Update at which a fault begins, and for how many it lasts."""

CHUNK = 25_000
"""Updates of one run of a sound plant."""


def run(config: dict[str, Any]) -> dict[str, Any]:
    """`updates` of each sound plant at `alarm_every` (in updates), `seeds` runs of every fault, `workers` processes."""
    updates, seeds = int(config.get("updates", 1_000_000)), int(config.get("seeds", 20))
    alarm_every, workers = float(config.get("alarm_every", 10_000.0)), int(config.get("workers", 2))
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        size = min(CHUNK, updates)
        names = ("tank", "vessels") if updates else ()
        quiet = [_rate(name, pool, [(name, alarm_every, s, size) for s in range(updates // size)]) for name in names]
        rows = pool.starmap(_row, [(case, seeds, alarm_every) for case in cases()]) if seeds else []
    alarms = {who: sum(q["alarms"][who] for q in quiet) for who in ("pollux", "gate", "cusum")}
    expected = sum(q["expected"] for q in quiet) or math.nan
    low, high = _interval(alarms["pollux"])
    named = float(np.mean([r["pollux"]["named"] for r in rows])) if rows else None
    return {
        "item": "quality",
        "config": {"updates": updates, "seeds": seeds, "alarm_every": alarm_every, "workers": workers},
        "pollux": round(alarms["pollux"] / expected, 3),
        "interval": [round(low / expected, 3), round(high / expected, 3)],
        "peers": {who: round(alarms[who] / expected, 3) for who in ("gate", "cusum")},
        "ratio": None,
        "unit": "false alarms, measured over stated",
        "error": abs(alarms["pollux"] / expected - 1.0),
        "false_alarms": quiet,
        "named": named,
        "table": rows,
    }


def cases() -> list[tuple[str, int, float]]:
    """(kind, sensor, size); sensors of the vessels: 0 la, 1 lb, 2 temp, 3 flow."""
    return [
        *(("bias", i, s) for i in (1, 2) for s in (3.0, 5.0, 10.0, 30.0)),
        *(("drift", i, s) for i in (1, 2) for s in (0.1, 0.3, 1.0)),
        *(("spike", 2, s) for s in (10.0, 100.0)),
        *(("noise", i, s) for i in (0, 2) for s in (2.0, 4.0, 10.0)),
        ("stuck", 0, 0.0), ("stuck", 2, 0.0), ("saturated", 1, 0.0), ("dropout", 2, 0.0), ("swapped", 0, 0.0),
        *(("unit slip", i, float(k)) for i, units in SLIPS.items() for k in range(1, len(units))),
    ]  # fmt: skip


SLIPS = {0: ("m", "cm", "ft"), 2: ("K", "degC", "degF"), 3: ("m/s", "km/h", "mm/s")}


def spoiled(kind: str, i: int, size: float, noise: np.ndarray) -> Spoil:
    """What the fault does to the readings from update `AT` on."""
    held: dict[int, float] = {}

    def spoil(k: int, y: np.ndarray, g: np.random.Generator) -> None:
        if not AT <= k < AT + WITHIN:
            return
        if kind == "bias":
            y[i] += size * noise[i]
        elif kind == "drift":
            y[i] += size * noise[i] * (k - AT + 1)
        elif kind == "spike" and k == AT:
            y[i] += size * noise[i]
        elif kind == "noise":
            y[i] += np.sqrt(size**2 - 1) * noise[i] * g.standard_normal()
        elif kind == "stuck":
            y[i] = held.setdefault(i, y[i])
        elif kind == "saturated":
            y[i] = min(y[i], 2.6)
        elif kind == "dropout":
            y[i] = np.nan
        elif kind == "swapped":
            y[0], y[1] = y[1], y[0]
        elif kind == "unit slip":
            y[i] = convert(y[i], SLIPS[i][0], SLIPS[i][int(size)])

    return spoil


def _row(case: tuple[str, int, float], seeds: int, alarm_every: float) -> dict[str, Any]:
    """One line of the table."""
    kind, i, size = case
    p = plant("vessels", alarm_every)
    found = [_one(p, kind, i, size, seed, alarm_every) for seed in range(seeds)]
    label = SLIPS[i][int(size)] if kind == "unit slip" else size
    row: dict[str, Any] = {"fault": kind, "sensor": p.kernels.space.system.y_names[i], "size": label}
    for who in ("pollux", "gate", "cusum"):
        delays = np.array([f[who] for f in found])
        seen = np.isfinite(delays)
        row[who] = {
            "median": _finite(np.median(delays)), "p90": _finite(np.quantile(delays, 0.9, method="higher")),
            "found": float(seen.mean()),
        }  # fmt: skip
    row["pollux"]["named"] = float(np.mean([f["named"] for f in found]))
    row["pollux"]["other"] = float(np.mean([f["other"] for f in found]))
    row["pollux"]["back"] = float(np.mean([f["back"] for f in found]))
    return row


def _one(p: Plant, kind: str, i: int, size: float, seed: int, alarm_every: float) -> dict[str, Any]:
    """Delays (inf: not found) of all three, and what Pollux called it."""
    names = p.kernels.space.system.y_names
    own = {names[0], names[1]} if kind == "swapped" else {names[i]}
    feed = (lambda k: 2.2 if AT <= k < AT + WITHIN else 1.0) if kind == "saturated" else None
    noise = np.sqrt(p.kernels.space.R)
    mirror, belief, plain, state = p.mirror, p.mirror.start(0.0), p.mirror.start(0.0), p.detector.start()
    charts, out, last, others = _Peers(len(names), alarm_every), frozenset(), "", set()
    delay = {"pollux": np.inf, "gate": np.inf, "cusum": np.inf}
    for k, readings in enumerate(p.readings(seed, spoiled(kind, i, size, noise), feed)):
        if k >= AT + 2 * WITHIN:
            break
        belief = mirror.update(belief, readings, out)
        state, findings = p.detector.update(state, belief)
        out = frozenset(f.subject for f in findings if f.cause is Cause.SENSOR)
        plain = mirror.update(plain, readings)
        alarms = charts.update(plain, quiet=k < AT)
        if not AT <= k < AT + WITHIN:
            continue
        mine = [f for f in findings if f.subject in own and kind_of(f.evidence)]
        others |= {f.subject for f in findings} - own
        if mine:
            delay["pollux"] = min(delay["pollux"], k - AT)
            last = kind_of(mine[0].evidence)
        for who, sensor in alarms.items():
            if names[sensor] in own:
                delay[who] = min(delay[who], k - AT)
    return {**delay, "named": last == kind, "other": bool(others), "back": not (out & own)}


class _Peers:
    """A chi-square gate and a CUSUM chart for every sensor at the same stated rate; a chart that spoke starts anew."""

    def __init__(self, ny: int, alarm_every: float):
        self.bound = chi2.isf(1.0 / (alarm_every * ny), 1)
        self.h = cusum_threshold(alarm_every * ny, 1.0)
        self.up = self.down = np.zeros(ny)

    def update(self, belief: Any, quiet: bool = False) -> dict[str, int]:
        """Who alarms now, for which sensor."""
        e = belief.innovation / np.sqrt(belief.innovation_var)
        self.up, self.down = cusum(self.up, self.down, e, 1.0, cap(self.h))
        over = np.maximum(self.up, self.down)
        alarms = {}
        if np.nanmax(e**2, initial=0.0) > self.bound:
            alarms["gate"] = int(np.nanargmax(e**2))
        if over.max() > self.h:
            alarms["cusum"] = int(over.argmax())
            self.up, self.down = np.where(over > self.h, 0.0, self.up), np.where(over > self.h, 0.0, self.down)
        return {} if quiet else alarms


def _rate(name: str, pool: Any, tasks: list[tuple[str, float, int, int]]) -> dict[str, Any]:
    """Alarms of a sound plant: stated and measured."""
    counts = pool.starmap(_quiet, tasks)
    total = sum((c for c in counts), Counter())
    updates, alarm_every = sum(t[3] for t in tasks), tasks[0][1] if tasks else 1.0
    alarms = {who: total[who] for who in ("pollux", "gate", "cusum")}
    low, high = _interval(alarms["pollux"])
    expected = updates / alarm_every
    return {
        "twin": name, "updates": updates, "expected": expected, "alarms": alarms,
        "ratio": round(alarms["pollux"] / expected, 3) if expected else None,
        "interval": [round(low / expected, 3), round(high / expected, 3)] if expected else None,
        "kinds": {what[1]: n for what, n in sorted(total.items(), key=str) if isinstance(what, tuple)},
    }  # fmt: skip


def _quiet(name: str, alarm_every: float, seed: int, updates: int) -> Counter:
    """New alarms of one sound run, by who and by kind; the first hundred updates settle and do not count."""
    p = plant(name, alarm_every)
    belief, plain, state = p.mirror.start(0.0), p.mirror.start(0.0), p.detector.start()
    peers, count = _Peers(len(p.kernels.space.y), alarm_every), Counter()
    before, out = frozenset(), frozenset()
    for k, readings in enumerate(p.readings(seed + 1000)):
        if k >= updates + 100:
            return count
        belief = p.mirror.update(belief, readings, out)
        state, findings = p.detector.update(state, belief)
        out = frozenset(f.subject for f in findings if f.cause is Cause.SENSOR)
        plain = p.mirror.update(plain, readings)
        now = {(f.cause, f.subject): kind_of(f.evidence) or str(f.cause) for f in findings}
        if k >= 100:
            count.update(who for who in peers.update(plain))
            for key in now.keys() - before:
                count.update(["pollux", ("kind", now[key])])
        before = frozenset(now)
    return count


def _finite(delay: Any) -> float | None:
    """A delay; None where the fault was not found."""
    return float(delay) if np.isfinite(delay) else None


def _interval(n: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean (Garwood)."""
    return (float(chi2.ppf(0.025, 2 * n)) / 2 if n else 0.0), float(chi2.ppf(0.975, 2 * n + 2) / 2)
