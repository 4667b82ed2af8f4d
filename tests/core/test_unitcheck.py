"""Units are checked against the equations: planted errors are found, with the line, and honest code passes."""

import jax
import jax.numpy as jnp
import pytest

from pollux import Scalar, Signals, Twin, const, param, var
from pollux.core.errors import UnitError
from pollux.core.unitcheck import check_units


class Level(Signals):
    h: Scalar = var("m", start=1.0)


class Flow(Signals):
    q: Scalar = var("m^3/s", start=0.1)


class Gauge(Signals):
    p: Scalar = var("Pa", noise=10.0)


class Tank(Twin[Level, Flow, Gauge]):
    A: Scalar = param("m^2", 2.0)
    a: Scalar = param("m^2", 0.01)
    g: Scalar = const("m/s^2", 9.81)
    rho: Scalar = const("kg/m^3", 1000.0)

    def outflow(self, h):
        return self.a * jnp.sqrt(2 * self.g * jnp.maximum(h, 0.0))

    def dynamics(self, t, x, u):
        return Level(h=(u.q - self.outflow(x.h)) / self.A)

    def observe(self, t, x, u):
        return Gauge(p=self.rho * self.g * x.h)


def planted(**methods):
    return type("Planted", (Tank,), methods)()


def test_honest_equations_pass(tank):
    check_units(tank)
    check_units(Tank())


@pytest.mark.parametrize(
    "equation",
    [
        lambda s, t, x, u: Level(h=(u.q - s.a * 2 * s.g * x.h) / s.A),
        lambda s, t, x, u: Level(h=(u.q - s.outflow(x.h))),
        lambda s, t, x, u: Level(h=jnp.exp(x.h) * u.q / s.A),
        lambda s, t, x, u: Level(h=jnp.where(x.h > s.A, u.q / s.A, 0.0)),
        lambda s, t, x, u: Level(h=(u.q / s.A) ** x.h),
        lambda s, t, x, u: Level(h=jax.lax.cond(x.h > 1.0, lambda: u.q, lambda: u.q / s.A)),
    ],
    ids=["sum", "result", "exp", "compare", "power", "branches"],
)
def test_planted_error_is_found_with_its_line(equation):
    with pytest.raises(UnitError) as error:
        check_units(planted(dynamics=equation))
    assert "test_unitcheck.py:" in str(error.value)
    assert str(error.value).count("[") >= 1


def test_observation_is_checked():
    with pytest.raises(UnitError, match="'p'"):
        check_units(planted(observe=lambda s, t, x, u: Gauge(p=s.rho * x.h)))


def test_scale_counts_as_much_as_dimension():
    class Hours(Tank):
        leak: Scalar = param("m^3/h", 1.0)

        def dynamics(self, t, x, u):
            return Level(h=(u.q - self.leak) / self.A)

    with pytest.raises(UnitError, match="sub"):
        check_units(Hours())


def test_conversion_by_a_constant_passes():
    class Hours(Tank):
        leak: Scalar = param("m^3/h", 1.0)
        hour: Scalar = const("s/h", 3600.0)

        def dynamics(self, t, x, u):
            return Level(h=(u.q - self.leak / self.hour) / self.A)

    check_units(Hours())


def test_goal_is_walked_too():
    with pytest.raises(UnitError):
        check_units(planted(goal=lambda s, t, x, u: x.h + u.q))
