"""One program for one set of shapes: traced, looked up in the cache or lowered and assembled, linked."""

import ctypes
import time
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from pollux.model.backend import Program
from pollux.model.native import arrays, driver, machine
from pollux.model.native.cache import Cache
from pollux.model.native.contract import contract
from pollux.model.native.fingerprint import digest, lowering
from pollux.model.native.llvm_text import module
from pollux.model.native.rules import lower
from pollux.model.native.scalars import Lanes
from pollux.model.native.tape import Block, UnsupportedError, children
from pollux.model.native.text import machine_type

Spec = tuple[tuple[int, ...], str]
"""Shape and dtype of one twin's array."""

TURNS = 20
"""Turns that a `while` loop is taken to make, where it matters whether a fleet is worth a second thread."""
_GROUP, _RUN = "pollux_group", "pollux_fleet"


@dataclass(frozen=True)
class Report:
    """What became of a program: how large the kernel is, and what making it cost in seconds."""

    name: str
    operations: int
    form: str
    """`scalars`: operations of one twin's numbers; `arrays`: loops over whole arrays."""
    lanes: int
    code_bytes: int
    workspace_bytes: int
    """Of one group of lanes."""
    trace_s: float
    lower_s: float
    compile_s: float
    link_s: float
    cached: bool

    def __str__(self) -> str:
        """One line."""
        made = (
            "from the cache" if self.cached else f"lowered in {self.lower_s:.3f} s, compiled in {self.compile_s:.3f} s"
        )
        return (
            f"{self.name}: {self.operations} operations on {self.form}, {self.lanes} lanes, "
            f"{self.code_bytes} bytes of code, {made}, linked in {self.link_s:.3f} s"
        )


@dataclass(frozen=True, eq=False)
class Compiled:
    """Machine code with the shapes that it is for."""

    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    fleet: tuple[bool, ...]
    lanes: int
    work: int
    """Bytes of workspace that one call needs."""
    cost: int
    """Operations of one twin, about: the turns of a loop count, those of a `while` as `TURNS`."""
    streamed: tuple[int, ...]
    """Outputs that a loop writes as it goes."""
    call: Any = field(repr=False)
    """One twin: (arrays, stride, at, work); a fleet: (arrays, n, begin, end, work)."""
    report: Report
    keep: Any = field(repr=False)


def traced(program: Program, inputs: tuple[Spec, ...]) -> Any:
    """The closed jaxpr of a program for one twin's arrays."""
    kinds = (jax.dtypes.canonicalize_dtype(np.dtype(d).newbyteorder("=")) for _, d in inputs)  # without x64: narrow
    shapes = (shape for shape, _ in inputs)
    return jax.make_jaxpr(program.fn)(*map(jax.ShapeDtypeStruct, shapes, kinds))


def compile_program(
    program: Program, inputs: tuple[Spec, ...], lanes: int, real: str, target: machine.Target, cache: Cache
) -> Compiled:
    """Machine code of `program`; one lane means one twin. Raises `UnsupportedError` where it is not lowered."""
    clock = time.perf_counter
    begin = clock()
    jaxpr = traced(program, inputs)
    # what JAX makes of the arrays: native byte order, and without x64 no 64 bits
    inputs, outputs = (
        tuple((tuple(a.shape), machine_type(a.dtype).str) for a in avals) for avals in (jaxpr.in_avals, jaxpr.out_avals)
    )
    fleet = program.fleet if lanes > 1 else (True,) * len(inputs)
    seen = clock()
    key = digest(jaxpr, lowering(), target.key, f"{lanes} {real} {program.fleet}")
    found = cache.get(key)
    symbol = _GROUP if lanes == 1 else _RUN
    if found is None:
        text, about = written(jaxpr, program, lanes, real, target)
        lowered = clock()
        code = machine.assemble(text, target)
        cache.put(key, about, code)
    else:
        lowered = clock()
        about, code = found
    made = clock()
    address, keep = machine.link(code, symbol, target)
    kinds = [ctypes.c_void_p, *[ctypes.c_int64] * (2 if lanes == 1 else 3), ctypes.c_void_p]
    call = ctypes.CFUNCTYPE(None, *kinds)(address)
    end = clock()
    report = Report(
        program.name, about["operations"], about["form"], lanes, len(code), about["work"],
        seen - begin, lowered - seen, made - lowered, end - made, found is not None,
    )  # fmt: skip
    return Compiled(
        inputs, outputs, fleet, lanes, about["work"], about["cost"],
        tuple(about["streamed"]), call, report, keep,
    )  # fmt: skip


def written(jaxpr: Any, program: Program, lanes: int, real: str, target: machine.Target) -> tuple[str, dict[str, Any]]:
    """The module in the form that suits it: scalars of `lanes` twins, or for one twin loops over whole arrays.

    A program that may run for a fleet is lowered as scalars wherever it can be, so that one twin has the bits that it
    has in a fleet. One that cannot takes the form that is faster, which is also compiled sooner.
    """

    def scalars() -> tuple[str, dict[str, Any]]:
        fleet = program.fleet if lanes > 1 else (True,) * len(program.fleet)
        return assembly(jaxpr, fleet, lanes, real)

    def loops() -> tuple[str, dict[str, Any]]:
        return arrays.assembly(jaxpr, _GROUP, target.width, real)

    if lanes > 1:
        return scalars()
    forms = (loops, scalars) if not any(program.fleet) and arrays.wide(jaxpr) else (scalars, loops)
    try:
        return forms[0]()
    except UnsupportedError as error:
        try:
            return forms[1]()
        except UnsupportedError as other:
            reasons = dict.fromkeys((str(error), str(other)))
            raise UnsupportedError("; in another form: ".join(reasons)) from None


def assembly(jaxpr: Any, fleet: tuple[bool, ...], lanes: int, real: str) -> tuple[str, dict[str, Any]]:
    """(LLVM assembly of a module, its description)."""
    tape = contract(lower(jaxpr))
    look = Lanes(lanes, real)
    dtypes = [np.dtype(a.dtype) for a in jaxpr.out_avals]
    text, work = module(tape, fleet, dtypes, look, _GROUP)
    work *= lanes
    if lanes > 1:
        arrays = arrays_of(jaxpr, fleet, real)
        text += driver.text(_RUN, _GROUP, arrays, lanes, work)
        work += driver.scratch(arrays, lanes)
    width = 512 if lanes > 1 else 128
    text += f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}\n'
    streamed = sorted({m.output[0] for m in tape.buffers if m.output is not None})
    return text, {
        "operations": tape.size,
        "form": "scalars",
        "work": work,
        "streamed": streamed,
        "cost": _cost(tape.root),
    }


def _cost(block: Block) -> int:
    total = len(block.ops)
    for op in block.ops:
        turns = op.params["loop"].count if op.name == "scan" else TURNS if op.name == "while" else 1
        total += sum(turns * _cost(child) for child in children(op))
    return total


def arrays_of(jaxpr: Any, fleet: tuple[bool, ...], real: str) -> tuple[driver.Array, ...]:
    """Arguments and outputs as the loop over a fleet sees them."""

    def one(aval: Any, fleet: bool, output: bool) -> driver.Array:
        return driver.Array(int(np.prod(aval.shape, dtype=int)), stored(aval.dtype, real).itemsize, fleet, output)

    ins = [one(a, f, False) for a, f in zip(jaxpr.in_avals, fleet, strict=True)]
    return (*ins, *(one(a, True, True) for a in jaxpr.out_avals))


def stored(dtype: Any, real: str) -> np.dtype:
    """How an array lies in memory: float64 is what `real` says."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype == np.float64 and real == "float" else dtype
