"""The water twin: one tank, one pump, six groups of customers, three loops of pipe.

    A dh/dt      = u Q(h, D) - D                               mass balance of the tank
    dz_g/dt      = -z_g / tau_own,    d(day)/dt = -day / tau_day    how demand strays from its habit
    D_g          = base_g habit_g(t) (1 + day + z_g)           demand of a group, shared to its junctions by the bills
    d_i          = share_ig D_g + place_il leak_l              demand of a junction
    Q(h, D)      = (1 + lift) sqrt((H0 - h + r relief . D) / K)     pump curve against system curve
    dlift/dt     = -lift / tau_lift                            what the curve misses: a few tenths of a percent
    power        = rho g Q (A - B Q^2) / efficiency            nameplate curve
    p_i          = h + rise_i + head_i(u Q, D_1..6, valves)    `network.solve`

Demand is hidden: only its sum (pump flow less tank flow) and five pressures tell of it. `leak_*` are parameters,
zero in a sound network; a mirror that tracks them estimates leaks. Habits, pump and roughness are fitted by `fit.py` on
records of other seeds than any evaluation uses.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from pollux import Normal, Scalar, Signals, Twin, const, param, var

from . import fitted
from .fit import ELEVATION, group_means, nameplate, share_of_groups
from .network import JUNCTIONS, REFERENCE, solve
from .tariff import DAY_PRICE, LEVEL_HIGH, LEVEL_LOW, NIGHT_BEGINS, NIGHT_ENDS, NIGHT_PRICE, PRESSURE_LOW

KWH = 3.6e6
_HABITS = np.array(fitted.HABITS)
_HARMONICS = (_HABITS.shape[2] - 1) // 2
_K = np.arange(1, _HARMONICS + 1)
_A, _B = nameplate()
_RELIEF = np.array(fitted.RELIEF)
_AT = {name: i for i, name in enumerate(JUNCTIONS)}
_RISE = np.array([(850 - ELEVATION[n]) * 0.3048 for n in JUNCTIONS])
"""m from each junction up to the tank's bottom."""
LEAKS: dict[str, tuple[str, ...]] = {
    "leak_north": ("11", "12"),
    "leak_west": ("21",),
    "leak_centre": ("22",),
    "leak_northeast": ("13",),
    "leak_east": ("23",),
    "leak_southwest": ("31",),
    "leak_southeast": ("32",),
}
"""Where each leak is: 11 and 12 lie on the trunk main, where a leak moves no gauge, and cannot be told apart."""
_PLACE = np.array([[(n in nodes) / len(nodes) for nodes in LEAKS.values()] for n in JUNCTIONS])
_BASE, _SHARE = group_means(), share_of_groups()


class State(Signals):
    """What the twin believes in."""

    level: Scalar = var("m", start=36.576, within=(30.0, 46.2), drift=1e-4, spread=1.0, label="Tank level")
    day: Scalar = var("1", within=(-0.6, 1.0), drift=2.0e-4, spread=0.05, label="Demand, all groups")
    north: Scalar = var("1", within=(-0.9, 4.0), drift=1.6e-3, spread=0.08, label="Demand north")
    west: Scalar = var("1", within=(-0.9, 4.0), drift=2.1e-3, spread=0.09, label="Demand west")
    centre: Scalar = var("1", within=(-0.9, 4.0), drift=2.1e-3, spread=0.09, label="Demand centre")
    east: Scalar = var("1", within=(-0.9, 4.0), drift=1.6e-3, spread=0.08, label="Demand east")
    southwest: Scalar = var("1", within=(-0.9, 6.0), drift=2.1e-3, spread=0.09, label="Demand south-west")
    southeast: Scalar = var("1", within=(-0.9, 6.0), drift=2.1e-3, spread=0.09, label="Demand south-east")
    lift: Scalar = var("1", within=(-0.1, 0.1), drift=2.9e-5, spread=0.003, label="Pump against its curve")


class Input(Signals):
    """What can be commanded. `pump` is a duty: the share of the time it runs."""

    pump: Scalar = var("1", start=1.0, within=(0.0, 1.0), label="Pump duty")
    valve_112: Scalar = var("1", start=1.0, within=(0.0, 1.0), label="Valve 12-22")
    valve_121: Scalar = var("1", start=1.0, within=(0.0, 1.0), label="Valve 21-31")
    valve_122: Scalar = var("1", start=1.0, within=(0.0, 1.0), label="Valve 22-32")


