"""Calibrate the water twin the way an engineer would: from weeks of the plant's own noisy records, nothing else.

    .venv/bin/python -m pollux.twins.water.fit

1. Records: three weeks of 5-minute readings under the network's own controls of each of `SEEDS`, used nowhere else.
2. Demand habits and pipe roughness together: harmonics of each group's daily curve (working day and weekend) and three
   roughness factors, by nonlinear least squares on the total flow and the five pressures, averaged in 15-minute bins.
   The mean of each group is held near its billed volume (Net1's base demands), which is what makes roughness and demand
   tell apart.

3. Pump: Q = sqrt((H0 - h + r D') / K) and the efficiency, by least squares on flow, level and power while it runs.
   D' is the demand that relieves the pump's main: the measured total, shared by habit, weighted by `relief`.

Writes `fitted.py` and prints the residuals.
"""

import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .network import JUNCTIONS, REFERENCE, solve
from .plant import Plant

jax.config.update("jax_enable_x64", True)  # as Pollux does: alone, this file runs without it

SEEDS = (101, 102, 103, 104)
WEEKS = 3
HARMONICS = 8
GROUPS: dict[str, tuple[str, ...]] = {
    "north": ("11", "12"),
    "west": ("21",),
    "centre": ("22",),
    "east": ("13", "23"),
    "southwest": ("31",),
    "southeast": ("32",),
}
BILLED = {"11": 9.464, "12": 9.464, "13": 6.309, "21": 9.464, "22": 12.618, "23": 9.464, "31": 6.309, "32": 6.309}
"""Mean demand of each junction in L/s, from the bills (Net1's base demands)."""
ELEVATION = {"11": 710, "12": 700, "13": 695, "21": 700, "22": 695, "23": 690, "31": 700, "32": 710}
"""ft, of each junction; the tank's bottom is at 850 ft."""
GAUGES = ("13", "21", "22", "31", "32")
DAY = 86400.0


def records() -> np.ndarray:
    """Rows of (t, level, pump, pump flow, tank flow, power, p13, p21, p22, p31, p32) in SI units."""
    rows = []
    for seed in SEEDS:
        with Plant(seed=seed) as plant:
            for _ in range(WEEKS * 7 * 288):
                r = plant.step()
                flows = (r["pump_flow"] / 3600, r["tank_flow"] / 3600)
                rows.append(
                    (r["t"], r["level"], r["pump"], *flows, 1e3 * r["pump_power"], *(r[f"p{g}"] for g in GAUGES))
                )
    return np.array(rows)


def relief() -> np.ndarray:
    """By how much the demand of each junction (8,) lowers the head where the pump's main ends (11), 1 at 11 itself."""
    base = jnp.array(list(BILLED.values())) / 69.4
    slope = jax.jacfwd(lambda d: solve(1.65, d, jnp.ones(3), jnp.ones(3))[0])(base)
    return np.asarray(slope / slope[0])


