"""Units of measurement: parsing, the algebra of dimensions, conversion. Pure Python, exact in the dimensions.

A unit is an affine map to the coherent SI unit of its dimension,

    value_SI = factor * value + offset,        dims = exponents of (m, kg, s, K, A, mol, cd, EUR, USD)

The offset is zero except for `degC`, `degF` and gauge pressures, and it is dropped in products, quotients
and powers (`W/degC` is per degree of difference). Exponents are fractions: `"m^5/2/s"` is m^(5/2) s^-1,
because a digit after the slash of an exponent belongs to the exponent. Accepted spellings: `m^3/s`, `m3/s`,
`m³ s⁻¹`, `m**3/s`, `kg m-3`, `W/(m^2 K)`, `1/s`, `%`, `1` or the empty string for a pure number. Currencies
do not convert into each other.

Source of the factors: BIPM, The International System of Units (2019); NIST SP 811 appendix B.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar

from pollux.core.errors import UnitError
from pollux.core.unit_table import BASE, PREFIXES, UNITS

V = TypeVar("V")
"""A float or an array of floats."""

Dims = tuple[Fraction, ...]

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-zµμΩ°%$€_][A-Za-zµμΩ°%$€_]*(?:\d+[A-Za-z]+)*)|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<op>\*\*|[*/^()·.+-]))"
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPER_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")


@dataclass(frozen=True)
class Unit:
    """An affine map to SI and its dimension; see the module docstring."""

    factor: float
    offset: float
    dims: Dims

    def __mul__(self, other: "Unit") -> "Unit":
        return Unit(self.factor * other.factor, 0.0, tuple(a + b for a, b in zip(self.dims, other.dims, strict=True)))

    def __truediv__(self, other: "Unit") -> "Unit":
        return Unit(self.factor / other.factor, 0.0, tuple(a - b for a, b in zip(self.dims, other.dims, strict=True)))

    def __pow__(self, exponent: "Fraction | int | float") -> "Unit":
        n = exponent if isinstance(exponent, Fraction) else Fraction(exponent).limit_denominator(1000)
        if n == 1:
            return self
        factor = self.factor ** (n.numerator if n.denominator == 1 else float(n))
        return Unit(factor, 0.0, tuple(a * n for a in self.dims))

    def __str__(self) -> str:
        """The dimension in base units, e.g. `m^3/s`."""
        return describe(self.dims)

    @property
    def dimensionless(self) -> bool:
        """Whether it measures a pure number (also `%`, `rad`, `rpm` without its `1/s`)."""
        return not any(self.dims)


ONE = Unit(1.0, 0.0, (Fraction(0),) * len(BASE))
"""The unit of a pure number."""


@lru_cache(maxsize=4096)
def parse(text: str) -> Unit:
    """The unit that `text` spells. Raises `UnitError` that names the part that is not understood."""
    return _Parser(text).unit()


def same_dimension(a: "Unit | str", b: "Unit | str") -> bool:
    """Whether values in `a` can be converted to `b`."""
    return _unit(a).dims == _unit(b).dims


def affine(source: "Unit | str", target: "Unit | str") -> tuple[float, float]:
    """(scale, shift) with value_target = scale * value_source + shift; (1, 0) exactly for equal units.

    Raises `UnitError` when the dimensions differ.
    """
    a, b = _unit(source), _unit(target)
    if a.dims != b.dims:
        raise UnitError(
            f"Only units of one dimension convert: {_shown(source)} cannot become {_shown(target)}. "
            "Correct one of the two, or convert the quantity in the model."
        )
    return a.factor / b.factor, (a.offset - b.offset) / b.factor


def convert(value: V, source: "Unit | str", target: "Unit | str") -> V:
    """`value` (float or array) in `source`, expressed in `target`; `UnitError` when the dimensions differ."""
    scale, shift = affine(source, target)
    if scale == 1.0 and shift == 0.0:
        return value
    return value * scale + shift  # pyright: ignore[reportOperatorIssue, reportReturnType]


def describe(dims: Dims) -> str:
    """A dimension in base units, e.g. `kg*m^2/s^3`, `m^5/2/s`, `1`."""
    up = [_power(name, n) for name, n in zip(BASE, dims, strict=True) if n > 0]
    down = [_power(name, -n) for name, n in zip(BASE, dims, strict=True) if n < 0]
    return "/".join(["*".join(up) or "1", *down])


def known_units() -> tuple[str, ...]:
    """Every symbol that `parse` knows, without SI prefixes."""
    return tuple(sorted(UNITS))


def _power(name: str, n: Fraction) -> str:
    return name if n == 1 else f"{name}^{n}"


def _unit(value: "Unit | str") -> Unit:
    return parse(value) if isinstance(value, str) else value


def _shown(value: "Unit | str") -> str:
    unit = _unit(value)
    return f"{value!r} ({unit})" if isinstance(value, str) else f"`{unit}`"


def _lookup(name: str, text: str) -> Unit:
    """One symbol: as it stands, else with an SI prefix, else with its exponent glued on (`m3`)."""
    entry = UNITS.get(name)
    if entry is not None:
        return Unit(entry.factor, entry.offset, entry.dims)
    for prefix, scale in PREFIXES.items():
        entry = UNITS.get(name[len(prefix) :]) if name.startswith(prefix) else None
        if entry is not None and entry.prefixable:
            return Unit(entry.factor * scale, 0.0, entry.dims)
    raise UnitError(f"A unit is built from known symbols: {name!r} in {text!r} is not one. {_hint(name)}")


def _hint(name: str) -> str:
    """The way out: the same letters in another case (`kpa` -> `kPa`), else a similar symbol."""
    symbols = [
        *UNITS,
        *(p + n for p in ("k", "M", "m", "c") for n, entry in UNITS.items() if entry.prefixable),
    ]
    guesses = [s for s in symbols if s.lower() == name.lower()]
    guesses = guesses or get_close_matches(name, symbols, n=1, cutoff=0.6)
    return f"Did you mean {guesses[0]!r}?" if guesses else "`pollux.core.units.known_units()` lists the symbols."


class _Parser:
    """Recursive descent over product = power (('*' | '/' | ' ') power)*, power = atom ['^' fraction]."""

    def __init__(self, text: str):
        if not isinstance(text, str) or len(text) > 200:
            raise UnitError(f"A unit is a text of at most 200 characters: got {str(text)[:40]!r}. Write e.g. 'm^3/s'.")
        self.text = text
        self.tokens = list(self._scan(_SUPER_RUN.sub(lambda m: "^" + m[0].translate(_SUPERSCRIPTS), text)))
        self.i = 0

    def unit(self) -> Unit:
        """The whole text."""
        if not self.tokens:
            return ONE
        result = self._product()
        if self.i < len(self.tokens):
            self._fail(f"unexpected {self._peek()[1]!r}")
        return result

    def _scan(self, text: str):
        text, at = text.strip(), 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self._fail(f"unexpected {text[at]!r}")
            kind = match.lastgroup or ""
            yield kind, match[kind]
            at = match.end()

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self.i + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "the end")

    def _take(self, *values: str) -> str | None:
        kind, value = self._peek()
        if kind == "op" and value in values:
            self.i += 1
            return value
        return None

    def _product(self) -> Unit:
        result = self._factor()
        while True:
            if self._take("/"):
                result = result / self._factor()
            elif self._take("*", "·", ".") or self._peek()[0] in ("name", "number") or self._peek()[1] == "(":
                result = result * self._factor()
            else:
                return result

    def _factor(self) -> Unit:
        kind, value = self._peek()
        if self._take("("):
            base = self._product()
            if not self._take(")"):
                self._fail("a bracket is not closed")
        elif kind == "number":
            self.i += 1
            base = Unit(float(value), 0.0, ONE.dims)
            if base.factor == 0.0:
                self._fail("a factor of zero")
        elif kind == "name":
            self.i += 1
            base = _lookup(value, self.text)
            sign, number = self._peek(), self._peek(1)
            glued = sign[0] == "number" or (sign[1] in "+-" and number[0] == "number")
            if glued:  # `m3`, `s-1`
                return base ** self._exponent()
        else:
            self._fail(f"expected a unit, found {value!r}")
        if self._take("^", "**"):
            base = base ** self._exponent()
        return base

    def _exponent(self) -> Fraction:
        """['-'] digits ['/' digits], or the same in brackets, or a decimal."""
        bracket = self._take("(")
        sign = -1 if self._take("-", "+") == "-" else 1
        n = self._number()
        if self._peek()[1] == "/" and self._peek(1)[0] == "number":
            self.i += 1
            d = self._number()
            if d == 0:
                self._fail("an exponent divided by zero")
            n = n / d
        if bracket and not self._take(")"):
            self._fail("a bracket is not closed")
        if n > 99:
            self._fail(f"an exponent of {n}")
        return sign * n

    def _number(self) -> Fraction:
        kind, value = self._peek()
        if kind != "number":
            self._fail(f"expected an exponent, found {value!r}")
        self.i += 1
        try:
            return Fraction(value)
        except (ValueError, OverflowError):
            self._fail(f"an exponent of {value!r}")

    def _fail(self, what: str):
        raise UnitError(
            f"A unit reads like 'm^3/s', 'W/(m^2 K)' or 'degC': {self.text!r} does not ({what}). Rewrite it."
        )
