"""What did we know at 14:03: every past state comes back bit for bit, and what cannot come back is refused."""

import asyncio
import shutil

import apsw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError, StoreError
from pollux.core.time import ManualClock
from pollux.runtime import fold
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.wire import Message
from pollux.runtime.engine import Engine
from pollux.runtime.events import Intent
from pollux.runtime.fingerprint import digest_of
from pollux.runtime.lane import SYSTEM
from pollux.runtime.moments import Moment, moment
from pollux.runtime.reached import reached
from pollux.runtime.recall import recall, subject
from pollux.runtime.records import codec
from pollux.runtime.store.reading import reading
from pollux.runtime.store.snapshots import SPANS, Mark, kept
from pollux.runtime.wiring import read_wiring

from .project import write

START = 1e9
ANN = Principal("ann", "engineer", "person")


class Plant:
    """An engine whose clock goes forward by a second with every message; the plant's own time starts at 0."""

    def __init__(self, folder, state, start=START):
        self.wiring, self.state, self.start = read_wiring(folder), state, start

    async def __aenter__(self):
        self.clock = ManualClock(self.start)
        self.engine, self.field = Engine(self.wiring, self.state, self.clock), MemoryConnector("field")
        self.task = asyncio.create_task(self.engine.run(lambda wired, after: self.field))
        await self.engine.live.wait()
        return self

    async def __aexit__(self, *error):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def send(self, t, level):
        self.clock.advance(1.0)
        await self.field.push(
            [Message("field", "tank", "LT1", t, level, "cm"), Message("field", "tank", "FT1", t, 10.0, "L/s")]
        )
        await self.engine.settled()

    @property
    def lane(self):
        return self.engine.lanes()["tank"]


def bits(live):
    """Everything that a restart needs, as bytes."""
    return codec(live.state.detector).encode(live.state)


