"""Methods that carry more than mean and covariance, live: the same fold, and a belief that keeps what they carry."""

import numpy as np
import plants
import pytest

from pollux import (
    AuxiliaryParticleFilter,
    Enkf,
    Etkf,
    Ienkf,
    Imm,
    Mode,
    ParticleFilter,
    RaoBlackwellParticleFilter,
    Readings,
    Record,
    assimilate,
    build_mirror,
)
from pollux.runtime.records import codec

METHODS = [
    Etkf(12),
    Enkf(12),
    Ienkf(6, iterations=2),
    ParticleFilter(200),
    AuxiliaryParticleFilter(200),
    RaoBlackwellParticleFilter(50, ("v",)),
    Imm((Mode("free"), Mode("braked", (("c", 0.5),))), dwell=30.0),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_readings_one_by_one_equal_the_record(method):
    y, u = plants.drive(12, 4)
    record = Record(np.arange(12.0), u, y, ("a",), ("place", "speed"))
    track = assimilate(plants.Cart(), record, method=method)
    mirror = build_mirror(plants.Cart(), method=method)
    belief = mirror.start(0.0)
    store = codec()
    for k in range(12):
        belief = store.decode(store.encode(belief))  # a restart after every reading
        belief = mirror.update(belief, Readings("Cart", float(k), f"r{k}", "", y[k], u[k]))
        np.testing.assert_allclose(belief.mean, track.mean[k], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(belief.cov, track.cov[k], rtol=1e-8, atol=1e-12)
    assert belief.memory.size >= 12


def test_a_step_that_blows_up_keeps_the_members():
    mirror = build_mirror(plants.Cart(), method=Etkf(8))
    before = mirror.start(0.0)
    bad = mirror.update(before, Readings("Cart", 1.0, "r", "", np.array([0.0, 0.0]), np.array([1e308])))
    worse = mirror.update(bad, Readings("Cart", 3.0, "r", "", np.array([0.0, 0.0]), np.array([1e308])))
    assert np.isinf(worse.nis)
    assert np.isfinite(worse.memory).all()
