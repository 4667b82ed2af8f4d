"""The watch over single sensors, before anything is said about the process: which readings are left out, and why.

    refused three times in a row  -> what would explain it (`detect_misread`); an offset is left to the bank of faults
    refused once or twice         -> a spike, named when the next reading is good
    repeated                      -> stuck, or saturated where it repeats an edge and the model says beyond
    silent for three times its longest usual gap -> dropout

The gate of the mirror refuses what is off by `FAR` standard deviations and opens after five refusals; what is named
here is named after three, so that it is never believed. A held sensor is let go when its readings fit again:

    back' = max(0, back + clip(log p(y | healthy) - log p(y | as named), -+TRUST)),   let go at 3 TRUST
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from pollux.core.signals import Belief
from pollux.intervene.detect_misread import Misreading, healthy, judge_readings, likely
from pollux.intervene.detect_stuck import DROPPED, LEARNT, at_edge, repeats, usual_gap
from pollux.model.statespace import Channel

FAR = 4.9
"""Standard deviations beyond which a reading is refused: one good one in a million, as at the mirror's gate."""

SPIKE, NEAR = 6.0, 3.0
"""A refused reading beyond the first is named as a spike when the next one is within the second."""

ROW = 3
"""Refused readings in a row that are judged."""

WINDOW = 12
"""Last readings of each sensor that are kept, to be judged together."""

TRUST = 2.0
"""Log-likelihood that one reading can speak for or against a held sensor."""

LOST = 3
"""Readings in a row that neither health nor the named fault explains: the sensor is let go for the bank to judge."""


@dataclass(frozen=True)
class Watch:
    """State of the watch; arrays over sensors (ny,), and the last readings (WINDOW, ny), oldest first."""

    seen: np.ndarray
    expected: np.ndarray
    variance: np.ndarray
    off: np.ndarray
    """Readings in a row beyond `FAR`."""
    spike: np.ndarray
    """Size of the spike that was just over, 0 when there was none."""
    held: np.ndarray
    """Place of the misreading that is held against the sensor, -1: none."""
    sure: np.ndarray
    since: np.ndarray
    back: np.ndarray
    lost: np.ndarray
    calm: np.ndarray
    """Innovation variance before it was held."""
    last: np.ndarray
    repeats: np.ndarray
    least: np.ndarray
    most: np.ndarray
    edge: np.ndarray
    """1 or -1 while a sensor repeats the upper or the lower edge of what it can say."""
    came: np.ndarray
    """When it last gave a value."""
    usual: np.ndarray
    """Longest usual gap between two values, s."""
    count: np.ndarray


def first(ny: int) -> Watch:
    """Before the first belief."""
    z, nan, none = np.zeros(ny), np.full(ny, np.nan), np.full((WINDOW, ny), np.nan)
    return Watch(
        seen=none, expected=none, variance=none, off=z, spike=z, held=z - 1.0, sure=z, since=nan, back=z, lost=z,
        calm=nan, last=nan, repeats=z, least=np.full(ny, math.inf), most=np.full(ny, -math.inf), edge=z, came=nan,
        usual=z, count=z,
    )  # fmt: skip


def follow(
    w: Watch,
    belief: Belief,
    channels: tuple[Channel, ...],
    bank: tuple[Misreading, ...],
    stuck: np.ndarray,
    biased: np.ndarray,
    R: np.ndarray,
) -> Watch:
    """The watch after one belief. `biased` (ny,) marks sensors that the bank of faults has called: it judges those."""
    y, mu, S = belief.predicted + belief.innovation, belief.predicted, belief.innovation_var
    came = ~np.isnan(y)
    last, count = repeats(w.last, w.repeats, y, np.sqrt(R))
    e = belief.innovation / np.sqrt(S)
    far = came & (np.abs(e) > FAR)
    off = np.where(far, w.off + 1.0, np.where(came, 0.0, w.off))
    over = came & (np.abs(e) < NEAR) & (w.off > 0) & (w.off < ROW) & (w.held < 0) & ~biased
    before = w.seen[-1] - w.expected[-1]
    wild = over & (np.abs(before) > SPIKE * np.sqrt(w.variance[-1]))
    good = came & ~far & (w.held < 0)
    edge = at_edge(w.edge, count, y, mu, S, channels, w.least, w.most, stuck)
    usual = usual_gap(w.usual, belief.t - w.came, came)
    new = replace(
        w,
        seen=_pushed(w.seen, y, came),
        expected=_pushed(w.expected, mu, came),
        variance=_pushed(w.variance, S, came),
        off=off,
        spike=np.where(wild, before, 0.0),
        last=last,
        repeats=count,
        edge=edge,
        least=np.where(good, np.minimum(w.least, y), w.least),
        most=np.where(good, np.maximum(w.most, y), w.most),
        came=np.where(came, belief.t, w.came),
        usual=usual,
        count=w.count + came,
    )
    return _held(w, new, belief, bank, came, biased, R)


