"""What did we know of a member at 14:03: every belief that was published comes back bit for bit, or is refused."""

import asyncio
from contextlib import contextmanager

import numpy as np
import pytest

from pollux.core.errors import InputError
from pollux.core.time import ManualClock
from pollux.runtime.fingerprint import digest_of
from pollux.runtime.fleets import lane as lanes
from pollux.runtime.fleets.build import fleet_base
from pollux.runtime.fleets.members import Member
from pollux.runtime.fleets.opened import member_belief
from pollux.runtime.fleets.recall import recall_member
from pollux.runtime.moments import Moment
from pollux.runtime.store.reading import reading
from pollux.runtime.wiring import read_wiring

from .project import write
from .test_fleets import AREAS, WIRING, Bench, columns

START = 1e9
MESSAGES = 70


def project_in(folder):
    project = write(folder / "project")
    (project / "pollux.toml").write_text(WIRING)
    (project / "members.csv").write_text("name,A\n" + "".join(f"tank-{i},{a!r}\n" for i, a in enumerate(AREAS)))
    return project


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
