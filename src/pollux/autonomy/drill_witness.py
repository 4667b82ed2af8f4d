"""The witness of a drill: checks commands against a policy with code of its own, from the full history."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from pollux.autonomy.approve import Pending
from pollux.autonomy.judgement import Context
from pollux.autonomy.policy import Policy, Principal
from pollux.core.signals import Command, Decision, Level

DAY = 86400.0


class Witness:
    """Remembers every command; `breaches` says what was wrong with any of them."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.breaches: list[str] = []
        self.count = 0
        self.sequence = 0
        self.ids: set[str] = set()
        self.history: dict[str, list[tuple[float, float]]] = {}
        self.words: dict[str, tuple[Pending, Principal, str, float]] = {}
        self.used: set[str] = set()
        self.lesser: set[str] = set()
        """Decisions whose command was the safe one, or left by a person's choice of the lesser evil."""
        self.vetoes: dict[str, float] = {}

    def begin(self, held: Mapping[str, float], t: float) -> None:
        """Where the actuators stand at the start; that is not a move."""
        self.start = dict(held)
        self.begun = t
        self.history = {name: [] for name in held}

    def approved(self, entry: Pending, who: Principal, digest: str, t: float) -> None:
        """A call of `approve` that was accepted."""
        if entry.id in self.words:
            self.say(f"{entry.id} was approved twice")
        if who.kind != "person" or who.role not in ("operator", "engineer", "admin"):
            self.say(f"{entry.id} was approved by {who}")
        if digest != entry.digest:
            self.say(f"{entry.id} was approved with another hash")
        if not t < entry.expires:
            self.say(f"{entry.id} was approved after its expiry")
        self.words[entry.id] = (entry, who, digest, t)

    def command(
        self, c: Command, via: str, decision: Decision, context: Context, records: list[tuple[str, Mapping[str, Any]]]
    ) -> None:
        """A command that left."""
        safe = c.values == {a.name: a.safe for a in self.policy.actuators if a.safe is not None}
        self.shape(c)
        if not safe:
            self.moves(c)
        self.conditions(c, via, decision, context, safe)
        recorded = next((body for kind, body in records if kind == "command" and body["command"] == c.id), None)
        if recorded is None or recorded["values"] != c.values:
            self.say(f"{c.id} left without its audit record")
        elif safe:
            self.lesser.add(decision.id)
        elif not recorded["risks"]:
            self.say(f"{c.id} left without a twin check")
        else:
            acting = recorded["risks"]["acting"]
            if acting["upper"] > self.policy.eps:
                self.lesser.add(decision.id)
                if recorded["approved_by"] is None:
                    self.say(f"{c.id} left by itself with risk {acting['upper']}")
        self.remember(c)

    def safe(self, c: Command) -> None:
        """The safe command: in range, in order, nothing else is asked of it."""
        self.shape(c)
        for name, value in c.values.items():
            if value != next(a.safe for a in self.policy.actuators if a.name == name):
                self.say(f"{c.id}: {name} = {value} is not the safe value")
        self.remember(c)

    def shape(self, c: Command) -> None:
        """Known names, true finite floats in range and on the grid, ids and sequence in order."""
        self.count += 1
        if c.sequence != self.sequence + 1 or c.id in self.ids or not c.t < c.expires:
            self.say(f"{c.id}: sequence {c.sequence} after {self.sequence}, or its id or expiry is wrong")
        self.sequence = c.sequence
        self.ids.add(c.id)
        limits = {a.name: a for a in self.policy.actuators}
        for name, value in c.values.items():
            if name not in limits or type(value) is not float or not isfinite(value):
                self.say(f"{c.id}: {name!r} = {value!r}")
                continue
            a = limits[name]
            if value < a.low or value > a.high or str(value) == "-0.0":
                self.say(f"{c.id}: {name} = {value} is outside [{a.low}, {a.high}]")
            if a.resolution and abs(value / a.resolution - round(value / a.resolution)) > 1e-6:
                self.say(f"{c.id}: {name} = {value} is off its grid")

    def moves(self, c: Command) -> None:
        """Slew, step, dwell and the budgets of every 24 hours, recounted from all commands."""
        for a in self.policy.actuators:
            if a.name not in c.values:
                continue
            past = self.history[a.name]
            last_t, last = past[-1] if past else (self.begun, self.start[a.name])
            change = abs(c.values[a.name] - last)
            if change == 0:
                continue
            if change > a.slew * (c.t - last_t) * (1 + 1e-8) or change > a.step * (1 + 1e-8):
                self.say(f"{c.id}: {a.name} moved {change} in {c.t - last_t} s")
            values = [self.start[a.name], *(v for _, v in past)]
            turns = [(t, abs(v - w)) for (t, v), w in zip(past, values, strict=False) if v != w]
            since = turns[-1][0] if turns else self.begun
            if c.t - since < a.dwell:
                self.say(f"{c.id}: {a.name} changed {c.t - since} s after its last change")
            today = [size for t, size in turns if t > c.t - DAY]
            if len(today) + 1 > a.moves or sum(today) + change > a.travel * (1 + 1e-8):
                self.say(f"{c.id}: {a.name} moved {len(today) + 1} times by {sum(today) + change} in 24 h")

    def conditions(self, c: Command, via: str, decision: Decision, context: Context, safe: bool) -> None:
        """Level, proposer, approval, stop; age and consistency unless it is the safe command."""
        p, level = self.policy, context.level
        kind = str(decision.proposer).split(":")[0]
        if context.stopped or level < Level.APPROVE:
            self.say(f"{c.id} left while stopped or at level {level}")
        low, high = p.consistency
        if not safe and not (0 <= c.t - context.belief.t <= p.max_age and low <= context.consistency <= high):
            self.say(f"{c.id} left on a stale or inconsistent belief")
        if via in ("direct", "due"):
            if kind != "mpc" or level < (Level.AUTOMATIC if via == "direct" else Level.SUPERVISED):
                self.say(f"{c.id} of {decision.proposer} left by itself ({via}) at level {level}")
        elif via not in self.words or via in self.used:
            self.say(f"{c.id} left without an approval of its own")
        else:
            self.used.add(via)
            approved = self.words[via][0].decision.values
            if approved != c.values:
                self.say(f"{c.id}: {c.values} is not what was approved, {approved}")

    def remember(self, c: Command) -> None:
        """Add a command to the history, 26 hours of it."""
        for name, value in c.values.items():
            past = self.history[name]
            past.append((c.t, value))
            while len(past) > 1 and past[1][0] < c.t - DAY - 7200:
                self.start[name] = past.pop(0)[1]

    def say(self, what: str) -> None:
        """Note a breach; the first hundred are kept."""
        if len(self.breaches) < 100:
            self.breaches.append(what)
