"""Units against figures worked out by hand or taken from NIST SP 811."""

import contextlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux.core.errors import UnitError
from pollux.core.units import ONE, affine, convert, describe, known_units, parse, same_dimension


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (1.0, "gpm", "m^3/s", 6.30901964e-5),
        (1.0, "gpm", "L/min", 3.785411784),
        (25.0, "degC", "K", 298.15),
        (212.0, "degF", "degC", 100.0),
        (-40.0, "degC", "degF", -40.0),
        (300.0, "K", "degC", 26.85),
        (1.0, "psi", "kPa", 6.894757293168),
        (0.0, "barg", "Pa", 101325.0),
        (1.0, "mH2O", "kPa", 9.80665),
        (3.6, "km/h", "m/s", 1.0),
        (1.0, "kWh", "MJ", 3.6),
        (3000.0, "rpm", "Hz", 314.1592653589793),
        (100.0, "%", "1", 1.0),
        (180.0, "deg", "rad", np.pi),
        (1.0, "BTU/h", "W", 0.29307107),
        (1.0, "g/cm^3", "kg/m^3", 1000.0),
        (1.0, "W/(m^2 degC)", "W/m^2/K", 1.0),
        (10.0, "L/s", "m3/h", 36.0),
        (1.0, "EUR/MWh", "EUR/kWh", 1e-3),
        (1.0, "µm", "um", 1.0),
        (5.0, "mM", "mol/m^3", 5.0),
    ],
)
def test_conversions(value, source, target, expected):
    assert convert(value, source, target) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("m^3/s", "m³ s⁻¹"), ("m^3/s", "m**3/s"), ("m^3/s", "m3 s-1"), ("m^3/s", "m*m*m/s"), ("W", "J/s"),
        ("N", "kg*m/s^2"), ("m^5/2/s", "m^(5/2)/s"), ("m^5/2/s", "m^2.5/s"), ("1", ""), ("Pa", "N/m^2"),
        ("V", "W/A"),
        ("1/s", "s^-1"), ("W/m^2/K", "W/(m^2 K)"), ("m^1/2", "m^0.5"), ("kg m-3", "kg/m^3"),
    ],
)  # fmt: skip
def test_spellings_agree(a, b):
    assert parse(a).dims == parse(b).dims
    assert parse(a).factor == pytest.approx(parse(b).factor, rel=1e-15)


def test_a_fractional_exponent_takes_the_digit_after_the_slash():
    assert parse("m^5/2/s").dims[:3] == (Fraction(5, 2), 0, -1)


def test_algebra():
    k, h = parse("m^5/2/s"), parse("m")
    flow = k * h ** Fraction(1, 2)
    assert flow.dims == parse("m^3/s").dims
    assert (flow / parse("m^3/s")).dimensionless
    assert str(flow) == "m^3/s"
    assert describe(parse("W/K").dims) == "m^2*kg/s^3/K"
    assert str(ONE) == "1"


def test_the_offset_is_dropped_in_a_product():
    assert parse("degC").offset == 273.15
    assert parse("W/degC").offset == 0.0
    assert convert(10.0, "degC/min", "degF/min") == pytest.approx(18.0)


def test_arrays_convert():
    np.testing.assert_allclose(convert(np.array([0.0, 100.0]), "degC", "K"), [273.15, 373.15])


def test_equal_units_change_no_bit():
    assert affine("m^3/s", "m^3/s") == (1.0, 0.0)
    assert affine("degC", "degC") == (1.0, 0.0)
    assert convert(0.1 + 0.2, "kPa", "kPa") == 0.1 + 0.2


def test_dimensions_are_kept_apart():
    assert same_dimension("gpm", "m^3/s")
    assert not same_dimension("m^3/s", "m^3")
    assert not same_dimension("EUR", "USD")
    with pytest.raises(UnitError, match=r"'kPa' .* cannot become 'm'"):
        convert(1.0, "kPa", "m")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("kpa", "'kPa'"), ("meter", "meter"), ("m^", "exponent"), ("m//s", "expected a unit"),
        ("(m", "bracket"),
        ("m)", "unexpected"), ("m^1/0", "zero"), ("0 m", "zero"), ("m;s", "unexpected"),
        ("m^1e99", "exponent"),
        ("x" * 500, "200 characters"), ("m^-", "exponent"), ("/s", "expected a unit"),
    ],
)  # fmt: skip
def test_what_is_not_a_unit_is_refused_with_a_hint(text, hint):
    with pytest.raises(UnitError) as error:
        parse(text)
    assert hint in str(error.value)


@given(st.sampled_from(known_units()))
def test_every_symbol_round_trips_through_its_base_units(name):
    unit = parse(name)
    assert parse(str(unit)).dims == unit.dims
    scale, shift = affine(name, str(unit))
    assert (scale, shift) == (unit.factor, unit.offset)
    assert convert(convert(3.7, name, str(unit)), str(unit), name) == pytest.approx(3.7, rel=1e-9)


@given(st.text(max_size=30))
def test_any_text_is_a_unit_or_a_unit_error(text):
    with contextlib.suppress(UnitError):
        parse(text)
