"""The two binary floating-point formats of IEEE 754 that the functions are written for, as values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A format, its layout, and the arguments at which the functions change their ways."""

    real: str
    """LLVM's name."""
    bits: int
    fraction: int
    """Bits of the fraction; p = fraction + 1."""
    bias: int
    sqrt_half: int
    """Bit pattern of sqrt(1/2)."""
    overflow: float
    """e^x is infinite from here on."""
    underflow: float
    """e^x is zero down from here."""
    sinh_overflow: float
    """sinh x is infinite from here on."""
    saturation: float
    """tanh x = 1 from here on."""
    minus_one: float
    """e^x - 1 = -1 down from here."""

    @property
    def shift(self) -> float:
        """Adding it rounds to an integer, which then stands in the low bits."""
        return 1.5 * 2.0**self.fraction

    @property
    def shift_bits(self) -> int:
        """Bit pattern of `shift`."""
        return (self.bias + self.fraction << self.fraction) + (1 << self.fraction - 1)

    @property
    def integer_bits(self) -> int:
        """Bit pattern of 2^fraction: an integer in the fraction field becomes that number plus 2^fraction."""
        return self.bias + self.fraction << self.fraction

    @property
    def one_bits(self) -> int:
        """Bit pattern of 1."""
        return self.bias << self.fraction

    @property
    def normal(self) -> float:
        """The least normal number."""
        return 2.0 ** (1 - self.bias)

    @property
    def tiny(self) -> float:
        """x^2 is below an eighth of the last place of x: f(x) = x + O(x^2) is x."""
        return 2.0 ** -(self.fraction + 2)

    @property
    def small(self) -> float:
        """f(x) = x + O(x^3) is x."""
        return 2.0 ** -(self.fraction // 2 + 2)


DOUBLE = Format("double", 64, 52, 1023, 0x3FE6A09E667F3BCD, 710.0, -746.0, 710.6, 20.0, -39.0)
SINGLE = Format("float", 32, 23, 127, 0x3F3504F3, 89.0, -104.5, 89.5, 10.0, -18.0)
FORMATS = {"double": DOUBLE, "float": SINGLE}
