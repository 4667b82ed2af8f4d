"""What did we know of a member at 14:03: every belief that was published comes back bit for bit, or is refused."""

import asyncio
import csv
import json
import shutil
from contextlib import contextmanager

import apsw
import numpy as np
import pytest

from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError, StoreError, WiringError
from pollux.core.time import ManualClock
from pollux.runtime.cli import run as command
from pollux.runtime.cli.recall import offline
from pollux.runtime.fingerprint import digest_of
from pollux.runtime.fleets import lane as lanes
from pollux.runtime.fleets.build import fleet_base
from pollux.runtime.fleets.fold import codec
from pollux.runtime.fleets.members import Member
from pollux.runtime.fleets.opened import member_belief
from pollux.runtime.fleets.recall import recall_member
from pollux.runtime.fleets.retrace import retrace_fleet
from pollux.runtime.moments import Moment, moment
from pollux.runtime.recall import answer
from pollux.runtime.serve.capabilities import CAPABILITIES
from pollux.runtime.serve.capabilities import run as ask
from pollux.runtime.store.reading import reading
from pollux.runtime.store.seal import seal
from pollux.runtime.wiring import read_wiring

from .test_fleets import AREAS, ORDER, WIRING, Bench, N, columns, on_a_loop, project_in, run

START = 1e9
MESSAGES = 70


def known_of(fold):
    """All that is published of every member."""
    found = {name: member_belief(fold, name) for name in fold.slots}
    return {name: None if b is None else (digest_of(b[0]), b[1].tobytes()) for name, b in found.items()}


class Story(Bench):
    """A fleet whose clock goes on by a second with all that happens, and what was known after each."""

    def __init__(self, folder, state, clock, seen):
        super().__init__(folder, state, clock)
        self.seen = seen

    def look(self):
        self.seen.append((self.clock.now(), known_of(self.fleet.fold), self.fleet.fold.t))

    async def send(self, *messages):
        self.clock.advance(1.0)
        await self.feed(list(messages))
        self.look()


@contextmanager
def snapshots_every(ticks):
    before, lanes.SNAPSHOT_EVERY = lanes.SNAPSHOT_EVERY, ticks
    try:
        yield
    finally:
        lanes.SNAPSHOT_EVERY = before


def disordered(seed):
    """Columns of random members that come late, some beyond the lag, and again, with other values or the same."""
    rng = np.random.default_rng(seed)
    for k in range(MESSAGES):
        t = max(float(k - rng.integers(0, 6)), 0.0) if rng.random() < 0.4 else float(k)
        yield rng, t + (0.25 if rng.random() < 0.2 else 0.0)


def message(fold, rng, t):
    names = [n for n in fold.slots if rng.random() < 0.8] or list(fold.slots)[:1]
    values = np.array([100.0 + 5.0 * rng.standard_normal(len(names)), 10.0 + rng.random(len(names))])
    values[rng.random(values.shape) < 0.1] = np.nan
    return columns(0, t=t, members=tuple(names), values=values)


async def live(project, state, seed):
    """A life with late and repeated readings, restarts, comings and goings."""
    clock, seen, after = ManualClock(START), [], {}
    todo = list(disordered(seed))
    for part in (todo[:25], todo[25:45], todo[45:]):
        clock.advance(50.0)
        async with Story(project, state, clock, seen) as story:
            first = story.fleet.fold.t
            for rng, t in part:
                sent = message(story.fleet.fold, rng, t)
                await story.send(sent)
                after[story.fleet.fold.t] = known_of(story.fleet.fold)
                if rng.random() < 0.15:
                    await story.send(sent)
                free = story.fleet.fold.fleet.capacity - len(story.fleet.fold.slots)
                clock.advance(1.0)
                if rng.random() < 0.12 and free:
                    await story.fleet.join([Member(f"new-{len(seen)}", {"A": 0.3 + rng.random()})], "ana")
                elif rng.random() < 0.12 and len(story.fleet.fold.slots) > 2:
                    await story.fleet.leave([str(rng.choice(list(story.fleet.fold.slots)))], "ana")
                elif rng.random() < 0.1:
                    await story.fleet.join([Member("tank-0", {"A": 0.9})], "ana") if (
                        "tank-0" not in story.fleet.fold.slots and free
                    ) else None
                else:
                    continue
                story.look()
                after[story.fleet.fold.t] = known_of(story.fleet.fold)
            assert not first > story.fleet.fold.t
    return seen, after


