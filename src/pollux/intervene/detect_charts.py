"""The control charts of one twin: for what no hypothesis of the bank explains, and for sensors that become noisy.

A chart runs on the innovations that called faults leave unexplained, in standard deviations. It is set back when
a fault is called, because what it has gathered is explained by it.
"""

import math
from typing import NamedTuple

import numpy as np

from pollux.intervene.cusum import cap, cusum, cusum_threshold, scatter, scatter_threshold
from pollux.intervene.detect_state import DetectorState
from pollux.intervene.detect_watch import FAR

LASTING = 10
"""Updates for which the chart of a mean must stay beyond its threshold, unexplained, before it speaks."""

LOUD = 5
"""The same for the chart of a scatter."""


class Charts(NamedTuple):
    """The next fields of the state, and the two thresholds."""

    up: np.ndarray
    down: np.ndarray
    odd: np.ndarray
    scatter: np.ndarray
    center: np.ndarray
    loud: np.ndarray
    h: float
    h_scatter: float


def charted(
    state: DetectorState, e: np.ndarray, shift: float, samples: float, reset: bool, out: np.ndarray, biased: np.ndarray
) -> Charts:
    """Both charts after the innovations e (ny,); `samples` between false alarms of all charts of one kind.

    The charts of a sensor that is left out (`out`) rest at zero, and that of its mean while a bias is held against it.
    """
    if not shift > 0:
        return Charts(
            state.up, state.down, state.odd, state.scatter, state.center, state.loud, math.inf, math.inf
        )  # fmt: skip
    each = float(f"{samples * len(e):.2g}")  # coarse, so that irregular gaps meet thresholds that are known already
    h, hs = cusum_threshold(each, shift, LASTING), scatter_threshold(each, LOUD)
    up, down = cusum(state.up, state.down, e, shift, cap(h))
    loud, center = scatter(state.scatter, state.center, np.where(np.abs(e) > FAR, np.nan, e), cap(hs))
    still = out | reset
    up, down = np.where(still | biased, 0.0, up), np.where(still | biased, 0.0, down)
    loud, center = np.where(still, 0.0, loud), np.where(still, 0.0, center)
    return Charts(
        up, down, np.where(np.maximum(up, down) > h, state.odd + 1.0, 0.0),
        loud, center, np.where(loud > hs, state.loud + 1.0, 0.0), h, hs,
    )  # fmt: skip
