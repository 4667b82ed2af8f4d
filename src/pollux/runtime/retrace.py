"""Retrace: decide again everything that a journal says was decided, and compare bit for bit (guarantee G11).

    (definition, wiring, software, journal)  ->  every belief, alarm, forecast, plan, verdict and audit record

The fold of a restart runs over a read-only store. At the place of each event what was asked is asked again: of the
same detector, planner, forecaster and guard, with the seeds of settings and policy; what comes out must be what was
recorded. What an earlier definition or wiring decided is applied as it was and counted as not covered.

Over 400 lines: `Witness`, `Retracing` and the tally are one walk over one journal, and share what was recorded last.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pollux.autonomy.audit import canonical, plain, verify
from pollux.core.errors import InputError, PolluxError, StoreError
from pollux.core.signals import Belief, Readings
from pollux.core.time import ManualClock
from pollux.runtime.align import Outcome
from pollux.runtime.asked import intent_of, noted
from pollux.runtime.binding import Binding
from pollux.runtime.build import forecaster_of, planner_of
from pollux.runtime.events import Event, StepResult
from pollux.runtime.fingerprint import digest_of
from pollux.runtime.fleets.build import FleetBase
from pollux.runtime.fleets.retrace import retrace_fleet
from pollux.runtime.fold import Fold
from pollux.runtime.folding import REFOLDED
from pollux.runtime.hindsight import Past
from pollux.runtime.identity import KIND, Raised, identity, since, software, starts
from pollux.runtime.intake import Delivery, TagTable
from pollux.runtime.intents import HANDLERS
from pollux.runtime.lane import Lane
from pollux.runtime.ledger import place_of, recorded
from pollux.runtime.live import LiveTwin
from pollux.runtime.moments import Moment
from pollux.runtime.ports import Forecaster, Planner
from pollux.runtime.recall import Closed, Subject
from pollux.runtime.state import LiveState
from pollux.runtime.store import base
from pollux.runtime.store.reading import Reading, reading
from pollux.runtime.store.writer import StoreWriter

WINDOW = 4096
"""Beliefs compared with the store at a time."""
OPTIONAL = ("refusal", "safe")
"""Audit records that may be missing: what they tell of happens even when it cannot be recorded."""


class Difference(Exception):
    """What was recorded is not what comes out. Never leaves this module."""


@dataclass
class Tally:
    """What was compared."""

    rows: int = 0
    readings: int = 0
    beliefs: int = 0
    """Estimates in the store that came out again."""
    alarms: int = 0
    """Derived events: alarms and levels that were lowered."""
    events: int = 0
    """Events that were decided again: proposals, verdicts, approvals, levels, stops, acknowledgements ..."""
    forecasts: int = 0
    plans: int = 0
    lost: int = 0
    """Derived events and optional records that came out and were not recorded, as after a crash or a full disk."""
    not_covered: int = 0
    """Events of before: an earlier definition or wiring decided them, or rows that they need were dropped."""


@dataclass(frozen=True)
class Retraced:
    """What came of retracing one twin."""

    twin: str
    tally: Tally
    difference: str = ""
    """The first difference; empty when there is none."""
    note: str = ""
    audit: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    """(kind, canonical record) of what the audit log must hold."""


class Witness(LiveTwin):
    """A live twin that decides again what it is told was decided."""

    tally: Tally
    whole: bool
    """Whether the fold begins at the start of the journal, not at a snapshot."""

    def tell(self, rows: Iterable[base.Event], since: int) -> None:
        """What was recorded; what has an id up to `since` is applied, or in the snapshot, and not compared."""
        self.records: list[tuple[str, bytes]] = []
        self._covered: set[str] = set()
        self._full = False
        self._derived: dict[str, list[base.Event]] = {}
        self._came: list[Event] = []
        self._due: list[Event] = []
        self._states: list[LiveState] = []
        self._plans: dict[str, list[tuple[str, str]]] = {}
        self._forecasts: dict[str, list[tuple[str, str]]] = {}
        self._presents: dict[str, Belief] = {}
        self.audit = self._audit
        for row in rows:
            if row.id <= since:
                self.tally.not_covered += not row.data["derived"]
            elif row.data["derived"]:
                if row.kind != KIND:
                    self._derived.setdefault(place_of(row), []).append(row)
            else:
                self._covered.add(row.data["id"])
                self._want(row)

    def step(self, readings: Readings) -> StepResult:
        """Fold in one reading."""
        before = self._id
        if self._states:
            self.check_belief()
        result = super().step(readings)
        self.tally.readings += 1
        if result.belief.id != before:
            self._leave(before)
        self._came += result.events
        self._states = [self.state]
        return result

    def apply(self, event: Event) -> None:
        """Decide again what the event says, compare, and apply it as it was recorded."""
        if not event.derived and event.id in self._covered:
            said = event.data.get("asked")
            if said is not None and said["kind"] != "foreseen":
                self._due = self._decided(event, said)
            if said is None and not self._due:
                raise Difference(f"event {event.id} ({event.kind}) does not say what was asked")
            if said is None or said["kind"] != "foreseen":
                self._compare(event, self._due.pop(0) if self._due else None)
            self.tally.events += 1
        super().apply(event)
        self._states.append(self.state)

    def check_belief(self) -> None:
        """Make again the plans and forecasts that went out from this belief, before it is left."""
        here = [s for i, s in enumerate(self._states) if i == 0 or s.plan is not self._states[i - 1].plan]
        for name, digest in self._plans.pop(self._id, ()):
            made = (self.parts.planner.plan(s.belief, outlook=self.outlook(s)) for s in here if self.parts.planner)
            self._found(f"the plan of event {name}", digest, made)
            self.tally.plans += 1
        beliefs = {self._id: self.state.belief, **self._presents}
        for id, belief in beliefs.items():
            for name, digest in self._forecasts.pop(id, ()):
                made = (self.foresee(state=replace(s, belief=belief)) for s in here)
                self._found(f"the forecast of event {name}", digest, made)
                self.tally.forecasts += 1
        self._presents.clear()

    def wants_present(self) -> bool:
        """Whether a forecast went out from a present that rests on the settled belief."""
        return any(id.startswith(f"{self._id}+") for id in self._forecasts)

    def saw_present(self) -> None:
        """Remember the present, as it is after the rows of one commit."""
        if self.present is not None and self.present.belief.id in self._forecasts:
            self._presents[self.present.belief.id] = self.present.belief

    def replaced(self, adopt: Callable[[], None]) -> None:
        """A re-run takes the place of the estimate: compare what went out from the one before."""
        self.check_belief()
        self._leave(self._id)
        adopt()
        self._states = [self.state]

    def finish(self) -> None:
        """Compare what is left at the end."""
        if self._states:
            self.check_belief()
        self._leave(self._id)
        left = [n for wanted in (self._plans, self._forecasts) for ids in wanted.values() for n, _ in ids]
        if left and not self.whole:  # they went out from beliefs before the snapshot
            self.tally.not_covered += len(left)
        elif left:
            raise Difference(f"event {left[0]} names a belief that did not come out")
        if self._derived:
            row = next(iter(self._derived.values()))[0]
            raise Difference(f"event {row.data['id']} ({row.kind}) is recorded at a belief that did not come out")

    @property
    def _id(self) -> str:
        return self.state.belief.id if self.ready else ""

    def _want(self, row: base.Event) -> None:
        said = row.data["data"].get("asked")
        if said is None:
            return
        if said["kind"] == "foreseen":
            told = said["params"]["forecast"]
            self._forecasts.setdefault(told["source"], []).append((row.data["id"], told["digest"]))
        decision = intent_of(said, row.t).params.get("decision") if said["kind"] == "propose_decision" else None
        if decision is not None:
            self._plans.setdefault(decision.source, []).append((row.data["id"], digest_of(decision)))

    def _decided(self, event: Event, said: Mapping[str, Any]) -> list[Event]:
        intent, forecaster = intent_of(said, event.t), self.parts.forecaster
        self._full = event.data.get("rule") == "audit.durable"
        try:
            self.parts.forecaster = forecaster if said["forecaster"] else None
            return list(noted(HANDLERS[intent.kind](self, intent), intent, said["forecaster"]).events)
        except PolluxError as error:
            raise Difference(f"event {event.id} ({event.kind}) is refused now: {error}") from None
        finally:
            self.parts.forecaster = forecaster

    def _compare(self, was: Event, now: Event | None) -> None:
        if now is None or _plain(was) != _plain(now):
            raise Difference(f"event {was.id} ({was.kind}) at {was.t!r} came out otherwise: {_first(was, now)}")

    def _found(self, what: str, digest: str, made: Iterable[Any]) -> None:
        if not any(digest_of(each) == digest for each in made):
            raise Difference(f"{what} comes out otherwise from belief {self._id}")

    def _leave(self, belief: str) -> None:
        """Compare the derived events of a belief: what was recorded came out, in the same order."""
        came, self._came = self._came, []
        for row in self._derived.pop(belief, ()):
            was = recorded(row)
            while came and came[0].id != was.id:
                came.pop(0)
                self.tally.lost += 1
            self._compare(was, came.pop(0) if came else None)
            self.tally.alarms += 1
        self.tally.lost += len(came)

    def _audit(self, kind: str, t: float, body: Mapping[str, Any]) -> None:
        if self._full:
            raise StoreError("The disk was full then")
        self.records.append((kind, record(kind, t, body)))


class Retracing(Fold):
    """The fold of a restart, which compares each belief with the store's."""

    def watch(self, store: Reading, witness: Witness, since: int) -> None:
        """Compare with what `store` holds of after the event `since`."""
        self._reading, self._witness, self._from = store, witness, since
        redone = [e.data["data"] for e in store.events(self.name, (REFOLDED,))]
        self._redone = [(-np.inf if e["since"] is None else e["since"], e["t"]) for e in redone]
        """Times whose estimates in the store are those of a re-run (`refold`), which is not retraced."""

    def compare(self) -> None:
        """Compare the beliefs that have gathered."""
        if not self._tracks:
            return
        t, mean, sd = (np.array(column) for column in zip(*self._tracks, strict=True))
        self._tracks.clear()
        as_it_was = ~np.any(
            [(after < t) & (t <= until) for after, until in self._redone] or [np.zeros(len(t), bool)], 0
        )
        t, mean, sd = t[as_it_was], mean[as_it_was], sd[as_it_was]
        if len(t) == 0:
            return
        kept = self._reading.track(self.name, float(t.min()), float(t.max()))
        if len(kept) == 0 or kept.mean.shape[1] != mean.shape[1]:
            return
        _, mine, theirs = np.intersect1d(t, kept.t, return_indices=True)
        same = (mean[mine] == kept.mean[theirs]).all(axis=1) & (sd[mine] == kept.sd[theirs]).all(axis=1)
        self._witness.tally.beliefs += int(same.sum())
        if not same.all():
            raise Difference(f"the belief at {float(t[mine][~same][0])!r} comes out otherwise")

    def _restore(self, store: base.Source) -> int:
        newest = super()._restore(store)
        self._witness.tell(self._reading.events_from(self.name, 0), max(self._from, newest))
        return newest

    def _align(self, delivery: Delivery, tell: Any = None) -> list[Readings]:
        if self._witness.wants_present():
            self.present.refresh()
            self._witness.saw_present()
        return super()._align(delivery, tell)

    def _adopt(self, data: Mapping[str, Any]) -> None:
        if self._witness.wants_present():
            self.present.refresh()
            self._witness.saw_present()
        self._witness.replaced(lambda: super(Retracing, self)._adopt(data))

    def _note(self, t: float, mean: np.ndarray, cov: np.ndarray) -> None:
        super()._note(t, mean, cov)
        if len(self._tracks) >= WINDOW:
            self.compare()


