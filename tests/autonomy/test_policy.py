"""A policy from TOML: every field arrives, every mistake is named with its place and a way out."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from pollux.autonomy.policy import Actuator, Interlock, Policy, Term
from pollux.autonomy.policy_toml import parse_policy
from pollux.core.errors import WiringError
from pollux.core.signals import Level

GOOD = """
level = 2
ceiling = 3
max_age = 20
eps = 0.02
less_risk = false
samples = 500
required = ["level"]
consistency = [0.2, 2.0]
[actuators.pump]
range = [0.0, 1.0]
safe = 0.0
slew = 0.1
dwell = 300
moves = 12
envelope = [0.2, 0.8]
resolution = 0.05
[actuators.valve]
range = [0, 100]
unit = "%"
[domain]
h = [0.5, 3.5]
[caps]
mpc = 3
user = 2
[[interlocks]]
name = "no dry run"
when = "h < 0.3 and sensor.level <= 0.4"
require = "pump <= 0"
"""
FACE = {"inputs": {"pump": "1", "valve": "%", "demand": "m^3/s"}, "names": ("h", "sensor.level"), "sensors": ("level",)}


def parse(text):
    return parse_policy(tomllib.loads(text), **FACE)


def test_every_field_arrives():
    policy = parse(GOOD)
    assert policy.actuators == (
        Actuator(
            "pump", "1", 0.0, 1.0, safe=0.0, slew=0.1, dwell=300.0, moves=12.0, envelope=(0.2, 0.8), resolution=0.05
        ),
        Actuator("valve", "%", 0.0, 100.0),
    )
    assert (policy.level, policy.ceiling, policy.max_age, policy.eps, policy.less_risk, policy.draws) == (
        Level.APPROVE, Level.SUPERVISED, 20.0, 0.02, False, 500,
    )  # fmt: skip
    assert policy.domain == (("h", 0.5, 3.5),)
    assert policy.caps == (("mpc", Level.SUPERVISED), ("user", Level.APPROVE))
    lock = Interlock("no dry run", (Term("h", "<", 0.3), Term("sensor.level", "<=", 0.4)), (Term("pump", "<=", 0.0),))
    assert policy.interlocks == (lock,)


def test_an_empty_table_allows_nothing():
    assert parse("") == Policy(())
    assert parse("level = 3").ceiling == Level.SUPERVISED


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("level = 2", "levle = 2", r"policy: there is no setting 'levle'; did you mean 'level'\?"),
        ("level = 2", "level = 7", r"policy\.level: a level from 0"),
        ("level = 2", "level = true", r"policy\.level: a level from 0"),
        ("level = 2", "level = 4", r"must not exceed `ceiling`, got 4 > 3"),
        ("max_age = 20", "max_age = '20 s'", r"policy\.max_age: a finite number, got '20 s'"),
        ("max_age = 20", "max_age = inf", r"policy\.max_age: a finite number, got inf"),
        ("max_age = 20", "max_age = 0", r"`max_age` must be above 0 s"),
        ("eps = 0.02", "eps = 0", r"`eps` must lie between 0 and 1"),
        ("samples = 500", "samples = 50", r"`samples` = 50 cannot prove eps = 0.02 at confidence 0.99; at least 228"),
        ("samples = 500", "samples = 5.5", r"policy\.samples: a whole number"),
        ("less_risk = false", "less_risk = 0", r"policy\.less_risk: true or false"),
        ('["level"]', '["levl"]', r"policy\.required: there is no sensor 'levl'; did you mean 'level'"),
        ("[0.2, 2.0]", "[2.0, 0.2]", r"consistency: two finite numbers, the lower first"),
        (
            "[actuators.pump]",
            "[actuators.pmp]",
            r"policy\.actuators: there is no input .*'pmp'; did you mean 'pump'",
        ),
        ("range = [0.0, 1.0]", "", r"policy\.actuators\.pump: `range = \[low, high\]` is missing"),
        ("range = [0.0, 1.0]", "range = [1.0]", r"policy\.actuators\.pump\.range: `\[low, high\]`, got \[1.0\]"),
        ("range = [0.0, 1.0]", "range = [1.0, 0.0]", r"actuator 'pump': range: two finite numbers"),
        ("range = [0.0, 1.0]", "range = [0.0, nan]", r"policy\.actuators\.pump\.range: a finite number"),
        ("safe = 0.0", "safe = 2.0", r"`safe` must lie in \[0.0, 1.0\], got 2.0"),
        ("slew = 0.1", "slew = 0", r"`slew` must be above 0"),
        ("slew = 0.1", "slw = 0.1", r"did you mean 'slew'"),
        ("dwell = 300", "dwell = -1", r"`dwell` must be a number >= 0"),
        ("envelope = [0.2, 0.8]", "envelope = [0.2, 1.8]", r"envelope .* must lie in the range"),
        ('unit = "%"', 'unit = "1"', r"policy\.actuators\.valve\.unit: limits are in the twin's unit '%', got '1'"),
        ("h = [0.5, 3.5]", "q = [0.5, 3.5]", r"policy\.domain: there is no recorded name 'q'"),
        ("mpc = 3", "agent = 3", r"never passes above level 2, got caps.agent = 3"),
        ('name = "no dry run"', "", r"policy\.interlocks\[0\]\.name"),
        ('require = "pump <= 0"', "", r"`require` is missing"),
        ('require = "pump <= 0"', 'require = "pump = 0"', r"`name operator number`"),
        ('require = "pump <= 0"', 'require = "pump <= nan"', r"a finite number after"),
        ('require = "pump <= 0"', 'require = "__import__(1) <= 0"', r"there is no recorded name '__import__\(1\)'"),
        ("h < 0.3 and", "h < 0.3 or", r"`name operator number`"),
    ],
)
def test_mistakes_are_named(old, new, message):
    assert old in GOOD
    with pytest.raises(WiringError, match=message):
        parse(GOOD.replace(old, new, 1))


@pytest.mark.parametrize("text", ["actuators = 3", "domain = 1", "interlocks = 5", "caps = 1", "required = 'level'"])
def test_wrong_kinds_of_table_are_named(text):
    with pytest.raises(WiringError, match=f"policy.{text.split()[0]}"):
        parse(text)


def test_an_actuator_is_declared_once():
    with pytest.raises(WiringError, match="once"):
        Policy((Actuator("a", "1", 0.0, 1.0), Actuator("a", "1", 0.0, 2.0)))


def test_the_reference_page_names_every_setting_and_its_example_parses():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "policy.md").read_text()
    keys = {f.name for f in fields(Policy)} - {"actuators"}
    keys |= {f.name for f in fields(Actuator)} - {"name", "low", "high"} | {"range"}
    assert [k for k in sorted(keys) if f"`{k}`" not in page] == []
    example = tomllib.loads(page.split("```toml\n")[1].split("```")[0])["twin"]["policy"]
    policy = parse_policy(example, inputs={"pump": "1"}, names=("level", "sensor.level"), sensors=("level",))
    assert policy.interlocks[0].name == "no dry run"
