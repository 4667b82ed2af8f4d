"""`flatten`: a twin definition becomes functions of flat float64 vectors of one twin.

Everything downstream (integrators, filters, optimisers, guard) works on this form and therefore on any twin. The
`System` is the structure: it is hashable, never holds a parameter value, and is what kernels are cached by. The
`StateSpace` adds the values.
"""

import dataclasses
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from pollux.core.errors import DefinitionError, ShapeError
from pollux.core.priors import Prior
from pollux.core.twin import META, ParamInfo, Signals, Twin, VarInfo

StateFn = Callable[[Array | float, Array, Array, Array], Array]
"""(t, x, u, p) -> vector or scalar, all flat, one twin."""


@dataclass(frozen=True)
class Channel:
    """One scalar element of a flat vector."""

    name: str
    unit: str
    start: float
    low: float
    high: float
    drift: float = 0.0
    noise: float = 0.0
    spread: float = 1.0
    label: str = ""
    prior: Prior | None = None
    constant: bool = False


@dataclass(frozen=True, eq=False)
class System:
    """Structure of a twin: sizes, names and pure functions. Equal systems share compiled kernels."""

    key: Hashable
    name: str
    x_names: tuple[str, ...]
    u_names: tuple[str, ...]
    y_names: tuple[str, ...]
    p_names: tuple[str, ...]
    margin_names: tuple[str, ...]
    f: StateFn = field(repr=False)
    h: StateFn = field(repr=False)
    goal: StateFn = field(repr=False)
    margins: StateFn = field(repr=False)
    period: float | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, System) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, eq=False)
