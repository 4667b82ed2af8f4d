"""Elementary functions over SIMD lanes as LLVM text: `define` one, or `module` for several with all they need.

A function is `<L x real> pollux_NAME_REAL_LANES(<L x real> x[, y])`, fastcc, without side effects, accurate to 4 units
in the last place (tests/model/test_native_functions.py holds the table), with C99's special values, and with the same
bits at every number of lanes. A piece of straight-line code serves as many lanes as fill 512 bits, more lanes are
several pieces. In single precision the rarer functions are rounded from double.
"""

from collections.abc import Callable, Iterable

from pollux.model.native.functions import arc, circle, erf, erf_inv, exp, gamma, hyperbolic, log, power, root, trig
from pollux.model.native.functions.emit import Emit, vector
from pollux.model.native.functions.formats import FORMATS

PIECE = {"double": 8, "float": 16}
"""Most lanes in one straight-line function: one AVX-512, two AVX2 or four NEON registers a value."""

WIDENED = frozenset(("cbrt", "digamma", "erf", "erf_inv", "erfc", "lgamma", "pow"))
"""Computed in double precision for single precision too."""

_UNARY: dict[str, Callable[[Emit, str], str]] = {
    "acos": arc.acos,
    "acosh": log.acosh,
    "asin": arc.asin,
    "asinh": log.asinh,
    "atan": arc.atan,
    "atanh": log.atanh,
    "cbrt": root.cbrt,
    "cos": trig.cos,
    "cosh": hyperbolic.cosh,
    "digamma": gamma.digamma,
    "erf": erf.erf,
    "erf_inv": erf_inv.erf_inv,
    "erfc": erf.erfc,
    "exp": exp.exp,
    "exp2": exp.exp2,
    "expm1": exp.expm1,
    "lgamma": gamma.lgamma,
    "log": log.log,
    "log1p": log.log1p,
    "logistic": exp.logistic,
    "sin": trig.sin,
    "sinh": hyperbolic.sinh,
    "tan": trig.tan,
    "tanh": hyperbolic.tanh,
}
_BINARY: dict[str, Callable[[Emit, str, str], str]] = {"atan2": arc.atan2, "pow": power.power}

NAMES = frozenset(_UNARY) | frozenset(_BINARY)
"""The functions offered, by the names of the JAX primitives."""

Unit = tuple[str, int, str]
"""(name, lanes, "double" or "float")."""


def arity(name: str) -> int:
    """Number of arguments."""
    return 2 if name in _BINARY else 1


def symbol(name: str, lanes: int, real: str) -> str:
    """The name of the LLVM function, without the `@`."""
    return f"pollux_{name}_{real}_{lanes}"


def requires(name: str, lanes: int, real: str) -> tuple[Unit, ...]:
    """The other units that this unit's text refers to."""
    if name == "two_over_pi":
        return ()
    if name == "remainder":
        return (("two_over_pi", 1, "double"),)
    if lanes > PIECE[real]:
        return ((name, PIECE[real], real),)
    if lanes == 1:
        return ((name, 2, real),)
    if real == "float" and name in WIDENED:
        return ((name, lanes, "double"),)
    return (("remainder", 1, "double"),) if name in ("sin", "cos", "tan") else ()


def define(name: str, lanes: int, real: str) -> str:
    """The text of one unit alone; what `requires` lists must be in the module too, once."""
    if name == "two_over_pi":
        return circle.table()
    if name == "remainder":
        return circle.exact()
    arguments = ["%x", "%y"][: arity(name)]
    if lanes > PIECE[real]:
        return _header(name, lanes, real) + _pieces(name, lanes, real, arguments)
    if lanes == 1:
        return _header(name, lanes, real) + _doubled(name, real, arguments)
    if real == "float" and name in WIDENED:
        return _header(name, lanes, real) + _widened(name, lanes, arguments)
    e = Emit(lanes, FORMATS[real])
    result = _BINARY[name](e, *arguments) if name in _BINARY else _UNARY[name](e, *arguments)
    body = "\n".join(e.lines)
    return f"{_header(name, lanes, real)}{body}\n  ret {e.type} {result}\n}}"


def module(wanted: Iterable[Unit]) -> str:
    """The text of all wanted units and of what they require, each once."""
    seen: dict[Unit, str] = {}
    todo = list(wanted)
    while todo:
        unit = todo.pop()
        if unit not in seen:
            seen[unit] = define(*unit)
            todo.extend(requires(*unit))
    return "\n\n".join(seen.values())


def _header(name: str, lanes: int, real: str) -> str:
    kind = vector(lanes, real)
    arguments = ", ".join(f"{kind} {a}" for a in ("%x", "%y")[: arity(name)])
    attributes = "noinline nounwind willreturn memory(none)"
    return f"define internal fastcc {kind} @{symbol(name, lanes, real)}({arguments}) {attributes} {{\nentry:\n"


def _widened(name: str, lanes: int, arguments: list[str]) -> str:
    """Single precision: the function in double precision, rounded."""
    narrow, wide = vector(lanes, "float"), vector(lanes, "double")
    lines = [f"  {a}.wide = fpext {narrow} {a} to {wide}" for a in arguments]
    operands = ", ".join(f"{wide} {a}.wide" for a in arguments)
    lines.append(f"  %wide = call fastcc {wide} @{symbol(name, lanes, 'double')}({operands})")
    lines.append(f"  %out = fptrunc {wide} %wide to {narrow}")
    return "\n".join([*lines, f"  ret {narrow} %out", "}"])


def _doubled(name: str, real: str, arguments: list[str]) -> str:
    """One lane: two equal ones, because a scalar selection becomes a branch, which costs more than the lane."""
    kind, mask = vector(2, real), "<2 x i32> zeroinitializer"
    lines = []
    for a in arguments:
        lines.append(f"  {a}.one = insertelement {kind} poison, {real} {a}, i32 0")
        lines.append(f"  {a}.two = shufflevector {kind} {a}.one, {kind} poison, {mask}")
    operands = ", ".join(f"{kind} {a}.two" for a in arguments)
    lines.append(f"  %two = call fastcc {kind} @{symbol(name, 2, real)}({operands})")
    lines.append(f"  %out = extractelement {kind} %two, i32 0")
    return "\n".join([*lines, f"  ret {real} %out", "}"])


def _pieces(name: str, lanes: int, real: str, arguments: list[str]) -> str:
    """Many lanes: calls on pieces, joined pairwise."""
    size = PIECE[real]
    whole, piece = vector(lanes, real), vector(size, real)
    lines: list[str] = []
    parts: list[str] = []
    for start in range(0, lanes, size):
        indices = ", ".join(f"i32 {i}" for i in range(start, start + size))
        for a in arguments:
            pick = f"shufflevector {whole} {a}, {whole} poison, <{size} x i32> <{indices}>"
            lines.append(f"  {a}.{start} = {pick}")
        operands = ", ".join(f"{piece} {a}.{start}" for a in arguments)
        lines.append(f"  %r{start} = call fastcc {piece} @{symbol(name, size, real)}({operands})")
        parts.append(f"%r{start}")
    width = size
    while len(parts) > 1:
        kind = vector(width, real)
        indices = ", ".join(f"i32 {i}" for i in range(2 * width))
        joined = []
        for i in range(0, len(parts), 2):
            out = f"%j{width}.{i}"
            lines.append(
                f"  {out} = shufflevector {kind} {parts[i]}, {kind} {parts[i + 1]}, <{2 * width} x i32> <{indices}>"
            )
            joined.append(out)
        parts, width = joined, 2 * width
    return "\n".join([*lines, f"  ret {whole} {parts[0]}", "}"])
