"""The definition: what an engineer writes, what is refused, and what becomes of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pollux import LogNormal, Scalar, Signals, Twin, compile, const, flatten, param, part, var
from pollux.core.errors import DefinitionError, ShapeError


class Speed(Signals):
    w: Scalar = var("rad/s", start=1.0)


class Torque(Signals):
    tau: Scalar = var("N m", start=0.5)


class Meter(Signals):
    w: Scalar = var("rad/s", noise=0.01)


class Motor(Twin[Speed, Torque, Meter]):
    inertia: Scalar = param("kg m^2", 2.0)
    friction: Scalar = param("N m s", 0.1)

    def dynamics(self, t, x: Speed, u: Torque) -> Speed:
        return Speed(w=(u.tau - self.friction * x.w) / self.inertia)

    def observe(self, t, x: Speed, u: Torque) -> Meter:
        return Meter(w=x.w)


def test_flat_names_values_and_order(tank):
    space = flatten(tank)
    assert space.system.x_names == ("h", "T")
    assert space.system.u_names == ("q_in", "heat")
    assert space.system.y_names == ("level", "temp")
    assert space.system.p_names == ("A", "k", "UA", "rho_c", "ambient")
    assert space.system.margin_names == ("dry", "hot")
    np.testing.assert_array_equal(space.x0, [1.0, 293.15])
    np.testing.assert_allclose(space.Q, [1e-8, 1e-6])
    np.testing.assert_allclose(space.R, [2.5e-5, 0.04])
    assert [c.constant for c in space.p] == [False, False, False, True, True]


def test_flat_functions_equal_the_methods(tank, tank_class):
    space = flatten(tank)
    state, inputs, _ = tank_class.signals()
    x, u = np.array([0.7, 310.0]), np.array([0.02, 5e4])
    want = tank.dynamics(0.0, state(*x), inputs(*u))
    np.testing.assert_allclose(space.system.f(0.0, x, u, space.p0), [want.h, want.T], rtol=1e-14)


def test_parameter_value_changes_no_structure(tank, tank_class):
    a, b = flatten(tank), flatten(tank_class(UA=60.0))
    assert a.system == b.system
    assert hash(a.system) == hash(b.system)
    assert a.p0[2] != b.p0[2]


def test_other_definition_has_another_structure(tank):
    assert flatten(tank).system != flatten(Motor()).system


def test_rebuild_gives_the_twin_back(tank_class):
    space = flatten(tank_class(k=0.02))
    twin = space.rebuild(space.p0 * 1.0)
    assert float(twin.k) == 0.02


def test_learned_residual_is_a_field_and_gets_the_gradient(tank_class):
    state, _, _ = tank_class.signals()

    class Hybrid(tank_class):
        net: eqx.nn.MLP = eqx.field(default_factory=lambda: eqx.nn.MLP(2, 1, 8, 1, key=jax.random.key(0)))
        rate: Scalar = const("m/s", 1e-3)

        def dynamics(self, t, x, u):
            d = super().dynamics(t, x, u)
            features = jnp.stack([x.h / 1.0, x.T / 300.0])
            return state(h=d.h + self.rate * self.net(features)[0], T=d.T)

    space = compile(Hybrid()).space
    weights = [i for i, c in enumerate(space.p) if c.name.startswith("net.")]
    assert len(weights) == 2 * 8 + 8 + 8 + 1
    x, u = jnp.asarray(space.x0), jnp.asarray(space.u0)
    gradient = jax.grad(lambda p: space.system.f(0.0, x, u, p)[0])(jnp.asarray(space.p0))
    assert np.count_nonzero(np.asarray(gradient)[weights]) > 8


def test_sub_twin_and_its_signals_are_fields():
    class RigState(Signals):
        left: Speed = part(Speed)
        right: Speed = part(Speed)

    class RigMeter(Signals):
        slip: Scalar = var("rad/s", noise=0.02)

    class Rig(Twin[RigState, Torque, RigMeter]):
        left: Motor = Motor(inertia=1.0)
        right: Motor = Motor(inertia=4.0)

        def dynamics(self, t, x, u):
            return RigState(left=self.left.dynamics(t, x.left, u), right=self.right.dynamics(t, x.right, u))

        def observe(self, t, x, u):
            return RigMeter(slip=x.left.w - x.right.w)

    space = compile(Rig()).space
    assert space.system.x_names == ("left.w", "right.w")
    assert space.system.p_names == ("left.inertia", "left.friction", "right.inertia", "right.friction")
    assert space.p[0].unit == "kg m^2"
    np.testing.assert_allclose(space.system.f(0.0, space.x0, space.u0, space.p0), [0.4, 0.1])


def test_shaped_state():
    class Rod(Signals):
        T: Scalar = var("K", start=300.0, shape=(3,), drift=0.1)

    class Ends(Signals):
        T: Scalar = var("K", start=310.0)

    class Mid(Signals):
        T: Scalar = var("K", noise=0.1)

    class Heat(Twin[Rod, Ends, Mid]):
        a: Scalar = param("1/s", 0.2)

        def dynamics(self, t, x, u):
            padded = jnp.concatenate([jnp.stack([u.T]), x.T, jnp.stack([u.T])])
            return Rod(T=self.a * (padded[2:] - 2 * x.T + padded[:-2]))

        def observe(self, t, x, u):
            return Mid(T=x.T[1])

    space = compile(Heat()).space
    assert space.system.x_names == ("T[0]", "T[1]", "T[2]")
    np.testing.assert_allclose(space.system.f(0.0, space.x0, space.u0, space.p0), [2.0, 0.0, 2.0])


def test_discrete_twin():
    class Counter(Twin[Speed, Torque, Meter]):
        period = 2.0
        gain: Scalar = param("rad/s/(N m)", 0.5)

        def step(self, t, x, u):
            return Speed(w=x.w + self.gain * u.tau)

        def observe(self, t, x, u):
            return Meter(w=x.w)

    kernels = compile(Counter())
    s = kernels.space
    (x,) = kernels.flow(0.0, 2.0, s.x0, s.u0, s.p0)
    np.testing.assert_allclose(x, [1.25])


def test_refused_field_without_var():
    with pytest.raises(DefinitionError, match="'h'"):

        class Wrong(Signals):
            h: float = 1.0


def test_refused_start_outside_bounds():
    with pytest.raises(DefinitionError, match="start"):
        var("m", start=5.0, within=(0.0, 1.0))


def test_refused_twin_without_signals():
    class Nameless(Twin):
        pass

    with pytest.raises(DefinitionError, match="must name its signals"):
        Nameless.signals()


def test_refused_without_dynamics():
    class Still(Twin[Speed, Torque, Meter]):
        def observe(self, t, x, u):
            return Meter(w=x.w)

    with pytest.raises(DefinitionError, match="must define `dynamics`"):
        flatten(Still())


def test_refused_wrong_record(tank_class):
    class Mixed(Motor):
        def dynamics(self, t, x, u):
            return Meter(w=x.w)

    with pytest.raises(ShapeError, match="must return `Speed`"):
        flatten(Mixed())


def test_refused_shape():
    class Wide(Motor):
        def dynamics(self, t, x, u):
            return Speed(w=jnp.zeros(2))

    with pytest.raises(ShapeError, match="shape"):
        flatten(Wide())


def test_refused_not_finite():
    class Singular(Motor):
        def dynamics(self, t, x, u):
            return Speed(w=jnp.log(x.w - 1.0))

    with pytest.raises(ShapeError, match="finite at the start values"):
        flatten(Singular())


def test_refused_parameter_outside_its_bounds():
    with pytest.raises(DefinitionError, match="within"):
        param("1", 2.0, within=(0.0, 1.0))


def test_prior_needs_a_positive_deviation():
    with pytest.raises(ValueError, match="positive"):
        LogNormal(0.0)
