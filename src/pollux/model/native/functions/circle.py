"""Remainders of the circular functions: x = n pi/2 + r with r a pair.

Up to 2^30 (2^15 in single precision), three steps of Cody & Waite with pi/2 in three parts: the first fused step is
exact, because x and n times the first part are both multiples of that part's last place, and their difference is below
1. Beyond, where some lane needs it, the method of M. Payne & R. Hanek (ACM SIGNUM Newsletter 18, 1983): the 192 bits
of 2/pi that matter for x, times its 53 bits, in integers, lane by lane. The quotient of a double and pi/2 is at least
2^-62 or so away from every integer, so that 64 bits remain.
"""

from pollux.model.native.functions.doubled import Pair, exact_sum
from pollux.model.native.functions.emit import Emit, real_bits
from pollux.model.native.functions.formats import DOUBLE, SINGLE

LIMIT = {DOUBLE: 2.0**30, SINGLE: 2.0**15}
HALF_PI = {
    DOUBLE: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    SINGLE: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
}
TWO_OVER_PI = 0.6366197723675814
WORDS = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41,
    0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
    0xF0CFBC209AF4361D,
)  # fmt: skip
"""2/pi after the binary point, 64 bits a word, behind one word of zeros."""


def table() -> str:
    """The constant that the exact remainders read."""
    words = ", ".join(f"i64 {w}" for w in WORDS)
    return f"@pollux_two_over_pi = internal unnamed_addr constant [{len(WORDS)} x i64] [{words}]"


def remainder(e: Emit, x: str) -> tuple[Pair, str]:
    """((r, its low part), n as an integer of which the lowest two bits count): x = n pi/2 + r, |r| <= pi/4."""
    first, second, third = HALF_PI[e.form]
    shifted = e.fma(x, TWO_OVER_PI, e.form.shift)
    minus = e.neg(e.sub(shifted, e.form.shift))
    exact = e.fma(minus, first, x)
    p = e.mul(minus, second)
    high, low = exact_sum(e, exact, p)
    low = e.add(low, e.fma(minus, third, e.fma(minus, second, e.neg(p))))
    return _beyond(e, x, high, low, e.bits(shifted))


def _beyond(e: Emit, x: str, high: str, low: str, n: str) -> tuple[Pair, str]:
    """The same, with the exact remainders in the lanes that need them."""
    huge = e.both(e.compare("ogt", e.abs(x), LIMIT[e.form]), e.finite(x))
    values = {high: e.type, low: e.type, n: e.int}

    def every_lane() -> list[str]:
        fresh = dict.fromkeys(values, "poison")
        for lane in range(e.lanes):
            parts = _lane(e, e.put(f"extractelement {e.type} {x}, i32 {lane}"))
            for (name, kind), part in zip(values.items(), parts, strict=True):
                fresh[name] = e.put(f"insertelement {kind} {fresh[name]}, {part}, i32 {lane}")
        return [
            e.select(huge, fresh[high], high),
            e.select(huge, fresh[low], low),
            e.int_select(huge, fresh[n], n),
        ]

    high, low, n = e.where_some(huge, values, every_lane)
    return (high, low), n


def _lane(e: Emit, x: str) -> list[str]:
    """(r, low, n) of one lane, each with its type."""
    wide = x if e.form is DOUBLE else e.put(f"fpext float {x} to double")
    result = "{ double, double, i64 }"
    out = e.put(f"call fastcc {result} @pollux_remainder(double {wide})")
    high, low, n = (e.put(f"extractvalue {result} {out}, {i}") for i in range(3))
    if e.form is DOUBLE:
        return [f"double {high}", f"double {low}", f"i64 {n}"]
    first = e.put(f"fptrunc double {high} to float")
    rest = e.put(f"fsub double {high}, {e.put(f'fpext float {first} to double')}")
    second = e.put(f"fptrunc double {rest} to float")
    return [f"float {first}", f"float {second}", f"i32 {e.put(f'trunc i64 {n} to i32')}"]


