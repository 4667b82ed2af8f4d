"""Members of a fleet that somebody looks at: each is shown as a twin of its own, with the belief that the fleet has.

Such a twin can be looked at like any other (frame, charts, trust, forecast); it has no detector, planner or policy, and
sends nothing.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from pollux.core.signals import Belief, Cause, Finding, Health, Readings
from pollux.core.time import Clock
from pollux.runtime import alarms, findings
from pollux.runtime.alarms import AlarmBook
from pollux.runtime.align import bin_of
from pollux.runtime.events import Event
from pollux.runtime.face import TwinFace
from pollux.runtime.fleets.fold import FleetFold
from pollux.runtime.fleets.foresee import MemberForecaster, OneForAll
from pollux.runtime.lane import Lane
from pollux.runtime.live import LiveTwin
from pollux.runtime.settings import LiveSettings
from pollux.runtime.state import LiveState

MOST = 64
"""Members that are open at once; the one that was asked for longest ago is closed."""


class _Nowhere:
    """A member's journal is the fleet's."""

    async def append(self, events: "Iterable[Event]") -> None:
        """Nothing happens to a member that its fleet does not keep."""


class Opened:
    """The open members of one fleet."""

    def __init__(
        self,
        face: TwinFace,
        clock: Clock,
        settings: LiveSettings,
        margins: Callable[..., tuple[np.ndarray, ...]],
        forecaster: OneForAll,
    ):
        self._face, self._clock, self._margins = face, clock, margins
        self._settings, self._forecaster = settings, forecaster
        self._lanes: OrderedDict[str, Lane] = OrderedDict()

    def lane(self, fold: FleetFold, name: str) -> Lane:
        """The member as a twin; opened where it is not yet."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(self.twin(fold, name), _Nowhere())
            while len(self._lanes) > MOST:
                self._lanes.popitem(last=False)
        self._lanes.move_to_end(name)
        return lane

    def twin(self, fold: FleetFold, name: str) -> LiveTwin:
        """The member as a twin, with the belief that the fleet has now; nobody keeps it."""
        live = LiveTwin(replace(self._face, name=name, title=name), self._clock, settings=self._settings)
        slot = fold.slots[name]
        live.attach(
            gauge=lambda b: self._margins(b.t, b.mean, b.inputs, fold.params[:, slot])[0],
            forecaster=MemberForecaster(self._forecaster, lambda: fold.params[:, slot].copy()),
        )
        _show(fold, name, live)
        return live

    def holds(self, name: str) -> bool:
        """Whether the member is open."""
        return name in self._lanes

    def show(self, fold: FleetFold) -> None:
        """The fleet has moved on: so do its open members."""
        for name, lane in list(self._lanes.items()):
            _show(fold, name, lane.live)
            lane.publish_soon()

    def close(self, names: Iterable[str]) -> None:
        """Members that have left."""
        for name in names:
            self._lanes.pop(name, None)


def _show(fold: FleetFold, name: str, live: LiveTwin) -> None:
    found = member_belief(fold, name)
    if found is None:
        return
    belief, seen = found
    before = live.snapshot()
    book = before.alarms if before is not None else AlarmBook(clear_after=live.settings.clear_after)
    book = alarms.follow(book, _findings(live.face, belief), belief.t)
    state = LiveState(belief, None, book, None, seen)
    live.shown(state, Readings(name, belief.t, belief.source, "", belief.innovation + belief.predicted, belief.inputs))


def member_belief(fold: FleetFold, name: str) -> tuple[Belief, np.ndarray] | None:
    """The belief of one member and the last reading of each of its sensors; None before the first tick."""
    slot = fold.slots[name]
    with fold.lock:
        b, watch = fold.belief, fold.watch
        if b is None or watch is None:
            return None
        t = float(b.t[slot])
        age, k = t - watch.fused[:, slot], bin_of(t, fold.binding.period)
        belief = Belief(
            name, t, f"{name}/belief/{k}", f"{fold.binding.twin}:{k}",
            b.mean[:, slot].copy(), b.cov[..., slot].copy(), b.inputs[:, slot].copy(), b.predicted[:, slot].copy(),
            b.innovation[:, slot].copy(), b.innovation_var[:, slot].copy(), _health(b, slot, age, fold.stale_after),
            float(b.nis[slot]), int(b.used[:, slot].sum()), age,
        )  # fmt: skip
        return belief, watch.seen[:, slot].copy()


def _health(b, slot: int, age: np.ndarray, stale_after: float) -> tuple[Health, ...]:
    def one(i: int) -> Health:
        if b.used[i, slot] > 0:
            return Health.GOOD
        if not np.isnan(b.innovation[i, slot]):
            return Health.GATED
        return Health.STALE if age[i] > stale_after else Health.MISSING

    return tuple(one(i) for i in range(len(age)))


def _findings(face: TwinFace, belief: Belief) -> tuple[Finding, ...]:
    blown = ()
    if not np.isfinite(belief.nis):
        text = "The estimate is not finite: the model blew up, and the last good belief is kept"
        blown = (
            Finding(
                face.name, belief.t, f"{belief.id}/blown", belief.id, Cause.SYSTEM, "estimation", text, 1, {}
            ),
        )  # fmt: skip
    return (*findings.silent(face, belief), *blown)