class Sensors(Signals):
    """What is measured. The noise includes what the twin's six groups cannot follow."""

    level: Scalar = var("m", noise=0.02, label="Tank level")
    pump_flow: Scalar = var("m^3/s", noise=7.0e-4, label="Pump flow")
    tank_flow: Scalar = var("m^3/s", noise=7.0e-4, label="Flow into the tank")
    pump_power: Scalar = var("W", noise=500.0, label="Pump power")
    p13: Scalar = var("m", noise=0.10, label="Pressure 13, north-east")
    p21: Scalar = var("m", noise=0.10, label="Pressure 21, west")
    p22: Scalar = var("m", noise=0.10, label="Pressure 22, centre")
    p31: Scalar = var("m", noise=0.10, label="Pressure 31, south-west")
    p32: Scalar = var("m", noise=0.10, label="Pressure 32, south-east")


def _leak(label: str) -> float:
    # Known to a few L/s before anything is seen; allowed to walk 0.4 L/s in a day when tracked.
    return param("m^3/s", 0.0, within=(-0.02, 0.08), prior=Normal(5e-4), drift=1.4e-6, label=label)


class Water(Twin[State, Input, Sensors]):
    """City water: Net1 with hidden demand. Equations in the module's docstring, units SI throughout."""

    area: Scalar = const("m^2", float(np.pi / 4 * (50.5 * 0.3048) ** 2), label="Tank area")
    tau_own: Scalar = const("s", 4500.0, label="Memory of a group's demand")
    tau_day: Scalar = const("s", 43200.0, label="Memory of the city's demand")
    tau_lift: Scalar = const("s", 21600.0, label="Memory of the pump's deviation")
    turn: Scalar = const("s", 86400.0, label="A day")
    flow: Scalar = const("m^3/s", REFERENCE, label="Reference flow")
    metre: Scalar = const("m", 1.0)
    weight: Scalar = const("kg/m^2/s^2", 9810.0, label="Weight of water")
    H0: Scalar = param("m", fitted.H0, within=(60.0, 120.0), prior=Normal(2.0), label="Shut-off head over empty tank")
    K: Scalar = param("s^2/m^5", fitted.K, within=(1e3, 1e4), prior=Normal(200.0), label="Pump and main")
    r: Scalar = param("s/m^2", fitted.r, within=(0.0, 200.0), prior=Normal(10.0), label="Relief by demand")
    efficiency: Scalar = param("1", fitted.EFFICIENCY, within=(0.3, 0.95), prior=Normal(0.03), drift=2e-6)
    curve_A: Scalar = const("m", _A, label="Nameplate shut-off head")
    curve_B: Scalar = const("s^2/m^5", _B, label="Nameplate curvature")
    trunk: Scalar = param("1", fitted.TRUNK, within=(0.3, 4.0), prior=Normal(0.1), label="Resistance of trunk mains")
    mains: Scalar = param("1", fitted.MAINS, within=(0.3, 4.0), prior=Normal(0.1), label="Resistance of mains")
    branch: Scalar = param("1", fitted.BRANCH, within=(0.3, 4.0), prior=Normal(0.1), label="Resistance of branches")
    leak_north: Scalar = _leak("Leak north")
    leak_west: Scalar = _leak("Leak west")
    leak_centre: Scalar = _leak("Leak centre")
    leak_northeast: Scalar = _leak("Leak north-east")
    leak_east: Scalar = _leak("Leak east")
    leak_southwest: Scalar = _leak("Leak south-west")
    leak_southeast: Scalar = _leak("Leak south-east")
    reserve: Scalar = const("m", 0.0, label="Kept beyond each limit by a planner that knows no better")
    night_price: Scalar = const("EUR/J", NIGHT_PRICE / KWH, label="Night price")
    day_price: Scalar = const("EUR/J", DAY_PRICE / KWH, label="Day price")

    def habit(self, t: Scalar) -> Array:
        """Usual demand (6,) of each group at time `t`, 1 = its mean over a working day."""
        days = t / self.turn
        angle = 2 * jnp.pi * _K * (days - jnp.floor(days))
        wave = jnp.concatenate([jnp.ones(1), jnp.cos(angle), jnp.sin(angle)])
        weekday = jnp.floor(days) % 7.0  # 1970-01-01 was a Thursday: 2 and 3 are the weekend
        weekend = (weekday >= 2.0) & (weekday <= 3.0)
        curves = jnp.asarray(_HABITS) @ wave
        return jnp.where(weekend, curves[:, 1], curves[:, 0])

    def demands(self, t: Scalar, x: State) -> Array:
        """Demand (8,) of every junction in units of the reference flow (a pure number)."""
        own = jnp.stack([x.north, x.west, x.centre, x.east, x.southwest, x.southeast])
        leaks = (self.leak_north, self.leak_west, self.leak_centre, self.leak_northeast, self.leak_east)
        leak = jnp.stack([*leaks, self.leak_southwest, self.leak_southeast]) / self.flow
        return jnp.asarray(_SHARE) @ (_BASE * self.habit(t) * (1.0 + x.day + own)) + jnp.asarray(_PLACE) @ leak

    def pump_flow(self, x: State, d: Array) -> Scalar:
        """Flow of the running pump, m^3/s, at demands `d` (8,)."""
        relief = jnp.sum(_RELIEF * d) * self.flow
        return (1.0 + x.lift) * jnp.sqrt(jnp.maximum((self.H0 - x.level + self.r * relief) / self.K, 1e-8))

    def power(self, q: Scalar) -> Scalar:
        """Electric power of the running pump at flow `q`, W."""
        return self.weight * q * (self.curve_A - self.curve_B * q * q) / self.efficiency

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        """Tank balance; demand and pump return to what they usually are."""
        d = self.demands(t, x)
        return State(
            level=(u.pump * self.pump_flow(x, d) - jnp.sum(d) * self.flow) / self.area,
            day=-x.day / self.tau_day,
            north=-x.north / self.tau_own,
            west=-x.west / self.tau_own,
            centre=-x.centre / self.tau_own,
            east=-x.east / self.tau_own,
            southwest=-x.southwest / self.tau_own,
            southeast=-x.southeast / self.tau_own,
            lift=-x.lift / self.tau_lift,
        )

    def pressures(self, x: State, u: Input, d: Array, running: Scalar) -> Array:
        """Pressure (8,) of the junctions over the tank's level, m; `running`: flow of the running pump, m^3/s."""
        q = u.pump * running
        valves = jnp.stack([u.valve_112, u.valve_121, u.valve_122])
        rough = jnp.stack([self.trunk, self.mains, self.branch])
        return (jnp.asarray(_RISE) + solve(q / self.flow, d, valves, rough)) * self.metre

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        """Level, flows, power and five pressures."""
        d = self.demands(t, x)
        running = self.pump_flow(x, d)
        over = self.pressures(x, u, d, running)
        return Sensors(
            level=x.level,
            pump_flow=u.pump * running,
            tank_flow=u.pump * running - jnp.sum(d) * self.flow,
            pump_power=u.pump * self.power(running),
            p13=x.level + over[_AT["13"]],
            p21=x.level + over[_AT["21"]],
            p22=x.level + over[_AT["22"]],
            p31=x.level + over[_AT["31"]],
            p32=x.level + over[_AT["32"]],
        )

    def price(self, t: Scalar) -> Scalar:
        """Price of energy at `t`, EUR per J."""
        hour = 24.0 * (t / self.turn - jnp.floor(t / self.turn))
        night = (hour >= NIGHT_BEGINS) | (hour < NIGHT_ENDS)
        return jnp.where(night, self.night_price, self.day_price)

    def goal(self, t: Scalar, x: State, u: Input) -> Scalar:
        """Cost of electricity, EUR per second."""
        return self.price(t) * u.pump * self.power(self.pump_flow(x, self.demands(t, x)))

    def margins(self, t: Scalar, x: State, u: Input) -> dict[str, Scalar]:
        """Metres to the promised limits: tank level both ways, pressure at the weakest point of each quarter.

        `reserve` is taken off the level's; a planner that holds its inputs for half an hour needs it.
        """
        d = self.demands(t, x)
        over = self.pressures(x, u, d, self.pump_flow(x, d))
        least = x.level - PRESSURE_LOW * self.metre
        return {
            "tank_reserve": x.level - LEVEL_LOW * self.metre - self.reserve,
            "tank_overflow": LEVEL_HIGH * self.metre - x.level - self.reserve,
            "pressure_west": least + over[_AT["21"]],
            "pressure_southwest": least + over[_AT["31"]],
            "pressure_southeast": least + over[_AT["32"]],
        }
