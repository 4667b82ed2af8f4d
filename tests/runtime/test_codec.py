"""State to bytes and back: the same bits, only known types, damage is seen."""

import math
import struct
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux.core.errors import CorruptionError, StoreError
from pollux.core.signals import Belief, Health
from pollux.runtime import align
from pollux.runtime.binding import Binding
from pollux.runtime.store.codec import Codec


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Node:
    name: str
    parts: tuple
    colour: Colour = Colour.RED


CODEC = Codec([Node, Colour])


def bits(value):
    """A comparable form that tells every bit apart."""
    match value:
        case float():
            return ("float", struct.pack("<d", value))
        case np.ndarray() | np.generic():
            return ("array", type(value).__name__, value.dtype.str, value.shape, value.tobytes())
        case tuple() | list():
            return (type(value).__name__, [bits(v) for v in value])
        case dict():
            return ("dict", [(bits(k), bits(v)) for k, v in value.items()])
        case Node():
            return ("Node", bits(value.name), bits(value.parts), value.colour)
        case _:
            return (type(value).__name__, value)


arrays = st.tuples(
    st.sampled_from(["<f8", "<f4", "<i8", "<u4", "<u1", "?", ">f8"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.binary(min_size=216, max_size=216),
).map(lambda a: np.frombuffer(a[2], "u1", int(np.prod(a[1], dtype=int)) * np.dtype(a[0]).itemsize).copy().view(
    a[0]).reshape(a[1]) if a[0] != "?" else np.ones(a[1], bool))  # fmt: skip
floats = st.binary(min_size=8, max_size=8).map(lambda b: struct.unpack("<d", b)[0])
leaves = st.none() | st.booleans() | st.integers() | floats | st.text() | st.binary() | st.sampled_from(Colour)
values = st.recursive(
    leaves | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.builds(Node, st.text(max_size=3), st.lists(inner, max_size=3).map(tuple), st.sampled_from(Colour))
    ),
    max_leaves=12,
)


@given(values)
def test_values_come_back_bit_for_bit(value):
    got = CODEC.decode(CODEC.encode(value))
    if isinstance(value, np.ndarray) and value.dtype.byteorder == ">":
        assert got.dtype == value.dtype.newbyteorder("=")
        return
    assert CODEC.encode(got) == CODEC.encode(value)


@given(st.lists(floats, max_size=5), floats)
def test_every_bit_of_a_float_is_kept(many, one):
    value = {"many": np.array(many), "one": one, "scalar": np.float64(one), "tuple": (one, -0.0, math.nan)}
    assert bits(CODEC.decode(CODEC.encode(value))) == bits(value)


@given(st.binary(min_size=1, max_size=60), st.integers(0, 10**6))
def test_a_flipped_bit_is_seen(payload, where):
    data = bytearray(CODEC.encode(("state", payload)))
    where %= 8 * len(data)
    data[where // 8] ^= 1 << where % 8
    with pytest.raises(CorruptionError):
        CODEC.decode(bytes(data))


def test_arrays_that_come_back_can_be_written_and_are_aligned():
    got = CODEC.decode(CODEC.encode(("x", True, np.arange(3.0))))[2]
    got[0] = 7.0
    assert got.flags.aligned


def test_what_is_not_named_is_neither_written_nor_read():
    with pytest.raises(StoreError, match="Only named types are stored"):
        Codec().encode(Node("a", ()))
    with pytest.raises(StoreError, match="Convert it first"):
        CODEC.encode(object())
    with pytest.raises(StoreError, match="is numerical"):
        CODEC.encode(np.array(["text"]))
    with pytest.raises(StoreError, match="of another version"):
        Codec([Colour]).decode(CODEC.encode(Node("a", ())))
    with pytest.raises(StoreError, match="dataclass or an enum"):
        Codec([int])
    with pytest.raises(CorruptionError):
        CODEC.decode(b"")


def test_a_type_that_changed_is_said():
    @dataclass
    class Thing:
        a: int
        b: int

    def newer():
        @dataclass
        class Thing:
            a: int

        return Thing

    with pytest.raises(StoreError, match="of another version"):
        Codec([newer()]).decode(Codec([Thing]).encode(Thing(1, 2)))
    with pytest.raises(StoreError, match="different names"):
        Codec([Thing, newer()])


def test_the_values_of_the_walk_are_learnt_from_an_example():
    x = np.array([1.0, math.nan])
    belief = Belief("w", 1.0, "b", "r", x, np.eye(2), x, x, x, x, (Health.GOOD, Health.MISSING), 0.5, 1, x)
    state = replace(align.start(Binding("w", "w", "event", 1.0, 0.0, 1.0, 0, 0, (), ())), k=np.array([1]), t=x[None])
    codec = Codec.of((belief, state))
    got, aligned = codec.decode(codec.encode((belief, state)))
    assert got.cov.tobytes() == belief.cov.tobytes()
    assert got.health == belief.health
    assert isinstance(got.health[0], Health)
    assert repr(aligned) == repr(state)
    assert repr(replace(got, id="c")) == repr(replace(belief, id="c"))
