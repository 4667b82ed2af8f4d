"""Units of a twin, checked once by walking the traced equations; nothing is left of it at run time.

Every signal and parameter has a unit; the walk gives each intermediate value one too. A number written in the code
is a *literal*: a pure number in products, and it takes the unit of what it is added to or compared with. Write a
physical constant as `const("m/s^2", 9.81)`, so that it is not mistaken for a pure number.
"""

import inspect
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import source_info_util  # no public way to the user's line: jax issue 5899

from pollux.core.errors import UnitError
from pollux.core.twin import META, ParamInfo, Signals, Twin, VarInfo
from pollux.core.units import Unit, parse


@dataclass(frozen=True)
class _Free:
    """A value without a unit of its own: a literal number, or unknown (inside a network)."""

    unknown: bool


_LITERAL, _UNKNOWN = _Free(unknown=False), _Free(unknown=True)
_Units = Unit | _Free

_SAME = {
    "add", "sub", "max", "min", "rem", "nextafter", "select_n", "clamp", "concatenate", "add_any",
    "dynamic_update_slice", "scatter", "pad",
}  # fmt: skip
_COMPARE = {"eq", "ne", "lt", "le", "gt", "ge", "atan2"}
_KEEP = {
    "neg", "abs", "copy", "copy_p", "reshape", "broadcast_in_dim", "squeeze", "transpose", "slice", "dynamic_slice",
    "gather", "convert_element_type", "reduce_sum", "reduce_max", "reduce_min", "cumsum", "rev", "expand_dims",
    "stop_gradient", "real", "reduce_precision", "floor", "ceil", "round", "split", "sort", "cummax", "cummin",
}  # fmt: skip
_PURE = {
    "exp", "exp2", "log", "log1p", "expm1", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "one_minus_square", "logistic", "erf", "erfc", "erf_inv", "lgamma", "digamma",
}  # fmt: skip
_LABEL = {
    "sign",
    "is_finite",
    "and",
    "or",
    "not",
    "argmax",
    "argmin",
    "iota",
    "xor",
    "reduce_and",
    "reduce_or",
}
_ONE = parse("1")


def check_units(twin: Twin) -> None:
    """Check `dynamics` (or `step`), `observe` and `goal` of a twin.

    Raises `UnitError` with file, line and both units when an equation is inconsistent.
    """
    state, inputs, sensors = twin.signals()
    records = (state.start(), inputs.start())
    units = [_SECOND, *_signal_units(state), *_signal_units(inputs), *_param_units(twin)]
    arrays, rest = _partition(twin)

    def traced(method: str):
        def call(t, x, u, values):
            return getattr(_combine(values, rest), method)(t, x, u)

        return jax.make_jaxpr(call)(0.0, *records, arrays)

    if type(twin).period is None:
        flow = "dynamics"
        wanted = [u / _SECOND for u in _signal_units(state)]
    else:
        flow, wanted = "step", _signal_units(state)
    for method, names, expected in (
        (flow, _names(state), wanted),
        ("observe", _names(sensors), _signal_units(sensors)),
    ):
        jaxpr = traced(method)
        found = _walk(jaxpr.jaxpr, [_LITERAL] * len(jaxpr.consts), units)
        for name, got, want in zip(names, found, expected, strict=True):
            if isinstance(got, Unit) and not _agree(got, want):
                raise UnitError(
                    f"{_where(twin, method)}: `{method}` must return {name!r} in {_show(want)}, "
                    f"and the equation gives {_show(got)}"
                )
    for method in ("goal", "margins"):
        jaxpr = traced(method)
        _walk(jaxpr.jaxpr, [_LITERAL] * len(jaxpr.consts), units)


_SECOND = parse("s")


def _walk(jaxpr: Any, consts: list[_Units], args: list[_Units]) -> list[_Units]:
    env: dict[Any, _Units] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> _Units:
        return _LITERAL if hasattr(v, "val") else env[v]

    for eqn in jaxpr.eqns:
        outs = _apply(eqn, [read(v) for v in eqn.invars])
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _apply(eqn: Any, units: list[_Units]) -> list[_Units]:
    name, n = eqn.primitive.name, len(eqn.outvars)
    inner = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr") or eqn.params.get("fun_jaxpr")
    if name in _SAME:
        return [_join(eqn, units[1:] if name == "select_n" else units)] * n
    if name in _COMPARE:
        _join(eqn, units)
        return [_ONE] * n
    if name in _KEEP:
        return [units[0]] * n
    if name in _PURE:
        if isinstance(units[0], Unit) and not _agree(units[0], _ONE):
            raise UnitError(f"{_line(eqn)}: `{name}` needs a pure number, received {_show(units[0])}")
        return [_LITERAL if units[0] is _LITERAL else _ONE] * n
    if name in ("mul", "dot_general"):
        return [_product(units[0], units[1])] * n
    if name == "div":
        return [_product(units[0], _power(units[1], Fraction(-1)))] * n
    if name in ("sqrt", "rsqrt", "cbrt", "square"):
        exponent = {"sqrt": (1, 2), "rsqrt": (-1, 2), "cbrt": (1, 3), "square": (2, 1)}[name]
        return [_power(units[0], Fraction(*exponent))] * n
    if name == "integer_pow":
        return [_power(units[0], Fraction(eqn.params["y"]))] * n
    if name == "pow":
        return [_pow(eqn, units)] * n
    if name in _LABEL:
        return [_ONE] * n
    if inner is not None and name not in ("scan", "while", "cond"):
        closed = hasattr(inner, "consts")
        body = inner.jaxpr if closed else inner
        skip = len(units) - len(body.invars)
        return _walk(body, [_LITERAL] * len(body.constvars), units[skip:])
    if name == "cond":
        found = [_walk(b.jaxpr, [_LITERAL] * len(b.consts), units[1:]) for b in eqn.params["branches"]]
        return [_join(eqn, list(column)) for column in zip(*found, strict=True)]
    return [_UNKNOWN] * n  # loops and the inside of networks: no claim is made


