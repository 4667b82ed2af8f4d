"""`scan`, `while` and `cond` on the tape: real loops and branches where they are worth it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pollux.model.native.builder import Builder
from pollux.model.native.carry import LARGE, cells, keep, leave, update
from pollux.model.native.index import each
from pollux.model.native.steady import steady
from pollux.model.native.tape import Cell, Cond, Op, Place, Ref, Scan, UnsupportedError, Value, While, walk

Arrays = list[np.ndarray]
Run = Callable[[Builder, Any, Arrays], Arrays]

UNROLL = 2
"""A loop of at most this many turns becomes straight-line code."""

SMALL = 24
"""Branches of at most this many operations in all are computed side by side and selected from."""


def scan(run: Run, b: Builder, eqn: Any, *args: np.ndarray) -> Arrays:
    """`lax.scan`, and `fori_loop` with known bounds."""
    p = eqn.params
    (nc, nk), length, reverse = sizes(p), p["length"], p["reverse"]
    consts, carry, xs = list(args[:nc]), list(args[nc : nc + nk]), args[nc + nk :]
    body = p["jaxpr"]
    stacked = body.jaxpr.outvars[nk:]
    if length <= UNROLL:
        return _unrolled(run, b, body, consts, carry, list(xs), stacked, length, reverse)
    kept = _unchanged(body, nc, carry)
    zeros = steady(run, b, body, consts, carry, [x[0, ...] for x in xs])
    kept = [same | zero for same, zero in zip(kept, zeros, strict=True)]
    rows = [_rows(b, x, length, reverse) for x in xs]
    firsts = _moving(b, carry, kept)
    with b.inside(leaves=True) as block:
        counter = b.fresh(np.int64)
        inner, carried = _carried(b, carry, kept)
        out = run(b, body, consts + inner + [read(counter) for read in rows])
        following = _moving(b, out[:nk], kept)
        columns = [_column(b, y, length, reverse, counter) for y in out[nk:]]
    last = [b.fresh(e.dtype) for e in firsts]
    b.control(Op("scan", tuple(firsts), None, {"loop": Scan(block, length, counter, firsts, carried, following, last)}))
    return _results(carry, kept, last) + columns


def while_(run: Run, b: Builder, eqn: Any, *args: np.ndarray) -> Arrays:
    """`lax.while_loop`: until no lane wants another turn."""
    p = eqn.params
    nt, nb = p["cond_nconsts"], p["body_nconsts"]
    test_consts, consts, carry = list(args[:nt]), list(args[nt : nt + nb]), list(args[nt + nb :])
    kept = _unchanged(p["body_jaxpr"], nb, carry)
    large = [i for i, c in enumerate(carry) if c.size >= LARGE and not kept[i].all()]
    memories = [keep(b, carry[i]) for i in large]
    for i, memory in zip(large, memories, strict=True):
        carry[i] = cells(memory, carry[i].shape)
        kept[i][:] = True
    firsts = _moving(b, carry, kept)
    with b.inside(leaves=True) as block:
        leave(memories, block)
        inner, carried = _carried(b, carry, kept)
        wants = run(b, p["cond_jaxpr"], test_consts + inner)[0]
        test = b.ref(_some(b, wants))
        if not isinstance(test, Value):
            if test:
                raise UnsupportedError("a loop without an end")
            leave(memories, b.block.parent or b.block)
            return carry
        if b.active is not None:  # a lane that is not meant could go on for ever
            test = b.op("and", b.active, test, dtype=bool)
        split = len(block.ops)
        with b.only(test):
            out = run(b, p["body_jaxpr"], consts + inner)
            out = [_where(b, wants, new, old) for new, old in zip(out, inner, strict=True)]
        following = _moving(b, out, kept)
        update(b, memories, [out[i] for i in large], test)
    leave(memories, b.block)
    last = [b.fresh(e.dtype) for e in firsts]
    loop = While(block, split, test, firsts, carried, following, last)
    b.control(Op("while", tuple(firsts), None, {"loop": loop}))
    return _results(carry, kept, last)


def _some(b: Builder, wants: np.ndarray) -> Any:
    """Whether any of several loops that go in step (under `vmap`) wants another turn."""
    out = np.bool_(False)
    for e in wants.flat:
        out = b.op("or", out, e, dtype=bool)
    return out


def _where(b: Builder, wants: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Those of the loops in step that want no other turn keep their values."""
    if not wants.ndim:
        return new
    mask = wants.reshape(wants.shape + (1,) * (new.ndim - wants.ndim))
    return each(lambda m, x, y: b.select(b.ref(m), x, y), mask, new, old)


