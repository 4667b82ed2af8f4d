"""Calling faults: when, which one, how large, and when it is over. Works on the scores of `detect_bank`.

1. A score that stays beyond the level for `SETTLE` updates in a row is called when it is clear whether a sensor or the
   process is at fault, or after waiting. The best fault over all onsets is taken; that a called fault is over is
   likelier beforehand than that another one has begun.
2. The last call goes on being compared with the other faults since its own onset: its size is refined, and a fault
   that explains more by `BETTER` takes its place. For `SETTLE` updates nothing else is called.
3. A called fault that changes back by its own size is over: the same test in the other direction, as powerful.
"""

import numpy as np

from pollux.core.signals import Cause
from pollux.intervene import detect_bank as bank_of
from pollux.intervene.detect_state import ONSETS, Work
from pollux.intervene.diagnose import Fault

SURE = 0.9
"""Probability that the cause (sensor or process) is right, below which a call waits for more readings."""

SETTLE = 3
"""Updates for which a score must stay beyond the level; an onset must be as old."""

WAIT = 50
"""Updates that a call waits at most until the cause is clear."""

BETTER = 5.0
"""Log-likelihood by which another fault must explain the innovations better to replace the one that was called."""

OVER = 5.0
"""Log odds that a called fault ends, against another one beginning."""

DOUBT = 1.5
"""While the process is at fault the model is in doubt: the score of anything new counts by so much less."""

GONE = 2.0
"""Score of the last call below which it was a false one."""

REST = 0.4
"""A fault whose change leaves less than this share of its size is over."""


def known(bank: tuple[Fault, ...]) -> np.ndarray:
    """1 / scale^2 of each fault: what is known of its size beforehand."""
    return np.array([1.0 / f.scale**2 for f in bank])


def judge(w: Work, bank: tuple[Fault, ...], t: float, level: float, longest: float) -> None:
    """Review the last call, then look for new ones. In place."""
    if w.case >= 0:
        _review(w, bank, t, level, longest)
        if w.young > 0:
            w.young -= 1
            w.restart_all(t)
            return
    old = w.age[:ONSETS] >= SETTLE
    z = np.where(old[:, None], _sided(w, bank, bank_of.scores(w.s[:ONSETS], w.J[:ONSETS], known(bank)), 0), 0.0)
    change = w.s[:ONSETS] / np.maximum(np.diagonal(w.J[:ONSETS], axis1=1, axis2=2) + known(bank), bank_of.FLOOR)
    z = np.where(np.abs(change) >= np.array([f.least for f in bank]), z, 0.0)
    back = (w.B[0] != 0.0) & (np.abs(w.B[0] + change) < REST * np.abs(w.B[0]))
    if any(f.cause is Cause.PROCESS for f, b in zip(bank, w.B[0], strict=True) if b):
        z = np.where(back, z, z / DOUBT)
    beyond = np.abs(z) > level
    w.run = np.where(beyond, w.run + 1.0, 0.0)
    gain = np.where(beyond, z * z / 2 + np.where(back, OVER, 0.0), 0.0)
    if w.run.max(initial=0.0) < SETTLE:
        w.waited = 0
        return
    k, j = (int(i) for i in np.unravel_index(gain.argmax(), gain.shape))
    w.waited += 1
    all_gain = z[k] * z[k] / 2 + np.where(beyond[k] & back[k], OVER, 0.0)
    if _clear(all_gain, bank) or w.waited > WAIT:
        _call(w, bank, k, j, z[k], all_gain, t)
        w.waited = 0


def _call(w: Work, bank: tuple[Fault, ...], k: int, j: int, z: np.ndarray, gain: np.ndarray, t: float) -> None:
    change = bank_of.size(w.s[k], w.J[k], known(bank), j)
    before = w.B[0, j]
    if before != 0.0 and abs(before + change) < REST * abs(before):
        w.E[0] -= w.V[k, :, j] * before
        w.close(t)
        w.drop(j)
        w.restart_all(t)
        return
    w.E[1], w.B[1] = w.E[0], w.B[0]
    w.case, w.young = j, SETTLE
    w.V[ONSETS], w.s[ONSETS], w.J[ONSETS] = w.V[k], w.s[k], w.J[k]
    w.age[ONSETS], w.onset[ONSETS] = w.age[k], w.onset[k]
    _enter(w, bank, j, z, gain, t, w.onset[k] if before == 0.0 else w.since[j])
    w.restart_all(t)


def _enter(
    w: Work, bank: tuple[Fault, ...], j: int, z: np.ndarray, gain: np.ndarray, called: float, since: float
) -> None:
    """Fault j is the last call; its size and effect follow from the last row."""
    change = bank_of.size(w.s[ONSETS], w.J[ONSETS], known(bank), j)
    w.B[0] = w.B[1]
    w.B[0, j] += change
    w.E[0] = w.E[1] + w.V[ONSETS, :, j] * change
    p = bank_of.probabilities(gain)
    w.called[j], w.since[j] = called, since
    w.score[j], w.sure[j] = z[j], p[j]
    p[j] = -1.0
    w.rival[j] = float(p.argmax())


def _review(w: Work, bank: tuple[Fault, ...], t: float, level: float, longest: float) -> None:
    z = _sided(w, bank, bank_of.scores(w.s[ONSETS], w.J[ONSETS], known(bank))[None], 1)[0]
    gain = z * z / 2
    j, best = w.case, int(gain.argmax())
    called, since = w.called[j], w.since[j]
    if abs(z[j]) < GONE and abs(z[best]) <= level:
        w.E[0], w.B[0] = w.E[1], w.B[1]
        w.close(t)
        w.drop(j)
        w.restart_all(t)
        return
    if best != j and gain[best] - gain[j] > BETTER and _clear(gain, bank):
        if w.B[1, j] == 0.0:
            w.drop(j)
        w.case = j = best
        w.restart_all(t)
    _enter(w, bank, j, z, gain, called, since)
    if w.age[ONSETS] > longest:
        w.close(t)


def _sided(w: Work, bank: tuple[Fault, ...], z: np.ndarray, row: int) -> np.ndarray:
    """Scores (k, M) with those in the wrong direction of a one-sided fault left out, except where it shrinks."""
    one = np.array([f.one_sided for f in bank]) & (w.B[row] <= 0.0)
    return np.where(one, np.maximum(z, 0.0), z)


def _clear(gain: np.ndarray, bank: tuple[Fault, ...]) -> bool:
    """Whether it is known if a sensor or the process is at fault."""
    sensor = float(bank_of.probabilities(gain)[[f.cause is Cause.SENSOR for f in bank]].sum())
    return max(sensor, 1.0 - sensor) >= SURE
