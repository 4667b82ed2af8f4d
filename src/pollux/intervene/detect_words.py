"""What the watch over single sensors has to say: one finding for each sensor that is not as it should be."""

from collections.abc import Iterator

import numpy as np

from pollux.core.signals import Belief, Cause, Finding
from pollux.intervene.detect_misread import Misreading
from pollux.intervene.detect_watch import Watch, silent
from pollux.intervene.diagnose import amount, finding
from pollux.model.statespace import Channel


def say(
    w: Watch, belief: Belief, channels: tuple[Channel, ...], bank: tuple[Misreading, ...], stuck: np.ndarray
) -> Iterator[Finding]:
    """Stuck, saturated, misread: sensor faults, which are left out; spikes and dropouts leave nothing to leave out."""
    gone = silent(w, belief.t)
    for i, c in enumerate(channels):
        if w.edge[i] != 0:
            side = "upper" if w.edge[i] > 0 else "lower"
            beyond = "above" if w.edge[i] > 0 else "below"
            text = (
                f"{c.label} is saturated: it repeats {amount(w.last[i], c.unit)}, the {side} end of what it can say, "
                f"and the model puts the truth {beyond} it, at {amount(belief.predicted[i], c.unit)}"
            )
            evidence = {"saturated": 1.0, "repeats": w.repeats[i] + 1, "value": w.last[i]}
            yield _sensor(belief, c, text, {**evidence, "expected": belief.predicted[i]})
        elif (stuck[i] > 0) and w.repeats[i] >= stuck[i]:
            text = f"{c.label} is stuck: it gave the same reading {w.repeats[i] + 1:.0f} times"
            yield _sensor(belief, c, text, {"stuck": 1.0, "repeats": w.repeats[i] + 1, "value": w.last[i]})
        elif w.held[i] >= 0:
            yield _misread(w, i, belief, channels, bank[int(w.held[i])])
        elif w.spike[i] != 0:
            text = f"{c.label} gave a spike of {amount(w.spike[i], c.unit, sign=True)}; it was left out"
            size = w.spike[i] / np.sqrt(w.variance[-2, i])
            evidence = {"spike": 1.0, "size": w.spike[i], "standard deviations": size}
            yield finding(belief, Cause.DATA, c.name, text, _plain(evidence))
        elif gone[i]:
            for_ = belief.t - w.came[i]
            text = f"{c.label} has dropped out: no value for {for_:.3g} s, longest usual gap {w.usual[i]:.3g} s"
            yield finding(
                belief, Cause.DATA, c.name, text, _plain({"dropout": 1.0, "silent": for_, "usual": w.usual[i]})
            )


def _misread(w: Watch, i: int, belief: Belief, channels: tuple[Channel, ...], named: Misreading) -> Finding:
    c, p = channels[i], float(w.sure[i])
    evidence = {named.kind: p, "since": w.since[i]}
    read, expected = float(w.seen[-1, i]), float(belief.predicted[i])
    leg = named.of(i)
    if named.kind == "unit slip":
        text = (
            f"{c.label} seems to come in another unit: probably {named.name} ({p:.0%}). It reads "
            f"{amount(read, c.unit)} where {amount(expected, c.unit)} is expected; as {named.name} it would be "
            f"{amount(leg.scale * read + leg.shift, c.unit)}. Nothing was converted; check the unit of its tag"
        )
        evidence |= {f"probability of {named.name}": p, "read": read, "expected": expected}
    elif named.kind == "swapped":
        other = channels[leg.source]
        text = (
            f"{c.label} and {other.label} seem to be swapped ({p:.0%}): each reads what the other is expected to read, "
            f"here {amount(read, c.unit)} instead of {amount(expected, c.unit)}. Check their wiring"
        )
        evidence |= {"read": read, "expected": expected}
    else:
        text = f"{c.label} has become noisy: it scatters about {named.factor:.0f} times as much as stated"
        evidence |= {"factor": named.factor}
    return _sensor(belief, c, text, evidence)


def _sensor(belief: Belief, c: Channel, text: str, evidence: dict[str, float]) -> Finding:
    return finding(belief, Cause.SENSOR, c.name, text, _plain(evidence))


def _plain(evidence: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in evidence.items()}
