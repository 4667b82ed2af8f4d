"""`check`: what can be said about a twin before it is trusted with anything.

Units and shapes are read from the definition; stiffness from its linearisation; observability and identifiability
from the sensitivities of its sensors, over a record of the asset or, without one, over a synthetic experiment; and what
each sensor is worth.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux.core.errors import InputError, PolluxError
from pollux.core.twin import Twin
from pollux.core.unitcheck import check_units
from pollux.model.calibrate import sensitivities
from pollux.model.coordinates import choose
from pollux.model.experiment import experiment, method_for, time_constants
from pollux.model.identify import Identifiability, Verdict, identify
from pollux.model.integrate import Method
from pollux.model.linearise import linearise
from pollux.model.observability import Observability, observability
from pollux.model.record import Record, as_record
from pollux.model.rk4 import RK4
from pollux.model.sensor_value import SensorValue, sensor_value
from pollux.model.statespace import StateSpace, flatten

LARGE = 60
"""States up to which the value of sensors is computed for every one of them."""


class Mark(StrEnum):
    """How one item of a report went."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Item:
    """One line of a report: what was checked, how it went, what to know, and further lines."""

    name: str
    mark: Mark
    text: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that was checked, with the two verdicts as values."""

    twin: str
    items: tuple[Item, ...]
    observability: Observability | None = None
    identifiability: Identifiability | None = None
    sensor_value: SensorValue | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing failed (warnings allowed)."""
        return all(i.mark is not Mark.FAIL for i in self.items)

    def __getitem__(self, name: str) -> Item:
        """One item by name."""
        return next(i for i in self.items if i.name == name)

    def __str__(self) -> str:
        """A line for each item, indented details below."""
        width = max(len(i.name) for i in self.items)
        lines = [f"Check of {self.twin}"]
        for i in self.items:
            lines.append(f"  {i.mark.value:<4}  {i.name:<{width}}  {i.text}")
            lines.extend(f"        {'':<{width}}  - {d}" for d in i.details)
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "twin": self.twin,
            "ok": self.ok,
            "items": [
                {"name": i.name, "mark": i.mark.value, "text": i.text, "details": list(i.details)} for i in self.items
            ],
            "observability": self.observability.to_dict() if self.observability else None,
            "identifiability": self.identifiability.to_dict() if self.identifiability else None,
            "sensor_value": self.sensor_value.to_dict() if self.sensor_value else None,
        }


def check(twin: Twin, record: Any = None, *, free: tuple[str, ...] | None = None, times: Any = None) -> Report:
    """Report on units, shapes, margins, stiffness, observability and identifiability of `twin`.

    `free` names the parameters whose identifiability is asked for, as in `calibrate`; `record` is anything that
    `calibrate` takes. Never raises for a flaw of the twin: the flaw is an item that failed.
    """
    name = type(twin).__name__
    items: list[Item] = []
    try:
        space = flatten(twin)
    except PolluxError as error:
        return Report(name, (Item("shapes", Mark.FAIL, str(error)),))
    s = space.system
    sizes = f"{len(s.x_names)} states, {len(s.u_names)} inputs, {len(s.y_names)} sensors, {len(s.p_names)} parameters"
    items.append(Item("shapes", Mark.PASS, sizes))
    items.append(_units(twin))
    items.append(_start(space))
    items.append(_noise(space))
    method, speed = _speed(twin, space)
    items.append(speed)
    try:
        data, method, about = _data(twin, space, record, times, method)
        S, names, log, spread = sensitivities(twin, data, free=free, method=method)
        if not np.all(np.isfinite(S)):
            raise FloatingPointError("the sensitivities are not finite along the trajectory")
    except (PolluxError, FloatingPointError) as error:
        return Report(name, (*items, Item("observability", Mark.FAIL, f"could not be computed: {error}")))
    k = len(choose(space, free))
    seen = observability(S[:, k:] * spread, s.x_names)
    stable = linearise(twin).stable
    items.append(_observed(seen, about, stable))
    verdict = identify(S, names, log)
    items.append(_identified(verdict, about))
    worth, item = _worth(twin, space, data, about)
    return Report(name, (*items, item), seen, verdict, worth)


