"""Numbers in a text that nothing recorded covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux.autonomy.quote import sentences, unfounded, written

RECORDED = [36.589, 0.125, -4.5, 1234.5, 12.0, 0.00037]
NAMES = ["Pressure 13", "p13", "Valve 12-22"]


@pytest.mark.parametrize(
    "text",
    [
        "The level is 36.589 m, or 36.59, or 36.6, or about 37.",
        "The probability is 12.5 %, that is 0.125 or 13 percent.",
        "It fell by 4.5; minus the sign it is -4.5 or −4.5.",
        "1,234.5 or 1235 or 1.2345e3",
        "Twelve of 12.",
        "Pressure 13 (p13) and Valve 12-22 are names.",
        "3.7e-4 and 0.00037",
        "no numbers, one of them",
    ],
)
def test_covered(text):
    assert unfounded(text, RECORDED, NAMES) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The level is 36.58 m.", ["36.58"]),
        ("It is 38.", ["38"]),
        ("12.6%", ["12.6%"]),
        ("about forty", ["forty"]),
        ("it doubled: double", ["double"]),
        ("Pressure 14", ["14"]),
        ("p14 is fine", ["p14"]),
        ("+4.5", ["+4.5"]),
        ("1e9", ["1e9"]),
        ("99 bottles and 12 glasses", ["99"]),
        ("half of it", ["half"]),
        ("٣ bars", ["٣"]),
        ("twelve hundred", ["hundred"]),
        ("valve_99 is open", ["valve_99"]),
    ],
)
def test_not_covered(text, found):
    assert unfounded(text, RECORDED, NAMES) == found


@given(st.floats(-1e9, 1e9, allow_subnormal=False), st.integers(2, 6))
def test_what_we_write_is_covered(value, digits):
    assert unfounded(f"It is {written(value, digits)} now.", [value]) == []


@given(st.floats(1.0, 1e6), st.floats(0.01, 0.3))
def test_what_differs_by_more_than_rounding_is_found(value, share):
    assert unfounded(f"It is {value * (1 + share):.6g}.", [value]) != []


def test_a_long_text_takes_no_long_time():
    assert unfounded("x" * 300_000 + " " + "1" * 100, []) != []


def test_nan_and_infinity_cover_nothing():
    assert unfounded("nan inf 5", [float("nan"), float("inf")]) == ["5"]


def test_sentences_keep_decimals():
    text = "It is 3.5 m. That is 1.2 more! Really?\nYes"
    assert sentences(text) == ["It is 3.5 m.", "That is 1.2 more!", "Really?", "Yes"]
