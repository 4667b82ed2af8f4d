"""`assimilate`, its verdicts, and `tune`."""

import dataclasses

import numpy as np
import plants
import pytest

from pollux import Record, assimilate, flatten, tune
from pollux.mirror.quality import Verdict, consistency, sensor_quality


@pytest.fixture(scope="module")
def record():
    y, u = plants.drive(800, 11, missing=0.1)
    return Record(np.arange(800, dtype=float), u, y, ("a",), ("place", "speed"))


def test_a_right_model_is_consistent_and_covers(record):
    track = assimilate(plants.Cart(), record)
    assert track.consistency().verdict is Verdict.CONSISTENT
    assert all(0.92 < c < 0.98 for c in track.coverage().values())
    assert all(q.good for q in track.quality()), [q.remarks for q in track.quality()]
    text = str(track)
    assert "consistent" in text
    assert "place" in text


def test_wrong_noise_is_called_by_its_name(record):
    R = flatten(plants.Cart()).R
    assert assimilate(plants.Cart(), record, R=R / 9).consistency().verdict is Verdict.OVERCONFIDENT
    cautious = assimilate(plants.Cart(), record, R=R * 9)
    assert cautious.consistency().verdict is Verdict.CAUTIOUS
    assert any("only" in r for q in cautious.quality() for r in q.remarks)


def test_quality_names_what_is_wrong_with_a_sensor():
    g = np.random.default_rng(0)
    e = g.standard_normal((400, 4))
    e[:, 1] += 1.0
    e[::2, 2] = np.nan
    e[:, 3] = np.convolve(g.standard_normal(403), np.ones(4) / 2, "valid")
    found = sensor_quality(("good", "biased", "silent", "coloured"), e, np.ones_like(e), ~np.isnan(e))
    assert [q.good for q in found] == [True, False, False, False]
    for quality, word in zip(found[1:], ("average", "missing", "correlated"), strict=True):
        assert any(word in remark for remark in quality.remarks)


def test_the_verdict_errs_as_often_as_stated():
    g = np.random.default_rng(1)
    nis = g.chisquare(2, (1000, 50))
    wrong = [consistency(row, np.full(50, 2), 0.9).verdict is not Verdict.CONSISTENT for row in nis]
    assert abs(np.mean(wrong) - 0.1) < 0.03
    assert consistency(np.ones(3), np.ones(3)).verdict is Verdict.UNKNOWN


def test_tune_finds_the_noise_that_made_the_record(record):
    space = flatten(plants.Cart())
    wrong = dataclasses.replace(
        space,
        x=tuple(dataclasses.replace(c, drift=c.drift * 4) for c in space.x),
        y=tuple(dataclasses.replace(c, noise=c.noise / 3) for c in space.y),
    )
    noise = tune(wrong, record)
    assert noise.converged
    assert noise.loglik > noise.loglik_before
    for name, true in (("noise place", 0.2), ("noise speed", 0.1), ("drift v", 0.1)):
        value = {
            **{f"noise {k}": v for k, v in noise.noise.items()},
            **{f"drift {k}": v for k, v in noise.drift.items()},
        }
        assert abs(np.log(value[name] / true)) < 3 * noise.error[name]
    again = assimilate(plants.Cart(), record, Q=noise.Q, R=noise.R)
    assert again.consistency().verdict is Verdict.CONSISTENT
    assert again.loglik.sum() == pytest.approx(noise.loglik, rel=1e-6)


def test_tune_says_what_it_cannot_know(record):
    blind = Record(record.t, record.u, record.y.copy(), record.u_names, record.y_names)
    blind.y[:, 1] = np.nan
    noise = tune(plants.Cart(), blind)
    assert "noise speed" in noise.undetermined
    assert noise.noise["speed"] == pytest.approx(0.1)
