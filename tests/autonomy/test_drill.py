"""Hostile actions through the guard: none is executed outside the limits, and the witness would have seen it.

6,000 here; `python -m benchmarks guard` runs more than 100,000.
"""

from dataclasses import replace

import numpy as np
import pytest

from pollux.autonomy import authorise as authorise_module
from pollux.autonomy import guard, guard_limits
from pollux.autonomy.drill import drill
from pollux.autonomy.drill_attacks import ATTACKS


@pytest.fixture
def beliefs(world):
    def make(t, chance):
        inputs = np.array([0.01, float(chance.uniform(0.0, 0.03)), 50.0])
        return world.belief(t=t, h=float(chance.uniform(0.2, 2.0)), sd=0.01, inputs=inputs, id=f"b/{t}")

    return make


def test_no_hostile_action_gets_outside_the_limits(world, beliefs):
    report = drill(world.authority, beliefs, 6_000, seed=1)
    assert report.breaches == ()
    assert report.hostile >= 4_000
    assert report.commands > 200
    assert report.risk_samples > 20_000
    assert report.risk_upper <= world.policy.eps
    assert len(report.attacks) == len(ATTACKS) + 1
    groups = {rule.split(".")[0] for rule in report.refusals}
    assert groups >= {"schema", "identity", "belief", "limits", "twin", "approval", "audit"}
    again = drill(world.authority, beliefs, 500, seed=2)
    assert again == drill(world.authority, beliefs, 500, seed=2)


def without(*rules):
    """A guard whose named rules always answer yes."""
    real = guard.need
    return lambda ok, rule, why: real(ok or rule in rules, rule, why)


BROKEN = {
    "range": lambda m: m.setattr(guard, "need", without("range")),
    "stop": lambda m: m.setattr(guard, "need", without("stopped")),
    "level": lambda m: m.setattr(guard, "need", without("advise", "observe")),
    "age": lambda m: m.setattr(guard, "need", without("age")),
    "consistency": lambda m: m.setattr(guard, "need", without("consistency")),
    "dynamic limits": lambda m: m.setattr(guard, "broken", lambda *a: None),
    "grid": lambda m: m.setattr(guard, "settle", lambda value, resolution: float(value)),
    "twin check": lambda m: m.setattr(guard, "CHECKS", tuple(c for c in guard.CHECKS if c[0] != "twin")),
    "memory": lambda m: m.setattr(
        authorise_module, "commit", lambda p, s, v, now, d: replace(guard_limits.commit(p, s, v, now, d), held=s.held)
    ),
}  # fmt: skip


AIMED = {
    "range": ("far above", "negative", "anywhere"),
    "stop": ("stopped",),
    "age": ("stale belief",),
    "consistency": ("inconsistent",),
    "grid": ("between grid points", "anywhere"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_witness_sees_a_broken_guard(world, beliefs, monkeypatch, name):
    BROKEN[name](monkeypatch)
    attacks = AIMED.get(name, ("anywhere", "small kick", "full open", "full shut"))
    report = drill(world.authority, beliefs, 600, seed=3, attacks=attacks)
    assert report.breaches != ()