def cond(run: Run, b: Builder, eqn: Any, index: np.ndarray, *args: np.ndarray) -> Arrays:
    """`lax.cond` and `lax.switch`."""
    branches = eqn.params["branches"]
    i = index[()]
    if not isinstance(i, Value):
        return run(b, branches[min(max(int(i), 0), len(branches) - 1)], list(args))
    masks = _masks(b, i, len(branches))
    blocks, outs = [], []
    for mask, branch in zip(masks, branches, strict=True):
        with b.inside(leaves=False) as block, b.only(mask):
            out = run(b, branch, list(args))
            outs.append([b.ref(e) for o in out for e in o.flat])
        blocks.append(block)
    inner = [op for block in blocks for op in walk(block)]
    shapes = [v.aval.shape for v in branches[0].jaxpr.outvars]
    if len(inner) <= SMALL and not any(op.name in ("store", "scan", "while", "cond") for op in inner):
        sides = [[e for o in run(b, branch, list(args)) for e in o.flat] for branch in branches]
        flat = sides[0]
        for mask, side in zip(masks[1:], sides[1:], strict=True):
            flat = [b.select(mask, y, x) for x, y in zip(flat, side, strict=True)]
        return _shaped(flat, shapes)
    refs = [b.fresh(e.dtype) for e in outs[0]]
    b.control(Op("cond", tuple(masks), None, {"cond": Cond(masks, blocks, outs, refs)}))
    return _shaped(refs, shapes)


def sizes(p: dict[str, Any]) -> tuple[int, int]:
    """(constants, carried values) of a scan; from JAX 0.12 on they are the lengths of two parts of `ft_in`."""
    if "num_consts" in p:
        return p["num_consts"], p["num_carry"]
    consts, carry, _ = p["ft_in"].unpack()
    return len(consts), len(carry)


def _masks(b: Builder, index: Value, n: int) -> list[Any]:
    """Which lanes take branch k; an index out of range takes the nearest."""
    source = b.source(index)
    if n == 2 and source is not None and source.name == "convert_element_type" and source.args[0].dtype.kind == "b":
        taken = source.args[0]
        return [b.op("not", taken, dtype=bool), taken]
    d = index.dtype.type
    masks = [b.op("le", index, d(0), dtype=bool)]
    masks += [b.op("eq", index, d(k), dtype=bool) for k in range(1, n - 1)]
    return [b.ref(m) for m in [*masks, b.op("ge", index, d(n - 1), dtype=bool)]]


def _unrolled(run, b, body, consts, carry, xs, stacked, length, reverse) -> Arrays:
    nk = len(carry)
    pieces: list[Arrays] = []
    for k in reversed(range(length)) if reverse else range(length):
        out = run(b, body, consts + carry + [x[k, ...] for x in xs])
        carry = out[:nk]
        pieces.append(out[nk:])
    if reverse:
        pieces.reverse()
    return carry + [
        np.stack(column) if pieces else np.empty((0, *v.aval.shape), dtype=object)
        for v, column in zip(stacked, zip(*pieces, strict=True) if pieces else [()] * len(stacked), strict=True)
    ]


def _unchanged(body: Any, skip: int, carry: Arrays) -> list[np.ndarray]:
    """Which carried values every turn hands on as they are; a mask for each array, flat."""
    jaxpr = body.jaxpr
    return [np.full(c.size, jaxpr.outvars[i] is jaxpr.invars[skip + i]) for i, c in enumerate(carry)]


def _moving(b: Builder, arrays: Arrays, kept: list[np.ndarray]) -> list[Any]:
    """The elements that are carried, as operands."""
    return [
        b.ref(e)
        for array, same in zip(arrays, kept, strict=True)
        for e, s in zip(array.flat, same, strict=True)
        if not s
    ]


