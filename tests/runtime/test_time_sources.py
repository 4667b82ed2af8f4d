"""Sources and their clocks: slow, silent, ahead, stepped; and what is said about them."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.core.errors import WiringError
from pollux.core.time import ManualClock
from pollux.runtime.align import Aligner
from pollux.runtime.binding import OPEN, SourceRule, bind
from pollux.runtime.clocks import BLOCKS, STRETCH, SourceClock, SourceClocks, SteadyClock
from pollux.runtime.connect.wire import Message
from pollux.runtime.watermark import Watermarks
from pollux.runtime.wiring import SourceWiring, TagWiring, TwinWiring, read_wiring

from .test_align import Spec
from .test_time_rerun import Bench
from .time_bench import signals, write

INF = float("inf")


def binding(*, sources=(), lag=0.0, period=1.0, jump=100.0, time="event", periods=(1.0, 1.0, 20.0), pulse=None):
    """Tags a, b, c of the sources plc1, plc2, lab."""
    names = ("plc1", "plc2", "lab")
    tags = tuple(TagWiring(t, t, None, p, s, "plant") for t, s, p in zip("abc", names, periods, strict=True))
    wiring = TwinWiring(
        "w", "m:f", {}, (), period, time, lag, jump, "w", 1.0, tags, (), {}, "test", tuple(sources), pulse
    )
    return bind(wiring, [Spec("a"), Spec("b")], [Spec("c")])


def reasons(b, rows):
    return [o.reason for o in Aligner(b).push(rows)[1]]


def test_a_slow_source_that_talks_is_waited_for():
    """plc2 delivers everything 30 s after plc1, in order; no row is late though the lag is zero."""
    b = binding()
    rows = [r for k in range(1, 200) for r in ((0, float(k), 1.0), *([(1, k - 30.0, 2.0)] if k > 30 else []))]
    late = reasons(b, rows)
    # before it has spoken nobody waits for it: its first 30 s are late, and then it is caught up with
    assert late == ["late"] * len(late)
    assert len(late) <= 30


def test_a_dead_source_does_not_hold_the_twin_up():
    b = binding()
    a = Aligner(b)
    rows = [(p, float(k), 1.0) for k in range(1, 11) for p in (0, 1)]
    a.push(rows)
    assert a.cursor.next_bin == 10
    settled = []
    for k in range(11, 30):
        a.push([(0, float(k), 1.0)])
        settled.append(k - 1 - a.cursor.next_bin)
    idle = b.sources[1].idle
    assert idle == 4.0  # its period and three of the twin
    assert max(settled) <= idle
    assert settled[-1] == -1
    assert a.marks.idle(1)
    assert not a.marks.idle(0)


def test_a_gateway_that_kept_its_values_is_waited_for_as_long_as_is_wired():
    """plc2 is silent for five minutes and then delivers what it kept: fused with `idle`, late without."""
    rows = [r for k in range(1, 51) for r in ((0, float(k), 1.0), (1, float(k), 2.0))]
    rows += [(0, float(k), 1.0) for k in range(51, 351)]
    rows += [(1, float(k), 2.0) for k in range(51, 351)]
    assert reasons(binding(sources=[SourceWiring("plc2", idle=600.0)], jump=1e4), rows) == []
    without = reasons(binding(jump=1e4), rows)
    assert without[0] == "late"
    assert len(without) >= 290


def test_one_slow_lab_has_its_own_lag_and_the_others_keep_theirs():
    b = binding(sources=[SourceWiring("lab", lag=7200.0)], lag=2.0, jump=1e5, periods=(1.0, 1.0, 3600.0))
    a = Aligner(b)
    for k in range(1, 20_000):
        rows = [(0, float(k), 1.0), (1, float(k), 1.0)]
        if k % 3600 == 0 and k > 7200:
            rows.append((2, k - 7199.0, 3.0))  # two hours late
        assert not a.push(rows)[1]
        assert a.marks.present >= k - 2.0  # what people look at does not wait for it
    assert a.open <= 7200 + 3
    _, outcomes = a.push([(2, 20_000 - 7300.0, 3.0)])  # beyond its lag
    assert [o.reason for o in outcomes] == ["late"]


def test_a_source_that_is_ahead_makes_nobody_else_late():
    """The clock of plc1 is 90 s ahead, within `jump`: plc2 is right, and all of its rows are fused."""
    a = Aligner(binding(lag=2.0))
    for k in range(1, 400):
        rows = [(0, k + 90.0, 1.0), (1, float(k), 1.0)]
        assert not [o for o in a.push(rows)[1] if o.port == 1 and k > 95]
        assert a.marks.present <= k + 90.0
    assert abs(a.marks.present - 400) <= 5  # and it does not move the present alone


def test_a_clock_that_leaps_beyond_the_jump_is_refused_until_another_agrees():
    a = Aligner(binding(lag=2.0))
    a.push([(p, float(k), 1.0) for k in range(1, 50) for p in (0, 1)])
    _, outcomes = a.push([(0, 5000.0 + k, 1.0) for k in range(20)])
    assert [o.reason for o in outcomes] == ["future"] * 20
    assert a.marks.now == 49.0
    _, outcomes = a.push([(1, 5010.0, 1.0), (1, 5011.0, 1.0)])
    assert not outcomes
    assert a.marks.now == 5011.0


def test_a_clock_that_falls_back_is_late_and_moves_nothing():
    a = Aligner(binding(lag=2.0))
    a.push([(p, float(k), 1.0) for k in range(100, 150) for p in (0, 1)])
    before = a.cursor
    _, outcomes = a.push([(0, float(k), 1.0) for k in range(20, 40)])
    assert [o.reason for o in outcomes] == ["late"] * 20
    assert a.cursor == before


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whoever_comes_within_its_lag_is_in_time(data):
    """The promise of `watermark`: a row at most L_s behind the newest of all is never before the front."""
    rules = [
        SourceRule(
            str(i), data.draw(st.sampled_from([0.0, 1.0, 5.0, 50.0])), data.draw(st.sampled_from([0.0, 3.0, 1e3])),
            data.draw(st.sampled_from([1.0, 10.0, 100.0])),
        )
        for i in range(data.draw(st.integers(1, 4)))
    ]  # fmt: skip
    marks, last = Watermarks(rules, 1.0, 20.0), -INF
    for _ in range(60):
        source = data.draw(st.integers(0, len(rules) - 1))
        marks.heard(source, data.draw(st.floats(0, 200)))
        assert marks.settled >= last
        last = marks.settled
        assert last <= marks.now - max(rule.lag for rule in rules)
        assert marks.settled <= marks.present <= marks.now


def test_open_ticks_are_bounded_and_a_lag_that_needs_more_is_refused():
    with pytest.raises(WiringError, match=rf"at most {OPEN} periods.*pollux refold"):
        binding(lag=OPEN + 1.0)
    a = Aligner(binding(lag=2.0, jump=1e6))
    for start in range(0, 3 * OPEN, 1000):
        a.push([(0, float(k), 1.0) for k in range(start, start + 1000)] + [(1, 1.0, 1.0)])
        assert a.open <= OPEN + 1


def test_a_fast_twin_with_slow_sensors_has_few_empty_ticks():
    """1 kHz for a tenth of a second, then a value a second: with a pulse of 1 s there is no tick between them."""
    b = binding(period=0.001, pulse=1.0, periods=(0.001, 1.0, 1.0), jump=1e6)
    rows = [(0, k / 1000, 1.0) for k in range(1, 101)] + [(1, float(k), 1.0) for k in range(1, 20)]
    found, _ = Aligner(b).push(rows)
    assert len(found) == 100 + 18
    assert [r.t for r in found[-18:]] == [float(k) for k in range(1, 19)]


# ------------------------------------------------------------------ clocks


def test_the_envelope_finds_the_error_under_delays_and_wrong_times():
    """Delay 0.2 s and an exponential tail; the clock 3,600 s ahead; one time in a hundred is nonsense in a stretch."""
    rng, clock, now = np.random.default_rng(1), SourceClock(), 1e9
    for k in range(2000):
        now += rng.exponential(0.5)
        t = now - 0.2 - rng.exponential(2.0) + 3600.0
        clock.heard(now, now - t if k not in (300, 900) else -1e5)
    assert clock.error == pytest.approx(3600.0, abs=0.6)


def test_the_envelope_follows_a_clock_that_was_set():
    clock, errors = SourceClock(), []
    for k in range(400):
        clock.heard(float(k), 0.1 - (50.0 if k > 200 else 0.0))
        errors.append(clock.error)
    assert errors[200] == pytest.approx(-0.1)
    assert errors[-1] == pytest.approx(49.9)
    moved = next(k for k in range(200, 400) if errors[k] is not None and errors[k] > 25)
    assert moved - 200 <= (BLOCKS // 2 + 2) * STRETCH


class StepClock:
    """A machine's clock that can be set; the steady one cannot."""

    def __init__(self):
        self.t, self.step = 1000.0, 0.0

    def now(self):
        return 1e9 + self.t + self.step

    def monotonic(self):
        return self.t


