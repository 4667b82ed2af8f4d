"""Zeros that a loop carries and never changes: a state that does not depend on another keeps its tangent at zero.

Found by assumption: every constant zero that a carried array starts with is taken to stay, one turn is interpreted on
the side, and what did not stay is dropped, until nothing is. What is left is a fixed point: its zeros hold in every
turn, and all that they multiply disappears from the loop.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pollux.model.native.builder import Builder, arguments
from pollux.model.native.fold import is_known
from pollux.model.native.tape import Value

Arrays = list[np.ndarray]
SMALLEST = 4
"""Elements of a carried array from which on it is worth a look: a sum that starts at zero is none."""
TRIALS = 4


def steady(
    run: Callable[[Builder, Any, Arrays], Arrays], b: Builder, body: Any, fixed: Arrays, carry: Arrays, rows: Arrays
) -> list[np.ndarray]:
    """For each carried array (flat), which elements are zero in every turn. `rows`: one turn's rows of xs."""
    stays = [_zeros(array) for array in carry]
    for _ in range(TRIALS):
        if not any(mask.any() for mask in stays):
            return stays
        scratch = Builder(b.limit)
        known: dict[Any, Any] = {}
        assumed = [_stand_in(scratch, b, known, a, m) for a, m in zip(carry, stays, strict=True)]
        given = [_stand_in(scratch, b, known, a, None) for a in fixed]
        seen = [_stand_in(scratch, b, known, a, np.zeros(a.size, dtype=bool)) for a in rows]
        out = run(scratch, body, given + assumed + seen)
        after = [m & _zeros(o, 0) for m, o in zip(stays, out[: len(carry)], strict=True)]
        if all((x == y).all() for x, y in zip(stays, after, strict=True)):
            return stays
        stays = after
    return [np.zeros(array.size, dtype=bool) for array in carry]


def _zeros(array: np.ndarray, smallest: int = SMALLEST) -> np.ndarray:
    """Which elements are the constant zero of a real number."""
    if array.size < smallest:
        return np.zeros(array.size, dtype=bool)
    return np.array([is_known(e, 0) and e.dtype.kind == "f" for e in array.flat], dtype=bool)


def _stand_in(
    scratch: Builder, b: Builder, known: dict[Any, Any], array: np.ndarray, mask: np.ndarray | None
) -> np.ndarray:
    """The array for the trial: constants stay where `mask` holds (None: all of them); all else is anything."""
    flat = np.empty(array.size, dtype=object)
    for k, e in enumerate(array.flat):
        if not isinstance(e, Value) and (mask is None or mask[k]):
            flat[k] = e
            continue
        key = b.key(e) if mask is None else (len(known),)
        if key not in known:
            (cell,) = arguments(scratch, [((), e.dtype)])
            known[key] = cell[()]
        flat[k] = known[key]
    return flat.reshape(array.shape)
