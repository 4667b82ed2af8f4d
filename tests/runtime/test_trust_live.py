"""Data quality at the level of the live twin and of the running engine: named, left out, healthy again by itself."""

import asyncio
import math

import numpy as np
import pytest

from pollux import build_detector, build_mirror, compile
from pollux.core.signals import Cause, Health, Readings
from pollux.core.time import ManualClock
from pollux.core.units import convert
from pollux.intervene.diagnose import kind_of
from pollux.runtime.connect.wire import Message
from pollux.runtime.face import face_of
from pollux.runtime.live import LiveTwin
from pollux.runtime.settings import LiveSettings
from pollux.runtime.trust import trust

from .bench import Running
from .project import write

AT, UNTIL, DT = 120, 200, 10.0


@pytest.fixture(scope="module")
def parts(tank):
    kernels = compile(tank)
    return kernels, build_mirror(kernels, name="tank"), build_detector(kernels, alarm_every=1e9)


def raised(parts) -> LiveTwin:
    kernels, mirror, detector = parts
    face = face_of(kernels.space, name="tank", title="Tank", kind="tank", doc="", tracked=())
    settings = LiveSettings(time="event", clear_after=30.0)
    return LiveTwin(face, ManualClock(0.0), mirror=mirror, detector=detector, settings=settings)


def walk(parts, live: LiveTwin, first: int, last: int, spoil=None, seed: int = 0) -> None:
    space = parts[0].space
    for i in range(first, last):
        g = np.random.default_rng([seed, i])
        y = np.array([1.0, 293.0]) + np.sqrt(space.R) * g.standard_normal(2)
        if spoil:
            spoil(y, g)
        live.step(Readings("tank", DT * i, f"r{i}", "", y, space.u0))


def health(live: LiveTwin, name: str) -> float:
    return trust(live.face, live.state, live.ring.last(1000))["sensors"][name]["health"]


def stuck(y, g):
    y[1] = 293.4


def to_fahrenheit(y, g):
    y[1] = convert(y[1], "K", "degF")


def noisy(y, g):
    y[1] += 6.0 * g.standard_normal()


def biased(y, g):
    y[1] += 3.0


def gone(y, g):
    y[1] = np.nan


def swapped(y, g):
    y[0], y[1] = y[1], y[0]


@pytest.mark.parametrize(
    ("kind", "spoil", "cause"),
    [
        ("stuck", stuck, Cause.SENSOR),
        ("unit slip", to_fahrenheit, Cause.SENSOR),
        ("noise", noisy, Cause.SENSOR),
        ("bias", biased, Cause.SENSOR),
        ("dropout", gone, Cause.DATA),
    ],
)
def test_health_falls_with_the_fault_and_comes_back_with_the_sensor(parts, kind, spoil, cause):
    live = raised(parts)
    walk(parts, live, 1, AT)
    assert health(live, "temp") == health(live, "level") == 1.0
    walk(parts, live, AT, UNTIL, spoil)
    (alarm,) = (a for a in live.state.alarms.open() if a.subject == "temp" and kind_of(a.evidence) == kind)
    assert alarm.cause == str(cause)
    assert health(live, "temp") == 0.0
    assert health(live, "level") == 1.0
    if cause is Cause.SENSOR:
        assert live.state.suspects == ("temp",)
        assert live.state.belief.health[1] is Health.SUSPECT
    assert abs(live.state.belief.mean[1] - 293.1) < 0.5, "the belief was not harmed"
    walk(parts, live, UNTIL, UNTIL + 160)
    assert not live.state.suspects
    assert not live.state.alarms.open()
    assert health(live, "temp") == 1.0


class Bench(Running):
    """An engine in this process, with its connector at hand."""

    async def feed(self, first, last, level):
        for k in range(first, last):
            noise = 0.01 * math.sin(12.9898 * k * k)
            gauge = Message("field", "tank", "LT1", float(k), level(1.0 + noise))
            await self.field.push([gauge, Message("field", "tank", "FT1", float(k), 10.0, "L/s")])
        await self.engine.settled()

    @property
    def live(self):
        return self.engine.lanes()["tank"].live


@pytest.fixture
def project(tmp_path):
    """The small project, its gauge wired in metres and without a declared range."""
    folder = write(tmp_path / "bench")
    toml, twin = folder / "pollux.toml", folder / "twin.py"
    toml.write_text(toml.read_text().replace('unit = "cm"', 'unit = "m"'))
    twin.write_text(twin.read_text().replace('var("m", noise=0.01, within=(0.0, 2.5))', 'var("m", noise=0.01)'))
    return folder


def test_a_transmitter_that_changes_to_centimetres_is_found_out(project, tmp_path):
    async def story(state, during):
        async with Bench(project, state) as bench:
            await bench.feed(1, 80, lambda m: m)
            await bench.feed(80, 110, during)
            at_fault = bench.live.state
            await bench.feed(110, 430, lambda m: m)
            return at_fault, bench.live.state

    at_fault, after = asyncio.run(story(tmp_path / "a", lambda m: 100.0 * m))
    alarm = next(a for a in at_fault.alarms.open() if a.subject == "level")
    assert kind_of(alarm.evidence) == "unit slip"
    assert alarm.evidence["probability of cm"] > 0.95
    assert "probably cm" in alarm.summary
    assert at_fault.suspects == ("level",)
    silent, _ = asyncio.run(story(tmp_path / "b", lambda m: math.nan))
    np.testing.assert_array_equal(at_fault.belief.mean, silent.belief.mean)
    np.testing.assert_array_equal(at_fault.belief.cov, silent.belief.cov)
    assert not after.suspects
    assert after.belief.health == (Health.GOOD,)
    assert not [a for a in after.alarms.open() if a.subject == "level" and a.cause == str(Cause.SENSOR)]
