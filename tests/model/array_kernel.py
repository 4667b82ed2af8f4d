"""A kernel on whole arrays, straight from the lowering: for any target, on memory that the test chooses."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import pollux.core.twin  # noqa: F401 (64 bits)
from pollux.model.native import arrays, machine
from pollux.model.native.compiled import stored
from pollux.model.native.kernel import aligned, pointers

SYMBOL = "pollux_group"


class ArrayKernel:
    """`fn` for arrays like `args`; no fallback and no scalars stand in for what the lowering gets wrong."""

    def __init__(self, fn: Callable, args: Sequence[Any], target: machine.Target | None = None, real: str = "double"):
        self.target = machine.host() if target is None else target
        self.jaxpr = jax.make_jaxpr(lambda *a: tuple(jax.tree.leaves(fn(*a))))(*args)
        self.text, self.about = arrays.assembly(self.jaxpr, SYMBOL, self.target.width, real)
        self.code = machine.assemble(self.text, self.target)
        self.ins, self.outs = (
            [(tuple(a.shape), stored(a.dtype, real)) for a in avals]
            for avals in (self.jaxpr.in_avals, self.jaxpr.out_avals)
        )
        self._call: Any = None

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray], work: int) -> None:
        """Call it on arrays as they lie, with the workspace at an address."""
        if self._call is None:
            address, self._keep = machine.link(self.code, SYMBOL, self.target)
            self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(
                address
            )
        table = pointers((*ins, *outs))
        self._call(table.ctypes.data, 1, 0, work)

    def __call__(self, *args: Any, filling: int = 0xA5, shift: int = 0) -> list[np.ndarray]:
        """Results in new arrays; the workspace holds rubbish and begins `shift` bytes behind a cache line."""
        ins = [np.array(a, kind, order="C") for a, (_, kind) in zip(args, self.ins, strict=True)]
        before = [a.copy() for a in ins]
        outs = [np.full(shape, 85, np.uint8).astype(kind) for shape, kind in self.outs]
        size = self.about["work"]
        work = np.full(size + 256, filling, np.uint8)
        self.run(ins, outs, aligned(work) + shift)
        end = aligned(work) - work.ctypes.data + shift + size
        assert (work[end:] == filling).all(), "written behind the workspace"
        assert (work[: end - size] == filling).all(), "written before the workspace"
        for a, b in zip(ins, before, strict=True):
            assert a.tobytes() == b.tobytes(), "an argument was written"
        return outs
