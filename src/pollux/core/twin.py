"""The twin definition: typed, differentiable pytrees that an engineer writes once.

The letters used throughout Pollux: state x, input u, sensor y, parameter p, with

    dx/dt = f(t, x, u, p) + w,   w ~ N(0, Q)      `dynamics` (or `step` for a discrete twin: x' = f(t, x, u, p))
        y = h(t, x, u, p) + v,   v ~ N(0, R)      `observe`
        l = l(t, x, u, p)                         `goal`, the stage cost
    g >= 0, g(t, x, u, p)                         `margins`, below zero = limit violated

sqrt(Q) is a state's `drift` (unit per sqrt(s)), sqrt(R) a sensor's `noise` (unit).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar, dataclass_transform, get_args, get_origin

import equinox as eqx
import jax
from jax import Array

from pollux.core.errors import DefinitionError
from pollux.core.priors import Prior
from pollux.core.units import parse

jax.config.update("jax_enable_x64", True)

Scalar = Array | float
"""What a field of a definition holds: a number when written, a traced array when compiled."""

META = "pollux"


@dataclass(frozen=True)
class VarInfo:
    """What `var` declares about one signal."""

    unit: str
    start: float
    low: float
    high: float
    drift: float
    noise: float
    spread: float
    shape: tuple[int, ...]
    label: str


@dataclass(frozen=True)
class ParamInfo:
    """What `param` or `const` declares about one parameter."""

    unit: str
    low: float
    high: float
    drift: float
    prior: Prior | None
    label: str
    constant: bool


def var(
    unit: str = "1",
    *,
    start: float = 0.0,
    within: tuple[float, float] = (-math.inf, math.inf),
    drift: float = 0.0,
    noise: float = 0.0,
    spread: float | None = None,
    shape: tuple[int, ...] = (),
    label: str = "",
) -> Any:
    """Declare a signal.

    `start` and `within` are in `unit`; `drift` is the standard deviation of the process noise in unit/sqrt(s);
    `noise` the standard deviation of a sensor in `unit`; `spread` that of the first belief (default: a tenth of
    `within`, else of `start`, else 1). `start` is not called `default` on purpose: type checkers then demand every
    field wherever the class is constructed, which is how a forgotten derivative is found.
    """
    parse(unit)
    low, high = within
    if not low < high:
        raise DefinitionError(f"`within` must be (low, high) with low < high, received {within!r}")
    if not low <= start <= high:
        raise DefinitionError(f"`start` must lie within {within!r}, received {start!r}")
    for name, value in (("drift", drift), ("noise", noise)):
        if not (math.isfinite(value) and value >= 0):
            raise DefinitionError(f"`{name}` must be finite and not negative, received {value!r}")
    if spread is None:
        width = high - low
        spread = 0.1 * width if math.isfinite(width) else (0.1 * abs(start) or 1.0)
    info = VarInfo(unit, float(start), float(low), float(high), float(drift), float(noise), float(spread), shape, label)
    return dataclasses.field(metadata={META: info})


def part(kind: "type[Signals]") -> Any:
    """Declare that a field holds the signals of a part, as `motor: MotorState = part(MotorState)`."""
    return dataclasses.field(metadata={META: kind})


def param(
    unit: str,
    value: float,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
    prior: Prior | None = None,
    drift: float = 0.0,
    label: str = "",
) -> Any:
    """Declare a parameter that may be calibrated or tracked.

    `drift` (unit/sqrt(s)) is the random walk that is assumed where the parameter is tracked live.
    """
    parse(unit)
    if not (math.isfinite(value) and within[0] <= value <= within[1]):
        raise DefinitionError(f"A parameter's value must be finite and within {within!r}, received {value!r}")
    info = ParamInfo(unit, within[0], within[1], drift, prior, label, constant=False)
    return eqx.field(default=float(value), metadata={META: info})


def const(unit: str, value: float, *, label: str = "") -> Any:
    """Declare a constant of nature or geometry: it has a unit, and is never calibrated."""
    parse(unit)
    info = ParamInfo(unit, -math.inf, math.inf, 0.0, None, label, constant=True)
    return eqx.field(default=float(value), metadata={META: info})


@dataclass_transform(frozen_default=True, field_specifiers=(var, part))
class Signals:
    """Base of a twin's `State`, `Input` and `Sensors`: a frozen record of named signals, registered as a pytree."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True, eq=False)(cls)
        for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
            if META not in field.metadata:
                raise DefinitionError(
                    f"Every field of `{cls.__name__}` is declared with `var(...)` or `part(...)`; {field.name!r} is not"
                )
        names = [f.name for f in dataclasses.fields(cls)]  # pyright: ignore[reportArgumentType]
        jax.tree_util.register_dataclass(cls, data_fields=names, meta_fields=[])

    @classmethod
    def start(cls) -> Self:
        """The declared start values."""
        values = {}
        for name, info in cls.infos().items():
            if isinstance(info, VarInfo):
                values[name] = jax.numpy.full(info.shape, info.start) if info.shape else info.start
            else:
                values[name] = info.start()
        return cls(**values)

    @classmethod
    def infos(cls) -> "dict[str, VarInfo | type[Signals]]":
        """Field name -> its declaration."""
        return {f.name: f.metadata[META] for f in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]


class NoInput(Signals):
    """The input of a twin that has none."""


S = TypeVar("S", bound=Signals)
U = TypeVar("U", bound=Signals)
Y = TypeVar("Y", bound=Signals)


class Twin(eqx.Module, Generic[S, U, Y]):
    """Base of every definition: `class Tank(Twin[State, Input, Sensors])`.

    A twin defines `observe` and either `dynamics` (continuous) or `step` (discrete, every `period` seconds), and
    may define `goal` and `margins`. Parameters are fields made with `param`; a network (any Equinox module) or
    another twin is a field too, and is trained by the same gradient.
    """

    period: ClassVar[float | None] = None
    """Sampling period in seconds of a discrete twin; None for a continuous one."""

    def dynamics(self, t: Scalar, x: S, u: U) -> S:
        """Time derivative of the state at time `t` (s), in each state's unit per second."""
        raise DefinitionError(f"`{type(self).__name__}` must define `dynamics`, or `step` with a `period`")

    def step(self, t: Scalar, x: S, u: U) -> S:
        """Next state of a discrete twin, one `period` after `t`."""
        raise DefinitionError(f"`{type(self).__name__}` must define `step` because it has a `period`")

    def observe(self, t: Scalar, x: S, u: U) -> Y:
        """What the sensors would read without noise."""
        raise DefinitionError(f"`{type(self).__name__}` must define `observe`")

    def goal(self, t: Scalar, x: S, u: U) -> Scalar:
        """Stage cost per second; lower is better."""
        return 0.0

    def margins(self, t: Scalar, x: S, u: U) -> dict[str, Scalar]:
        """Named distances to the limits; below zero = violated."""
        return {}

    @classmethod
    def signals(cls) -> tuple[type[Signals], type[Signals], type[Signals]]:
        """The classes of state, input and sensors, as written in `Twin[State, Input, Sensors]`."""
        for base in cls.__mro__:
            for generic in getattr(base, "__orig_bases__", ()):
                if get_origin(generic) is Twin:
                    args = get_args(generic)
                    if all(isinstance(a, type) and issubclass(a, Signals) for a in args):
                        return args
        raise DefinitionError(
            f"`{cls.__name__}` must name its signals: `class {cls.__name__}(Twin[State, Input, Sensors])`"
        )