def test_the_steady_clock_follows_a_step_only_where_the_sources_agree():
    clock = StepClock()
    steady = SteadyClock(clock)
    assert steady.at(clock.now(), clock.now() - 1) == clock.now()
    clock.step = 3600.0  # somebody sets the clock wrongly: the sources say otherwise
    assert steady.at(clock.now(), 1e9 + clock.t - 1) == 1e9 + clock.t
    clock.t += 10
    assert steady.at(clock.now(), 1e9 + clock.t - 1) == 1e9 + clock.t
    assert steady.at(clock.now(), clock.now() - 1) == clock.now()  # the sources agree: it was wrong before
    clock.step = 3500.0
    assert steady.at(clock.now(), 1e9 + clock.t + 3500.0 - 1) == clock.now()


def test_estimates_begin_again_when_this_machines_clock_is_set():
    clock = StepClock()
    clocks = SourceClocks(1, clock)
    for _ in range(60):
        clock.t += 1.0
        clocks.heard(clock.now(), [(0, clock.now() - 0.1)])
    assert clocks.error(0) == pytest.approx(-0.1)
    true = clock.step
    clock.step = 3600.0
    for _ in range(60):
        clock.t += 1.0
        clocks.heard(clock.now(), [(0, 1e9 + clock.t + true - 0.1)])
    assert clocks.stepped == 3600.0
    assert clocks.error(0) == pytest.approx(-3600.1)


