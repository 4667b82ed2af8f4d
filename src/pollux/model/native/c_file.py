"""A kernel as one C99 file with its header: for a controller at the edge that has no Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from pollux.model.backend import Program
from pollux.model.native.c_scalars import Style
from pollux.model.native.c_text import Argument, CPrinter
from pollux.model.native.contract import contract
from pollux.model.native.rules import lower


@dataclass(frozen=True, eq=False)
class Interface:
    """A program with names for its arguments and results, and the constants that its user passes."""

    name: str
    program: Program
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    doc: str
    """What it computes, in words and equations."""
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class CFile:
    """Header and source of one kernel."""

    name: str
    header: str
    source: str
    operations: int
    stack_bytes: int
    """Of its buffers; scalars come on top."""


def as_argument(name: str, value: Any, doc: str) -> Argument:
    """An argument that looks like a value."""
    array = np.asarray(value)
    return Argument(name, array.shape, array.dtype, doc)


def print_c(interface: Interface, prefix: str, real: str = "double") -> CFile:
    """The kernel of one twin as C99. `real`: "double", or "float" for single precision throughout.

    No allocation, no recursion, no state: results depend on arguments alone. Raises `UnsupportedError` where the
    program is not lowered or uses a function that C99 lacks.
    """
    shapes = [jax.ShapeDtypeStruct(a.shape, np.dtype(a.dtype)) for a in interface.inputs]
    jaxpr = jax.make_jaxpr(interface.program.fn)(*shapes)
    tape = contract(lower(jaxpr))
    style = Style(real)
    results = tuple(
        Argument(a.name, tuple(aval.shape), aval.dtype, a.doc)
        for a, aval in zip(interface.outputs, jaxpr.out_avals, strict=True)
    )
    printer = CPrinter(tape, interface.inputs, results, style)
    body = printer.body()
    symbol = f"{prefix}_{interface.name}"
    signature = _signature(symbol, interface.inputs, results, style)
    unused = "".join(f"    (void){a.name};\n" for a in interface.inputs if a.size)
    stack = printer.workspace()
    header = _header(symbol, prefix, interface, results, signature, stack, style)
    helpers = "".join(f"{text}\n" for text in style.helpers.values())
    source = (
        f'/* Made by `pollux export c`; do not edit. */\n#include "{symbol}.h"\n\n#include <math.h>\n\n'
        f"{helpers}{printer.tables()}\n{signature} {{\n{unused}{body}\n}}\n"
    )
    return CFile(symbol, header, source, tape.size, stack)


def _signature(symbol: str, inputs: tuple[Argument, ...], outputs: tuple[Argument, ...], style: Style) -> str:
    def one(a: Argument, result: bool) -> str:
        kind = style.type(a.dtype)
        if a.shape == ():
            return f"{kind} *{a.name}" if result else f"{kind} {a.name}"
        return f"{'' if result else 'const '}{kind} {a.name}[{a.size}]"

    args = [*(one(a, False) for a in inputs if a.size), *(one(a, True) for a in outputs if a.size)]
    return f"void {symbol}(\n    " + ",\n    ".join(args) + ")"


def _header(symbol, prefix, interface, results, signature, stack, style) -> str:
    guard = f"{symbol.upper()}_H"
    lines = [f"   {a.name:<10} {_shape(a):<8} {a.doc}" for a in (*interface.inputs, *results) if a.size]
    constants = []
    for name, value in interface.constants.items():
        flat = np.asarray(value).ravel()
        if not flat.size:
            continue
        cells = ", ".join(style.constant(v, flat.dtype) for v in flat)
        constants.append(f"static const {style.type(flat.dtype)} {prefix}_{name}[{flat.size}] = {{{cells}}};\n")
    text = "\n".join(f"   {line}" if line else "" for line in interface.doc.splitlines())
    return (
        f"/* Made by `pollux export c`; do not edit.\n\n{text}\n\n" + "\n".join(lines) + "\n\n"
        f"   Matrices lie row by row. Nothing is allocated; buffers on the stack take {stack} bytes. */\n"
        f"#ifndef {guard}\n#define {guard}\n\n#include <stdbool.h>\n#include <stdint.h>\n\n"
        + "".join(constants)
        + f"\n{signature};\n\n#endif\n"
    )


def _shape(a: Argument) -> str:
    return f"[{' x '.join(map(str, a.shape))}]" if a.shape else ""
