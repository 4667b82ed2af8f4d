"""The battery of work item `life`: an equivalent circuit that discharges until its voltage falls below a threshold.

    q_b' = -i_b,  q_cp' = i_b - V_cp / R_cp,  q_cs' = i_b - V_cs / R_s,  V = V_b - V_cp - V_cs,  i_b = i + V / R_p
    V_b = q_b / C_b(SOC),  V_cp = q_cp / C_cp,  V_cs = q_cs / C_s,  R_cp = R_cp0 + R_cp1 exp(R_cp2 (1 - SOC))

and a temperature. Equations and parameters as ProgPy documents them for its `BatteryCircuit`, after Daigle and
Sankararaman, Advanced methods for determining prediction uncertainty in model-based prognostics with application to
planetary rovers (PHM 2013). ProgPy steps it by Euler's method once a second; so does this twin, by its own `step`.
"""

import jax.numpy as jnp

from pollux import Scalar, Signals, Twin, const, var

DT = 1.0
"""s; the step of ProgPy's simulation."""
NOISE = 0.1
"""Standard deviation of the process noise of each state, a step of 1 s, and of the measurement noise."""
LOAD = ((0.0, 2.0), (600.0, 1.0), (900.0, 4.0), (1800.0, 2.0), (3000.0, 3.0))
"""(from, A): the variable load of ProgPy's examples."""
HORIZON = 10_000.0


class State(Signals):
    """Temperature, and the charges of the three capacitors."""

    tb: Scalar = var("K", start=292.1, within=(0.0, jnp.inf), drift=NOISE)
    qb: Scalar = var("C", start=7856.3254, within=(0.0, jnp.inf), drift=NOISE)
    qcp: Scalar = var("C", start=0.0, drift=NOISE)
    qcs: Scalar = var("C", start=0.0, drift=NOISE)


class Input(Signals):
    """Current drawn."""

    i: Scalar = var("A", start=2.0)


class Sensors(Signals):
    """What is measured of it."""

    t: Scalar = var("K", noise=NOISE)
    v: Scalar = var("V", noise=NOISE)


class Battery(Twin[State, Input, Sensors]):
    """See the module."""

    period = DT
    second: Scalar = const("s", DT)
    Rp: Scalar = const("ohm", 1e4)
    qMax: Scalar = const("C", 7856.3254)
    CMax: Scalar = const("C", 7777.0)
    VEOD: Scalar = const("V", 3.0)
    Cbp0: Scalar = const("F", -230.0)
    Cbp1: Scalar = const("F", 1.2)
    Cbp2: Scalar = const("F", 2079.9)
    Cbp3: Scalar = const("F", 27.055726)
    Rs: Scalar = const("ohm", 0.0538926)
    Cs: Scalar = const("F", 234.387)
    Rcp0: Scalar = const("ohm", 0.0697776)
    Rcp1: Scalar = const("ohm", 1.50528e-17)
    Rcp2: Scalar = const("1", 37.223)
    Ccp: Scalar = const("F", 14.8223)
    Ta: Scalar = const("K", 292.1)
    Jt: Scalar = const("W s/K", 800.0)
    ha: Scalar = const("W/K", 0.5)
    hcp: Scalar = const("1", 19.0)
    hcs: Scalar = const("1", 1.0)

    def step(self, t: Scalar, x: State, u: Input) -> State:
        """One step of Euler's method."""
        soc, v, v_cp, v_cs = self._circuit(x)
        R_cp = self.Rcp0 + self.Rcp1 * jnp.exp(self.Rcp2 * (1.0 - soc))
        i_b = u.i + v / self.Rp
        i_cp, i_cs = v_cp / R_cp, v_cs / self.Rs
        heat = self.ha * (self.Ta - x.tb) + self.hcs * v_cs * i_cs + self.hcp * v_cp * i_cp
        h = self.second
        return State(
            tb=x.tb + h * heat / self.Jt,
            qb=x.qb - h * i_b,
            qcp=x.qcp + h * (i_b - i_cp),
            qcs=x.qcs + h * (i_b - i_cs),
        )

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        """Temperature and voltage."""
        return Sensors(t=x.tb, v=self._circuit(x)[1])

    def margins(self, t: Scalar, x: State, u: Input) -> dict[str, Scalar]:
        """Discharged where the voltage falls below its threshold."""
        return {"EOD": self._circuit(x)[1] - self.VEOD}

    def _circuit(self, x: State) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """State of charge, voltage, and the voltages of the two smaller capacitors."""
        soc = (self.CMax - self.qMax + x.qb) / self.CMax
        C_b = self.Cbp3 + soc * (self.Cbp2 + soc * (self.Cbp1 + soc * self.Cbp0))
        v_cp, v_cs = x.qcp / self.Ccp, x.qcs / self.Cs
        return soc, x.qb / C_b - v_cp - v_cs, v_cp, v_cs