# ------------------------------------------------------------------ through the engine


def test_a_wrong_clock_is_said_in_plain_words_and_an_offset_makes_it_right(tmp_path):
    """plc1 is an hour ahead on a twin that runs on wall time: a finding; with the offset wired it is gone."""
    wrong = write(tmp_path / "wrong", keys='time = "wall"\njump = 7200')
    right = write(tmp_path / "right", keys='time = "wall"\njump = 7200', sources="[twin.source.plc1]\noffset = -3600")

    async def story(folder, state):
        async with Bench(folder, state) as bench:
            clock = bench.engine.clock
            for _ in range(20):
                clock.advance(5.0)
                t = clock.now()
                await bench.engine._intake.tick("pair", t)  # by itself it ticks once a second of real time
                await bench.field.push(
                    [
                        Message("field", "pair", "top", t + 3600 - 0.1, 1.0, via="plc1"),
                        Message("field", "pair", "low", t - 0.1, 0.4, via="plc2"),
                    ]
                )
                await bench.engine.settled()
                await asyncio.sleep(0.01)
            lane = bench.engine.lanes()["pair"]
            return [a.summary for a in lane.live.state.reported], lane.sources()

    said, shown = asyncio.run(story(wrong, tmp_path / "a"))
    assert said == ["The clock of plc1 is 3,600 s ahead: set it, or give the source an offset"]
    assert shown["sources"]["plc1"]["clock_ahead"] == pytest.approx(3600, abs=1)
    assert shown["sources"]["plc2"]["clock_ahead"] == pytest.approx(0, abs=1)
    assert shown["sources"]["plc2"]["late"] == 0
    said, shown = asyncio.run(story(right, tmp_path / "b"))
    assert said == []
    assert shown["sources"]["plc1"]["offset"] == -3600
    assert shown["sources"]["plc1"]["clock_ahead"] == pytest.approx(0, abs=1)
    assert {s["late"] for s in shown["sources"].values()} == {0}


def test_what_was_not_fused_is_told_by_source(tmp_path):
    folder = write(tmp_path / "p", lab=0)

    async def story():
        async with Bench(folder, tmp_path / "s") as bench:
            rows = signals(seed=2, seconds=40)
            await bench.feed([r for r in rows if r[0] != 2])
            await bench.feed([r for r in rows if r[0] == 2])
            await bench.feed(rows[-2:])
            return bench.engine.lanes()["pair"].sources()

    shown = asyncio.run(story())
    assert shown["sources"]["lab"]["late"] == 2
    assert shown["sources"]["plc1"]["duplicate"] == 1
    assert shown["open_ticks"] <= 5


def test_wiring_of_sources(tmp_path):
    folder = write(tmp_path / "p", sources='[twin.source.plc1]\noffset = "-1 h"\nlag = "2 min"\nidle = 600')
    wired = {s.name: s for s in read_wiring(folder).twins[0].sources}
    assert wired["plc1"] == SourceWiring("plc1", -3600.0, 120.0, 600.0)
    text = (folder / "pollux.toml").read_text()
    (folder / "pollux.toml").write_text(text.replace("[twin.source.plc1]", "[twin.source.plc1]\noffest = 3"))
    with pytest.raises(WiringError, match="offest"):
        read_wiring(folder)
    with pytest.raises(WiringError, match=r"must be the authority of a tag.*Did you mean 'lab'"):
        binding(sources=[SourceWiring("lap")])


def test_a_manual_clock_never_steps():
    clocks = SourceClocks(1, ManualClock(5.0))
    clocks.heard(6.0, [(0, 6.0)])
    assert clocks.stepped == 0.0
