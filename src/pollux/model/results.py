"""What a simulation gives back: the trajectory by name, how it went, and faces to print, plot and export it."""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from pollux.core.errors import DefinitionError
from pollux.core.extras import need
from pollux.core.time import rng
from pollux.core.twin import Signals, Twin
from pollux.model.integrate import Method, Outcome
from pollux.model.record import Record
from pollux.model.statespace import Channel, StateSpace
from pollux.model.table import number, table


@dataclass(frozen=True)
class Stats:
    """What an integration cost."""

    steps: int
    rejected: int


@dataclass(frozen=True)
class Point:
    """One instant of a run, in the twin's own records."""

    t: float
    state: Any
    inputs: Any
    sensors: Any
    margins: dict[str, float]


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A simulated trajectory: state x, held input u, noise-free sensors y and margins at the times t."""

    twin: Twin = field(repr=False)
    space: StateSpace = field(repr=False)
    t: Float[np.ndarray, " T"]
    x: Float[np.ndarray, "T n"]
    u: Float[np.ndarray, "T m"]
    y: Float[np.ndarray, "T ny"]
    g: Float[np.ndarray, "T g"]
    outcome: Outcome
    stats: Stats
    method: Method

    @property
    def ok(self) -> bool:
        """Whether the integration succeeded."""
        return self.outcome is Outcome.SUCCESS

    def __len__(self) -> int:
        """Number of instants."""
        return len(self.t)

    def __getitem__(self, name: str) -> Float[np.ndarray, " T"]:
        """One signal by name; `state.h`, `input.h`, `sensor.h` or `margin.h` where kinds share a name."""
        found = {**self._named("margin"), **self._named("input"), **self._named("sensor"), **self._named("state")}
        if name in found:
            return found[name]
        kind, _, rest = name.partition(".")
        if kind in _KINDS and rest in self._named(kind):
            return self._named(kind)[rest]
        raise DefinitionError(f"A run of `{self.space.system.name}` has no signal {name!r}; it has {sorted(found)}")

    def at(self, i: int) -> Point:
        """The instant with index `i`, in the twin's own records."""
        state, inputs, sensors = self.twin.signals()
        margins = dict(zip(self.space.system.margin_names, map(float, self.g[i]), strict=True))
        return Point(
            float(self.t[i]), read(state, self.x[i]), read(inputs, self.u[i]), read(sensors, self.y[i]), margins
        )

    @property
    def final(self) -> Point:
        """The last instant."""
        return self.at(-1)

    def as_record(self, seed: int | None = None) -> Record:
        """Inputs and sensors as a record; with a `seed`, each sensor has its declared noise added."""
        y = self.y.copy()
        if seed is not None:
            y += rng(seed).standard_normal(y.shape) * np.sqrt(self.space.R)
        names = self.space.system
        return Record(self.t, self.u, y, names.u_names, names.y_names)

    def columns(self) -> dict[str, Float[np.ndarray, " T"]]:
        """Every signal by name; the kind is put in front where two kinds share a name."""
        out: dict[str, np.ndarray] = {}
        for kind in _KINDS:
            for name, values in self._named(kind).items():
                out[f"{kind}.{name}" if name in out else name] = values
        return out

    def frame(self) -> Any:
        """As a pandas frame indexed by time. Raises `MissingExtraError` without pandas."""
        pandas = need("pandas", "frames")
        return pandas.DataFrame(self.columns(), index=pandas.Index(self.t, name="t"))

    def plot(self, *names: str) -> Any:
        """A matplotlib figure, one panel for each state and input, or for each of `names`.

        Raises `MissingExtraError` without matplotlib.
        """
        figure_of = need("matplotlib.figure", "plot").Figure
        chosen = names or tuple(c.name for c in (*self.space.x, *self.space.u))
        figure = figure_of(figsize=(8, 1.8 * len(chosen)), layout="constrained")
        for axis, name in zip(np.ravel(figure.subplots(len(chosen), sharex=True, squeeze=False)), chosen, strict=True):
            channel = self._channel(name)
            held = {"drawstyle": "steps-post"} if channel is not None and channel in self.space.u else {}
            axis.plot(self.t, self[name], lw=1.2, **held)
            axis.set_ylabel(f"{name} [{channel.unit}]" if channel else name)
            axis.grid(alpha=0.3)
            for limit in (channel.low, channel.high) if channel else ():
                if axis.get_ylim()[0] <= limit <= axis.get_ylim()[1]:
                    axis.axhline(limit, color="0.5", lw=0.8, ls="--")
        figure.axes[-1].set_xlabel("t [s]")
        return figure

    def __repr__(self) -> str:
        """A table of every signal: start, end, least and greatest."""
        head = (
            f"Run of {self.space.system.name}: {len(self)} instants from {number(self.t[0])} to "
            f"{number(self.t[-1])} s by {self.method}: {self.outcome.value} ({self.stats.steps} steps)"
        )
        rows = []
        for kind in _KINDS:
            for name, values in self._named(kind).items():
                channel = self._channel(f"{kind}.{name}")
                known = values[np.isfinite(values)]
                least, most = (known.min(), known.max()) if len(known) else (np.nan, np.nan)
                rows.append((kind, name, channel.unit if channel else "", values[0], values[-1], least, most))
        return head + "\n" + table(("", "signal", "unit", "start", "end", "least", "greatest"), rows)

    def _named(self, kind: str) -> dict[str, np.ndarray]:
        s = self.space.system
        names, values = {
            "state": (s.x_names, self.x),
            "input": (s.u_names, self.u),
            "sensor": (s.y_names, self.y),
            "margin": (s.margin_names, self.g),
        }[kind]
        return dict(zip(names, values.T, strict=True))

    def _channel(self, name: str) -> Channel | None:
        kind, _, rest = name.partition(".")
        groups = {"state": self.space.x, "input": self.space.u, "sensor": self.space.y}
        where = groups.get(kind, ()) if rest else (*self.space.x, *self.space.y, *self.space.u)
        return next((c for c in where if c.name == (rest or name)), None)


_KINDS = ("state", "input", "sensor", "margin")


def read(kind: type[Signals], flat: np.ndarray) -> Any:
    """A flat vector as the record that it came from, with plain floats for scalars."""
    leaves, treedef = jax.tree_util.tree_flatten(kind.start())
    values, at = [], 0
    for leaf in leaves:
        shape = np.shape(leaf)
        size = int(np.prod(shape))
        values.append(float(flat[at]) if shape == () else np.reshape(flat[at : at + size], shape))
        at += size
    return jax.tree_util.tree_unflatten(treedef, values)