def exact() -> str:
    """The function that finds one lane's remainder exactly for 2^15 < |x| < inf.

    With |x| = m 2^e the window is the 192 bits of 2/pi from the weight 2^(1-e) on, so that m times it, modulo 2^192, is
    |x| 2/pi modulo 4 in units of 2^-190, of which the upper 128 bits are kept. The distance from the nearest integer
    becomes a pair of doubles, times pi/2.
    """
    attributes = "noinline nounwind willreturn memory(none)"
    return f"""\
define internal fastcc {{ double, double, i64 }} @pollux_remainder(double %x) {attributes} {{
  %magnitude = call double @llvm.fabs.f64(double %x)
  %pattern = bitcast double %magnitude to i64
  %biased = lshr i64 %pattern, 52
  %fraction = and i64 %pattern, {(1 << 52) - 1}
  %mantissa = or i64 %fraction, {1 << 52}
  %offset = sub i64 %biased, 1013
  %start = call i64 @llvm.smax.i64(i64 %offset, i64 0)
  %within = and i64 %start, 63
  %word = lshr i64 %start, 6
  %p0 = getelementptr i64, ptr @pollux_two_over_pi, i64 %word
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %p3 = getelementptr i64, ptr %p0, i64 3
  %w0 = load i64, ptr %p0
  %w1 = load i64, ptr %p1
  %w2 = load i64, ptr %p2
  %w3 = load i64, ptr %p3
  %a0 = call i64 @llvm.fshl.i64(i64 %w0, i64 %w1, i64 %within)
  %a1 = call i64 @llvm.fshl.i64(i64 %w1, i64 %w2, i64 %within)
  %a2 = call i64 @llvm.fshl.i64(i64 %w2, i64 %w3, i64 %within)
  %m = zext i64 %mantissa to i128
  %b1 = zext i64 %a1 to i128
  %b2 = zext i64 %a2 to i128
  %m0 = mul i64 %mantissa, %a0
  %m1 = mul i128 %m, %b1
  %m2 = mul i128 %m, %b2
  %carry = lshr i128 %m2, 64
  %low128 = add i128 %m1, %carry
  %top = zext i64 %m0 to i128
  %top128 = shl i128 %top, 64
  %turns = add i128 %top128, %low128
  %moved = add i128 %turns, {1 << 125}
  %n128 = lshr i128 %moved, 126
  %back = shl i128 %n128, 126
  %rest = sub i128 %turns, %back
  %below = icmp slt i128 %rest, 0
  %minus = sub i128 0, %rest
  %size = select i1 %below, i128 %minus, i128 %rest
  %zeros = call i128 @llvm.ctlz.i128(i128 %size, i1 false)
  %left = shl i128 %size, %zeros
  %high128 = lshr i128 %left, 75
  %high64 = trunc i128 %high128 to i64
  %low22 = lshr i128 %left, 22
  %low64 = trunc i128 %low22 to i64
  %low53 = and i64 %low64, {(1 << 53) - 1}
  %high = uitofp i64 %high64 to double
  %low = uitofp i64 %low53 to double
  %z64 = trunc i128 %zeros to i64
  %e = sub i64 972, %z64
  %ebits = shl i64 %e, 52
  %unit = bitcast i64 %ebits to double
  %f = fmul double %high, %unit
  %g0 = fmul double %low, 0x3CA0000000000000
  %g = fmul double %g0, %unit
  %r = fmul double %f, {real_bits(HALF_PI[DOUBLE][0])}
  %negr = fneg double %r
  %e0 = call double @llvm.fma.f64(double %f, double {real_bits(HALF_PI[DOUBLE][0])}, double %negr)
  %e1 = call double @llvm.fma.f64(double %f, double {real_bits(HALF_PI[DOUBLE][1])}, double %e0)
  %e2 = call double @llvm.fma.f64(double %g, double {real_bits(HALF_PI[DOUBLE][0])}, double %e1)
  %negx = fneg double %x
  %s = select i1 %below, double %negx, double %x
  %sbits = bitcast double %s to i64
  %smask = and i64 %sbits, {-(1 << 63)}
  %rbits = bitcast double %r to i64
  %lbits = bitcast double %e2 to i64
  %rsigned = xor i64 %rbits, %smask
  %lsigned = xor i64 %lbits, %smask
  %rout = bitcast i64 %rsigned to double
  %lout = bitcast i64 %lsigned to double
  %count = trunc i128 %n128 to i64
  %negcount = sub i64 0, %count
  %left_of_zero = fcmp olt double %x, 0.0
  %n = select i1 %left_of_zero, i64 %negcount, i64 %count
  %o0 = insertvalue {{ double, double, i64 }} poison, double %rout, 0
  %o1 = insertvalue {{ double, double, i64 }} %o0, double %lout, 1
  %o2 = insertvalue {{ double, double, i64 }} %o1, i64 %n, 2
  ret {{ double, double, i64 }} %o2
}}"""
