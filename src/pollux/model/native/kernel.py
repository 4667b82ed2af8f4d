"""Kernels on host arrays: one twin, or a fleet split over threads."""

import ctypes
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any

import numpy as np

from pollux.core.errors import InputError
from pollux.model.native.compiled import Compiled, stored

CHUNK_WORK = 200_000
"""Operations times twins below which a fleet is not worth a second thread (about 30 us)."""

FRAME = 1 << 16
"""Bytes of the largest frame: what fits into a core's caches."""


class Frame:
    """Room for one call for one twin: inputs, outputs, workspace, and where they are."""

    def __init__(self, compiled: Compiled, real: str):
        self.inputs = tuple(np.zeros(s, stored(d, real)) for s, d in compiled.inputs)
        self.outputs = tuple(np.zeros(s, stored(d, real)) for s, d in compiled.outputs)
        self.work = np.zeros(compiled.work + 64, np.uint8)
        self.pointers = pointers((*self.inputs, *self.outputs))
        self.args = (ctypes.c_void_p(self.pointers.ctypes.data), 1, 0, ctypes.c_void_p(aligned(self.work)))


class Bound:
    """One twin's kernel on fixed arrays: fill `inputs`, call, read `outputs`. Allocates nothing; for one thread.

    `feed` says which output is also which input, so that a filter's belief goes round without being copied: output i
    then lies where input `feed[i]` does. The kernel reads its arguments before it writes such an output.
    """

    def __init__(self, compiled: Compiled, real: str, feed: Mapping[int, int]):
        frame = Frame(compiled, real)
        if len(set(feed.values())) != len(feed):
            raise InputError(f"Two outputs of `{compiled.report.name}` cannot be fed back as one input: {dict(feed)}")
        for output, source in feed.items():
            if compiled.outputs[output] != compiled.inputs[source] or output in compiled.streamed:
                raise InputError(
                    f"Output {output} of `{compiled.report.name}` can be fed back as input {source} only if both "
                    "have one shape and no loop writes it while the input is still read"
                )
        self.inputs = frame.inputs
        self.outputs = tuple(frame.inputs[feed[i]] if i in feed else a for i, a in enumerate(frame.outputs))
        self._keep = pointers((*self.inputs, *self.outputs)), frame.work
        call = compiled.call
        self._args = (
            ctypes.c_void_p(self._keep[0].ctypes.data), ctypes.c_int64(1), ctypes.c_int64(0),
            ctypes.c_void_p(aligned(frame.work)),
        )  # fmt: skip
        self._call = call

    def __call__(self) -> None:
        """Compute `outputs` from `inputs`."""
        self._call(*self._args)


class One:
    """The kernel of one twin: arrays in, new arrays out; may be called from several threads."""

    def __init__(self, compiled: Compiled, real: str):
        self.compiled = compiled
        self.real = real
        self._frames: list[Frame] = []

    def __call__(self, *args: Any, out: tuple[np.ndarray, ...] | None = None) -> tuple[np.ndarray, ...]:
        """Outputs for one twin; `out`: arrays to write them to instead of new ones."""
        try:
            frame = self._frames.pop()  # not "if there is one": another thread may take it in between
        except IndexError:
            frame = Frame(self.compiled, self.real)
        for room, value in zip(frame.inputs, args, strict=True):
            room[...] = value
        self.compiled.call(*frame.args)
        if out is None:
            out = tuple(np.empty_like(a) for a in frame.outputs)
        else:
            check_rooms(self.compiled.report.name, out, tuple((a.shape, None) for a in frame.outputs))
        for room, a in zip(out, frame.outputs, strict=True):
            room[...] = a
        self._frames.append(frame)
        return out


class Large:
    """The kernel of one twin whose arrays are too large to be copied into a frame: it works on them as they are."""

    def __init__(self, compiled: Compiled, real: str):
        self.compiled = compiled
        self.kinds = tuple(stored(d, real) for _, d in compiled.inputs)
        self.results = tuple((s, stored(d, real)) for s, d in compiled.outputs)

    def __call__(self, *args: Any, out: tuple[np.ndarray, ...] | None = None) -> tuple[np.ndarray, ...]:
        """Outputs for one twin; `out`: arrays to write them to instead of new ones, none of them an argument."""
        arrays = tuple(np.asarray(a, kind, order="C") for a, kind in zip(args, self.kinds, strict=True))
        if out is None:
            out = tuple(np.empty(shape, kind) for shape, kind in self.results)
        else:
            check_rooms(self.compiled.report.name, out, self.results)
            arrays = tuple(a.copy() if any(np.may_share_memory(a, room) for room in out) else a for a in arrays)
        table, work = pointers((*arrays, *out)), np.empty(self.compiled.work + 64, np.uint8)
        self.compiled.call(table.ctypes.data, 1, 0, aligned(work))
        return out


