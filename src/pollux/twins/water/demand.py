"""The hidden demand of the plant's customers: what the twin has to find out and never sees.

Demand of node i at time t, in L/s:

    d_i(t) = base_i * shape_i(t) * (1 + day(t)) * (1 + common(t) + own_i(t))

`base_i` is Net1's own base demand. `shape_i` is a daily curve with a morning and an evening peak whose timing
differs by node and on weekends; it belongs to the city, so it is the same for every seed. `day` is a
first-order autoregression over days, `common` and `own_i` over steps; these are the seed's.

Net1's own pattern (2-hour steps, least demand at 19:00, 1.4 times the mean at 05:00) is a textbook pattern,
not a city's; it is replaced because a night tariff against it would be a caricature. The mean flow stays
Net1's 69.4 L/s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DAY = 86400.0
SPREAD_DAY, CORRELATION_DAY = 0.04, 0.6
SPREAD_COMMON, TIME_COMMON = 0.03, 4 * 3600.0
SPREAD_OWN, TIME_OWN = 0.08, 3600.0


@dataclass(frozen=True)
class Curve:
    """A node's daily habit:

    clock hours of the two peaks, their heights over a flat base, and their widths in hours.
    """

    morning: float
    evening: float
    height_morning: float
    height_evening: float
    width: float = 1.9
    noon: float = 0.45


# Residential in the south (31, 32) and the west (11, 21), offices and shops in the centre (12, 22), mixed in
# the east.
CITY: dict[str, Curve] = {
    "11": Curve(7.2, 19.6, 1.00, 0.85),
    "12": Curve(8.4, 18.2, 0.80, 0.55, 2.4, 0.75),
    "13": Curve(7.6, 19.0, 0.90, 0.80),
    "21": Curve(7.3, 19.8, 1.00, 0.90),
    "22": Curve(8.6, 18.0, 0.75, 0.55, 2.4, 0.80),
    "23": Curve(7.8, 18.8, 0.90, 0.75, 2.0, 0.55),
    "31": Curve(7.0, 19.9, 1.10, 0.95, 1.7, 0.35),
    "32": Curve(6.8, 20.2, 1.15, 1.00, 1.7, 0.35),
}
FLOOR = 0.42
WEEKEND_SHIFT, WEEKEND_LEVEL = 1.3, 1.03


def _bump(hour: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Periodic bell of height 1 (von Mises shape), `width` its standard deviation in hours."""
    angle = 2 * np.pi * (hour - centre) / 24
    return np.exp((np.cos(angle) - 1) * (24 / (2 * np.pi * width)) ** 2)


def shape(curve: Curve, t: np.ndarray) -> np.ndarray:
    """Daily curve at event time `t` (s since 1970 UTC): mean 1 over a working day, dimensionless."""

    def raw(hour: np.ndarray, shift: float) -> np.ndarray:
        return (
            FLOOR
            + curve.height_morning * _bump(hour, curve.morning + shift, curve.width)
            + curve.height_evening * _bump(hour, curve.evening, curve.width)
            + curve.noon * _bump(hour, 13.0, 3.0)
        )

    mean = raw(np.arange(0, 24, 0.05), 0.0).mean()
    hour = (t % DAY) / 3600
    # 1970-01-01 was a Thursday; days 2 and 3 after it were a weekend.
    weekend = np.isin((t // DAY).astype(int) % 7, (2, 3))
    return np.where(weekend, WEEKEND_LEVEL * raw(hour, WEEKEND_SHIFT), raw(hour, 0.0)) / mean


class Demand:
    """Demand per node, drawn a day ahead at a time so that a run of any length needs bounded memory."""

    def __init__(self, nodes: Sequence[str], base: np.ndarray, start: float, step: float, seed: int):
        self._nodes, self._base, self._step = tuple(nodes), base, step
        # Philox under a seed sequence: independent of the instruments' noise under the same seed.
        self._rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1])))
        self._day = (SPREAD_DAY * self._rng.standard_normal(), SPREAD_DAY * self._rng.standard_normal())
        self._common = SPREAD_COMMON * self._rng.standard_normal()
        self._own = SPREAD_OWN * self._rng.standard_normal(len(base))
        self._begin, self._steps_a_day = start, round(DAY / step)
        self._block = self._draw(start)

    def _draw(self, begin: float) -> np.ndarray:
        n, m = self._steps_a_day, len(self._nodes)
        t = begin + self._step * np.arange(n)
        a, b = self._day
        day = a + (b - a) * np.arange(n) / n
        fresh = np.sqrt(1 - CORRELATION_DAY**2) * SPREAD_DAY * self._rng.standard_normal()
        self._day = (b, CORRELATION_DAY * b + fresh)
        phi_c, phi_o = np.exp(-self._step / TIME_COMMON), np.exp(-self._step / TIME_OWN)
        noise_c = np.sqrt(1 - phi_c**2) * SPREAD_COMMON * self._rng.standard_normal(n)
        noise_o = np.sqrt(1 - phi_o**2) * SPREAD_OWN * self._rng.standard_normal((n, m))
        common, own = np.empty(n), np.empty((n, m))
        for k in range(n):
            common[k] = self._common = phi_c * self._common + noise_c[k]
            own[k] = self._own = phi_o * self._own + noise_o[k]
        curves = np.stack([shape(CITY[node], t) for node in self._nodes], axis=1)
        return self._base * curves * (1 + day[:, None]) * (1 + common[:, None] + own)

    def at(self, t: float) -> np.ndarray:
        """Demand of every node at time `t`, (node,), L/s.

        Times must not go back by more than the current day.
        """
        k = round((t - self._begin) / self._step)
        while k >= self._steps_a_day:
            self._begin += self._steps_a_day * self._step
            self._block = self._draw(self._begin)
            k -= self._steps_a_day
        if k < 0:
            raise ValueError(f"Demand is drawn forward only: asked for t = {t}, the current day began at {self._begin}")
        return self._block[k]