class StateSpace:
    """A `System` with its values. Vectors are float64 and ordered as declared.

    `Q` is the process-noise variance per second (drift^2), `R` the measurement variance (noise^2), `P0` the
    variance of the first belief (spread^2); all three are diagonals.
    """

    system: System
    x: tuple[Channel, ...]
    u: tuple[Channel, ...]
    y: tuple[Channel, ...]
    p: tuple[Channel, ...]
    rebuild: Callable[[Any], Twin] = field(repr=False)
    """Flat parameter vector -> twin."""

    @property
    def x0(self) -> Float[np.ndarray, " n"]:
        """Start of the state."""
        return _column(self.x, "start")

    @property
    def u0(self) -> Float[np.ndarray, " m"]:
        """Start of the input."""
        return _column(self.u, "start")

    @property
    def p0(self) -> Float[np.ndarray, " k"]:
        """Values of the parameters."""
        return _column(self.p, "start")

    @property
    def Q(self) -> Float[np.ndarray, " n"]:
        """Process-noise variance per second."""
        return _column(self.x, "drift") ** 2

    @property
    def R(self) -> Float[np.ndarray, " y"]:
        """Measurement-noise variance."""
        return _column(self.y, "noise") ** 2

    @property
    def P0(self) -> Float[np.ndarray, " n"]:
        """Variance of the first belief."""
        return _column(self.x, "spread") ** 2

    def bounds(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of `x`, `u`, `y` or `p`."""
        channels: tuple[Channel, ...] = getattr(self, kind)
        return _column(channels, "low"), _column(channels, "high")

    def index(self, kind: str, name: str) -> int:
        """Position of a signal or parameter in its flat vector."""
        names = [c.name for c in getattr(self, kind)]
        if name not in names:
            raise DefinitionError(f"`{self.system.name}` has no {kind} called {name!r}; it has {names}")
        return names.index(name)


def flatten(twin: Twin) -> StateSpace:
    """Flat form of a twin; checks shapes, dtypes and finiteness once, at the start values.

    Raises `DefinitionError` or `ShapeError` naming the method, what it returned and what was expected.
    """
    state, inputs, sensors = twin.signals()
    x, x_def = _signal_channels(state)
    u, u_def = _signal_channels(inputs)
    y, y_def = _signal_channels(sensors)
    values, static = eqx.partition(twin, _is_value)
    leaves, p_def = jax.tree_util.tree_flatten_with_path(values)
    infos = _param_infos(twin)
    p, p_shapes = _param_channels(leaves, infos)

    def rebuild(p_flat: Array) -> Twin:
        return eqx.combine(jax.tree_util.tree_unflatten(p_def, _split(p_flat, p_shapes)), static)

    flow = _flow_name(twin)

    def f(t, x_flat, u_flat, p_flat):
        out = getattr(rebuild(p_flat), flow)(t, x_def.read(x_flat), u_def.read(u_flat))
        return x_def.write(out, f"`{type(twin).__name__}.{flow}`")

    def h(t, x_flat, u_flat, p_flat):
        out = rebuild(p_flat).observe(t, x_def.read(x_flat), u_def.read(u_flat))
        return y_def.write(out, f"`{type(twin).__name__}.observe`")

    def goal(t, x_flat, u_flat, p_flat):
        return jnp.asarray(rebuild(p_flat).goal(t, x_def.read(x_flat), u_def.read(u_flat)), jnp.float64)

    def named_margins(t, x_flat, u_flat, p_flat):
        return rebuild(p_flat).margins(t, x_def.read(x_flat), u_def.read(u_flat))

    def margins(t, x_flat, u_flat, p_flat):
        out = named_margins(t, x_flat, u_flat, p_flat)
        return jnp.stack([jnp.asarray(v, jnp.float64) for v in out.values()]) if out else jnp.zeros(0)

    x0, u0, p0 = (_column(c, "start") for c in (x, u, p))
    static_leaves, static_def = jax.tree_util.tree_flatten(static)
    key = (type(twin), p_def, tuple(p_shapes), static_def, tuple(_static_key(leaf) for leaf in static_leaves))
    system = System(
        key=key,
        name=type(twin).__name__,
        x_names=_names(x),
        u_names=_names(u),
        y_names=_names(y),
        p_names=_names(p),
        margin_names=_margin_names(_Margins(key, type(twin).__name__, named_margins, (len(x), len(u), len(p)))),
        f=f,
        h=h,
        goal=goal,
        margins=margins,
        period=type(twin).period,
    )
    _check_start(system, tuple(x0), tuple(u0), tuple(p0))
    return StateSpace(system, x, u, y, p, rebuild)


@dataclass(frozen=True, eq=False)
class _Margins:
    """The margins of one structure; equal where the structure is."""

    key: Hashable
    name: str
    fn: Callable[..., dict[str, Any]]
    sizes: tuple[int, int, int]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Margins) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=256)
def _margin_names(margins: _Margins) -> tuple[str, ...]:
    """As declared; a traced dict comes back sorted by key, the values do not."""
    order: list[str] = []

    def noted(*args):
        out = margins.fn(*args)
        order[:] = list(out)
        return out

    shapes = jax.eval_shape(noted, 0.0, *(jax.ShapeDtypeStruct((n,), jnp.float64) for n in margins.sizes))
    for name, shape in shapes.items():
        if shape.shape != ():
            raise ShapeError(f"`margins` must return scalars; {name!r} of `{margins.name}` has shape {shape.shape}")
    return tuple(order)


@dataclass(frozen=True)
class _SignalsDef:
    """Reads a flat vector as a `Signals` record and writes one back."""

    kind: type[Signals]
    treedef: Any
    shapes: tuple[tuple[int, ...], ...]

    def read(self, flat: Array) -> Any:
        return jax.tree_util.tree_unflatten(self.treedef, _split(flat, self.shapes))

    def write(self, record: Any, what: str) -> Array:
        if not isinstance(record, self.kind):
            raise ShapeError(f"{what} must return `{self.kind.__name__}`, received `{type(record).__name__}`")
        leaves = [jnp.asarray(leaf) for leaf in jax.tree_util.tree_leaves(record)]
        for leaf, shape in zip(leaves, self.shapes, strict=True):
            if leaf.shape != shape:
                raise ShapeError(f"{what} must return shape {shape} for each declared signal, received {leaf.shape}")
            if not jnp.issubdtype(leaf.dtype, jnp.floating) and not jnp.issubdtype(leaf.dtype, jnp.integer):
                raise ShapeError(f"{what} must return real numbers, received dtype {leaf.dtype}")
        if not leaves:
            return jnp.zeros(0)
        return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float64) for leaf in leaves])


def _signal_channels(kind: type[Signals]) -> tuple[tuple[Channel, ...], _SignalsDef]:
    channels: list[Channel] = []
    shapes: list[tuple[int, ...]] = []
    for name, info in _walk(kind, ""):
        shapes.append(info.shape)
        for index in np.ndindex(info.shape):
            element = name + (f"[{','.join(map(str, index))}]" if index else "")
            channels.append(
                Channel(
                    element,
                    info.unit,
                    info.start,
                    info.low,
                    info.high,
                    info.drift,
                    info.noise,
                    info.spread,
                    info.label or element.replace("_", " "),
                )
            )
    treedef = jax.tree_util.tree_structure(kind.start())
    return tuple(channels), _SignalsDef(kind, treedef, tuple(shapes))


def _walk(kind: type[Signals], prefix: str) -> list[tuple[str, VarInfo]]:
    found: list[tuple[str, VarInfo]] = []
    for name, info in kind.infos().items():
        if isinstance(info, VarInfo):
            found.append((prefix + name, info))
        else:
            found.extend(_walk(info, f"{prefix}{name}."))
    return found


def _is_value(leaf: Any) -> bool:
    return eqx.is_inexact_array(leaf) or isinstance(leaf, float | np.floating)


def _flow_name(twin: Twin) -> str:
    discrete = type(twin).period is not None
    defined = type(twin).step if discrete else type(twin).dynamics
    if defined is (Twin.step if discrete else Twin.dynamics):
        raise DefinitionError(
            f"`{type(twin).__name__}` must define `dynamics`, or `step` together with a class variable `period`"
        )
    return "step" if discrete else "dynamics"


def _param_infos(module: Any, prefix: str = "") -> dict[str, ParamInfo]:
    """Path of every declared parameter, sub-twins included."""
    infos: dict[str, ParamInfo] = {}
    for f in dataclasses.fields(module):
        info = f.metadata.get(META)
        value = getattr(module, f.name)
        if isinstance(info, ParamInfo):
            infos[prefix + f.name] = info
        elif isinstance(value, eqx.Module):
            infos.update(_param_infos(value, f"{prefix}{f.name}."))
    return infos


def _param_channels(leaves: list, infos: dict[str, ParamInfo]) -> tuple[tuple[Channel, ...], list[tuple[int, ...]]]:
    channels: list[Channel] = []
    shapes: list[tuple[int, ...]] = []
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path).lstrip(".")
        info = infos.get(name, ParamInfo("1", -np.inf, np.inf, 0.0, None, "", constant=False))
        values = np.asarray(leaf, np.float64)
        if not np.all(np.isfinite(values)):
            raise ShapeError(f"Parameter {name!r} must be finite, received {leaf!r}")
        shapes.append(values.shape)
        for index in np.ndindex(values.shape):
            element = name + (f"[{','.join(map(str, index))}]" if index else "")
            value = float(values[index])
            spread = info.prior.deviation(value) if info.prior else 0.0
            channels.append(
                Channel(
                    element,
                    info.unit,
                    value,
                    info.low,
                    info.high,
                    info.drift,
                    0.0,
                    spread,
                    info.label or element.replace("_", " "),
                    info.prior,
                    info.constant,
                )
            )
    return tuple(channels), shapes


def _split(flat: Array, shapes: Any) -> list[Array]:
    out, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        out.append(flat[at] if shape == () else flat[at : at + size].reshape(shape))
        at += size
    return out


def _static_key(leaf: Any) -> Hashable:
    try:
        hash(leaf)
    except TypeError:
        if isinstance(leaf, np.ndarray | Array):
            return (np.asarray(leaf).tobytes(), np.asarray(leaf).shape, str(np.asarray(leaf).dtype))
        return id(leaf)
    return leaf


@lru_cache(maxsize=1024)  # a calibration or a service flattens the same values again and again
def _check_start(system: System, x0: tuple[float, ...], u0: tuple[float, ...], p0: tuple[float, ...]) -> None:
    for what, fn in (
        ("dynamics", system.f),
        ("observe", system.h),
        ("goal", system.goal),
        ("margins", system.margins),
    ):
        value = np.asarray(fn(0.0, *(jnp.asarray(v, jnp.float64) for v in (x0, u0, p0))))
        if what == "goal" and value.shape != ():
            raise ShapeError(f"`{system.name}.goal` must return a scalar, received shape {value.shape}")
        if not np.all(np.isfinite(value)):
            raise ShapeError(
                f"`{system.name}.{what}` must be finite at the start values, received {value}; "
                "give `start` values at which the model is defined"
            )


def _names(channels: tuple[Channel, ...]) -> tuple[str, ...]:
    return tuple(c.name for c in channels)


def _column(channels: tuple[Channel, ...], name: str) -> np.ndarray:
    return np.array([getattr(c, name) for c in channels], dtype=np.float64)