@dataclass(frozen=True)
class Judges:
    """What is asked again beside the fold's own kernels."""

    forecaster: Forecaster
    planner: Planner | None


def judges_of(subject: Subject) -> Judges:
    """Compile them, as a start does."""
    forecaster = forecaster_of(subject.base, subject.wiring)
    return Judges(forecaster, planner_of(subject.base, forecaster))


def retrace(subject: Subject, judges: Judges, store: Reading) -> Retraced:
    """Retrace one twin from the first start of the present definition and wiring on. Slow.

    Raises `InputError` when another definition or wiring ran last, `StoreError` when the journal does not reach back.
    """
    base_, binding, wiring = subject.base, subject.binding, subject.wiring
    first, last = _begun(subject, store)
    snapshot = None
    if first.began or store.first_seq:
        marks = [m for m in store.marks(wiring.name) if m.model == base_.model_hash and m.seq >= store.first_seq]
        mark = next((m for m in marks if m.seq > first.seq or m.seq == first.began > 0), None)
        snapshot = None if mark is None else store.snapshot(mark.id)
        if snapshot is None:
            raise StoreError("The journal can be retraced from its start or from a snapshot; neither is kept intact")
    tally = Tally(rows=store.next_seq - (snapshot.seq if snapshot else 0))
    witness = Witness(
        base_.face, ManualClock(), settings=base_.settings, mirror=base_.mirror, detector=base_.detector,
        authority=base_.authority, gauge=base_.gauge, outlook=base_.blueprint.outlook,
        forecaster=judges.forecaster, planner=judges.planner,
    )  # fmt: skip
    witness.tally, witness.whole = tally, snapshot is None
    past = Past(store, store.next_seq, snapshot, Moment(0.0, event_time=True).knew, lambda: None)
    unwritten = cast(StoreWriter, None)
    fold = Retracing(base_, binding, Lane(witness, Closed()), unwritten, _untold)
    fold.watch(store, witness, first.event)
    difference = ""
    try:
        fold.replay(past, TagTable(past, [binding]))
        past.check_start(fold.began)
        witness.saw_present()
        witness.finish()
        fold.compare()
    except Difference as found:
        difference = str(found)
    note = "" if last.software == software() else f"retraced by {software()}; it ran on {last.software}"
    return Retraced(wiring.name, tally, difference, note, witness.records)


