"""May one believe the estimate? What the last innovations say about the filter and about each sensor.

    nis        mean nis per fused reading, beside the interval that it lies in when all noise levels are right
    coverage   share of the readings that lay inside the 95 % band that was predicted for them
    health     0 to 1 a sensor: the share of its last readings that were used; 0 while it is silent or suspect

Everything comes from the ring of the charts; nothing is estimated again.
"""

import math
from typing import Any

import numpy as np

from pollux.core.signals import Health
from pollux.mirror.quality import SensorQuality, consistency, sensor_quality
from pollux.runtime.face import TwinFace
from pollux.runtime.jsonable import number
from pollux.runtime.rings import Z95, Span
from pollux.runtime.state import LiveState

WINDOW = 1000
"""Steps that are judged."""
BLOCKS = 50
"""Stretches of the window that are judged for themselves, to show since when a filter has been wrong."""
RECENT = 100
"""Readings of a sensor that make its health."""
LEVEL = 0.99
"""Probability of the intervals when all is right."""
_TAIL = 2.5758293035489004  # the normal's quantile of LEVEL


def trust(face: TwinFace, state: LiveState, span: Span) -> dict[str, Any]:
    """`trust` of `diagnose`: the verdict on the filter, and by sensor. `span` is the window, oldest step first."""
    names = tuple(s.name for s in face.sensors)
    judged = np.isfinite(span.dof)  # a step whose nis is infinite counts: it is a model that blew up
    verdict = consistency(span.nis[judged], span.dof[judged])
    nu, var = span.measured - span.predicted, span.predicted_sd**2
    trusted = span.used >= 0  # neither missing nor of a sensor that a fault is held against
    # of steps that a restart brought back as charts nothing is known of what was fused: they are not missing readings
    quality = sensor_quality(names, nu[judged], var[judged], np.where(span.used[judged] > 0, 1.0, 0.0))
    inside = np.abs(nu) <= Z95 * span.predicted_sd
    known = trusted & np.isfinite(nu) & np.isfinite(span.predicted_sd)
    silent = {a.subject for a in state.alarms.open() if "dropout" in a.evidence and a.seen >= state.belief.t}
    return {
        "start": number(span.t[judged][0]) if judged.any() else None,
        "steps": int(judged.sum()),
        "nis": {
            "ratio": number(verdict.ratio),
            "low": number(verdict.low),
            "high": number(verdict.high),
            "readings": verdict.readings,
            "verdict": str(verdict.verdict),
            "course": _course(span.t[judged], span.nis[judged], span.dof[judged]),
        },
        "coverage": _coverage(inside & known, known),
        "sensors": {
            name: _sensor(quality[i], _now(state, i, name in silent), span.used[:, i], inside[:, i], known[:, i])
            for i, name in enumerate(names)
        },
    }


def _course(t: np.ndarray, nis: np.ndarray, dof: np.ndarray) -> dict[str, list[float | None]]:
    """NIS per reading over time: by stretch the time of its last step, the ratio and its interval."""
    stretches = np.array_split(np.arange(len(t)), min(BLOCKS, len(t) // 10)) if len(t) >= 20 else []
    found = [(float(t[k[-1]]), consistency(nis[k], dof[k])) for k in stretches if dof[k].sum() >= 10]
    return {
        "t": [at for at, _ in found],
        "ratio": [number(c.ratio) for _, c in found],
        "low": [number(c.low) for _, c in found],
        "high": [number(c.high) for _, c in found],
    }


def health(now: str, used: np.ndarray) -> float:
    """Share of the last `RECENT` readings that were fused; `used` is as in `Span`."""
    came = used[np.isfinite(used)][-RECENT:]
    if now in (Health.STALE, Health.SUSPECT) or len(came) == 0:
        return 0.0
    return float(np.mean(came > 0))


def _now(state: LiveState, i: int, silent: bool) -> str:
    """What the mirror thinks of a sensor, or `stale` where the detector found that it has dropped out."""
    return str(Health.STALE if silent else state.belief.health[i])


def _coverage(inside: np.ndarray, known: np.ndarray) -> dict[str, Any]:
    """Share inside the 95 % band, with the interval in which it lies when the band is right (normal approximation)."""
    n = int(known.sum())
    half = _TAIL * math.sqrt(0.95 * 0.05 / n) if n else math.inf
    return {
        "share": number(inside.sum() / n) if n else None,
        "low": max(0.0, 0.95 - half),
        "high": min(1.0, 0.95 + half),
        "readings": n,
    }


def _sensor(q: SensorQuality, now: str, used: np.ndarray, inside: np.ndarray, known: np.ndarray) -> dict[str, Any]:
    n = int(known.sum())
    return {
        "health": health(now, used),
        "readings": int(np.isfinite(used).sum()),
        "refused": number(q.refused),
        "coverage": float((inside & known).sum() / n) if n else None,
        "bias": number(q.bias),
        "spread": number(q.spread),
        "memory": number(q.memory),
        "remarks": list(q.remarks),
    }