def fit_pump(data: np.ndarray, habits: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """H0 (m), K (s^2/m^5), r (m per m^3/s) of the pump against its system, and the efficiency."""
    on = data[data[:, 2] > 0.5]
    weekend = np.isin((on[:, 0] // DAY).astype(int) % 7, (2, 3))
    wave = np.asarray(basis(on[:, 0] % DAY))
    curve = np.where(weekend, habits[:, 1] @ wave, habits[:, 0] @ wave)  # (group, row)
    usual = share_of_groups() @ (group_means()[:, None] * curve)
    share = weights @ usual / usual.sum(axis=0)
    level, q, power = on[:, 1], on[:, 3], on[:, 5]
    total = q - on[:, 4]
    # K q^2 = H0 - h + r D  is linear in (H0, K, r) once divided by K.
    X = np.stack([np.ones(len(on)), -level, share * total], axis=1)
    # The measured total holds the flow meter's own noise, which would bias r upwards; the usual total does not.
    Z = np.stack([np.ones(len(on)), -level, weights @ usual * REFERENCE], axis=1)
    a, b, c = np.linalg.solve(Z.T @ X, Z.T @ q**2)
    K, H0, r = 1 / b, a / b, c / b
    model = np.sqrt((H0 - level + r * share * total) / K)
    A, B = nameplate()
    hydraulic = 9810.0 * model * (A - B * model**2)
    efficiency = float((hydraulic @ hydraulic) / (hydraulic @ power))
    print(
        f"pump: flow residual {1e3 * np.std(q - model):.2f} L/s, power {np.std(power - hydraulic / efficiency):.0f} W"
    )
    return {"H0": float(H0), "K": float(K), "r": float(r), "efficiency": efficiency}


def nameplate() -> tuple[float, float]:
    """A (m) and B (s^2/m^5) of the pump curve H = A - B Q^2 through its one nameplate point, as EPANET draws it.

    Shut-off head 4/3 of the rated head 250 ft, zero head at twice the rated flow 1,500 gpm.
    """
    head, flow = 250 * 0.3048, 1500 * 6.30902e-5
    return 4 / 3 * head, head / 3 / flow**2


def basis(t: Any) -> jnp.ndarray:
    """1, cos k w t, sin k w t for k = 1 .. HARMONICS over a day: (2 HARMONICS + 1, ...)."""
    k = jnp.arange(1, HARMONICS + 1)
    angle = jnp.multiply.outer(k, 2 * jnp.pi * t / DAY)
    return jnp.concatenate([jnp.ones_like(angle[:1]), jnp.cos(angle), jnp.sin(angle)])


def bins(data: np.ndarray) -> dict[str, np.ndarray]:
    """Means by kind of day, quarter of an hour and pump state: t (s of the day), weekend, pump, q, total, head."""
    cells: dict[tuple, list] = defaultdict(list)
    for row in data:
        day = int(row[0] // DAY) % 7
        cells[int(day in (2, 3)), int(row[0] % DAY // 900), int(row[2])].append(row)
    rise = np.array([(850 - ELEVATION[g]) * 0.3048 for g in GAUGES])
    out: dict[str, list] = defaultdict(list)
    for (weekend, _, pump), rows in cells.items():
        mean, n = np.mean(rows, axis=0), len(rows)
        out["weekend"].append(weekend)
        out["t"].append(np.mean([row[0] % DAY for row in rows]))
        out["pump"].append(mean[3] if pump else 0.0)
        out["total"].append((mean[3] if pump else 0.0) - mean[4])
        out["head"].append(mean[6:] - mean[1] - rise)
        out["n"].append(n)
    return {k: np.array(v) for k, v in out.items()}


def group_means() -> np.ndarray:
    """Billed mean demand (6,) of each group in units of the reference flow."""
    return np.array([sum(BILLED[n] for n in nodes) for nodes in GROUPS.values()]) / 69.4


def share_of_groups() -> np.ndarray:
    """(junction, group): how a group's demand falls on its junctions."""
    return np.array([
        [BILLED[n] / sum(BILLED[m] for m in nodes) if n in nodes else 0.0 for nodes in GROUPS.values()]
        for n in JUNCTIONS
    ])  # fmt: skip


def fit_habits(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (group, kind of day, basis) and the three roughness factors (trunk, mains, branch)."""
    b = bins(data)
    names = list(GROUPS)
    base, share = group_means(), share_of_groups()
    gauges = [JUNCTIONS.index(g) for g in GAUGES]
    X = basis(b["t"])
    weight = jnp.sqrt(b["n"])
    size = 2 * HARMONICS + 1
    heads = jax.vmap(lambda pump, d, rough: solve(pump, d, jnp.ones(3), rough), in_axes=(0, 1, None))

    def model(theta: jnp.ndarray) -> tuple[jnp.ndarray, jnp.ndarray]:
        C = theta[3:].reshape(len(names), 2, size)
        curve = jnp.where(b["weekend"] == 1, C[:, 1] @ X, C[:, 0] @ X)  # (group, bin)
        d = share @ (base[:, None] * curve)
        return jnp.sum(d, axis=0), heads(b["pump"] / REFERENCE, d, theta[:3])[:, np.array(gauges)]

    def residual(theta: jnp.ndarray) -> jnp.ndarray:
        total, head = model(theta)
        C = theta[3:].reshape(len(names), 2, size)
        spread = 0.06  # of one reading about its bin's mean: day to day and noise
        return jnp.concatenate([
            (weight * (total - b["total"] / REFERENCE) / spread),
            (weight[:, None] * (head - b["head"]) / 0.35).ravel(),
            (C[:, 0, 0] - 1.0) / 0.01,  # the bills
            (C[:, 1, 0] - C[:, 0, 0]) / 0.05,
            (C[:, :, 1:] / 0.5).ravel(),
            (theta[:3] - 1.0) / 0.3,
        ])  # fmt: skip

    start = np.zeros(3 + len(names) * 2 * size)
    start[:3] = 1.0
    C0 = start[3:].reshape(len(names), 2, size)
    C0[:, :, 0] = 1.0
    theta = _gauss_newton(residual, jnp.asarray(start))
    total, head = model(theta)
    print(f"habits: total residual {69.4 * np.std(total - b['total'] / REFERENCE):.2f} L/s,",
          f"head residuals {np.round(np.std(head - b['head'], axis=0), 3)} m")  # fmt: skip
    return np.asarray(theta[3:]).reshape(len(names), 2, size), np.asarray(theta[:3])


def _gauss_newton(residual: Any, theta: jnp.ndarray, iterations: int = 25) -> jnp.ndarray:
    """Levenberg-Marquardt on a smooth residual."""
    jacobian, residual = jax.jit(jax.jacfwd(residual)), jax.jit(residual)
    damping, cost = 1e-3, float(jnp.sum(residual(theta) ** 2))
    for _ in range(iterations):
        J, r = jacobian(theta), residual(theta)
        H = J.T @ J
        step = jnp.linalg.solve(H + damping * jnp.diag(jnp.diag(H)), J.T @ r)
        new = float(jnp.sum(residual(theta - step) ** 2))
        if new < cost:
            theta, damping = theta - step, damping / 5
            if cost - new < 1e-9 * cost:
                break
            cost = new
        else:
            damping *= 10
    return theta


def main() -> None:
    """Fit and write `fitted.py`."""
    data = records()
    weights = relief()
    habits, rough = fit_habits(data)
    pump = fit_pump(data, habits, weights)
    print("roughness factors", np.round(rough, 3), "->  C =", np.round(100 / rough ** (1 / 1.852), 1))
    lines = ['"""Fitted by `python -m pollux.twins.water.fit`; do not edit."""', "", "# fmt: off"]
    lines += [f"{name.upper() if len(name) > 1 else name} = {value:.8g}" for name, value in pump.items()]
    lines += [f"RELIEF = ({', '.join(f'{w:.4g}' for w in weights)})"]
    lines += [f"TRUNK, MAINS, BRANCH = {rough[0]:.6g}, {rough[1]:.6g}, {rough[2]:.6g}", "HABITS = ("]
    for part, name in zip(habits, GROUPS, strict=True):
        lines += [f"    (  # {name}"]
        for row in part:
            text = ", ".join(f"{v:.4g}" for v in row)
            lines += [f"        ({wrapped})," for wrapped in ["\n         ".join(textwrap.wrap(text, 100))]]
        lines += ["    ),"]
    lines += [
        ")",
        '"""[group][working day, weekend][1, cos 1..8, sin 1..8] of the turn of a day from midnight UTC."""',
        "",
    ]
    Path(__file__).with_name("fitted.py").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
