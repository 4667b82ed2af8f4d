"""`build_detector`: what is wrong, a sensor or the process? From the innovations of the mirror, at a stated rate.

    detector = build_detector(twin, faults=("leak_*",), one_sided=("leak_*",))
    state = detector.start();   state, findings = detector.update(state, belief)

Every update watches each sensor for itself (`detect_watch`: stuck, saturated, spike, unit slip, swap, noise, dropout),
scores a bank of faults (`detect_signature`, `detect_call`: bias, drift, and what may go wrong in the process), runs
charts (`detect_charts`) and watches bands. All of it together gives a false alarm once in `alarm_every` seconds
(`detect_level`, `cusum`). `excluded=` of the mirror closes the loop: a sensor at fault no longer moves the belief,
and the bank knows that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pollux.core.signals import Belief, Cause, Finding, Health
from pollux.core.twin import Twin
from pollux.intervene import detect_bank as bank_of
from pollux.intervene.cusum import cusum_threshold, scatter_threshold
from pollux.intervene.detect_call import SETTLE, judge, known
from pollux.intervene.detect_charts import LASTING, LOUD, charted
from pollux.intervene.detect_drift import lined, slope
from pollux.intervene.detect_level import compared, run_factors, solve
from pollux.intervene.detect_misread import Misreading, misreadings
from pollux.intervene.detect_signature import hypotheses, program
from pollux.intervene.detect_state import ONSETS, DetectorState, Work, fresh, work
from pollux.intervene.detect_stuck import Band, outside
from pollux.intervene.detect_watch import Watch, follow, noisy
from pollux.intervene.detect_words import say
from pollux.intervene.diagnose import Fault, amount, describe, finding
from pollux.model import pieces
from pollux.model.augment import augment
from pollux.model.backend import Backend, Kernel, default
from pollux.model.compile import Kernels
from pollux.model.statespace import StateSpace, flatten

BANK, CHART = 0.5, 0.25
"""Shares of the stated rate of false alarms: the bank of faults, and each of the two kinds of charts."""

START = 4.0
"""Where the search for the level begins."""


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
    misread: tuple[Misreading, ...] = field(repr=False)
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
        w = work(state)
        watch = follow(state.watch, belief, self.space.y, self.misread, self.stuck, self._of_sensors(w.B[0]), self.R)
        out = self._out(watch)
        longest = self.longest / gap if self.in_seconds and gap > 0 else self.longest
        w.restart(bank_of.thinned(w.age[:ONSETS], longest), state.t)
        self._leave_out(w, out & ~self._out(state.watch), belief.t)
        before = w.J[:ONSETS].copy()
        V, s, J, E, wild, e = self.kernel(
            state.t, gap, n, state.mean, state.cov, w.V, w.s, w.J, w.E, w.B, state.wild, state.inputs, belief.inputs,
            np.where(out, np.nan, belief.innovation), _used(belief), belief.cov, self.params, self.Q, self.R,
        )  # fmt: skip
        w.V, w.s, w.J, w.E = V.copy(), s.copy(), J.copy(), E.copy()
        w.age += 1.0
        if w.case < 0:
            w.restart(ONSETS, belief.t)
        w.level = self._level(w, before, gap)
        judge(w, self.bank, belief.t, w.level, longest)
        explained = any(f.cause is Cause.PROCESS for f, b in zip(self.bank, w.B[0], strict=True) if b)
        reset = explained or not np.array_equal(w.called, state.called, equal_nan=True)
        biased = self._of_sensors(w.B[0])
        charts = charted(state, e, self.shift, self._samples(gap) / CHART, reset, out, biased)
        watch = noisy(watch, charts.loud >= LOUD, self.misread, belief)
        spent, sign = outside(state.spent, self.bands, belief.mean, np.sqrt(np.diag(belief.cov)), gap)
        new = replace(
            state, **now, **vars(w), wild=wild, watch=watch, spent=spent, up=charts.up, down=charts.down,
            odd=charts.odd, scatter=charts.scatter, center=charts.center, loud=charts.loud,
            line=lined(state.line, self._since(w), belief.t, belief.innovation, biased & ~self._out(watch)),
        )  # fmt: skip
        found = (*say(watch, belief, self.space.y, self.misread, self.stuck), *self._faults(new, belief))
        return new, (*found, *self._unexplained(new, belief, charts.h), *self._outside(new, belief, sign))

    def wired(self, units: Mapping[str, str]) -> "Detector":
        """The same detector, told the units in which sensors come in over the wire: what their unit may slip to."""
        return replace(self, misread=misreadings(self.space, units))

    def _level(self, w: Work, before: np.ndarray, gap: float) -> float:
        """Score beyond which a fault is called, at which chance begins calls at the stated rate."""
        if self.threshold is not None:
            return self.threshold
        age = w.age[:ONSETS]
        what = compared(
            np.where(age[:, None, None] >= 2 * SETTLE - 1, w.J[:ONSETS], 0.0),
            before,
            known(self.bank),
            np.array([f.least for f in self.bank]),
            np.array([1.0 if f.one_sided else 2.0 for f in self.bank]),
            age == 2 * SETTLE - 1,
        )
        return solve(w.level or START, BANK / self._samples(gap), what, SETTLE)

    def _samples(self, gap: float) -> float:
        """Updates between two false alarms."""
        return self.alarm_every / max(gap, 1e-9)

    def scores(self, state: DetectorState) -> dict[str, float]:
        """Largest score over all onsets of a change of each fault."""
        z = bank_of.scores(state.s[:ONSETS], state.J[:ONSETS], known(self.bank))
        best = np.abs(z).argmax(axis=0)
        return {f.subject: float(z[best[m], m]) for m, f in enumerate(self.bank)}

    def _out(self, watch: Watch) -> np.ndarray:
        """Sensors that the bank does not listen to (ny,): stuck, saturated or misread."""
        return ((self.stuck > 0) & (watch.repeats >= self.stuck)) | (watch.edge != 0) | (watch.held >= 0)

    def _of_sensors(self, B: np.ndarray) -> np.ndarray:
        """Whether the bank holds a fault against each sensor (ny,); the bank begins with a bias of every sensor."""
        return B[: len(self.space.y)] != 0.0

    def _since(self, w: Work) -> np.ndarray:
        return w.since[: len(self.space.y)]

    def _leave_out(self, w: Work, newly: np.ndarray, t: float) -> None:
        """A sensor that has just been left out takes back what its readings led to. In place."""
        if not newly.any():
            return
        if w.case >= 0:
            j = w.case
            w.E[0], w.B[0] = w.E[1], w.B[1]
            w.close(t)
            if w.B[0, j] == 0.0:
                w.drop(j)
        for i in np.flatnonzero(newly):
            w.drop(int(i))
        w.restart_all(t)

    def _faults(self, state: DetectorState, belief: Belief) -> tuple[Finding, ...]:
        out, silent = [], self._out(state.watch)
        for j in np.flatnonzero(state.B[0]):
            fault, rival = self.bank[j], self.bank[int(state.rival[j])]
            size, sure = float(state.B[0, j]), float(state.sure[j])
            text, kind = describe(fault, size), {}
            if fault.kind == "y":
                if silent[fault.index]:
                    continue
                text, size, kind = self._step_or_drift(state, belief, fault, size, sure)
            if sure < 0.9:
                text += f" (or: {rival.label})"
            evidence = {
                **kind, "size": size, "score": float(state.score[j]), "level": state.level, "probability": sure,
                "called": float(state.called[j]), "since": float(state.since[j]),
            }  # fmt: skip
            out.append(finding(belief, fault.cause, fault.subject, text, evidence))
        return tuple(out)

    def _step_or_drift(self, state: DetectorState, belief: Belief, fault: Fault, size: float, sure: float):
        """(words, size now, kind) of a fault of a sensor."""
        i = fault.index
        found = slope(state.line[:, i], float(belief.innovation_var[i]), belief.t - float(state.since[i]))
        if found is None:
            return describe(fault, size), size, {"bias": sure}
        now, per_second = found
        text = f"{describe(fault, now)} and drifts by {amount(3600 * per_second, fault.unit, sign=True)} an hour"
        return text, now, {"drift": sure, "per hour": 3600 * per_second}

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
    shift: float = 1.0,
    units: Mapping[str, str] | None = None,
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
    deviations of the innovation, that the CUSUM charts are made for (0: no charts, neither of mean nor of scatter).
    `units` names, by sensor, the unit on the wire where it is not the twin's: what a slipped unit is looked for among.
    A sensor that repeats a reading `stuck` times is stuck (0: never; by sensor where a dict). `bands` gives the normal
    range of states or tracked parameters, which may be left for `hold` seconds.
    """
    if isinstance(twin, Kernels):
        space, backend = twin.space, backend or twin.backend
    else:
        space = flatten(twin) if isinstance(twin, Twin) else twin
    space = augment(space, tuple(track))
    run_factors(SETTLE)  # tables that are kept, so that the first update does not wait for them
    if shift > 0:
        cusum_threshold(1e4, float(shift), LASTING)
        scatter_threshold(1e4, LOUD)
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
        misread=misreadings(space, units or {}),
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
