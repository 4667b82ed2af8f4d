"""Units that a number may have slipped to: the map undoes the slip, for every unit and value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux.core.errors import UnitError
from pollux.core.unit_slips import USUAL, slips
from pollux.core.units import convert, same_dimension

PAIRS = [("m", "m"), ("cm", "m"), ("K", "K"), ("degC", "K"), ("L/s", "m^3/s"), ("bar", "Pa"), ("kW", "W"), ("%", "1")]


@given(st.sampled_from(PAIRS), st.floats(-1e3, 1e3), st.data())
def test_the_map_undoes_the_slip(pair, true, data):
    """Sent in the other unit, taken for the wired one, converted into the field's: the map gives back the truth."""
    wired, field = pair
    slip = data.draw(st.sampled_from(slips(wired, field)))
    read = convert(convert(true, field, slip.unit), wired, field)
    assert slip.scale * read + slip.shift == pytest.approx(true, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_each_map_is_listed_once_and_never_as_it_is_wired(pair):
    maps = [(s.scale, s.shift) for s in slips(*pair)]
    assert len({(f"{a:.4g}", f"{b:.4g}") for a, b in maps}) == len(maps) > 0
    assert (1.0, 0.0) not in maps


def test_the_groups_are_of_one_dimension():
    for group in USUAL:
        first, *rest = group.split()
        assert all(same_dimension(first, unit) for unit in rest), group


def test_a_unit_that_is_not_usual_slips_by_a_thousand():
    assert {s.unit for s in slips("W/K", "W/K")} == {"kW/K", "mW/K"}
    with pytest.raises(UnitError):
        slips("m", "K")
