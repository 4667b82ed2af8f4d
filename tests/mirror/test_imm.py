"""Interacting multiple models: limits, a textbook step, and a leak found and lost again."""

import jax
import jax.numpy as jnp
import numpy as np
import plants
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal

from pollux import Ekf, Imm, Mode, Record, Scalar, Signals, Twin, assimilate, flatten, param, var
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
    np.testing.assert_allclose(track.nis, plain.nis, atol=1e-9)
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
    xs, Ps, weights, ahead, Ss = [], [], [], [], []
    for j in range(M):
        share = Pi[:, j] * mu / c[j]
        x0 = share @ x
        P0 = sum(share[i] * (P[i] + np.outer(x[i] - x0, x[i] - x0)) for i in range(M))
        m, C = Fs[j] @ x0, Fs[j] @ P0 @ Fs[j].T + Qs[j]
        S = C + plants.R
        K = C @ np.linalg.inv(S)
        xs.append(m + K @ (y - m))
        Ps.append(C - K @ S @ K.T)
        ahead.append(m)
        Ss.append(S)
        weights.append(c[j] * multivariate_normal.pdf(y, m, S))
    mu = np.array(weights) / sum(weights)
    ahead, S = np.array(ahead), np.array(Ss)
    y_hat = c @ ahead
    S = sum(c[j] * (S[j] + np.outer(ahead[j] - y_hat, ahead[j] - y_hat)) for j in range(M))
    return np.array(xs), np.array(Ps), mu, np.log(sum(weights)), (y - y_hat) @ np.linalg.solve(S, y - y_hat), np.diag(S)


def test_a_step_equals_the_textbook():
    carry = jax.jit(BANK.carry(SPACE.system, 1, *SPACE.bounds("x")))
    g = np.random.default_rng(0)
    A = g.standard_normal((3, 2, 2))
    bank = Bank(
        jnp.asarray(g.standard_normal((3, 2))), jnp.asarray(A @ np.swapaxes(A, 1, 2)), jnp.array([0.5, 0.3, 0.2])
    )
    y = np.array([0.4, 0.2])
    new, (mean, cov, _, _, S_diag, _, nis, logdet) = carry(
        0.0, 1.0, bank, jnp.zeros(1), jnp.zeros(1), y, jnp.ones(2), jnp.inf, SPACE.p0, SPACE.Q, SPACE.R
    )
    x, P, mu, logp, expected, variance = textbook_step(bank, y, 1.0, 20.0)
    assert float(nis) == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(S_diag, variance, rtol=1e-12)
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


class Level(Signals):
    h: Scalar = var("m", start=1.0, drift=0.02, spread=0.3)


class Inflow(Signals):
    q: Scalar = var("m/s", start=0.05)


class Gauges(Signals):
    top: Scalar = var("m", noise=0.03)
    base: Scalar = var("kPa", noise=0.5)


class Valved(Twin[Level, Inflow, Gauges]):
    """A tank whose outlet valve is open or closed, with two gauges of one level."""

    period = 1.0
    opening: Scalar = param("1/s", 0.0)

    def step(self, t: Scalar, x: Level, u: Inflow) -> Level:
        return Level(h=x.h + u.q - self.opening * x.h)

    def observe(self, t: Scalar, x: Level, u: Inflow) -> Gauges:
        return Gauges(top=x.h, base=9.81 * x.h)


def test_a_valve_that_opens_is_the_textbook_over_a_record():
    """Bar-Shalom, Li and Kirubarajan, table 11.6.6-1, for scalars; NIS by the mixture's whole covariance."""
    T, h, C, q, dwell = 40, np.array([1.0, 9.81]), np.diag([0.03**2, 0.5**2]), 0.05, 25.0
    g = np.random.default_rng(4)
    level, y = 1.0, np.full((T, 2), np.nan)
    for k in range(1, T):
        level += q - (0.08 if k >= 20 else 0.0) * level + 0.02 * g.standard_normal()
        y[k] = h * level + np.sqrt(np.diag(C)) * g.standard_normal(2)
    modes = (Mode("closed"), Mode("open", (("opening", 0.08),)))
    record = Record(np.arange(float(T)), np.full((T, 1), q), y, ("q",), ("top", "base"))
    track = assimilate(Valved(), record, method=Imm(modes, dwell=dwell), gate=0.0)

    keep = (1 + np.exp(-2 / dwell)) / 2
    Pi = np.array([[keep, 1 - keep], [1 - keep, keep]])
    x, P, mu = np.ones(2), np.full(2, 0.09), np.full(2, 0.5)
    for k in range(1, T):
        c = Pi.T @ mu
        share = Pi * mu[:, None] / c
        x0 = share.T @ x
        P0 = np.array([share[:, j] @ (P + (x - x0[j]) ** 2) for j in range(2)])
        F = np.array([1.0, 0.92])
        m, V = F * x0 + q, F**2 * P0 + 0.02**2
        S = [V[j] * np.outer(h, h) + C for j in range(2)]
        likelihood = [multivariate_normal.pdf(y[k], h * m[j], S[j]) for j in range(2)]
        y_hat = h * (c @ m)
        nu = y[k] - y_hat
        whole = c @ np.array(S).reshape(2, -1)
        whole = whole.reshape(2, 2) + c @ (m - c @ m) ** 2 * np.outer(h, h)
        assert track.nis[k] == pytest.approx(nu @ np.linalg.solve(whole, nu), rel=1e-9)
        assert track.loglik[k] == pytest.approx(np.log(c @ likelihood), abs=1e-9)
        K = [V[j] * h @ np.linalg.inv(S[j]) for j in range(2)]
        x = np.array([m[j] + K[j] @ (y[k] - h * m[j]) for j in range(2)])
        P = np.array([V[j] - K[j] @ S[j] @ K[j] for j in range(2)])
        mu = c * likelihood / (c @ likelihood)
        assert track.mean[k, 0] == pytest.approx(mu @ x, rel=1e-10)
        assert track.cov[k, 0, 0] == pytest.approx(mu @ (P + (x - mu @ x) ** 2), rel=1e-9)
    assert mu[1] > 0.9


def test_settings_are_checked():
    with pytest.raises(InputError, match="two modes"):
        Imm((Mode("a"),), dwell=1.0)
    with pytest.raises(DefinitionError, match="nothing"):
        Imm((Mode("a"), Mode("b", (("nothing", 1.0),))), dwell=1.0).carry(SPACE.system, 1, *SPACE.bounds("x"))