def retrace_all(
    whose: Sequence[tuple[Subject, Judges]], folder: Path, fleets: Sequence[FleetBase] = ()
) -> dict[str, Any]:
    """Retrace twins and fleets of the project whose state is in `folder`, and its audit log: counts and the first
    difference.

    It only reads. Raises as `retrace` does.
    """
    log, head, key = folder / "audit.jsonl", folder / "audit.head", folder / "keys" / "audit.key"
    with reading(folder / "journal.db") as store:
        found = [retrace(subject, judges, store) for subject, judges in whose]
        many = [retrace_fleet(base, store) for base in fleets]
    chain = verify(log, head, key)
    audit = compare_audit(found, log) if log.exists() else (0, 0, "")
    wrong = [f"{f.twin}: {f.difference}" for f in found if f.difference]
    wrong += [f"fleet {f.fleet}: {f.difference}" for f in many if f.difference]
    wrong += [] if chain.ok else [f"the audit log does not hold: {chain.reason}"]
    wrong += [audit[2]] if audit[2] else []
    return {
        "twins": [{"twin": f.twin, **vars(f.tally), "note": f.note} for f in found],
        "fleets": [{k: v for k, v in vars(f).items() if k != "difference"} for f in many],
        "audit_records": audit[0],
        "audit_lost": audit[1],
        "difference": wrong[0] if wrong else "",
    }


