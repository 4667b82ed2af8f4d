"""Interacting multiple models: limits, a textbook step, and a leak found and lost again."""

import jax
import jax.numpy as jnp
import numpy as np
import plants
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal

from pollux import Ekf, Imm, Mode, Record, assimilate, flatten
from pollux.core.errors import DefinitionError, InputError
from pollux.mirror.imm import Bank

SPACE = flatten(plants.Cart())
BANK = Imm((Mode("free"), Mode("braked", (("c", 0.5),)), Mode("shaken", drift=5.0)), dwell=20.0)


def record(T=60, seed=1):
    y, u = plants.drive(T, seed)
    return Record(np.arange(float(T)), u, y, ("a",), ("place", "speed"))


def test_equal_modes_are_one_filter():
    same = Imm((Mode("a"), Mode("b")), dwell=5.0)
    track = assimilate(plants.Cart(), record(), method=same, gate=0.0)
    plain = assimilate(plants.Cart(), record(), method=Ekf(), gate=0.0)
    np.testing.assert_allclose(track.mean, plain.mean, atol=1e-12)
    np.testing.assert_allclose(track.cov, plain.cov, atol=1e-12)
    np.testing.assert_allclose(track.loglik, plain.loglik, atol=1e-10)


def textbook_step(bank, y, dt, dwell):
    """Bar-Shalom, Li and Kirubarajan, table 11.6.6-1, for linear modes."""
    M = 3
    rate = (np.ones((M, M)) / (M - 1) - np.eye(M) * (M / (M - 1))) / dwell
    Pi = expm(rate * dt)
    x, P, mu = (np.asarray(a) for a in bank)
    c = Pi.T @ mu
    Fs = [plants.F, np.array([[1.0, 1.0], [0.0, 0.5]]), plants.F]
    Qs = [plants.Q, plants.Q, 25 * plants.Q]
    xs, Ps, weights = [], [], []
    for j in range(M):
        share = Pi[:, j] * mu / c[j]
        x0 = share @ x
        P0 = sum(share[i] * (P[i] + np.outer(x[i] - x0, x[i] - x0)) for i in range(M))
        m, C = Fs[j] @ x0, Fs[j] @ P0 @ Fs[j].T + Qs[j]
        S = C + plants.R
        K = C @ np.linalg.inv(S)
        xs.append(m + K @ (y - m))
        Ps.append(C - K @ S @ K.T)
        weights.append(c[j] * multivariate_normal.pdf(y, m, S))
    mu = np.array(weights) / sum(weights)
    return np.array(xs), np.array(Ps), mu, np.log(sum(weights))


def test_a_step_equals_the_textbook():
    carry = jax.jit(BANK.carry(SPACE.system, 1, *SPACE.bounds("x")))
    g = np.random.default_rng(0)
    A = g.standard_normal((3, 2, 2))
    bank = Bank(
        jnp.asarray(g.standard_normal((3, 2))), jnp.asarray(A @ np.swapaxes(A, 1, 2)), jnp.array([0.5, 0.3, 0.2])
    )
    y = np.array([0.4, 0.2])
    new, (mean, cov, *_, nis, logdet) = carry(
        0.0, 1.0, bank, jnp.zeros(1), jnp.zeros(1), y, jnp.ones(2), jnp.inf, SPACE.p0, SPACE.Q, SPACE.R
    )
    x, P, mu, logp = textbook_step(bank, y, 1.0, 20.0)
    np.testing.assert_allclose(new.x, x, atol=1e-12)
    np.testing.assert_allclose(new.P, P, atol=1e-12)
    np.testing.assert_allclose(new.mu, mu, atol=1e-12)
    assert -0.5 * float(nis + logdet) - np.log(2 * np.pi) == pytest.approx(logp, abs=1e-10)
    np.testing.assert_allclose(mean, mu @ x, atol=1e-12)
    spread = sum(mu[j] * (P[j] + np.outer(x[j] - mean, x[j] - mean)) for j in range(3))
    np.testing.assert_allclose(cov, spread, atol=1e-12)


def test_the_right_mode_is_found_and_the_estimate_gains():
    """The brake is on from 60 to 120: its probability says so, and the mixture beats the filter without modes."""
    g = np.random.default_rng(2)
    x, truth, y = np.array([0.0, 0.5]), [], []
    for k in range(180):
        c = 0.5 if 60 <= k < 120 else 0.1
        x = (
            np.array([[1.0, 1.0], [0.0, 1 - c]]) @ x
            + np.array([0.0, 0.4])
            + np.array([0.02, 0.1]) * g.standard_normal(2)
        )
        truth.append(x)
        y.append(x + np.array([0.2, 0.1]) * g.standard_normal(2))
    truth, y = np.array(truth), np.array(y)
    data = Record(np.arange(180.0), np.full((180, 1), 0.4), y, ("a",), ("place", "speed"))
    bank = Imm(BANK.modes[:2], dwell=60.0)
    carry = jax.jit(bank.carry(SPACE.system, 1, *SPACE.bounds("x")))
    state, braked = bank.start(SPACE.x0, np.diag(SPACE.P0)), []
    for k in range(180):
        state, _ = carry(
            float(k), 1.0 if k else 0.0, state, data.u[k], data.u[k], y[k], jnp.ones(2), jnp.inf, SPACE.p0, SPACE.Q,
            SPACE.R,
        )  # fmt: skip
        braked.append(float(state.mu[1]))
    assert np.mean(braked[20:60]) < 0.2
    assert np.mean(braked[70:120]) > 0.8
    assert np.mean(braked[135:]) < 0.3
    with_modes = assimilate(plants.Cart(), data, method=bank, gate=0.0)
    without = assimilate(plants.Cart(), data, gate=0.0)
    assert np.mean((with_modes.mean - truth)[60:] ** 2) < 0.8 * np.mean((without.mean - truth)[60:] ** 2)
    assert with_modes.loglik.sum() > without.loglik.sum() + 10


def test_settings_are_checked():
    with pytest.raises(InputError, match="two modes"):
        Imm((Mode("a"),), dwell=1.0)
    with pytest.raises(DefinitionError, match="nothing"):
        Imm((Mode("a"), Mode("b", (("nothing", 1.0),))), dwell=1.0).carry(SPACE.system, 1, *SPACE.bounds("x"))
