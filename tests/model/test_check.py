"""`check`: a sound twin, and one flaw at a time."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from pollux import NoInput, Scalar, Signals, Twin, check, linearise, param, simulate, var
from pollux.model.check import Mark
from pollux.model.observability import observability


class Pair(Signals):
    a: Scalar = var("m", start=1.0, within=(0.0, 5.0), drift=1e-3)
    b: Scalar = var("m", start=1.0, within=(0.0, 5.0), drift=1e-3)


class Flow(Signals):
    q: Scalar = var("m/s", start=0.02, within=(0.0, 0.05))


class Second(Signals):
    b: Scalar = var("m", noise=0.01)


class Chain(Twin[Pair, Flow, Second]):
    k1: Scalar = param("1/s", 0.02, within=(0.0, 1.0))
    k2: Scalar = param("1/s", 0.01, within=(0.0, 1.0))

    def dynamics(self, t: Scalar, x: Pair, u: Flow) -> Pair:
        return Pair(a=u.q - self.k1 * x.a, b=self.k1 * x.a - self.k2 * x.b)

    def observe(self, t: Scalar, x: Pair, u: Flow) -> Second:
        return Second(b=x.b)


class FirstOnly(Chain):
    def observe(self, t: Scalar, x: Pair, u: Flow) -> Second:
        return Second(b=x.a)


class Accumulates(Chain):
    def dynamics(self, t: Scalar, x: Pair, u: Flow) -> Pair:
        return Pair(a=u.q - self.k1 * x.a, b=self.k1 * x.a)

    def observe(self, t: Scalar, x: Pair, u: Flow) -> Second:
        return Second(b=x.a)


class Mixed(Chain):
    def dynamics(self, t: Scalar, x: Pair, u: Flow) -> Pair:
        return Pair(a=u.q - x.a, b=self.k1 * x.a)


class Broken(Chain):
    def observe(self, t: Scalar, x: Pair, u: Flow) -> Second:
        return Second(b=jnp.log(x.a - 2.0))


class Hard(Signals):
    v: Scalar = var("1", start=2.0, drift=0.1)
    w: Scalar = var("1", start=0.0, drift=0.1)


class Seen(Signals):
    v: Scalar = var("1", noise=0.1)


class VanDerPol(Twin[Hard, NoInput, Seen]):
    """mu = 1000: stiff."""

    mu: Scalar = param("1", 1000.0, within=(0.0, 1e5))
    rate: Scalar = param("1/s", 1.0)

    def dynamics(self, t: Scalar, x: Hard, u: NoInput) -> Hard:
        return Hard(v=self.rate * x.w, w=self.rate * (self.mu * (1 - x.v**2) * x.w - x.v))

    def observe(self, t: Scalar, x: Hard, u: NoInput) -> Seen:
        return Seen(v=x.v)

    def margins(self, t: Scalar, x: Hard, u: NoInput) -> dict[str, Scalar]:
        return {"low": 1.0 - x.v}


@pytest.fixture(scope="module")
def sound():
    return check(Chain())


def test_a_sound_twin_passes(sound):
    assert sound.ok
    assert {i.mark for i in sound.items} == {Mark.PASS}
    assert sound.identifiability.ok
    assert sound.observability.ok
    assert "100 s" in sound["dynamics"].text  # 1/k2
    text = str(sound)
    assert "Check of Chain" in text
    assert "identifiability" in text
    assert json.loads(json.dumps(sound.to_dict(), allow_nan=False))["ok"] is True


def test_observability_is_the_gramian_of_theory():
    """A linear twin: W = sum (Phi^k)' C' R^-1 C Phi^k, scaled by the spread of the belief."""
    from pollux.model.calibrate import sensitivities
    from pollux.model.rk4 import RK4

    times = 4.0 * np.arange(50)
    record = simulate(Chain(), {"q": 0.02}, times=times).as_record(1)
    S, names, _, spread = sensitivities(Chain(), record, free=(), method=RK4(4))
    assert names == ("a(0)", "b(0)")
    Phi, _ = linearise(Chain()).discrete(4.0)
    D = np.diag([0.5, 0.5])  # a tenth of `within`
    W, P = np.zeros((2, 2)), np.eye(2)
    for _ in times:
        row = np.array([[0.0, 1.0]]) @ P
        W += D @ row.T @ row @ D / 0.01**2
        P = Phi @ P
    seen = observability(S * spread, ("a", "b"))
    np.testing.assert_allclose(seen.gains**2, np.linalg.eigvalsh(W)[::-1], rtol=1e-5)


def test_a_state_that_no_sensor_sees():
    report = check(FirstOnly())
    assert report["observability"].mark is Mark.WARN
    assert "no sensor sees `b` (it dies out by itself)" in report["observability"].text
    assert report["identifiability"].mark is Mark.FAIL
    assert any("`k2` moves no sensor" in d for d in report["identifiability"].details)
    report = check(Accumulates())
    assert report["observability"].mark is Mark.FAIL
    assert "does not die out" in report["observability"].text
    assert "integrates" in report["dynamics"].text


def test_flaws_are_items_and_not_exceptions():
    report = check(Mixed())
    assert report["units"].mark is Mark.FAIL
    assert not report.ok
    report = check(Broken())
    assert [i.name for i in report.items] == ["shapes"]
    assert "finite" in report["shapes"].text
    report = check(Chain(), {"t": [0.0, 1.0], "b": [1.0, 1.0]})
    assert "column 'q'" in report["observability"].text


def test_stiffness_and_margins_are_told():
    report = check(VanDerPol())
    assert report["margins"].mark is Mark.WARN
    assert "low" in report["margins"].text
    assert "Stiff" in report["dynamics"].text


def test_over_a_record():
    times = 4.0 * np.arange(100)
    q = np.repeat([0.01, 0.03, 0.02, 0.04], 25)
    record = simulate(Chain(), {"q": q}, times=times).as_record(1)
    report = check(Chain(), record, free=("k1",))
    assert "record of 100 instants" in report["identifiability"].text
    assert report.identifiability.names == ("k1", "a(0)", "b(0)")
