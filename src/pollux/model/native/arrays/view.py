"""`View`: an array as a pointer with strides, so that slices, transposes and broadcasts cost nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pollux.model.native.arrays.pool import Room


@dataclass(frozen=True, eq=False)
class View:
    """Element (i, j, ...) lies at `pointer[offset + i strides[0] + j strides[1] + ...]`, in elements."""

    pointer: str
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    room: Room | None = None
    """Where it lies in the workspace, if it does."""
    whole: str | None = None
    """The pointer of what it is a piece of, where that piece begins at a place known only at run time."""

    @property
    def memory(self) -> str:
        """What two arrays have in common that may overlap."""
        return self.pointer if self.whole is None else self.whole

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=int))

    def transposed(self, order: Sequence[int]) -> "View":
        """Axes in another order."""
        return replace(self, shape=tuple(self.shape[i] for i in order), strides=tuple(self.strides[i] for i in order))

    def sliced(self, starts: Sequence[int], limits: Sequence[int], steps: Sequence[int]) -> "View":
        """A strided slice."""
        shape = tuple(max(0, -(-(b - a) // c)) for a, b, c in zip(starts, limits, steps, strict=True))
        offset = self.offset + sum(a * s for a, s in zip(starts, self.strides, strict=True))
        strides = tuple(s * c for s, c in zip(self.strides, steps, strict=True))
        return replace(self, shape=shape, strides=strides, offset=offset)

    def flipped(self, axes: Sequence[int]) -> "View":
        """Axes backwards."""
        offset = self.offset + sum((self.shape[a] - 1) * self.strides[a] for a in axes)
        return replace(self, strides=tuple(-s if a in axes else s for a, s in enumerate(self.strides)), offset=offset)

    def spread(self, shape: tuple[int, ...], dims: Sequence[int]) -> "View":
        """`broadcast_in_dim`: axis i becomes axis dims[i] of `shape`, everything else is repeated."""
        strides = [0] * len(shape)
        for d, size, s in zip(dims, self.shape, self.strides, strict=True):
            strides[d] = s if size == shape[d] and size > 1 else 0
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def picked(self, axis: int, index: int) -> "View":
        """Element `index` of an axis, which is gone."""
        return replace(
            self,
            shape=self.shape[:axis] + self.shape[axis + 1 :],
            strides=self.strides[:axis] + self.strides[axis + 1 :],
            offset=self.offset + index * self.strides[axis],
        )

    def reshaped(self, shape: tuple[int, ...]) -> "View | None":
        """The same elements in another shape, where strides can say it; else None."""
        strides = _restrided(self.shape, self.strides, shape)
        return None if strides is None else replace(self, shape=tuple(shape), strides=strides)


def row_major(shape: Sequence[int], order: Sequence[int] | None = None) -> tuple[int, ...]:
    """Strides of a compact array whose axes lie in memory from the slowest to the fastest as in `order`."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(range(len(shape)) if order is None else order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def compact(view: View) -> bool:
    """Whether it lies in memory row by row without gaps."""
    return all(n == 1 or s == r for n, s, r in zip(view.shape, view.strides, row_major(view.shape), strict=True))


def _restrided(shape: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """As NumPy does it: runs of axes that lie evenly are cut anew."""
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    out, i = [0] * len(new), 0
    j = 0
    while i < len(old) or j < len(new):
        if j < len(new) and new[j] == 1:
            j += 1
            continue
        if i == len(old) or j == len(new):
            return None
        a, b, i1, j1 = old[i][0], new[j], i + 1, j + 1
        while a != b:
            if a < b:
                if i1 == len(old):
                    return None
                a, i1 = a * old[i1][0], i1 + 1
            else:
                if j1 == len(new):
                    return None
                b, j1 = b * new[j1], j1 + 1
        if any(old[k][1] != old[k + 1][0] * old[k + 1][1] for k in range(i, i1 - 1)):
            return None
        step = old[i1 - 1][1]
        for k in reversed(range(j, j1)):
            out[k] = step
            step *= new[k]
        i, j = i1, j1
    return tuple(out)
