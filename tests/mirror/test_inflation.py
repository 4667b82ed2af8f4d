"""Inflation that every state learns for itself: on Lorenz's ring, whose model is wrong in one half or nowhere."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pollux import (
    AdaptiveInflation,
    Etkf,
    Letkf,
    NoInput,
    Scalar,
    Signals,
    Twin,
    flatten,
    localisation,
    param,
    var,
)
from pollux.core.errors import InputError
from pollux.mirror.ensemble import Members, predicted
from pollux.mirror.inflation import learning
from pollux.mirror.method import remember
from pollux.model.rk4 import rk4

SITES, T, SETTLED = 40, 400, 200
PLACES = np.arange(float(SITES))
NEAR = localisation(PLACES, PLACES, 4.0, around=SITES)
WRONG = PLACES >= SITES // 2
INSIDE, FAR = slice(26, 37), slice(8, 17)
"""Well within the wrong half, and as far from it as the ring, whose errors travel, allows."""


class Ring(Signals):
    x: Scalar = var("1", start=8.0, spread=1.0, shape=(SITES,))


class Seen(Signals):
    y: Scalar = var("1", noise=1.0, shape=(SITES,))


class Atmosphere(Twin[Ring, NoInput, Seen]):
    """Lorenz (1996)."""

    F: Scalar = param("1", 8.0)

    def dynamics(self, t: Scalar, x: Ring, u: NoInput) -> Ring:
        z = jnp.asarray(x.x)
        return Ring(x=(jnp.roll(z, -1) - jnp.roll(z, 2)) * jnp.roll(z, 1) - z + self.F)

    def observe(self, t: Scalar, x: Ring, u: NoInput) -> Seen:
        return Seen(y=x.x)


SPACE = flatten(Atmosphere())
NOTHING = jnp.zeros(0)


@cache
def truth(missing):
    """(states, readings) of a ring that is driven by `missing` more than its model knows, in the wrong half."""
    g = np.random.default_rng(5)
    flow = rk4(SPACE.system.f, 1)

    def step(x, _):
        x = flow(0.0, 0.05, x, NOTHING, jnp.asarray(SPACE.p0)) + 0.05 * missing * WRONG
        return x, x

    X = np.asarray(jax.lax.scan(step, jnp.asarray(8 + g.standard_normal(SITES)), None, length=T + 100)[1])[100:]
    return X, X + g.standard_normal(X.shape)


@cache
def walker(method):
    """Compiled (first state, readings) -> (factors, means)."""
    carry = method.carry(SPACE.system, 1, *SPACE.bounds("x"))

    def step(state, y):
        args = NOTHING, NOTHING, y, jnp.ones(SITES), jnp.inf, SPACE.p0, 0 * SPACE.Q, jnp.asarray(SPACE.R)
        state, out = carry(0.0, 0.05, state, *args)
        return state, (state.inflation, out[0])

    return jax.jit(lambda state, y: jax.lax.scan(step, state, y)[1])


@cache
def run(method, missing):
    """(factors, means) of a filter over the whole record."""
    X, y = truth(missing)
    factors, means = walker(method)(method.start(X[0], np.eye(SITES)), y)
    return np.asarray(factors), np.asarray(means)


LOCAL = Letkf(10, NEAR, AdaptiveInflation(sd=0.1, local=NEAR), seed=1)
GLOBAL = Letkf(10, NEAR, AdaptiveInflation(), seed=1)


def rmse(means, missing, where):
    return np.sqrt(np.mean((means - truth(missing)[0])[SETTLED:, where] ** 2))


def test_a_right_model_keeps_every_factor_near_one():
    factors, means = run(LOCAL, 0.0)
    settled = factors[SETTLED:].mean(0)
    assert settled.shape == (SITES,)
    assert 0.97 < settled.min() <= settled.max() < 1.06
    assert rmse(means, 0.0, slice(None)) < 0.3


def test_a_model_that_is_wrong_in_one_half_is_inflated_there():
    factors, means = run(LOCAL, 3.0)
    settled = factors[SETTLED:].mean(0)
    assert settled[INSIDE].min() > 1.2
    assert settled[FAR].max() < 1.1
    assert rmse(means, 3.0, slice(None)) < 0.6


def test_one_factor_for_all_pays_where_the_model_is_right():
    right = slice(5, 17)
    local, one = run(LOCAL, 3.0)[1], run(GLOBAL, 3.0)[1]
    assert rmse(local, 3.0, right) < 0.85 * rmse(one, 3.0, right)


def test_equal_weights_are_one_factor():
    flat = localisation(np.zeros(SITES), np.zeros(SITES), 1.0)
    one, many = (Etkf(12, AdaptiveInflation(local=local), rotate=False) for local in (None, flat))
    g = np.random.default_rng(2)
    E, y = 8 + g.standard_normal((12, SITES)), 8 + 2 * g.standard_normal(SITES)
    y[::3] = np.nan
    args = NOTHING, NOTHING, y, np.ones(SITES), np.inf, SPACE.p0, 0 * SPACE.Q, SPACE.R

    def after(method, factor):
        state = Members(jnp.asarray(E), factor, jnp.zeros(()), jnp.zeros(()))
        return jax.jit(method.carry(SPACE.system, 1, *SPACE.bounds("x")))(0.0, 0.0, state, *args)[0]

    a, b = after(one, jnp.asarray(1.1)), after(many, jnp.full(SITES, 1.1))
    assert float(a.inflation) > 1.1
    np.testing.assert_allclose(b.inflation, float(a.inflation), rtol=1e-13)
    np.testing.assert_allclose(a.E, b.E, rtol=1e-12)


def test_a_state_that_no_sensor_reaches_keeps_its_factor():
    half = localisation(PLACES, np.where(WRONG, 1e6, PLACES), 1.0)
    learn = learning(AdaptiveInflation(start=1.5, local=half), SPACE.system)
    g = np.random.default_rng(3)
    E, y = jnp.asarray(g.standard_normal((12, SITES))), jnp.asarray(3 * g.standard_normal(SITES))
    new = learn(jnp.full(SITES, 1.5), predicted(E, E, y, jnp.ones(SITES), jnp.inf, jnp.asarray(SPACE.R)))
    assert np.all(np.asarray(new)[PLACES > 25] == 1.5)
    assert np.all(np.asarray(new)[:18] != 1.5)


def test_a_belief_remembers_every_factor():
    assert remember(Etkf(5, AdaptiveInflation(local=NEAR)).start(SPACE.x0, np.eye(SITES))).shape == (6 * SITES + 2,)


def test_weights_of_another_size_are_refused():
    small = localisation(np.zeros(3), np.zeros(3), 1.0)
    with pytest.raises(InputError, match="weights of shape"):
        Etkf(5, AdaptiveInflation(local=small)).carry(SPACE.system, 1, *SPACE.bounds("x"))