def noisy(w: Watch, loud: np.ndarray, bank: tuple[Misreading, ...], belief: Belief) -> Watch:
    """The watch with the sensors held whose scatter chart has spoken (`loud`, ny)."""
    new = loud & (w.held < 0) & (w.edge == 0) & ~np.isnan(belief.innovation_var)
    if not new.any():
        return w
    held, sure, since, back = w.held.copy(), w.sure.copy(), w.since.copy(), w.back.copy()
    for i in np.flatnonzero(new):
        held[i] = next(k for k, m in enumerate(bank) if m.kind == "noise" and m.legs[0].sensor == i)
        sure[i], since[i], back[i] = 1.0, belief.t, 0.0
    calm = np.where(new, belief.innovation_var, w.calm)
    return replace(w, held=held, sure=sure, since=since, back=back, calm=calm)


def silent(w: Watch, t: float) -> np.ndarray:
    """Which sensors have dropped out: silent for `DROPPED` times their longest usual gap."""
    return (w.count >= LEARNT) & (w.usual > 0) & (t - w.came > DROPPED * w.usual)


def _held(
    old: Watch,
    w: Watch,
    belief: Belief,
    bank: tuple[Misreading, ...],
    came: np.ndarray,
    biased: np.ndarray,
    R: np.ndarray,
) -> Watch:
    """Name what was refused `ROW` times, let go what fits again."""
    asked = (w.off >= ROW) & (w.held < 0) & ~biased & (w.edge == 0) & came
    if not asked.any() and not (w.held >= 0).any():
        return w
    held, sure, since = w.held.copy(), w.sure.copy(), w.since.copy()
    back, lost, calm, off = w.back.copy(), w.lost.copy(), w.calm.copy(), w.off.copy()
    y, mu, S = belief.predicted + belief.innovation, belief.predicted, belief.innovation_var
    for i in np.flatnonzero((held >= 0) & came):
        named = bank[int(held[i])]
        ok, as_named = _compared(int(i), named, old, y, mu, S, R, calm[i])
        back[i] = max(0.0, back[i] + float(np.clip(ok - as_named, -TRUST, TRUST)))
        lost[i] = lost[i] + 1.0 if _explains_neither(int(i), named, y, mu, S, R) else 0.0
        if named.kind == "unit slip" and off[i] <= WINDOW:  # the name gets surer with every reading
            n = int(off[i])
            k, p = judge_readings(int(i), bank, w.seen[-n:], w.expected[-n:], w.variance[-n:], R) if n else (-1, 0.0)
            if k >= 0 and bank[k].kind == "unit slip":
                held[i], sure[i] = float(k), p
        if back[i] >= 3 * TRUST or lost[i] >= LOST:
            held[i], sure[i], since[i], back[i], lost[i], off[i] = -1.0, 0.0, np.nan, 0.0, 0.0, 0.0
    for i in np.flatnonzero(asked):
        if held[i] >= 0:
            continue
        n = int(min(w.off[i], WINDOW))  # those that were refused
        k, p = judge_readings(int(i), bank, w.seen[-n:], w.expected[-n:], w.variance[-n:], R)
        if k < 0:
            continue
        for leg in bank[k].legs:
            j = leg.sensor
            held[j], sure[j], since[j], back[j], lost[j] = float(k), p, belief.t, 0.0, 0.0
            calm[j] = np.nanmin(w.variance[:, j])
    return replace(w, held=held, sure=sure, since=since, back=back, lost=lost, calm=calm, off=off)


def _compared(
    i: int, named: Misreading, old: Watch, y: np.ndarray, mu: np.ndarray, S: np.ndarray, R: np.ndarray, calm: float
) -> tuple[float, float]:
    """log p of the newest reading: healthy, and as named. Noise is judged by what changes from reading to reading."""
    if named.kind != "noise":
        return healthy(i, y, mu, S), likely(i, named, y, mu, S, R)
    step = (y[i] - mu[i]) - (old.seen[-1, i] - old.expected[-1, i])
    quiet, loud = R[i] + calm, R[i] + calm + 2 * (named.factor**2 - 1) * R[i]
    return -0.5 * (step**2 / quiet + math.log(quiet)), -0.5 * (step**2 / loud + math.log(loud))


def _explains_neither(i: int, named: Misreading, y: np.ndarray, mu: np.ndarray, S: np.ndarray, R: np.ndarray) -> bool:
    leg = named.of(i)
    var = S[i] + (named.factor**2 - 1) * R[i]
    meant = leg.scale * y[leg.source] + leg.shift - mu[i]
    return (y[i] - mu[i]) ** 2 > FAR**2 * S[i] and not meant**2 <= FAR**2 * var


def _pushed(rows: np.ndarray, new: np.ndarray, came: np.ndarray) -> np.ndarray:
    """The last readings with the newest, by sensor."""
    return np.where(came, np.vstack([rows[1:], new]), rows)
