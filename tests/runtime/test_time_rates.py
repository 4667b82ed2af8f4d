"""From 1 kHz to daily in one twin, through the real fold: a filter over the merged events, and the textbook's."""

import asyncio

import numpy as np
import pytest
from scipy.linalg import expm

from pollux.core.signals import Readings
from pollux.runtime import build
from pollux.runtime.binding import bind
from pollux.runtime.wiring import read_wiring

from .time_bench import Run, Twin, bits

T0 = 1.7e9
HOUR, DAY = 3600.0, 86400.0
K = 2e-5
TWIN = f'''
"""Two stores that exchange heat slowly."""
from pollux import Scalar, Signals, Twin, param, var


class State(Signals):
    a: Scalar = var("K", start=300.0, spread=5.0, within=(200.0, 400.0), drift=1e-3)
    b: Scalar = var("K", start=290.0, spread=5.0, within=(200.0, 400.0), drift=1e-3)


class Input(Signals):
    q: Scalar = var("K/s", start=0.0, within=(-1.0, 1.0))


class Sensors(Signals):
    fast: Scalar = var("K", noise=0.5)
    second: Scalar = var("K", noise=0.2)
    hourly: Scalar = var("K", noise=0.1)
    daily: Scalar = var("K", noise=0.01)


class Stores(Twin[State, Input, Sensors]):
    """da/dt = q + k (b - a), db/dt = k (a - b)."""

    k: Scalar = param("1/s", {K})

    def dynamics(self, t, x, u):
        return State(a=u.q + self.k * (x.b - x.a), b=self.k * (x.a - x.b))

    def observe(self, t, x, u):
        return Sensors(fast=x.a, second=x.a, hourly=x.b, daily=x.b)
'''
WIRING = """
[project]
name = "rates"

[connector.field]
kind = "memory"

[[twin]]
name = "stores"
definition = "twin.py:Stores"
period = 0.001
pulse = {pulse}
lag = 0.05
jump = 1e6
mirror = {{ gate = 0.0, dt_max = 600.0 }}
"""
RATES = {"fast": 0.001, "second": 1.0, "hourly": HOUR, "daily": DAY}


def make(folder, pulse):
    folder.mkdir()
    (folder / "twin.py").write_text(TWIN)
    tags = "".join(f'\n[[twin.tag]]\ntag = "{n}"\nauthority = "src-{n}"\nperiod = {p}\n' for n, p in RATES.items())
    (folder / "pollux.toml").write_text(WIRING.format(pulse=pulse) + tags)
    wiring = read_wiring(folder).twins[0]
    base = build.foundation(wiring, build.blueprint_of(wiring, folder))
    return Twin(base, bind(wiring, base.space.y, base.space.u))


def events():
    """1 kHz for 0.4 s in the second hour, a value a second for two minutes around it, hourly, daily: two days."""
    rng = np.random.default_rng(7)
    t = {
        0: T0 + HOUR + 60 + np.arange(400) / 1000,
        1: T0 + HOUR + np.arange(120.0),
        2: T0 + HOUR * np.arange(1, 49),
        3: T0 + DAY * np.arange(1, 3),
    }
    noise = {0: 0.5, 1: 0.2, 2: 0.1, 3: 0.01}
    rows = [(p, float(x), 297.0 + noise[p] * rng.standard_normal()) for p, times in t.items() for x in times]
    return sorted(rows, key=lambda row: (row[1], row[0]))


def shuffled(rows, rng):
    """Every row up to 50 ms late; the same order for those that are further apart."""
    return [row for *_, row in sorted((row[1] + 0.05 * rng.random(), rng.random(), row) for row in rows)]


async def folded(twin, rows):
    run = Run(twin)
    for k in range(0, len(rows), 100):
        await run.feed(rows[k : k + 100])
    return run


def merged(twin, rows):
    """The mirror over the list of all events, merged by time."""
    mirror, found, belief = twin.base.mirror, {}, None
    ticks: dict[int, np.ndarray] = {}
    for port, t, value in rows:
        ticks.setdefault(round(t * 1000), np.full(4, np.nan))[port] = value
    for k, values in sorted(ticks.items()):
        belief = mirror.start(k * 0.001) if belief is None else belief
        belief = mirror.update(belief, Readings("stores", k * 0.001, "r", "", values, np.full(1, np.nan)))
        found[k] = belief
    return found


def textbook(rows):
    """Kalman's filter with exact discretisation (Van Loan 1978), one scalar reading after the other."""
    A, Q, H = np.array([[-K, K], [K, -K]]), 1e-6 * np.eye(2), np.array([[1, 0], [1, 0], [0, 1], [0, 1.0]])
    R = np.array([0.5, 0.2, 0.1, 0.01]) ** 2
    x, P, now = np.array([300.0, 290.0]), 25.0 * np.eye(2), rows[0][1]
    for port, t, value in rows:
        dt, now = t - now, t
        block = expm(np.block([[-A, Q], [np.zeros((2, 2)), A.T]]) * dt)
        F = block[2:, 2:].T
        x, P = F @ x, F @ P @ F.T + F @ block[:2, 2:]
        h = H[port]
        gain = P @ h / (h @ P @ h + R[port])
        x, P = x + gain * (value - h @ x), P - np.outer(gain, h @ P)
    return x, P


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return make(tmp_path_factory.mktemp("rates") / "p", pulse=1e9)


def test_every_rate_in_one_twin_is_the_filter_over_the_merged_events(twin):
    """Bit for bit at every event, in whatever order within the lag, at times around 1.7e9 s with a grid of 1 ms."""
    rows = events()
    expected = {k: bits(b) for k, b in merged(twin, rows).items()}
    last = round(rows[-1][1] * 1000)
    for seed in (0, 1):
        order = rows if seed == 0 else shuffled(rows, np.random.default_rng(seed))
        run = asyncio.run(folded(twin, [*order, *[(p, rows[-1][1] + 60.0, np.nan) for p in range(4)]]))
        assert not run.late
        found = {round(t * 1000): b for t, b in run.beliefs.items() if round(t * 1000) <= last}
        assert found == expected
    assert len(expected) == 120 + 400 + 48 - 1 - 1  # events at the same instant are one step


def test_it_is_the_textbooks_filter(twin):
    rows = events()
    belief = list(merged(twin, rows).values())[-1]
    x, P = textbook(rows)
    np.testing.assert_allclose(belief.mean, x, rtol=1e-6)
    np.testing.assert_allclose(belief.cov, P, rtol=2e-3)


def test_a_pulse_shows_silence_and_changes_the_estimate_by_rounding_only(tmp_path):
    """With a tick every ten minutes of silence (at most 60 in a row), the same estimate to nine digits."""
    twin, rows = make(tmp_path / "p", pulse=600.0), events()
    run = asyncio.run(folded(twin, [*rows, (0, rows[-1][1] + 60.0, np.nan)]))
    x, _ = textbook(rows)
    times = sorted(t for t in run.beliefs if t <= rows[-1][1])
    assert 560 < len(times) < 560 + 6 * 48 + 10
    np.testing.assert_allclose(np.frombuffer(run.beliefs[times[-1]][0]), x, rtol=1e-6)
