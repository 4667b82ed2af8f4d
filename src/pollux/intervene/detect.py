"""`build_detector`: what is wrong, a sensor or the process? From the innovations of the mirror, at a stated rate.

    detector = build_detector(twin, faults=("leak_*",), one_sided=("leak_*",))
    state = detector.start();   state, findings = detector.update(state, belief)

Every update scores a bank of faults (`detect_signature`, `detect_call`), runs a CUSUM chart on every sensor, counts
repeated readings and watches bands. A fault is called when its likelihood ratio exceeds the level that chance reaches
once in `alarm_every` seconds. `excluded=` of the mirror closes the loop: a sensor at fault no longer moves the belief,
and the bank knows that.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from pollux.core.signals import Belief, Cause, Finding, Health
from pollux.core.twin import Twin
from pollux.intervene import detect_bank as bank_of
from pollux.intervene.cusum import cusum, cusum_threshold, score_threshold
from pollux.intervene.detect_call import judge, known
from pollux.intervene.detect_signature import hypotheses, program
from pollux.intervene.detect_state import ONSETS, DetectorState, Work, fresh, work
from pollux.intervene.detect_stuck import Band, outside, repeats
from pollux.intervene.diagnose import Fault, describe, finding
from pollux.model import pieces
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, default
from pollux.model.compile import Kernels
from pollux.model.statespace import StateSpace, flatten

LASTING = 10
"""Updates for which a chart must stay beyond its threshold, unexplained, before it speaks."""


@dataclass(frozen=True, eq=False)
class Detector:
    """The compiled detector of one twin. Built by `build_detector`; holds no state of its own."""

    space: StateSpace
    bank: tuple[Fault, ...]
    bands: tuple[Band, ...]
    longest: float
    """Age in updates, or in seconds where `in_seconds`, of the oldest onset that is compared."""
    in_seconds: bool
    alarm_every: float
    threshold: float | None
    shift: float
    stuck: np.ndarray
    dt_max: float
    params: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    kernel: Kernel = field(repr=False)

    def start(self) -> DetectorState:
        """Before the first belief."""
        return fresh(len(self.space.x), len(self.space.y), len(self.bank), len(self.bands))

    def update(self, state: DetectorState, belief: Belief) -> tuple[DetectorState, tuple[Finding, ...]]:
        """The next state and every anomaly that is active now."""
        if not math.isfinite(belief.nis) or not np.isfinite(belief.mean).all():
            text = "The estimate is not finite: the model blew up, and the last good belief is kept"
            return state, (finding(belief, Cause.SYSTEM, belief.twin, text, {"nis": belief.nis}),)
        now = {"t": belief.t, "mean": belief.mean, "cov": belief.cov, "inputs": belief.inputs}
        if math.isnan(state.t):
            return replace(state, **now), ()
        gap = belief.t - state.t
        n = pieces.count(self.space.system.period, self.dt_max, state.t, belief.t)
        if n > pieces.MAX_PIECES:  # the mirror started anew, so does the detector
            return replace(self.start(), **now), ()
        last, count = repeats(state.last, state.repeats, belief.predicted + belief.innovation, np.sqrt(self.R))
        frozen = (self.stuck > 0) & (count >= self.stuck)
        w = work(state)
        longest = self.longest / gap if self.in_seconds and gap > 0 else self.longest
        w.restart(bank_of.thinned(w.age[:ONSETS], longest), state.t)
        self._freeze(w, state, frozen, belief.t)
        V, s, J, E, wild, e = self.kernel(
            state.t, gap, n, state.mean, state.cov, w.V, w.s, w.J, w.E, w.B, state.wild, state.inputs, belief.inputs,
            np.where(frozen, np.nan, belief.innovation), _used(belief), belief.cov, self.params, self.Q, self.R,
        )  # fmt: skip
        w.V, w.s, w.J, w.E = V.copy(), s.copy(), J.copy(), E.copy()
        w.age += 1.0
        if w.case < 0:
            w.restart(ONSETS, belief.t)
        level = self.level(gap)
        judge(w, self.bank, belief.t, level, longest)
        up, down, odd, h = self._charts(state, e, w, frozen, gap)
        spent, sign = outside(state.spent, self.bands, belief.mean, np.sqrt(np.diag(belief.cov)), gap)
        new = replace(
            state, **now, **vars(w), wild=wild, up=up, down=down, odd=odd, last=last, repeats=count, spent=spent
        )
        found = self._faults(new, belief, level, frozen) + self._unexplained(new, belief, h)
        return new, found + self._outside(new, belief, sign)

    def level(self, gap: float) -> float:
        """Score beyond which a fault is called; chance alone exceeds it once in 2 `alarm_every` seconds."""
        if self.threshold is not None:
            return self.threshold
        sides = sum(1.0 if f.one_sided else 2.0 for f in self.bank)
        return score_threshold(2 * self.alarm_every / max(gap, 1e-9), sides)

    def scores(self, state: DetectorState) -> dict[str, float]:
        """Largest score over all onsets of a change of each fault."""
        z = bank_of.scores(state.s[:ONSETS], state.J[:ONSETS], known(self.bank))
        best = np.abs(z).argmax(axis=0)
        return {f.subject: float(z[best[m], m]) for m, f in enumerate(self.bank)}

    def _freeze(self, w: Work, state: DetectorState, frozen: np.ndarray, t: float) -> None:
        """A sensor that has just been found stuck takes back what its repeated readings led to. In place."""
        newly = np.flatnonzero(frozen & (state.repeats < self.stuck))
        if len(newly) == 0:
            return
        if w.case >= 0:
            j = w.case
            w.E[0], w.B[0] = w.E[1], w.B[1]
            w.close(t)
            if w.B[0, j] == 0.0:
                w.drop(j)
        for i in newly:
            w.drop(int(i))
        w.restart_all(t)

    def _charts(self, state: DetectorState, e: np.ndarray, w: Work, frozen: np.ndarray, gap: float):
        """CUSUM of what no called fault explains."""
        if not self.shift > 0:
            return state.up, state.down, state.odd, math.inf
        h = cusum_threshold(2 * self.alarm_every / max(gap, 1e-9) * len(e), self.shift)
        up, down = cusum(state.up, state.down, e, self.shift, 2 * h)
        explained = any(f.cause is Cause.PROCESS for f, b in zip(self.bank, w.B[0], strict=True) if b)
        if explained or not np.array_equal(w.called, state.called, equal_nan=True):
            up, down = np.zeros_like(up), np.zeros_like(down)
        up, down = np.where(frozen, 0.0, up), np.where(frozen, 0.0, down)
        odd = np.where(np.maximum(up, down) > h, state.odd + 1.0, 0.0)
        return up, down, odd, h

    def _faults(self, state: DetectorState, belief: Belief, level: float, frozen: np.ndarray) -> tuple[Finding, ...]:
        out = []
        for i in np.flatnonzero(frozen):
            channel = self.space.y[i]
            text = f"{channel.label} is stuck: it gave the same reading {state.repeats[i] + 1:.0f} times"
            evidence = {"repeats": float(state.repeats[i] + 1), "value": float(state.last[i])}
            out.append(finding(belief, Cause.SENSOR, channel.name, text, evidence))
        for j in np.flatnonzero(state.B[0]):
            fault, rival = self.bank[j], self.bank[int(state.rival[j])]
            if fault.kind == "y" and frozen[fault.index]:
                continue
            size = float(state.B[0, j])
            text = describe(fault, size)
            if state.sure[j] < 0.9:
                text += f" (or: {rival.label})"
            evidence = {
                "size": size, "score": float(state.score[j]), "level": level, "probability": float(state.sure[j]),
                "called": float(state.called[j]), "since": float(state.since[j]),
            }  # fmt: skip
            out.append(finding(belief, fault.cause, fault.subject, text, evidence))
        return tuple(out)

    def _unexplained(self, state: DetectorState, belief: Belief, h: float) -> tuple[Finding, ...]:
        found = []
        for i in np.flatnonzero(state.odd >= LASTING):
            channel, high = self.space.y[i], state.up[i] > state.down[i]
            side = "higher" if high else "lower"
            text = f"{channel.label} reads {side} than the model allows, and no known fault explains it"
            evidence = {"cusum": float(max(state.up[i], state.down[i])), "level": h, "updates": float(state.odd[i])}
            found.append(finding(belief, Cause.DATA, channel.name, text, evidence))
        return tuple(found)

    def _outside(self, state: DetectorState, belief: Belief, sign: np.ndarray) -> tuple[Finding, ...]:
        found = []
        for i, band in enumerate(self.bands):
            if state.spent[i] >= band.hold:
                channel, mean = self.space.x[band.index], float(belief.mean[band.index])
                side, edge = ("above", band.high) if sign[i] > 0 else ("below", band.low)
                text = f"{channel.label} is {mean:.4g} {channel.unit}, {side} its normal {edge:.4g}"
                evidence = {"value": mean, "edge": edge, "outside": float(state.spent[i])}
                found.append(finding(belief, Cause.PROCESS, band.name, text, evidence))
        return tuple(found)


def build_detector(
    twin: Twin | Kernels | StateSpace,
    *,
    track: tuple[str, ...] = (),
    faults: tuple[str, ...] | None = None,
    one_sided: tuple[str, ...] = (),
    memory: float | None = None,
    alarm_every: float = 30 * 86400.0,
    threshold: float | None = None,
    least: dict[str, float] | None = None,
    shift: float = 2.0,
    stuck: int | dict[str, int] = 8,
    bands: dict[str, tuple[float, float]] | None = None,
    hold: float = 3600.0,
    substeps: int = 4,
    dt_max: float | None = None,
    params: np.ndarray | None = None,
    Q: np.ndarray | None = None,
    R: np.ndarray | None = None,
    backend: Backend | None = None,
) -> Detector:
    """Compile the detector of one twin; `track`, `params`, `Q`, `R` as in its mirror.

    `faults` names what may go wrong in the process (patterns allowed): a parameter that moves, or a state that gains
    an unknown input; None takes every state. Every sensor may gain a bias besides. `one_sided` names faults that can
    only be positive (a leak). `memory` is how many seconds back the onset of a fault may lie and still be looked for;
    None takes 500 updates. `alarm_every` is the mean time (s) between false alarms of a twin that fits its model;
    `threshold` sets the level of the scores by hand. `least` is the smallest size of a fault that is worth a call, by
    name and in its unit (default: 1.5 times a sensor's noise, and 0 for the process). `shift` is the shift, in standard
    deviations of the innovation, that the CUSUM charts are made for (0: no charts). A sensor that repeats a reading
    `stuck` times is stuck (0: never; by sensor where a dict). `bands` gives the normal range of states or tracked
    parameters, which may be left for `hold` seconds.
    """
    if isinstance(twin, Kernels):
        space, backend = twin.space, backend or twin.backend
    else:
        space = flatten(twin) if isinstance(twin, Twin) else twin
    space = augment(space, tuple(track))
    tracked = sum(c.name in space.system.p_names for c in space.x)
    bank = hypotheses(space, tracked, None if faults is None else tuple(faults), tuple(one_sided), least or {})
    low, high = space.bounds("x")
    return Detector(
        space=space,
        bank=bank,
        bands=tuple(
            Band(name, space.index("x", name), float(lo), float(hi), float(hold))
            for name, (lo, hi) in (bands or {}).items()
        ),
        longest=500.0 if memory is None else float(memory),
        in_seconds=memory is not None,
        alarm_every=float(alarm_every),
        threshold=threshold,
        shift=float(shift),
        stuck=_stuck(space, stuck),
        dt_max=pieces.fastest(space) if dt_max is None else float(dt_max),
        params=space.p0 if params is None else np.asarray(params, dtype=np.float64),
        Q=space.Q if Q is None else np.asarray(Q, dtype=np.float64),
        R=space.R if R is None else np.asarray(R, dtype=np.float64),
        kernel=(backend or default()).one(program(space, bank, substeps, low, high)),
    )


def _used(belief: Belief) -> np.ndarray:
    return np.array([h is Health.GOOD for h in belief.health], dtype=np.float64)


def _stuck(space: StateSpace, stuck: int | dict[str, int]) -> np.ndarray:
    names = [c.name for c in space.y]
    if isinstance(stuck, dict):
        for name in stuck:
            space.index("y", name)
        return np.array([float(stuck.get(name, 8)) for name in names])
    return np.full(len(names), float(stuck))
