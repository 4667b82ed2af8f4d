"""What did we know of a member at 14:03? The fold of its fleet again over the journal, as far as that moment.

The whole fleet is folded, because its members share one grid in time: which reading still came in time for one is
decided by what all have sent. The fold goes on from the newest snapshot before the moment, as that of a single twin.
"""

from collections.abc import Callable
from contextlib import suppress
from math import inf

from pollux.core.errors import InputError
from pollux.runtime.fleets.align import Tick
from pollux.runtime.fleets.build import FleetBase
from pollux.runtime.fleets.fold import FleetFold
from pollux.runtime.fleets.kept import JOINED, LEFT, WIRED, members_ever
from pollux.runtime.fleets.replay import replay
from pollux.runtime.fleets.start import identity
from pollux.runtime.fleets.tags import FleetTags
from pollux.runtime.hindsight import Enough, Past, Whose, hindsight
from pollux.runtime.moments import Moment, instant
from pollux.runtime.recall import Recalled
from pollux.runtime.store.reading import Reading


class Until(FleetFold):
    """A fleet that takes no tick of after `until`."""

    until = inf
    taken = 0
    """Ticks that were folded."""

    def _step(self, tick: Tick) -> None:
        if tick.t > self.until:
            raise Enough
        self.taken += 1
        super()._step(tick)


def recall_member(
    base: FleetBase, name: str, reading: Reading, moment: Moment, alive: Callable[[], None] = lambda: None
) -> Recalled:
    """A member as it was at a moment. Slow; for a worker thread. `alive` is called often and may raise to end it.

    Its alarms are those that its belief gives by itself: the ones that a page had gathered are not kept. Raises
    `InputError` when it was no member then, when nothing was known yet, or when another definition, wiring or table of
    members than the present computed what was known; `StoreError` when the journal no longer reaches back.
    """
    if moment.plant_clock and base.binding.time == "wall":
        moment = Moment(moment.t)
    if moment.plant_clock:
        raise InputError(
            f"The plant's own clock is asked of single twins; of a member of a fleet ask with `event_time` what was "
            f"believed about {instant(moment.t)}, or give the wall time at which it was believed"
        )
    told = reading.events(base.name, (JOINED, LEFT))
    seen = hindsight(Whose(base.name, base.model_hash, identity(base)), reading, moment, alive, told)
    fold = folded(base, seen.past, moment)
    if name not in fold.slots:
        raise InputError(_stranger(base.name, name, reading, moment))
    if fold.belief is None:
        raise InputError(f"Fleet {base.name!r} knew nothing yet at {instant(moment.t)}: no reading had come")
    rows, wall, note = seen.rests_on(reading)
    return Recalled(base.opened.twin(fold, name), moment, rows, wall, fold.taken, False, note)


def folded(base: FleetBase, past: Past, moment: Moment) -> Until:
    """Fold what `past` holds, up to the moment."""
    fold = Until(base.fleet, base.binding, [m.name for m in base.members], base.params, base.stale_after)
    fold.until = moment.t if moment.event_time else inf
    with suppress(Enough):
        replay(fold, FleetTags(base.name, base.binding.tags, base.fleet.capacity), past, base.model_hash)
    return fold


def _stranger(fleet: str, name: str, reading: Reading, moment: Moment) -> str:
    told = reading.events(fleet, (WIRED, JOINED, LEFT))
    ever = f"{name[:100]!r} was no member of fleet {fleet!r} at {instant(moment.t)}"
    if name not in members_ever(reading, fleet):
        return f"{ever}, and never has been one; `pollux twins` lists the members"
    came = [
        f"{'left' if e.kind == LEFT else 'came'} at {instant(float(e.data['received']))}"
        for e in told
        if "received" in e.data and name in e.data["names"]
    ]
    return f"{ever}: it {', '.join(came)}. Give a time between" if came else f"{ever}. Give another time"
