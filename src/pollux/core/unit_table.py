"""The table of unit symbols: factor to the coherent SI unit, offset, dimension, whether SI prefixes apply.

Source: BIPM, The International System of Units (2019); NIST SP 811 appendix B for the customary units.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import pi

BASE = ("m", "kg", "s", "K", "A", "mol", "cd", "EUR", "USD")
"""The base units, in the order of `Unit.dims`."""

PREFIXES = {
    "da": 1e1, "h": 1e2, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "d": 1e-1, "c": 1e-2, "m": 1e-3, "µ": 1e-6, "μ": 1e-6, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15,
}  # fmt: skip
"""SI prefixes; the micro sign, the Greek letter and `u` are the same."""


@dataclass(frozen=True)
class Entry:
    """One symbol of the table."""

    factor: float
    offset: float
    dims: tuple[Fraction, ...]
    prefixable: bool


def _dims(**exponents: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(exponents.get(name, 0)) for name in BASE)


NUMBER = _dims()
LENGTH, AREA, VOLUME = _dims(m=1), _dims(m=2), _dims(m=3)
MASS, TIME, RATE = _dims(kg=1), _dims(s=1), _dims(s=-1)
TEMPERATURE, CURRENT, AMOUNT = _dims(K=1), _dims(A=1), _dims(mol=1)
SPEED, FLOW, FORCE = _dims(m=1, s=-1), _dims(m=3, s=-1), _dims(m=1, kg=1, s=-2)
PRESSURE, ENERGY, POWER = _dims(m=-1, kg=1, s=-2), _dims(m=2, kg=1, s=-2), _dims(m=2, kg=1, s=-3)

GALLON = 3.785411784e-3
POUND = 0.45359237
GRAVITY = 9.80665
ATMOSPHERE = 101325.0
PSI = POUND * GRAVITY / 0.0254**2
BTU = 1055.05585262

# symbol(s): factor, dimension. With a prefix allowed:
_PREFIXED = {
    "m": (1.0, LENGTH), "g": (1e-3, MASS), "s": (1.0, TIME), "K": (1.0, TEMPERATURE), "A": (1.0, CURRENT),
    "mol": (1.0, AMOUNT), "cd": (1.0, _dims(cd=1)), "Hz": (1.0, RATE), "N": (1.0, FORCE),
    "Pa": (1.0, PRESSURE),
    "J": (1.0, ENERGY), "W": (1.0, POWER), "VA": (1.0, POWER), "var": (1.0, POWER),
    "C": (1.0, _dims(s=1, A=1)), "V": (1.0, _dims(m=2, kg=1, s=-3, A=-1)),
    "F": (1.0, _dims(m=-2, kg=-1, s=4, A=2)), "ohm": (1.0, _dims(m=2, kg=1, s=-3, A=-2)),
    "Ω": (1.0, _dims(m=2, kg=1, s=-3, A=-2)), "S": (1.0, _dims(m=-2, kg=-1, s=3, A=2)),
    "Wb": (1.0, _dims(m=2, kg=1, s=-2, A=-1)), "T": (1.0, _dims(kg=1, s=-2, A=-1)),
    "H": (1.0, _dims(m=2, kg=1, s=-2, A=-2)), "lm": (1.0, _dims(cd=1)), "lx": (1.0, _dims(cd=1, m=-2)),
    "Bq": (1.0, RATE), "Gy": (1.0, _dims(m=2, s=-2)), "Sv": (1.0, _dims(m=2, s=-2)),
    "kat": (1.0, _dims(mol=1, s=-1)),
    "L": (1e-3, VOLUME), "l": (1e-3, VOLUME), "bar": (1e5, PRESSURE), "t": (1e3, MASS),
    "eV": (1.602176634e-19, ENERGY),
    "Wh": (3600.0, ENERGY), "Ah": (3600.0, _dims(s=1, A=1)), "cal": (4.184, ENERGY), "rad": (1.0, NUMBER),
    "EUR": (1.0, _dims(EUR=1)), "USD": (1.0, _dims(USD=1)), "P": (0.1, _dims(m=-1, kg=1, s=-1)),
    "St": (1e-4, _dims(m=2, s=-1)), "Torr": (ATMOSPHERE / 760, PRESSURE), "sr": (1.0, NUMBER),
}  # fmt: skip

# Without a prefix:
_PLAIN = {
    "%": (0.01, NUMBER), "percent": (0.01, NUMBER), "ppm": (1e-6, NUMBER), "ppb": (1e-9, NUMBER),
    "pH": (1.0, NUMBER),
    "deg": (pi / 180, NUMBER), "°": (pi / 180, NUMBER), "rev": (2 * pi, NUMBER), "count": (1.0, NUMBER),
    "min": (60.0, TIME), "h": (3600.0, TIME), "hr": (3600.0, TIME), "d": (86400.0, TIME),
    "day": (86400.0, TIME),
    "week": (604800.0, TIME), "year": (31557600.0, TIME), "rpm": (2 * pi / 60, RATE),
    "in": (0.0254, LENGTH), "inch": (0.0254, LENGTH), "ft": (0.3048, LENGTH), "yd": (0.9144, LENGTH),
    "mi": (1609.344, LENGTH), "nmi": (1852.0, LENGTH), "ha": (1e4, AREA), "acre": (4046.8564224, AREA),
    "gal": (GALLON, VOLUME), "bbl": (42 * GALLON, VOLUME), "cuft": (0.3048**3, VOLUME),
    "gpm": (GALLON / 60, FLOW), "gph": (GALLON / 3600, FLOW), "gpd": (GALLON / 86400, FLOW),
    "MGD": (1e6 * GALLON / 86400, FLOW), "cfs": (0.3048**3, FLOW), "cfm": (0.3048**3 / 60, FLOW),
    "lps": (1e-3, FLOW), "LPS": (1e-3, FLOW), "lpm": (1e-3 / 60, FLOW), "LPM": (1e-3 / 60, FLOW),
    "CMH": (1 / 3600, FLOW), "cmh": (1 / 3600, FLOW), "MLD": (1e3 / 86400, FLOW),
    "mph": (1609.344 / 3600, SPEED), "kn": (1852 / 3600, SPEED), "knot": (1852 / 3600, SPEED),
    "kph": (1 / 3.6, SPEED), "lb": (POUND, MASS), "oz": (POUND / 16, MASS), "tonne": (1e3, MASS),
    "lbf": (POUND * GRAVITY, FORCE), "kgf": (GRAVITY, FORCE), "atm": (ATMOSPHERE, PRESSURE),
    "psi": (PSI, PRESSURE),
    "ksi": (1e3 * PSI, PRESSURE), "mmHg": (133.322387415, PRESSURE), "inHg": (3386.388640341, PRESSURE),
    "mmH2O": (GRAVITY, PRESSURE), "cmH2O": (10 * GRAVITY, PRESSURE), "mH2O": (1e3 * GRAVITY, PRESSURE),
    "inH2O": (25.4 * GRAVITY, PRESSURE), "BTU": (BTU, ENERGY), "Btu": (BTU, ENERGY),
    "hp": (745.69987158227, POWER),
    "therm": (1e5 * BTU, ENERGY), "ton_refrigeration": (12000 * BTU / 3600, POWER),
    "delta_degC": (1.0, TEMPERATURE), "delta_degF": (5 / 9, TEMPERATURE), "degR": (5 / 9, TEMPERATURE),
    "€": (1.0, _dims(EUR=1)), "$": (1.0, _dims(USD=1)), "cP": (1e-3, _dims(m=-1, kg=1, s=-1)),
    "M": (1e3, _dims(mol=1, m=-3)), "mM": (1.0, _dims(mol=1, m=-3)), "uM": (1e-3, _dims(mol=1, m=-3)),
    "cSt": (1e-6, _dims(m=2, s=-1)), "g0": (GRAVITY, _dims(m=1, s=-2)),
}  # fmt: skip

# Affine: value_SI = factor * value + offset.
_AFFINE = {
    "degC": (1.0, 273.15, TEMPERATURE), "°C": (1.0, 273.15, TEMPERATURE),
    "celsius": (1.0, 273.15, TEMPERATURE),
    "degF": (5 / 9, 459.67 * 5 / 9, TEMPERATURE), "°F": (5 / 9, 459.67 * 5 / 9, TEMPERATURE),
    "barg": (1e5, ATMOSPHERE, PRESSURE), "kPag": (1e3, ATMOSPHERE, PRESSURE),
    "psig": (PSI, ATMOSPHERE, PRESSURE),
    "Pag": (1.0, ATMOSPHERE, PRESSURE), "mbarg": (100.0, ATMOSPHERE, PRESSURE),
    "bara": (1e5, 0.0, PRESSURE), "psia": (PSI, 0.0, PRESSURE), "kPaa": (1e3, 0.0, PRESSURE),
}  # fmt: skip

UNITS: dict[str, Entry] = {
    **{name: Entry(f, 0.0, d, True) for name, (f, d) in _PREFIXED.items()},
    **{name: Entry(f, 0.0, d, False) for name, (f, d) in _PLAIN.items()},
    **{name: Entry(f, o, d, False) for name, (f, o, d) in _AFFINE.items()},
}
"""Every symbol by name."""
