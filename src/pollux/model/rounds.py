"""A large fleet of fits in rounds: those that have ended make room, so that no machine word waits for the slowest.

Lanes of one group share their instructions, so a group lasts as long as its longest fit: half as long again as the
mean, or more. After each round, once half of the fits have ended, the others move together. Each goes on from where it
stood, so the results are the same to the bit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pollux.model.leastsquares import Descent, Tolerances

WORTH = 256
"""Fits below which moving together gains less than another call costs."""
_FIRST, _GROWTH = 7, 1.3


def in_rounds(
    solve: Callable[..., Any], at: Descent, args: tuple[Any, ...], fleet: tuple[bool, ...], tol: Tolerances
) -> Descent:
    """`solve(*at, *args, *tol)` of N fits to their ends; `fleet[i]`: whether args[i] has their axis, the last one."""
    whole = Descent(*(np.array(v) for v in at))
    lanes, limit = np.arange(len(at.code)), _FIRST
    while True:
        last = len(lanes) < WORTH or limit >= tol.iterations
        at = Descent(*solve(*at, *args, *tol._replace(iterations=tol.iterations if last else limit)))
        for all_, some in zip(whole, at, strict=True):
            all_[..., lanes] = some
        running = np.asarray(at.running)
        if last or not running.any():
            return whole
        half = -(-len(lanes) // 2)  # always the same sizes, for back ends that compile for each
        if running.sum() <= half:
            kept = np.argsort(~running, kind="stable")[:half]
            lanes, at = lanes[kept], Descent(*(np.take(v, kept, axis=-1) for v in at))
            args = tuple(np.take(a, kept, axis=-1) if own else a for a, own in zip(args, fleet, strict=True))
        limit = int(np.ceil(limit * _GROWTH))
