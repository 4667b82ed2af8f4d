"""The twin's own hydraulics: three loops solved by Newton's method, in pure numbers.

    12 pipes, 8 demands, one pump feeding node 11, one tank at node 12. Mass balance leaves three unknown flows,
    a (11 -> 21), b (13 -> 23) and c (31 -> 32); the energy balance around three loops determines them:

        q = E (pump, d) + L' (a, b, c)         mass balance: flow of every pipe
        L f(q) = 0,  f_k(q) = R_k q |q|^0.852  Hazen-Williams, around 11-21-22-12, 12-13-23-22, 21-31-32-22

    The Jacobian L diag(f') L' is symmetric and positive definite. The derivative with respect to everything else
    comes from the last step alone, taken at the solution (implicit function theorem).

Flows are in units of `REFERENCE` (the mean flow), heads in metres. Lengths and diameters are in any operator's map; the
roughness is fitted. Source: Cross, Analysis of flow in networks of conduits or conductors (1936), with Newton's method
as in Todini and Rossman, J. Hydraul. Eng. 139 (2013) 511-526.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

REFERENCE = 0.0694
"""m^3/s, unit of flow in this module."""
ITERATIONS = 4
SHUT = 1e6
"""Factor on the resistance of a pipe whose valve is shut."""
SMALL = 1e-6
"""Rounds |q|^0.852 at q = 0 where it has no derivative."""

JUNCTIONS = ("11", "12", "13", "21", "22", "23", "31", "32")
# Pipe: from, to, length (ft), diameter (inch).
PIPES: dict[str, tuple[str, str, float, float]] = {
    "11": ("11", "12", 5280, 14),
    "12": ("12", "13", 5280, 10),
    "21": ("21", "22", 5280, 10),
    "22": ("22", "23", 5280, 12),
    "31": ("31", "32", 5280, 6),
    "111": ("11", "21", 5280, 10),
    "112": ("12", "22", 5280, 12),
    "113": ("13", "23", 5280, 8),
    "121": ("21", "31", 5280, 8),
    "122": ("22", "32", 5280, 6),
}
TANK_PIPE = (200, 18)
VALVES = ("112", "121", "122")
_CHORDS = ("111", "113", "31")
"""Pipes whose flow is a, b and c."""


def resistance(length: float, diameter: float) -> float:
    """Head loss in m at flow `REFERENCE` and C = 100 of a pipe in ft and inch: 10.667 L q^1.852 / (C^1.852 D^4.871)."""
    return 10.667 * length * 0.3048 * REFERENCE**1.852 / (100.0**1.852 * (diameter * 0.0254) ** 4.871)


def _mass_balance() -> tuple[np.ndarray, np.ndarray]:
    """E (pipe, 1 + junction) and L (chord, pipe): every pipe's flow; the tank takes the rest."""
    names = list(PIPES)
    junctions = [n for n in JUNCTIONS if n != "12"]
    inflow = np.zeros((len(junctions), len(names)))
    for k, (start, end, _, _) in enumerate(PIPES.values()):
        for i, n in enumerate(junctions):
            inflow[i, k] = (end == n) - (start == n)
    given = np.zeros((len(junctions), 1 + len(JUNCTIONS)))  # inflow @ q = given @ (pump, d)
    for i, n in enumerate(junctions):
        given[i, 0] = -(n == "11")
        given[i, 1 + JUNCTIONS.index(n)] = 1.0
    chords = [names.index(c) for c in _CHORDS]
    tree = [k for k in range(len(names)) if k not in chords]
    inverse = np.linalg.inv(inflow[:, tree])
    E, L = np.zeros((len(names), given.shape[1])), np.zeros((3, len(names)))
    E[tree] = inverse @ given
    L[:, tree] = -(inverse @ inflow[:, chords]).T
    L[[0, 1, 2], chords] = 1.0
    return np.round(E), np.round(L)


def _paths() -> np.ndarray:
    """(junction, pipe): head of a junction relative to node 12 is -P f(q), along 12-11-21-31, 12-22-32, 12-13-23."""
    names = list(PIPES)
    steps = {
        "11": {"11": -1}, "12": {}, "13": {"12": 1}, "21": {"11": -1, "111": 1}, "22": {"112": 1},
        "23": {"12": 1, "113": 1}, "31": {"11": -1, "111": 1, "121": 1}, "32": {"112": 1, "122": 1},
    }  # fmt: skip
    return np.array([[float(steps[n].get(pipe, 0)) for pipe in names] for n in JUNCTIONS])


_E, _L = _mass_balance()
_P = _paths()
_R = np.array([resistance(length, diameter) for _, _, length, diameter in PIPES.values()])
_R_TANK = resistance(*TANK_PIPE)
_SIZE = np.array([[d >= 14, 10 <= d < 14, d < 10] for *_, d in PIPES.values()], dtype=float)
_VALVE = np.array([[float(pipe == v) for v in VALVES] for pipe in PIPES])


def loss(r: Any, q: Any) -> Any:
    """Head loss R q |q|^0.852, m; odd in q and smooth at 0."""
    return r * q * (q * q + SMALL) ** 0.426


def slope(r: Any, q: Any) -> Any:
    """Its derivative by q."""
    s = q * q + SMALL
    return r * s**-0.574 * (s + 0.852 * q * q)


def solve(pump: Any, d: Any, valves: Any, rough: Any) -> jnp.ndarray:
    """Heads (8,) of the junctions above the tank's water, m.

    `pump`: inflow at node 11; `d` (8,): demands; `valves` (3,): opening of pipes 112, 121, 122; `rough` (3,): factors
    on the resistance of pipes of 14 inches, of 10 and 12, and of 6 and 8.
    """
    r = _R * (_SIZE @ rough) * (1.0 + SHUT * (_VALVE @ (1.0 - valves)))
    source = _E @ jnp.concatenate([jnp.reshape(pump, (1,)), d])

    def newton(w: Any, r: Any, source: Any) -> Any:
        q = source + w @ _L
        e = _L @ loss(r, q)
        J = (_L * slope(r, q)) @ _L.T
        # b and c share no pipe (J[1, 2] = 0): eliminate them and solve for a.
        lean_b, lean_c = J[0, 1] / J[1, 1], J[0, 2] / J[2, 2]
        da = (e[0] - lean_b * e[1] - lean_c * e[2]) / (J[0, 0] - lean_b * J[0, 1] - lean_c * J[0, 2])
        return w - jnp.stack([da, e[1] / J[1, 1] - lean_b * da, e[2] / J[2, 2] - lean_c * da])

    # A shut pipe carries nothing, so its loop's unknown is known: without this Newton creeps along the kink at q = 0.
    total = jnp.sum(d)
    a = 0.13 * pump + 0.17 * total
    b = valves[0] * 0.04 * total + (1.0 - valves[0]) * (jnp.sum(d[3:]) - a)
    c = (1.0 - valves[2]) * d[7] - (1.0 - valves[1]) * d[6]
    w, r_, source_ = (jax.lax.stop_gradient(v) for v in (jnp.stack([a, b, c]), r, source))
    for _ in range(ITERATIONS):
        w = newton(w, r_, source_)
    q = source + newton(w, r, source) @ _L
    return loss(_R_TANK * rough[0], pump - total) - _P @ loss(r, q)
