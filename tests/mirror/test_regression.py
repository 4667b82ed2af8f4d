"""No output of an estimator changes unseen: `regression.csv` holds them, and every estimator is in it.

A change that is meant is made visible by `python tests/mirror/regression.py`, whose difference goes into the commit.
"""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import regression

import pollux.mirror
from pollux.mirror.method import Carrying, Gaussian, Method, OfTwin, of_twin
from pollux.model.augment import augment
from pollux.model.statespace import flatten

STORED = regression.stored()


@pytest.mark.parametrize("name", regression.ESTIMATORS)
def test_outputs_are_those_of_the_file(name):
    """To 1e-8 of each number; 1e-6 where draws, decompositions or iterations lie between (CPUs differ in rounding)."""
    exact = regression.digits(name) == 12
    rows = regression.ESTIMATORS[name]()
    assert tuple(STORED[name]) == regression.SHOWN
    for k, then in STORED[name].items():
        np.testing.assert_allclose(
            rows[k], then, rtol=1e-8 if exact else 1e-6, atol=1e-11 if exact else 1e-8, err_msg=f"{name}, instant {k}"
        )


def test_the_file_holds_nothing_else():
    assert list(STORED) == list(regression.ESTIMATORS)


def test_every_estimator_of_the_mirror_is_in_the_file():
    """An estimator is a class with `step`, `carry` or `of`, in any module of `pollux.mirror`."""
    space = flatten(regression.Pair())
    covered = {type(m) for m in regression.FILTERS.values()}
    for name, method in regression.FILTERS.items():
        covered.add(type(of_twin(method, augment(space, regression.TRACKED.get(name, ())))))
    for found in pkgutil.iter_modules(pollux.mirror.__path__):
        module = importlib.import_module(f"pollux.mirror.{found.name}")
        for name, value in inspect.getmembers(module, inspect.isclass):
            own = value.__module__ == module.__name__ and value not in (Method, Carrying, OfTwin, Gaussian)
            if own and any(callable(getattr(value, verb, None)) for verb in ("step", "carry", "of")):
                assert value in covered, f"put `{name}` into FILTERS of tests/mirror/regression.py and run it"
