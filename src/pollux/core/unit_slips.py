"""Which unit may a number really have been in? The usual units of one dimension, as maps from what was read.

A number that was sent in `V` and taken for one in `W` is wrong by an affine map. This module lists these maps for the
units in which people send such a quantity. Nothing is converted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pollux.core.errors import UnitError
from pollux.core.units import affine, parse

USUAL = (
    "m cm mm km in ft yd mi",
    "K degC degF",
    "Pa kPa MPa hPa bar mbar psi ksi atm mmHg inHg mmH2O mH2O inH2O barg psig kPag",
    "m^3/s m^3/h m^3/d m^3/min L/s L/min L/h mL/min ML/d gpm MGD cfs cfm",
    "m/s km/h mph kn ft/s ft/min mm/s m/min m/h cm/s",
    "kg/s kg/h kg/min t/h t/d g/s g/min lb/s lb/min lb/h",
    "W kW MW mW hp BTU/h ton_refrigeration kcal/h",
    "J kJ MJ GJ Wh kWh MWh cal kcal BTU therm",
    "kg g t mg lb oz",
    "m^3 L mL hL cm^3 gal bbl ft^3",
    "m^2 cm^2 mm^2 km^2 ha acre",
    "s ms min h d",
    "Hz kHz MHz 1/min rpm rad/s 1/h",
    "V mV kV",
    "A mA kA",
    "N kN MN lbf kgf",
    "1 % ppm ppb",
    "rad deg mrad rev",
    "mol/m^3 mol/L mM uM",
    "kg/m^3 g/L mg/L g/m^3 ug/L",
    "m/s^2 mm/s^2",
    "Ah mAh C",
)
"""By quantity, in the spelling that is shown; the plainest first."""

PREFIXES = ("k", "m")
"""Tried where the table has no entry for a dimension."""


@dataclass(frozen=True)
class Slip:
    """A number meant in `unit`: the true value is scale * value as read + shift, both in the unit of the field."""

    unit: str
    scale: float
    shift: float


@lru_cache(maxsize=1024)
def slips(wired: str, field: str) -> tuple[Slip, ...]:
    """Every other unit in which a number wired as `wired` may be, for a field in `field`; each map once.

    Raises `UnitError` when a text is no unit or the two differ in dimension.
    """
    back, offset = affine(field, wired)
    size = abs(affine(wired, field)[0])
    found = [Slip(wired, 1.0, 0.0)]
    for unit in _candidates(wired):
        scale, shift = affine(unit, field)
        slip = Slip(unit, scale * back, scale * offset + shift)
        if not any(_same(slip, other, size) for other in found):
            found.append(slip)
    return tuple(found[1:])


def _same(a: Slip, b: Slip, size: float) -> bool:
    """Whether two maps are the same in practice: 1 in 10,000, and of the shift one hundredth of a wired unit."""
    return abs(a.scale - b.scale) <= 1e-4 * abs(b.scale) and abs(a.shift - b.shift) <= 1e-2 * size


def _candidates(wired: str) -> Iterator[str]:
    """Units of the dimension of `wired`; of a pure number, those of its own kind (shares, angles)."""
    own = parse(wired)
    groups = [group.split() for group in USUAL if parse(group.split()[0]).dims == own.dims]
    kin = [group for group in groups if wired in group] if own.dimensionless else groups
    for group in kin:
        yield from group
    if not groups:
        for prefix in PREFIXES:
            try:
                if parse(prefix + wired).dims == own.dims:
                    yield prefix + wired
            except UnitError:
                continue