def large(compiled: Compiled) -> bool:
    """Whether a frame for its arrays would be more than is worth keeping between calls."""
    sizes = (np.prod(s, dtype=int) * np.dtype(d).itemsize for s, d in (*compiled.inputs, *compiled.outputs))
    return sum(sizes) > FRAME


class Fleet:
    """The kernel of a fleet: arrays with the fleet axis last in, new arrays out."""

    def __init__(self, compiled: Compiled, real: str, threads: int):
        self.compiled = compiled
        self.threads = threads
        self.kinds = tuple(stored(d, real) for _, d in compiled.inputs)
        self.results = tuple((s, stored(d, real)) for s, d in compiled.outputs)
        self._work: list[np.ndarray] = []

    def __call__(self, *args: Any, out: tuple[np.ndarray, ...] | None = None) -> tuple[np.ndarray, ...]:
        """Outputs for the whole fleet; `out`: arrays to write them to instead of new ones.

        Raises `InputError` where arrays disagree on the size of the fleet: the code would read beyond their ends.
        """
        arrays = [np.asarray(a, kind, order="C") for a, kind in zip(args, self.kinds, strict=True)]
        n = self._size(arrays)
        if out is None:
            out = tuple(np.empty((*shape, n), kind) for shape, kind in self.results)
        else:
            check_rooms(self.compiled.report.name, out, tuple(((*shape, n), kind) for shape, kind in self.results))
            arrays = self._apart(arrays, out)
        table = pointers((*arrays, *out))
        self._run(table.ctypes.data, n)
        return out

    def _size(self, arrays: list[np.ndarray]) -> int:
        n = None
        for k, (a, (shape, _), fleet) in enumerate(zip(arrays, self.compiled.inputs, self.compiled.fleet, strict=True)):
            if fleet and n is None and a.ndim:
                n = a.shape[-1]
            if a.shape != ((*shape, n) if fleet else shape):
                raise InputError(
                    f"Argument {k} of `{self.compiled.report.name}` needs shape "
                    f"{(*shape, 'twins' if n is None else n) if fleet else shape}: the fleet axis is last and equally "
                    f"long in every array that carries it; received {a.shape}"
                )
        if n is None:
            raise InputError(
                f"`{self.compiled.report.name}` has no argument that carries the fleet axis; run it for one"
            )
        return n

    def _apart(self, arrays: list[np.ndarray], out: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """Copies of arguments in which a loop would write an output while they are still read."""
        streamed = [out[k] for k in self.compiled.streamed]
        return [a.copy() if any(np.may_share_memory(a, room) for room in streamed) else a for a in arrays]

    def _run(self, table: int, n: int) -> None:
        call, lanes = self.compiled.call, self.compiled.lanes
        if self.threads == 1 or n * self.compiled.cost < CHUNK_WORK:
            self._part(call, table, n, 0, n)
            return
        parts = 4 * self.threads
        size = -(-n // (parts * lanes)) * lanes
        starts = iter(range(0, n, size))

        def turn() -> None:
            for begin in starts:  # a shared iterator: who is done takes the next part
                self._part(call, table, n, begin, min(begin + size, n))

        others = [pool(self.threads, os.getpid()).submit(turn) for _ in range(self.threads - 1)]
        try:
            turn()
        finally:  # an interrupt must not free arrays that another thread still writes
            wait(others)
        for other in others:
            other.result()

    def _part(self, call: Callable[..., None], table: int, n: int, begin: int, end: int) -> None:
        try:
            work = self._work.pop()
        except IndexError:
            work = np.zeros(self.compiled.work + 64, np.uint8)
        call(table, n, begin, end, aligned(work))
        self._work.append(work)


@lru_cache(maxsize=8)
def pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads besides the caller's own; they wait when there is nothing to do. A process that was forked has none."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="pollux-kernel")


def check_rooms(name: str, out: tuple[np.ndarray, ...], kinds: tuple[tuple[tuple[int, ...], Any], ...]) -> None:
    """Whether results fit into the arrays that were given for them; dtype None: they are copied, any will do."""
    if len(out) != len(kinds):
        raise InputError(f"`{name}` has {len(kinds)} outputs, received {len(out)} arrays as `out`")
    for k, (room, (shape, kind)) in enumerate(zip(out, kinds, strict=True)):
        straight = kind is None or (room.dtype == kind and room.flags.c_contiguous and room.flags.writeable)
        if room.shape != shape or not straight:
            raise InputError(
                f"Output {k} of `{name}` needs a contiguous, writeable array of shape {shape}"
                f"{'' if kind is None else f' and dtype {np.dtype(kind)}'} as `out`; received {room.dtype}{room.shape}"
            )


def pointers(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Addresses of arrays."""
    return np.fromiter((a.__array_interface__["data"][0] for a in arrays), np.uint64, len(arrays))


def aligned(work: np.ndarray) -> int:
    """Address of the first whole cache line of a workspace."""
    return -(-work.__array_interface__["data"][0] // 64) * 64