def _units(twin: Twin) -> Item:
    try:
        check_units(twin)
    except PolluxError as error:
        return Item("units", Mark.FAIL, str(error))
    return Item("units", Mark.PASS, "every equation is consistent")


def _start(space: StateSpace) -> Item:
    g = np.asarray(space.system.margins(0.0, *map(jnp.asarray, (space.x0, space.u0, space.p0))))
    broken = [n for n, v in zip(space.system.margin_names, g, strict=True) if v < 0]
    if broken:
        return Item("margins", Mark.WARN, f"violated at the start values: {', '.join(broken)}")
    return Item("margins", Mark.PASS, f"{len(g)} margins, none violated at the start values")


def _noise(space: StateSpace) -> Item:
    silent = [c.name for c in space.y if c.noise <= 0]
    if silent:
        return Item(
            "noise", Mark.WARN, f"no noise is declared for {', '.join(silent)}: the mirror needs it (`var(noise=...)`)"
        )
    still = [c.name for c in space.x if c.drift <= 0]
    if still:
        return Item(
            "noise", Mark.WARN, f"no drift is declared for {', '.join(still)}: the mirror will trust them fully"
        )
    return Item("noise", Mark.PASS, "every sensor has noise and every state drift")


def _speed(twin: Twin, space: StateSpace) -> tuple[Method, Item]:
    at = linearise(twin)
    if space.system.period is not None:
        return RK4(1), Item("dynamics", Mark.PASS, f"discrete, every {space.system.period:g} s")
    fastest, slowest = time_constants(at)
    method = method_for(fastest, slowest / 30)
    text = f"time constants from {fastest:.3g} to {slowest:.3g} s at the start values; `{method}` suits them"
    if not at.stable:
        growing = np.max(np.real(at.poles))
        kind = "integrates" if growing < 1e-9 / slowest else "is unstable"
        return method, Item("dynamics", Mark.WARN, f"the twin {kind} at the start values; {text}")
    return method, Item("dynamics", Mark.PASS, text)


def _data(twin: Twin, space: StateSpace, record: Any, times: Any, method: Method) -> tuple[Record, Method, str]:
    if record is not None:
        data = as_record(space, record, times=times)
        fastest, _ = time_constants(linearise(twin))
        steps = np.diff(data.t)
        method = method if space.system.period is not None else method_for(fastest, float(np.max(steps, initial=0.0)))
        return data, method, f"over the record of {len(data)} instants"
    run = experiment(twin, space)
    if not run.ok:
        raise FloatingPointError(f"the synthetic experiment ended: {run.outcome.value}")
    return run.as_record(), run.method, f"over a synthetic experiment of {run.t[-1]:.3g} s"


def _observed(seen: Observability, about: str, stable: bool) -> Item:
    if seen.ok:
        mark, extra = Mark.PASS, ""
    elif stable:
        mark, extra = Mark.WARN, " (it dies out by itself)"
    else:
        mark, extra = Mark.FAIL, " (and it does not die out): add a sensor"
    return Item("observability", mark, f"{seen}{extra}, {about}")


def _worth(twin: Twin, space: StateSpace, data: Record, about: str) -> tuple[SensorValue | None, Item]:
    if len(space.x) > LARGE:
        return None, Item("sensor value", Mark.SKIP, f"more than {LARGE} states; ask `sensor_value` for some of them")
    try:
        worth = sensor_value(twin, data)
    except InputError as error:
        return None, Item("sensor value", Mark.WARN, str(error))
    text = f"how sure each state is in the end, by sensor, {about}"
    return worth, Item("sensor value", Mark.PASS, text, tuple(worth.lines()))


def _identified(verdict: Identifiability, about: str) -> Item:
    mark = {Verdict.IDENTIFIABLE: Mark.PASS, Verdict.PRACTICAL: Mark.WARN, Verdict.STRUCTURAL: Mark.FAIL}
    text = f"{str(verdict).splitlines()[0]}, {about}"
    return Item("identifiability", mark[verdict.verdict], text, tuple(str(d) for d in verdict.directions))
