"""The twin's own hydraulics: three loops solved by Newton's method, in pure numbers.

    12 pipes, 8 demands, one pump feeding node 11, one tank at node 12. Mass balance leaves three unknown flows,
    a (11 -> 21), b (13 -> 23) and c (31 -> 32), and energy balance around the three loops determines them:

        11-21-22-12:  f111(a) + f21(q21) - f11(q11) - f112(q112) = 0
        12-13-23-22:  f12(q12) + f113(b) - f22(q22) - f112(q112) = 0, orientation 12 -> 22
        21-31-32-22:  f121(q121) + f31(c) - f21(q21) - f122(q122) = 0

    f_k(q) = R_k q |q|^0.852 is Hazen-Williams' head loss. The Jacobian is symmetric and positive definite, so Newton
    converges from anywhere near; the derivative with respect to everything else comes from the last step alone, taken
    at the solution (implicit function theorem).

Flows are in units of `REFERENCE` (the mean flow), heads in metres. Lengths and diameters are the pipes' (they are in any
operator's map); the roughness is fitted. Source: Todini and Rossman, Unified framework for deriving simultaneous
equation algorithms for water distribution networks, J. Hydraul. Eng. 139 (2013); the loop form is Cross (1936) with Newton.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

REFERENCE = 0.0694
"""m^3/s, unit of flow in this module."""
ITERATIONS = 4
SHUT = 1e6
"""Factor on the resistance of a pipe whose valve is shut."""
SMALL = 1e-6
"""Rounds |q|^0.852 at q = 0 where it has no derivative."""

# Length (m) and diameter (m) of each pipe.
PIPES: dict[str, tuple[float, float]] = {
    "10": (10530 * 0.3048, 18 * 0.0254),
    "11": (5280 * 0.3048, 14 * 0.0254),
    "12": (5280 * 0.3048, 10 * 0.0254),
    "21": (5280 * 0.3048, 10 * 0.0254),
    "22": (5280 * 0.3048, 12 * 0.0254),
    "31": (5280 * 0.3048, 6 * 0.0254),
    "110": (200 * 0.3048, 18 * 0.0254),
    "111": (5280 * 0.3048, 10 * 0.0254),
    "112": (5280 * 0.3048, 12 * 0.0254),
    "113": (5280 * 0.3048, 8 * 0.0254),
    "121": (5280 * 0.3048, 8 * 0.0254),
    "122": (5280 * 0.3048, 6 * 0.0254),
}


def resistance(pipe: str) -> float:
    """Head loss in m at flow `REFERENCE` and roughness C = 100: 10.667 L q^1.852 / (C^1.852 D^4.871)."""
    length, diameter = PIPES[pipe]
    return 10.667 * length * REFERENCE**1.852 / (100.0**1.852 * diameter**4.871)


class Demands(NamedTuple):
    """Demand of each junction, in units of `REFERENCE`."""

    n11: Any
    n12: Any
    n13: Any
    n21: Any
    n22: Any
    n23: Any
    n31: Any
    n32: Any


class Valves(NamedTuple):
    """Opening of the three motor valves: 1 open, 0 shut."""

    v112: Any
    v121: Any
    v122: Any


class Heads(NamedTuple):
    """Head at junctions relative to the tank's water level, m."""

    h11: Any
    h12: Any
    h13: Any
    h21: Any
    h22: Any
    h23: Any
    h31: Any
    h32: Any


def loss(r: Any, q: Any) -> Any:
    """Head loss R q |q|^0.852, m; odd in q and smooth at 0."""
    return r * q * (q * q + SMALL) ** 0.426


def slope(r: Any, q: Any) -> Any:
    """Its derivative by q."""
    s = q * q + SMALL
    return r * (s**0.426 + 0.852 * q * q * s**-0.574)


def solve(pump: Any, d: Demands, valves: Valves, trunk: Any, mains: Any, branch: Any) -> Heads:
    """Heads of all junctions for a pump inflow `pump` at node 11 and demands `d`.

    `trunk`, `mains` and `branch` scale the resistance of pipes of 14 inches and more, of 10 and 12, and of 6 and 8.
    """
    r = {
        name: resistance(name) * (trunk if pipe[1] > 0.33 else mains if pipe[1] > 0.22 else branch)
        for name, pipe in PIPES.items()
    }
    shut = {"112": valves.v112, "121": valves.v121, "122": valves.v122}
    for name, opening in shut.items():
        r[name] = r[name] * (1.0 + SHUT * (1.0 - opening))

    south = d.n21 + d.n22 + d.n23 + d.n31 + d.n32

    def flows(a: Any, b: Any, c: Any) -> dict[str, Any]:
        q121 = d.n31 + c
        return {
            "11": pump - d.n11 - a,
            "111": a,
            "113": b,
            "31": c,
            "121": q121,
            "122": d.n32 - c,
            "21": a - d.n21 - q121,
            "12": d.n13 + b,
            "22": d.n23 - b,
            "112": south - a - b,
        }

    def newton(a: Any, b: Any, c: Any) -> tuple[Any, Any, Any]:
        q = flows(a, b, c)
        f = {k: loss(r[k], v) for k, v in q.items()}
        g = {k: slope(r[k], v) for k, v in q.items()}
        e1 = f["111"] + f["21"] - f["11"] - f["112"]
        e2 = f["12"] + f["113"] - f["22"] - f["112"]
        e3 = f["121"] + f["31"] - f["21"] - f["122"]
        j11 = g["111"] + g["21"] + g["11"] + g["112"]
        j22 = g["12"] + g["113"] + g["22"] + g["112"]
        j33 = g["121"] + g["31"] + g["21"] + g["122"]
        j12, j13 = g["112"], -g["21"]
        # Eliminate b and c: arrow matrix, j23 = 0.
        pivot = j11 - j12 * j12 / j22 - j13 * j13 / j33
        da = (e1 - j12 * e2 / j22 - j13 * e3 / j33) / pivot
        db = (e2 - j12 * da) / j22
        dc = (e3 - j13 * da) / j33
        return a - da, b - db, c - dc

    total = sum(d[1:], d.n11)
    # A shut pipe carries nothing, so its loop's unknown is known: without this start Newton creeps along the kink at 0.
    a = 0.13 * pump + 0.17 * total
    b = valves.v112 * 0.04 * total + (1.0 - valves.v112) * (south - a)
    c = (1.0 - valves.v122) * d.n32 - (1.0 - valves.v121) * d.n31
    guess = a, b, c
    for _ in range(ITERATIONS):
        guess = newton(*guess)
    a, b, c = (jax.lax.stop_gradient(jnp.asarray(v)) for v in guess)
    q = flows(*newton(a, b, c))
    f = {k: loss(r[k], v) for k, v in q.items()}
    tank = loss(r["110"], pump - total)  # head of node 12 above the tank's water level
    h12 = tank
    h22 = h12 - f["112"]
    h32 = h22 - f["122"]
    h13 = h12 - f["12"]
    h11 = h12 + f["11"]
    h21 = h11 - f["111"]
    return Heads(h11, h12, h13, h21, h22, h13 - f["113"], h21 - f["121"], h32)
