"""Parameters changed by name."""

import pytest

from pollux.core.edit import with_parameters
from pollux.core.errors import DefinitionError


def test_changed_value(tank):
    changed = with_parameters(tank, {"UA": 60, "k": 0.02})
    assert (changed.UA, changed.k, changed.A) == (60.0, 0.02, tank.A)
    assert tank.UA == 50.0


@pytest.mark.parametrize(
    ("values", "what"),
    [({"UAA": 1.0}, "did you mean 'UA'"), ({"UA": "x"}, "finite number"), ({"UA": float("nan")}, "finite number")],
)
def test_refused(tank, values, what):
    with pytest.raises(DefinitionError, match=what):
        with_parameters(tank, values)