def _join(eqn: Any, units: list[_Units]) -> _Units:
    """The common unit of things that are added, compared or stacked."""
    known = [u for u in units if isinstance(u, Unit)]
    for u in known[1:]:
        if not _agree(known[0], u):
            if eqn.primitive.name == "concatenate":
                return _UNKNOWN  # a feature vector of unlike signals is allowed; it has no single unit
            raise UnitError(
                f"{_line(eqn)}: `{eqn.primitive.name}` needs one unit, received {_show(known[0])} and {_show(u)}"
            )
    if any(u is _UNKNOWN for u in units):
        return _UNKNOWN
    return known[0] if known else _LITERAL


def _product(a: _Units, b: _Units) -> _Units:
    if a is _UNKNOWN or b is _UNKNOWN:
        return _UNKNOWN
    if isinstance(a, Unit):
        return a * b if isinstance(b, Unit) else a
    return b


def _power(a: _Units, exponent: Fraction) -> _Units:
    return a**exponent if isinstance(a, Unit) else a


def _pow(eqn: Any, units: list[_Units]) -> _Units:
    exponent = eqn.invars[1]
    if not isinstance(units[0], Unit) or _agree(units[0], _ONE):
        return units[0]
    if hasattr(exponent, "val") and np.ndim(exponent.val) == 0:
        return units[0] ** Fraction(float(exponent.val)).limit_denominator(1000)
    raise UnitError(
        f"{_line(eqn)}: a power with a variable exponent needs a pure number, received {_show(units[0])}; "
        "divide by a reference value first"
    )


def _agree(a: Unit, b: Unit) -> bool:
    return a.dims == b.dims and abs(a.factor - b.factor) <= 1e-9 * abs(b.factor)


_BASE = ("m", "kg", "s", "K", "A", "mol", "cd", "EUR", "USD")


def _show(unit: _Units) -> str:
    if not isinstance(unit, Unit):
        return "a pure number"
    parts = [b if e == 1 else f"{b}^{e}" for b, e in zip(_BASE, unit.dims, strict=True) if e]
    scale = "" if abs(unit.factor - 1) < 1e-12 else f"{unit.factor:.6g} "
    return f"[{scale}{' '.join(parts) or '1'}]"


def _line(eqn: Any) -> str:
    frame = source_info_util.user_frame(eqn.source_info.traceback)
    return f"{frame.file_name}:{frame.start_line}" if frame else "unknown line"


def _where(twin: Twin, method: str) -> str:
    fn = getattr(type(twin), method)
    return f"{inspect.getsourcefile(fn)}:{inspect.getsourcelines(fn)[1]}"


def _signal_units(kind: type[Signals]) -> list[Unit]:
    units: list[Unit] = []
    for info in kind.infos().values():
        units.extend([_plain(info.unit)] if isinstance(info, VarInfo) else _signal_units(info))
    return units


def _plain(text: str) -> Unit:
    """A unit without its offset: inside equations a temperature is a difference or already absolute."""
    unit = parse(text)
    return Unit(unit.factor, 0.0, unit.dims)


def _names(kind: type[Signals], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, info in kind.infos().items():
        names.extend([prefix + name] if isinstance(info, VarInfo) else _names(info, f"{prefix}{name}."))
    return names


def _partition(twin: Twin) -> tuple[list[Any], tuple[Any, list[Any]]]:
    leaves, treedef = jax.tree_util.tree_flatten(twin)
    mine = [_numeric(leaf) for leaf in leaves]
    arrays = [jnp.asarray(leaf, jnp.float64) for leaf, ok in zip(leaves, mine, strict=True) if ok]
    return arrays, (treedef, [None if ok else (leaf,) for leaf, ok in zip(leaves, mine, strict=True)])


def _combine(arrays: list[Any], rest: tuple[Any, list[Any]]) -> Twin:
    treedef, others = rest
    it = iter(arrays)
    return jax.tree_util.tree_unflatten(treedef, [next(it) if o is None else o[0] for o in others])


def _param_units(twin: Twin) -> list[_Units]:
    units: list[_Units] = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(twin)[0]:
        if _numeric(leaf):
            units.append(_unit_at(twin, path))
    return units


def _numeric(leaf: Any) -> bool:
    return isinstance(leaf, float) or (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating))


def _unit_at(twin: Any, path: tuple[Any, ...]) -> _Units:
    node: Any = twin
    for key in path:
        name = getattr(key, "name", None)
        if name is not None and hasattr(type(node), "__dataclass_fields__"):
            info = type(node).__dataclass_fields__[name].metadata.get(META)
            if isinstance(info, ParamInfo):
                return _plain(info.unit)
            node = getattr(node, name)
        else:
            return _UNKNOWN
    return _UNKNOWN  # a network's weight
