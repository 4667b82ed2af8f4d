"""Smoothers against batch least squares."""

import jax.numpy as jnp
import numpy as np
import plants
import pytest

from pollux import (
    Cubature,
    Enkf,
    Etkf,
    IteratedEkf,
    NoInput,
    Record,
    Scalar,
    Signals,
    SquareRootEkf,
    Twin,
    assimilate,
    smooth,
    var,
)
from pollux.core.errors import InputError

T = 40


@pytest.fixture(scope="module")
def cart():
    y, u = plants.drive(T, 5)
    return Record(np.arange(float(T)), u, y, ("a",), ("place", "speed"))


def batch(y, u):
    """Means (T, 2) and covariances (T, 2, 2) of all states given all readings, by one dense solve."""
    rows, right = [], []

    def add(blocks, value, sd):
        row = np.zeros((len(value), 2 * T))
        for k, M in blocks:
            row[:, 2 * k : 2 * k + 2] = M
        rows.append(row / sd[:, None])
        right.append(value / sd)

    add([(0, np.eye(2))], np.array([0.0, 0.5]), np.array([1.0, 0.3]))
    for k in range(1, T):
        add([(k, np.eye(2)), (k - 1, -plants.F)], plants.B * u[k - 1], np.sqrt(np.diag(plants.Q)))
    for k in range(T):
        seen = ~np.isnan(y[k])
        if seen.any():
            add([(k, np.eye(2)[seen])], y[k][seen], np.sqrt(np.diag(plants.R))[seen])
    A, b = np.concatenate(rows), np.concatenate(right)
    cov = np.linalg.inv(A.T @ A)
    x = (cov @ A.T @ b).reshape(T, 2)
    return x, np.stack([cov[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] for k in range(T)])


@pytest.mark.parametrize("method", [None, SquareRootEkf(), IteratedEkf(2)], ids=repr)
def test_the_smoother_is_batch_least_squares(cart, method):
    track = smooth(plants.Cart(), cart, method=method, gate=0.0)
    mean, cov = batch(cart.y, cart.u[:, 0])
    np.testing.assert_allclose(track.mean, mean, atol=1e-9)
    np.testing.assert_allclose(track.cov, cov, atol=1e-10)
    forward = assimilate(plants.Cart(), cart, gate=0.0)
    np.testing.assert_allclose(track.filtered, forward.mean, atol=1e-12)
    assert (track.sd <= forward.sd + 1e-12).all()


@pytest.mark.parametrize("method", [lambda N: Etkf(N, rotate=False, seed=2), lambda N: Enkf(N, seed=2)])
def test_the_ensemble_smoother_tends_to_it(cart, method):
    mean, cov = batch(cart.y, cart.u[:, 0])

    def error(members):
        track = smooth(plants.Cart(), cart, method=method(members), gate=0.0)
        return np.sqrt(np.mean((track.mean - mean) ** 2)), np.abs(track.cov - cov).max()

    few, many = error(20), error(640)
    assert many[0] < 0.025
    assert many[1] < 0.012
    assert many[0] < few[0] / 2.5


class Level(Signals):
    h: Scalar = var("m", start=1.0, drift=0.02, spread=0.3, within=(0.0, 5.0))


class Seen(Signals):
    y: Scalar = var("m", noise=0.05)


class Draining(Twin[Level, NoInput, Seen]):
    """Torricelli: continuous and nonlinear; gaps are crossed in pieces."""

    def dynamics(self, t: Scalar, x: Level, u: NoInput) -> Level:
        return Level(h=-0.1 * jnp.sqrt(jnp.maximum(x.h, 1e-9)))

    def observe(self, t: Scalar, x: Level, u: NoInput) -> Seen:
        return Seen(y=x.h)


def test_a_gap_is_bridged_with_honest_bands():
    g = np.random.default_rng(4)
    t = np.r_[np.arange(0.0, 3.0, 0.25), 6.0, 6.25, 6.5]
    inside, better = [], []
    for _ in range(12):
        h = [1.0 + 0.3 * g.standard_normal()]
        for dt in np.diff(t):
            z = h[-1]
            for _ in range(50):
                z += dt / 50 * -0.1 * np.sqrt(max(z, 0)) + 0.02 * np.sqrt(dt / 50) * g.standard_normal()
            h.append(z)
        h = np.array(h)
        y = h + 0.05 * g.standard_normal(len(h))
        record = Record(t, np.zeros((len(t), 0)), y[:, None], (), ("y",))
        track = smooth(Draining(), record, dt_max=0.5, gate=0.0)
        inside.append(np.abs(track.mean[:, 0] - h) < 1.96 * track.sd[:, 0])
        better.append((np.mean((track.mean[:, 0] - h) ** 2), np.mean((track.filtered[:, 0] - h) ** 2)))
    assert 0.88 < np.mean(inside) < 0.99
    smoothed, filtered = np.mean(better, axis=0)
    assert smoothed < 0.7 * filtered


def test_a_method_without_a_smoother_is_refused(cart):
    with pytest.raises(InputError, match="Cubature"):
        smooth(plants.Cart(), cart, method=Cubature())