def compare_audit(found: Sequence[Retraced], log: Path) -> tuple[int, int, str]:
    """What must be in the audit log, against what is: (records found, optional ones missing, the first difference)."""
    with log.open("rb") as lines:
        known = Counter(record(r["kind"], r["t"], r["body"]) for r in map(json.loads, lines))
    matched, lost = 0, 0
    for twin in found:
        for kind, wanted in twin.audit:
            if known[wanted]:
                known[wanted] -= 1
                matched += 1
            elif kind in OPTIONAL:
                lost += 1
            else:
                return matched, lost, f"the audit log holds no record of this {kind}: {wanted.decode()[:300]}"
    return matched, lost, ""


def record(kind: str, t: float, body: Mapping[str, Any]) -> bytes:
    """An audit record without its place in the chain."""
    return canonical({"kind": kind, "t": plain(float(t)), "body": plain(body)})


def _begun(subject: Subject, store: Reading) -> tuple[Raised, Raised]:
    """The first start since the twin is as it is now, and the last one."""
    name, mine = subject.wiring.name, identity(subject.base, subject.wiring)
    begun = starts(store.events(name, (KIND,)))
    if not begun:
        raise InputError(f"The journal tells of no start of twin {name!r}; there is nothing to retrace")
    return since(begun, mine, "What is recorded last")[0], begun[-1]


def _plain(event: Event) -> Any:
    return json.loads(json.dumps([event.id, event.kind, event.t, event.by, event.data], sort_keys=True))


def _first(was: Event, now: Event | None) -> str:
    """The first field that differs."""
    if now is None:
        return "nothing comes out"
    old, new = _plain(was), _plain(now)
    for name, a, b in zip(("id", "kind", "t", "by"), old, new, strict=False):
        if a != b:
            return f"`{name}` was {a!r}, is {b!r}"
    keys = sorted(k for k in {*old[4], *new[4]} if old[4].get(k) != new[4].get(k))
    return f"`{keys[0]}` was {str(old[4].get(keys[0]))[:200]}, is {str(new[4].get(keys[0]))[:200]}"


def _untold(binding: Binding, outcome: Outcome) -> None:
    """Late rows were told of when they came."""