@pytest.fixture(scope="module", params=[1, 2])
def story(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet-recall")
    project = project_in(folder)
    with snapshots_every(7):
        seen, after = asyncio.run(live(project, folder / "state", request.param))
    return project, folder / "state", seen, after


def base_of(project):
    wiring = read_wiring(project)
    return fleet_base(wiring.fleets[0], wiring.folder, ManualClock())


def published(found):
    state = found.live.state
    return digest_of(state.belief), state.seen.tobytes()


def check(base, store, when, known):
    for name, expected in known.items():
        if expected is None:
            with pytest.raises(InputError, match="knew nothing yet"):
                recall_member(base, name, store, when)
        else:
            assert published(recall_member(base, name, store, when)) == expected


def test_at_every_moment_each_member_is_what_the_live_fleet_had_published(story):
    project, state, seen, _ = story
    base = base_of(project)
    everybody = {name for _, known, _ in seen for name in known}
    assert len(everybody) > len(AREAS)
    with reading(state / "journal.db") as store:
        assert len(store.marks("tanks")) >= 3
        for at, (wall, known, _) in enumerate(seen):
            some = dict(list(known.items())[at % 3 :: 3])
            check(base, store, Moment(wall + 0.3), some)
            for name in sorted(everybody - set(known))[at % 2 :: 4]:
                with pytest.raises(InputError, match="no member of fleet 'tanks'"):
                    recall_member(base, name, store, Moment(wall + 0.3))


def test_by_event_time_the_belief_about_a_time_comes_back(story):
    project, state, _, after = story
    base = base_of(project)
    with reading(state / "journal.db") as store:
        for t, known in [each for each in after.items() if each[0] == each[0]][::4]:
            found = recall_member(base, next(iter(known)), store, Moment(t + 0.4, event_time=True))
            assert found.live.state.belief.t == t
            check(base, store, Moment(t, event_time=True), known)


def test_the_fold_goes_on_from_the_newest_snapshot_before_the_moment(story):
    project, state, seen, _ = story
    base, read = base_of(project), []
    with reading(state / "journal.db") as store:
        wall, known, _ = seen[-1]
        found = recall_member(base, next(iter(known)), store, Moment(wall), lambda: read.append(1))
        newest = max(mark.seq for mark in store.marks("tanks"))
        assert found.steps <= 7 + 1
        assert len(read) == sum(block.first >= newest for block in store.blocks()) < len(seen) // 3


def test_what_a_member_was_before_it_came_and_after_it_left_is_refused_with_the_times(story):
    project, state, seen, _ = story
    base = base_of(project)
    came = next((wall, known) for wall, known, _ in seen if any(name.startswith("new") for name in known))
    name = next(n for n in came[1] if n.startswith("new"))
    with reading(state / "journal.db") as store:
        with pytest.raises(InputError, match="it came at 2001"):
            recall_member(base, name, store, Moment(came[0] - 1.0))
        with pytest.raises(InputError, match=r"never has been one; `pollux twins`"):
            recall_member(base, "nobody", store, Moment(came[0]))
        with pytest.raises(InputError, match="does not say what ran"):
            recall_member(base, "tank-1", store, Moment(START - 1.0))
        with pytest.raises(InputError, match="plant's own clock"):
            recall_member(base, "tank-1", store, Moment(came[0], plant_clock=True))


def test_what_another_table_of_members_computed_is_refused(story, tmp_path):
    project, state, seen, _ = story
    other = tmp_path / "project"
    shutil.copytree(project, other)
    table = other / "members.csv"
    table.write_text(table.read_text().replace(repr(AREAS[2]), "0.77"))
    with reading(state / "journal.db") as store, pytest.raises(InputError, match="another definition or wiring"):
        recall_member(base_of(other), "tank-1", store, Moment(seen[-1][0]))


def test_the_command_line_computes_it_from_the_folder(story):
    project, state, seen, _ = story
    base = base_of(project)
    wall, known, _ = seen[-1]
    name = next(iter(known))
    found = offline(project, state, name, moment(repr(wall)))
    with reading(state / "journal.db") as store:
        assert found == answer(recall_member(base, name, store, Moment(wall)))
    assert (found["twin"], found["frame"]["twin"]) == (name, name)
    for wrong in ("tanks", "nobody", ""):
        with pytest.raises(InputError, match="a member of the fleets"):
            offline(project, state, wrong, Moment(wall))


@on_a_loop
async def test_the_running_project_answers_for_members_that_are_there_and_that_have_left(tmp_path):
    project, clock = project_in(tmp_path), ManualClock(START)
    async with Story(project, tmp_path / "state", clock, []) as story:

        async def call(name, twin, **params):
            capability = CAPABILITIES[name]
            who = Principal("ana", "viewer", "person")
            return await ask(story.engine, CAPABILITIES, capability, who, capability.params(**params), twin)

        for (sent,) in ORDER[:12]:
            await story.send(sent)
        wall = clock.now()
        expected = story.engine.lanes()["tank-3"].live.frame()
        clock.advance(10.0)
        await story.fleet.leave(["tank-3"], "ana")
        names = tuple(story.fleet.fold.slots)
        for k in range(12, 16):
            await story.send(columns(k, members=names, values=columns(k, len(names)).values))
        found = await call("recall", "tank-3", at=repr(wall))
        assert found["frame"]["states"] == expected["states"]
        assert found["frame"]["sensors"] == expected["sensors"]
        assert found["frame"]["margins"] == expected["margins"]
        with pytest.raises(InputError, match=r"came at .*, left at 2001.*Give a time between"):
            await call("recall", "tank-3", at=repr(clock.now()))
        with pytest.raises(InputError, match="lies in the past"):
            await call("recall", "tank-1", at=repr(clock.now() + 60.0))
        with pytest.raises(InputError, match="'tanks' is a fleet; ask for one of its members"):
            await call("recall", "tanks", at=repr(wall))
        with pytest.raises(InputError, match="not kept"):
            await call("recall", "nobody", at=repr(wall))
        for name, last in (("tank-3", 11.0), ("tank-1", 15.0)):
            said = (await call("readings", name))["signals"]
            assert set(said) == {"level", "q"}
            assert said["q"]["t"] == [float(k) for k in range(int(last) + 1)]
        with pytest.raises(InputError, match="measures no signal 'pressure'"):
            await call("readings", "tank-1", signals="pressure")
        with pytest.raises(InputError, match="wire it as a `\\[\\[twin"):
            await story.engine.archive.refold("tank-1", Principal("ana", "engineer", "person"), None, "")


def test_rows_that_retention_dropped_divide_the_past(story, tmp_path):
    project, state, seen, _ = story
    base, copy = base_of(project), tmp_path / "journal.db"
    shutil.copy(state / "journal.db", copy)
    with reading(copy) as store:
        middle = sorted({mark.seq for mark in store.marks("tanks")})[-2]
    db = apsw.Connection(str(copy))
    db.execute("DELETE FROM block WHERE first + rows <= ?", (middle,))
    db.close()
    with reading(copy) as store:
        wall, known, _ = seen[-1]
        check(base, store, Moment(wall), known)
        with pytest.raises(StoreError, match="cannot be computed again"):
            recall_member(base, "tank-1", store, Moment(seen[2][0]))


@on_a_loop
async def test_a_snapshot_that_holds_a_later_coming_does_not_count_for_a_moment_before_it(tmp_path):
    """Between the last row and the snapshot of the end members come and go; nobody knew that before it happened."""
    project, clock, seen = project_in(tmp_path), ManualClock(START), []
    async with Story(project, tmp_path / "state", clock, seen) as story:
        for (sent,) in ORDER[:6]:
            await story.send(sent)
        for change in (story.fleet.join([Member("new", {})], "ana"), story.fleet.leave(["tank-1"], "ana")):
            clock.advance(5.0)
            await change
            story.look()
    base = base_of(project)
    with reading(tmp_path / "state" / "journal.db") as store:
        for wall, known, _ in seen[-3:]:
            check(base, store, Moment(wall + 1.0), known)
            for name in {"new", "tank-1"} - set(known):
                with pytest.raises(InputError, match="no member of fleet"):
                    recall_member(base, name, store, Moment(wall + 1.0))


def test_every_snapshot_comes_out_of_the_one_before_and_a_changed_one_is_found(story, tmp_path):
    project, state, seen, _ = story
    base = base_of(project)
    with reading(state / "journal.db") as store:
        found = retrace_fleet(base, store)
        kept = [mark.id for mark in store.marks("tanks")]
    assert (found.difference, found.snapshots) == ("", len(kept))
    assert found.beliefs > len(kept) * 3
    assert found.rows > len(seen)
    copy = tmp_path / "journal.db"
    shutil.copy(state / "journal.db", copy)
    with reading(copy) as store:
        old = store.snapshot(kept[2])
    was = codec().decode(old.data)
    slot = int(np.flatnonzero(was.belief.active)[0])
    was.belief.mean[0, slot] = np.nextafter(was.belief.mean[0, slot], np.inf)
    fields = (kept[2], old.twin, old.seq, old.t, old.model, codec().encode(was))
    db = apsw.Connection(str(copy))
    db.execute("UPDATE snapshot SET data = ?, seal = ? WHERE id = ?", (fields[-1], seal(*fields), kept[2]))
    db.close()
    with reading(copy) as store:
        found = retrace_fleet(base, store)
    assert found.snapshots == 2
    assert "`belief.mean`" in found.difference


def test_the_audit_command_retraces_fleets(story, capsys):
    project, state, _, _ = story
    assert command(["audit", "replay", str(project), "--state", str(state), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["fleets"]
    assert (row["fleet"], row["snapshots"] > 2) == ("tanks", True)
    assert command(["audit", "replay", str(project), "--state", str(state), "-t", "tank-1"]) == InputError.exit_code
    assert "`--twin tanks`" in " ".join(capsys.readouterr().err.split())


def test_exports_hold_the_readings_of_a_member_and_of_a_whole_fleet(story, tmp_path, capsys):
    _, state, _, _ = story

    def exported(out, *args):
        assert command(["export", "csv", str(tmp_path / out), "--state", str(state), "--json", *args]) == 0
        rows = []
        for file in sorted((tmp_path / out / "readings").rglob("*.csv")):
            with file.open(newline="") as opened:
                rows += list(csv.DictReader(opened))
        return rows, json.loads(capsys.readouterr().out)

    with reading(state / "journal.db") as store:
        names = {id: key for key, id in store.tags.items()}
        expected = [
            (*names[int(tag)], float(t), float(value))
            for block in store.blocks()
            for t, tag, value in zip(block.rows.t, block.rows.tag, block.rows.value, strict=True)
        ]
    rows, told = exported("all")
    assert [(r["twin"], r["tag"], float(r["t"]), float(r["value"])) for r in rows] == expected
    assert {(r["field"], r["unit"]) for r in rows} == {("level", "m"), ("q", "m^3/s")}
    assert len({r["twin"] for r in rows}) > len(AREAS)
    assert "`pollux recall MEMBER --at TIME`" in told["note"]
    assert exported("fleet", "-t", "tanks")[0] == rows
    assert exported("one", "-t", "tank-1", "--what", "readings")[0] == [r for r in rows if r["twin"] == "tank-1"]
    args = ["-t", "tank-1", "--what", "estimates"]
    assert command(["export", "csv", str(tmp_path / "no"), "--state", str(state), *args]) == InputError.exit_code
    assert "`pollux recall MEMBER" in " ".join(capsys.readouterr().err.split())


@on_a_loop
async def test_another_capacity_changes_nothing_and_the_past_still_comes_back(tmp_path):
    """More places after a restart, as the error of a full fleet says; and fewer, as long as all members fit."""
    project, clock, seen = project_in(tmp_path), ManualClock(START), []
    expected, _ = await run(project, tmp_path / "a", ORDER)
    for part, capacity in ((ORDER[:7], 8), (ORDER[7:13], 12), (ORDER[13:], N + 3)):
        (project / "pollux.toml").write_text(WIRING.replace("capacity = 8", f"capacity = {capacity}"))
        async with Story(project, tmp_path / "state", clock, seen) as story:
            for (sent,) in part:
                await story.send(sent)
            b = story.fleet.fold.belief
            assert b.mean.shape[-1] == capacity
            if capacity == 12:
                await story.fleet.join([Member(f"new-{i}", {}) for i in range(3)], "ana")
                await story.fleet.leave([f"new-{i}" for i in range(3)], "ana")
                story.look()
    got = (b.t, b.mean, b.cov, b.nis)
    assert all(np.array_equal(x[..., :N], y[..., :N], equal_nan=True) for x, y in zip(expected, got, strict=True))
    base = base_of(project)
    with reading(tmp_path / "state" / "journal.db") as store:
        for wall, known, _ in seen[::4]:
            check(base, store, Moment(wall), known)
        assert retrace_fleet(base, store).difference == ""


@on_a_loop
async def test_a_capacity_for_fewer_than_the_fleet_has_is_refused(tmp_path):
    project = project_in(tmp_path)
    async with Bench(project, tmp_path / "state") as bench:
        await bench.fleet.join([Member("new", {})], "ana")
        for messages in ORDER[:6]:
            await bench.feed(messages)
    (project / "pollux.toml").write_text(WIRING.replace("capacity = 8", f"capacity = {N}"))
    with pytest.raises(WiringError, match=r"`capacity` must hold all members: 'new' .* place 6: received 6.*7"):
        async with Bench(project, tmp_path / "state"):
            pass