def _carried(b: Builder, carry: Arrays, kept: list[np.ndarray]) -> tuple[Arrays, list[Ref]]:
    """The carried arrays as a turn sees them, and their elements that change."""
    refs: list[Ref] = []

    def inner(e: Any, same: bool) -> Any:
        if same:
            return e
        refs.append(b.fresh(e.dtype))
        return refs[-1]

    return [_mapped(array, same, inner) for array, same in zip(carry, kept, strict=True)], refs


def _results(carry: Arrays, kept: list[np.ndarray], last: list[Ref]) -> Arrays:
    """The carried arrays after the loop."""
    ends = iter(last)
    return [_mapped(array, same, lambda e, s: e if s else next(ends)) for array, same in zip(carry, kept, strict=True)]


def _mapped(array: np.ndarray, mask: np.ndarray, fn: Callable[[Any, bool], Any]) -> np.ndarray:
    flat = np.empty(array.size, dtype=object)
    for k, e in enumerate(array.flat):
        flat[k] = fn(e, bool(mask[k]))
    return flat.reshape(array.shape)


def _shaped(flat: list[Any], shapes: list[tuple[int, ...]]) -> Arrays:
    out, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape, dtype=int))
        array = np.empty(size, dtype=object)
        array[:] = flat[at : at + size]
        at += size
        out.append(array.reshape(shape))
    return out


def _rows(b: Builder, x: np.ndarray, length: int, reverse: bool) -> Callable[[Ref], np.ndarray]:
    """Reader of one row of x by the loop counter; what does not lie in memory as the loop needs it is put there."""
    flat = x.reshape(length, int(np.prod(x.shape[1:], dtype=int)))  # rows may be empty
    places = [_line(b, flat[:, k]) for k in range(flat.shape[1])]
    loose = [k for k, place in enumerate(places) if place is None]
    if loose:
        memory = b.buffer(length * len(loose), flat[0, loose[0]].dtype)
        for j, k in enumerate(loose):
            places[k] = (memory, j, len(loose))
            for t in range(length):
                b.store(Place(memory, t * len(loose) + j), flat[t, k])

    def read(counter: Ref) -> np.ndarray:
        row = np.empty(len(places), dtype=object)
        for k, place in enumerate(places):
            if not isinstance(place, tuple):
                row[k] = place
                continue
            memory, offset, stride = place
            if reverse:
                offset, stride = offset + stride * (length - 1), -stride
            row[k] = b.load(Place(memory, offset, counter, stride))
        return row.reshape(x.shape[1:])

    return read


def _line(b: Builder, column: np.ndarray) -> Any:
    """(memory, offset, stride) of elements that lie evenly; the element where all are the same; None otherwise."""
    first = column[0]
    keys = {b.key(e) for e in column}
    if len(keys) == 1:
        return first
    if all(not isinstance(e, Value) for e in column):
        return (b.table(np.array(list(column), dtype=first.dtype)), 0, 1)
    if not all(isinstance(e, Cell) and e.memory is first.memory for e in column):
        return None
    stride = column[1].index - first.index
    even = all(e.index == first.index + i * stride for i, e in enumerate(column))
    return (first.memory, first.index, stride) if even else None


def _column(b: Builder, y: np.ndarray, length: int, reverse: bool, counter: Ref) -> np.ndarray:
    """The stacked values of y: kept in a buffer where they differ between turns."""
    flat = [b.ref(e) for e in y.flat]
    varies = [k for k, e in enumerate(flat) if isinstance(e, Ref) and e.block.depth >= b.block.depth]
    out = np.empty((length, len(flat)), dtype=object)
    for k, e in enumerate(flat):
        out[:, k] = [e] * length
    if varies:
        width = len(varies)
        outer = b.block
        memory = b.buffer(length * width, flat[varies[0]].dtype)
        assert outer.parent is not None
        memory.block = outer.parent
        for j, k in enumerate(varies):
            offset, stride = (j + width * (length - 1), -width) if reverse else (j, width)
            b.store(Place(memory, offset, counter, stride), flat[k])
            for t in range(length):
                out[t, k] = Cell(memory, t * width + j)
    return out.reshape(length, *y.shape)