def disordered(n, seed):
    """Event times that come late, twice and in the wrong order, some beyond the lag; levels with a fault."""
    rng = np.random.default_rng(seed)
    times = np.arange(1.0, n + 1)
    order = np.argsort(times + rng.uniform(0, 2.5, n), kind="stable")
    sent = [*times[order], *times[rng.integers(0, n, n // 10)]]
    return [(float(t), 100 + 5 * np.sin(0.1 * t) + (30.0 if 60 < t < 75 else 0.0)) for t in sent]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A run with late and doubled data, a snapshot every 25 steps, people who act, and two restarts."""
    folder = tmp_path_factory.mktemp("recall")
    project, state = write(folder / "bench"), folder / "states" / "s"
    toml = project / "pollux.toml"
    toml.write_text(toml.read_text() + "\n[twin.live]\nforecast_every = 1e8\n")  # below they come when they are told
    seen, beliefs = [], {}

    async def run():
        data = disordered(140, 7)
        async with Plant(project, state) as first:
            await walk(first, data[:60])
        async with Plant(project, state, START + 500) as second:
            await walk(second, data[60:])
            found = [await second.engine.archive.recall("tank", Moment(t)) for t, _, _ in seen[::17]]
            return found

    async def walk(plant, data):
        for k, (t, level) in enumerate(data):
            live = plant.lane.live
            if live.ready and not np.isnan(live.state.forecast_t):
                seen.append((plant.clock.now(), bits(live), live.state.belief))
                beliefs[live.state.belief.t] = bits(live)
            await plant.send(t, level)
            while live.ready and np.isnan(live.state.forecast_t):  # noqa: ASYNC110 (the first comes by itself)
                await asyncio.sleep(0.02)
            if not live.ready:
                continue
            if k % 11 == 10:
                await plant.lane.act(Intent("foreseen", SYSTEM, {"forecast": live.foresee()}))
            for alarm in live.state.alarms.open():
                if alarm.state == "active":
                    await plant.lane.act(Intent("acknowledge", ANN, {"id": alarm.id, "note": "seen"}))
            if k == 40:
                await plant.lane.act(Intent("level", ANN, {"level": 2, "reason": "trial"}))
                await plant.lane.act(Intent("propose", ANN, {"values": {"q": 0.012}, "reason": "more"}))
            if k == 50:
                await plant.lane.act(Intent("stop", ANN, {"reason": "drill"}))

    every = fold.SNAPSHOT_EVERY
    fold.SNAPSHOT_EVERY = 25
    try:
        online = asyncio.run(run())
    finally:
        fold.SNAPSHOT_EVERY = every
    return project, state, seen, beliefs, online


def test_every_past_state_comes_back_bit_for_bit(story):
    """By the wall clock: after each message, with all that had been received by then and nothing else."""
    project, state, seen, _, _ = story
    assert len({b.id for _, _, b in seen}) > 100
    whose = subject(read_wiring(project), "")
    with reading(state / "journal.db") as store:
        for wall, known, _ in (*seen[::5], *seen[-3:]):
            assert bits(recall(whose, store, Moment(wall)).live) == known


def test_by_event_time_the_belief_about_a_time_comes_back(story):
    project, state, _, beliefs, _ = story
    whose = subject(read_wiring(project), "tank")
    with reading(state / "journal.db") as store:
        for t, known in list(beliefs.items())[::5]:
            found = recall(whose, store, Moment(t + 0.4, event_time=True))
            assert found.live.state.belief.t == t
            assert bits(found.live) == known
        assert recall(whose, store, Moment(1e9, event_time=True)).live.state.belief.t == max(beliefs)


def test_the_running_project_answers_the_same_and_is_not_moved(story):
    _, _, seen, _, online = story
    for (wall, _, belief), found in zip(seen[::17], online, strict=True):
        assert found["at"] == wall
        assert found["belief"] == belief.id
        assert found["estimates"]["h"]["mean"] == belief.mean[0]
        assert found["estimates"]["k"]["sd"] == np.sqrt(belief.cov[1, 1])
        assert found["meaning"].startswith("What the twin believed when the clock showed")
    assert online[-1]["frame"]["stopped"]
    assert not online[0]["frame"]["stopped"]
    assert online[-1]["decision"]["values"] == {"q": 0.012}
    assert any(a["state"] == "acknowledged" for found in online for a in found["frame"]["alarms"])


def test_what_another_definition_computed_is_refused_not_computed_wrongly(story, tmp_path):
    project, state, seen, _, _ = story
    other = write(tmp_path / "bench")
    toml = other / "pollux.toml"
    for old, new in (("period = 1.0", "period = 2.0"), ("ceiling = 3", "ceiling = 2")):
        toml.write_text((project / "pollux.toml").read_text().replace(old, new))
        with reading(state / "journal.db") as store, pytest.raises(InputError, match="another definition or wiring"):
            recall(subject(read_wiring(other), ""), store, Moment(seen[50][0]))
    toml.write_text((project / "pollux.toml").read_text())
    twin = other / "twin.py"
    twin.write_text(twin.read_text().replace("0.01, prior", "0.011, prior"))
    with reading(state / "journal.db") as store:
        for when in (Moment(seen[50][0]), Moment(50.0, event_time=True)):
            with pytest.raises(InputError, match="another definition or wiring"):
                recall(subject(read_wiring(other), ""), store, when)


def test_a_change_of_the_wiring_divides_the_past(tmp_path):
    """Before the change another twin knew; after it the state that the new one went on from counts."""
    project, state = write(tmp_path / "bench"), tmp_path / "states" / "s"

    async def run():
        async with Plant(project, state) as plant:
            for k in range(1, 40):
                await plant.send(float(k), 100.0)
        toml = project / "pollux.toml"
        toml.write_text(toml.read_text().replace("period = 1.0", "period = 1.0\nlag = 3.0"))
        async with Plant(project, state, START + 100) as plant:
            seen = []
            for k in range(40, 80):
                await plant.send(float(k), 101.0)
                seen.append((plant.clock.now(), digest_of(plant.lane.live.state.belief)))
        return seen

    seen = asyncio.run(run())
    whose = subject(read_wiring(project), "")
    with reading(state / "journal.db") as store:
        for wall, known in seen[::7]:
            assert digest_of(recall(whose, store, Moment(wall)).live.state.belief) == known
        with pytest.raises(InputError, match="another definition or wiring"):
            recall(whose, store, Moment(START + 20))
        with pytest.raises((InputError, StoreError), match=r"another definition|cannot be computed again"):
            recall(whose, store, Moment(20.0, event_time=True))


def test_a_twin_on_wall_time_comes_back_too(tmp_path):
    """Its ticks are rows of the journal; what was still open then, the present, is fused again as it was."""
    project, state = write(tmp_path / "bench"), tmp_path / "s"
    toml = project / "pollux.toml"
    toml.write_text(toml.read_text().replace("period = 1.0", 'period = 1.0\nlag = 3.0\ntime = "wall"'))

    async def run():
        seen = []
        async with Plant(project, state) as plant:
            for k in range(1, 40):
                plant.clock.advance(1.0)  # and no flow comes, so every tick stays open for the lag
                await plant.field.push([Message("field", "tank", "LT1", plant.clock.now(), 100.0 + k % 3, "cm")])
                await plant.engine._intake.tick("tank", plant.clock.now())
                await plant.engine.settled()
                live = plant.lane.live
                if live.visible:
                    seen.append((plant.clock.now(), digest_of(live.view.belief), live.t))
        return seen

    seen = asyncio.run(run())
    assert len(seen) > 20
    whose = subject(read_wiring(project), "")
    with reading(state / "journal.db") as store:
        for wall, known, settled in seen[::6]:
            found = recall(whose, store, Moment(wall)).live
            assert found.t == settled or np.isnan(settled)
            assert not found.view.belief.t <= settled, "the present is ahead of what is settled"
            assert digest_of(found.view.belief) == known


def test_after_old_rows_were_dropped_the_rest_still_comes_back(story, tmp_path):
    """Retention took the first rows: what needs them is refused, what begins at a later snapshot is as it was."""
    project, state, seen, _, _ = story
    copy = tmp_path / "journal.db"
    shutil.copy(state / "journal.db", copy)
    whose = subject(read_wiring(project), "")
    with reading(copy) as store:
        marks = store.marks("tank")
        middle = marks[len(marks) // 2].seq
    db = apsw.Connection(str(copy))
    db.execute("DELETE FROM block WHERE first + rows <= ?", (middle,))
    db.close()
    with reading(copy) as store:
        assert store.first_seq == middle
        wall, known, _ = seen[-1]
        assert bits(recall(whose, store, Moment(wall)).live) == known
        with pytest.raises(StoreError, match="cannot be computed again"):
            recall(whose, store, Moment(seen[2][0]))


def test_a_snapshot_that_cannot_be_read_is_not_passed_over(story, monkeypatch):
    """A start forgives it and folds from the first row; here that could be another answer, so it is refused."""
    project, state, seen, _, _ = story
    monkeypatch.setattr(fold.Fold, "_restore", lambda self, store: 0)
    with reading(state / "journal.db") as store, pytest.raises(StoreError, match="cannot read"):
        recall(subject(read_wiring(project), ""), store, Moment(seen[-1][0]))


def test_before_the_first_reading_nothing_was_known(story):
    project, state, seen, _, _ = story
    whose = subject(read_wiring(project), "")
    with reading(state / "journal.db") as store:
        with pytest.raises(InputError, match="does not say what ran"):
            recall(whose, store, Moment(START - 1e6))
        with pytest.raises(InputError, match=r"does not say what ran|knew nothing yet"):
            recall(whose, store, Moment(seen[0][0] - 30))


def test_a_question_can_be_ended_and_a_missing_store_is_named(story, tmp_path):
    project, state, seen, _, _ = story

    def dead():
        raise InputError("too long")

    with reading(state / "journal.db") as store, pytest.raises(InputError, match="too long"):
        recall(subject(read_wiring(project), ""), store, Moment(seen[-2][0]), dead)
    with pytest.raises(StoreError, match="PostgreSQL"), reading(tmp_path / "journal.db"):
        pass


def test_moments_are_read_as_people_write_them():
    assert moment("2026-11-24T14:03").t == 1795528980.0
    assert moment("2026-11-24 14:03:00+01:00").t == 1795525380.0
    assert moment("1795528980.5").t == 1795528980.5
    for wrong in ("", "yesterday", "nan", "1e300", "2026-13-01"):
        with pytest.raises(InputError, match="2026-11-24T14:03"):
            moment(wrong)


@given(gaps=st.lists(st.floats(1.0, 90_000.0), min_size=1, max_size=120))
def test_thinning_leaves_no_gap_wider_than_its_span(gaps):
    """Thinned at every save, as the store does it: what is kept is what one look at all would keep or more."""
    known: list[Mark] = []
    t, every = 0.0, []
    for i, gap in enumerate(gaps):
        t += gap
        every.append(Mark(i, i, t, "m"))
        known = [*known, every[-1]]
        ids = kept(known)
        known = [m for m in known if m.id in ids]
    assert known[-2:] == every[-2:]
    assert {m.id for m in known} >= kept(every)
    for m in every:
        span = next(span for oldest, span in SPANS if t - m.t <= oldest)
        before = [k for k in known if k.t <= m.t]
        assert m.t - before[-1].t <= span or m.id == before[-1].id
    assert len(known) <= 2 + 25 + t / 86_400 + 2


def test_snapshots_of_another_model_do_not_stand_in_for_the_present_one():
    marks = [Mark(i, i, 10.0 * i, "old" if i < 5 else "new") for i in range(20)]
    assert {0, 5, 18, 19} <= kept(marks)


def test_on_the_plants_own_clock_what_was_known_is_told_by_the_rows(story):
    """Oracle: the newest of the states seen live before the first row of a later time was sent."""
    project, state, seen, _, _ = story
    sent = [t for t, _ in disordered(140, 7)]
    whose = subject(read_wiring(project), "")
    assert whose.base.settings.time == "event"
    with reading(state / "journal.db") as store:
        for t in (20.0, 47.5, 59.0, 61.0, 100.0, 131.25):
            wall = reached(whose, store, t, 2 * START)
            first = next(k for k, each in enumerate(sent) if each > t)
            assert wall < START + first + 1 + (500 - 60 if first >= 60 else 0) <= wall + 1e-6
            known = [held for when, held, _ in seen if when < wall]
            assert bits(recall(whose, store, Moment(wall)).live) == known[-1]
        assert reached(whose, store, max(sent), 2 * START) == 2 * START, "it shows that still"
        with pytest.raises(InputError, match=r"first reading in the journal is of 1970-01-01 00:00:0\d UTC"):
            reached(whose, store, 0.5, 2 * START)
        with pytest.raises(InputError, match="has not come to 1970-01-01 00:05:00 UTC: it shows"):
            reached(whose, store, 300.0, 2 * START)


def test_a_plant_on_wall_time_has_one_clock(story, tmp_path):
    project, state, _, _, _ = story
    other = write(tmp_path / "bench")
    toml = other / "pollux.toml"
    toml.write_text((project / "pollux.toml").read_text().replace("period = 1.0", 'period = 1.0\ntime = "wall"'))
    with reading(state / "journal.db") as store:
        assert reached(subject(read_wiring(other), ""), store, 12.5, START) == 12.5


def test_two_questions_at_once_are_refused():
    with pytest.raises(InputError, match="ask one of them"):
        moment("12.5", event_time=True, plant_clock=True)


def test_a_running_project_is_asked_by_the_plants_own_clock(tmp_path):
    """Also where that clock is ahead of the wall's: a simulation of next year."""
    project, ahead = write(tmp_path / "bench"), 2 * START

    async def run():
        async with Plant(project, tmp_path / "s") as plant:
            for k in range(1, 30):
                await plant.send(ahead + k, 100.0 + k)
            ask = plant.engine.archive.recall
            found = await ask("tank", Moment(ahead + 12.5, plant_clock=True))
            with pytest.raises(InputError, match="has not come to"):
                await ask("tank", Moment(ahead + 100, plant_clock=True))
            return (
                found,
                await ask("tank", Moment(START + 12.5)),
                await ask("tank", Moment(ahead + 29, plant_clock=True)),
            )

    found, by_wall, newest = asyncio.run(run())
    assert (found["t"], found["rows"], found["digest"]) == (by_wall["t"], by_wall["rows"], by_wall["digest"])
    assert START + 12 <= found["at"] < START + 13
    assert newest["t"] == ahead + 29
