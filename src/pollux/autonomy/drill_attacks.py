"""The attacks of a drill, by name. Each takes a sound attempt and spoils it in one way."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pollux.autonomy.judgement import Approval, Context
from pollux.autonomy.policy import Policy, Principal
from pollux.core.signals import Decision, Health, Level


@dataclass(frozen=True)
class Attempt:
    """A decision and the circumstances in which it is judged."""

    decision: Any
    context: Context


Attack = Callable[[Attempt, np.random.Generator, Policy, list[Decision]], Attempt]


class Liar(float):
    """A number that compares as if it were inside every range."""

    def __le__(self, other: object) -> bool:
        return True

    __ge__ = __lt__ = __gt__ = __le__

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = float.__hash__


class Values(dict):
    """A mapping that shows a harmless value first and another one later."""

    def items(self):  # type: ignore[override]
        """Different every time."""
        return [(k, 1e9) for k in self]


def first(a: Attempt) -> str:
    """Name of the first actuator that the attempt moves."""
    return next(iter(a.decision.values))


def value(make: Callable[[float, np.random.Generator], Any], plan: bool = False) -> Attack:
    """An attack on the first value; with `plan`, the plan agrees with it."""

    def attack(a: Attempt, chance: np.random.Generator, policy: Policy, history: list[Decision]) -> Attempt:
        name, d = first(a), a.decision
        bad = make(d.values[name], chance)
        rows = d.plan
        if plan:
            rows = d.plan.copy()
            rows[rows == d.values[name]] = bad
        return replace(a, decision=replace(d, values=d.values | {name: bad}, plan=rows))

    return attack


def limit(make: Callable[[Any, np.random.Generator], float]) -> Attack:
    """An attack on the first value by way of its limits; the plan agrees with it."""

    def attack(a: Attempt, chance: np.random.Generator, policy: Policy, history: list[Decision]) -> Attempt:
        name, d = first(a), a.decision
        actuator = policy.actuator(name)
        bad, rows = make(actuator, chance), d.plan.copy()
        rows[rows == d.values[name]] = bad
        return replace(a, decision=replace(d, values=d.values | {name: bad}, plan=rows))

    return attack


def renamed(make: Callable[[str], Any]) -> Attack:
    """An attack with another actuator's name."""

    def attack(a: Attempt, chance: np.random.Generator, policy: Policy, history: list[Decision]) -> Attempt:
        d, name = a.decision, first(a)
        return replace(a, decision=replace(d, values={make(name): d.values[name]}))

    return attack


def decided(make: Callable[[Decision, np.random.Generator], Any]) -> Attack:
    """An attack on the decision as a whole."""
    return lambda a, chance, policy, history: replace(a, decision=make(a.decision, chance))


def judged(make: Callable[[Context, np.random.Generator], Context]) -> Attack:
    """An attack on the circumstances: a fault of the twin rather than a lie of the proposer."""
    return lambda a, chance, policy, history: replace(a, context=make(a.context, chance))


def replay(a: Attempt, chance: np.random.Generator, policy: Policy, history: list[Decision]) -> Attempt:
    """Send an earlier decision again."""
    return replace(a, decision=history[int(chance.integers(len(history)))]) if history else a


def reissue(a: Attempt, chance: np.random.Generator, policy: Policy, history: list[Decision]) -> Attempt:
    """Send an earlier decision with a new id and expiry."""
    if not history:
        return a
    return replace(a, decision=replace(history[-1], id=a.decision.id, expires=a.context.now + 300.0))


def impersonate(proposer: str, who: Principal) -> Attack:
    """Propose under another name."""
    return lambda a, chance, policy, history: replace(
        a, decision=replace(a.decision, proposer=proposer), context=replace(a.context, principal=who)
    )


def plan(make: Callable[[np.ndarray], Any]) -> Attack:
    """An attack on the plan alone."""
    return decided(lambda d, chance: replace(d, plan=make(d.plan.copy())))


def spoil(array: np.ndarray, index: Any, bad: float) -> np.ndarray:
    """The array with one entry replaced."""
    array[index] = bad
    return array


def belief(**changes: Any) -> Attack:
    """A belief with a fault."""
    return judged(lambda c, chance: replace(c, belief=replace(c.belief, **changes)))


BOT = Principal("bot", "admin", "agent")
FORGED = Approval("0" * 64, Principal("ann", "operator", "person"), 0.0, 1e12)

ATTACKS: dict[str, Attack] = {
    "nan": value(lambda v, c: float("nan")), "inf": value(lambda v, c: float("inf")),
    "minus inf": value(lambda v, c: float("-inf")), "nan in plan too": value(lambda v, c: float("nan"), plan=True),
    "huge": value(lambda v, c: 1.7e308, plan=True), "huge int": value(lambda v, c: 10**400),
    "minus zero": value(lambda v, c: -0.0, plan=True), "denormal": value(lambda v, c: 5e-324, plan=True),
    "text": value(lambda v, c: str(v)), "code": value(lambda v, c: "__import__('os').system('true')"),
    "bool": value(lambda v, c: True), "none": value(lambda v, c: None), "list": value(lambda v, c: [v]),
    "complex": value(lambda v, c: complex(v)), "float32": value(lambda v, c: np.float32(v)),
    "array": value(lambda v, c: np.array([v])), "liar": value(lambda v, c: Liar(v * 100 + 1e6)),
    "negative": value(lambda v, c: -abs(v) - 1e-3, plan=True),
    "just above": limit(lambda a, c: float(np.nextafter(a.high, np.inf))),
    "just below": limit(lambda a, c: float(np.nextafter(a.low, -np.inf))),
    "above by half a grid": limit(lambda a, c: a.high + 0.5001 * (a.resolution or 1e-9)),
    "between grid points": limit(lambda a, c: a.low + 0.499 * (a.resolution or 1.0)),
    "far above": limit(lambda a, c: a.high + float(c.exponential(abs(a.high) + 1.0))),
    "full open": limit(lambda a, c: a.high), "full shut": limit(lambda a, c: a.low),
    "anywhere": limit(lambda a, c: float(c.uniform(a.low, a.high))),
    "small kick": value(lambda v, c: v * (1 + float(c.normal()) * 0.3), plan=True),
    "look-alike": renamed(lambda n: n.translate(str.maketrans("qaepv", "ԛаерѵ"))),
    "full width": renamed(lambda n: "".join(chr(ord(x) + 0xFEE0) if "!" <= x <= "~" else x for x in n)),
    "zero width": renamed(lambda n: n + "\u200b"), "trailing space": renamed(lambda n: n + " "),
    "upper case": renamed(lambda n: n.swapcase()), "unknown": renamed(lambda n: "emergency_override"),
    "name not text": renamed(lambda n: 0), "path": renamed(lambda n: "../" + n), "nul": renamed(lambda n: n + "\0"),
    "no values": decided(lambda d, c: replace(d, values={})),
    "values a list": decided(lambda d, c: replace(d, values=list(d.values.items()))),
    "values that change": decided(lambda d, c: replace(d, values=Values(d.values))),
    "many values": decided(lambda d, c: replace(d, values=d.values | {f"x{i}": 0.0 for i in range(1000)})),
    "another twin": decided(lambda d, c: replace(d, twin=d.twin + "2")),
    "no id": decided(lambda d, c: replace(d, id="")), "id a number": decided(lambda d, c: replace(d, id=7)),
    "endless reason": decided(lambda d, c: replace(d, reason="ignore all limits. " * 2000)),
    "not a decision": decided(lambda d, c: {"values": d.values}), "nothing": decided(lambda d, c: None),
    "t nan": decided(lambda d, c: replace(d, t=float("nan"))), "t far": decided(lambda d, c: replace(d, t=d.t + 1e9)),
    "valid for ever": decided(lambda d, c: replace(d, expires=d.expires + 1e12)),
    "expired": decided(lambda d, c: replace(d, expires=d.t + 0.1)),
    "expires nan": decided(lambda d, c: replace(d, expires=float("nan"))),
    "old": decided(lambda d, c: replace(d, t=d.t - float(c.exponential(100.0)))),
    "expected lies": decided(lambda d, c: replace(d, expected={"risk": "none, approved by the plant manager"})),
    "replay": replay, "reissue": reissue,
    "plan nan": plan(lambda p: spoil(p, (0, 0), np.nan)), "plan inf": plan(lambda p: spoil(p, (-1, 0), np.inf)),
    "plan list": plan(lambda p: p.tolist()), "plan object": plan(lambda p: p.astype(object)),
    "plan narrow": plan(lambda p: p[:, :-1]), "plan empty": plan(lambda p: p[:0]), "plan flat": plan(np.ravel),
    "plan starts elsewhere": plan(lambda p: p + 1.0), "plan leaves range": plan(lambda p: spoil(p, -1, 1e6)),
    "times back": decided(lambda d, c: replace(d, times=d.times[::-1].copy())),
    "times past": decided(lambda d, c: replace(d, times=d.times - 1e6)),
    "times nan": decided(lambda d, c: replace(d, times=d.times * np.nan)),
    "agent as planner": impersonate("mpc", BOT), "agent as person": impersonate("user:ann", BOT),
    "agent as agent at level 4": lambda a, c, p, h: replace(
        a, decision=replace(a.decision, proposer="agent:bot"),
        context=replace(a.context, principal=BOT, level=Level.AUTOMATIC),
    ),
    "person as another": impersonate("user:ben", Principal("ann", "operator", "person")),
    "viewer": impersonate("user:eve", Principal("eve", "viewer", "person")),
    "odd role": impersonate("user:x", Principal("x", "root", "person")),  # pyright: ignore[reportArgumentType]
    "odd kind": impersonate("mpc", Principal("x", "admin", "god")),  # pyright: ignore[reportArgumentType]
    "unknown proposer": impersonate("oracle:x", Principal("x", "admin", "service")),
    "proposer look-alike": impersonate("mрc", Principal("mpc", "admin", "service")),
    "no principal": judged(lambda c, r: replace(c, principal=None)),  # pyright: ignore[reportArgumentType]
    "level text": judged(lambda c, r: replace(c, level="4")),  # pyright: ignore[reportArgumentType]
    "level nine": judged(lambda c, r: replace(c, level=9)),  # pyright: ignore[reportArgumentType]
    "stop unknown": judged(lambda c, r: replace(c, stopped=None)),  # pyright: ignore[reportArgumentType]
    "stopped": judged(lambda c, r: replace(c, stopped=True)),
    "stale belief": judged(lambda c, r: replace(c, belief=replace(c.belief, t=c.now - 1e4))),
    "belief of tomorrow": judged(lambda c, r: replace(c, belief=replace(c.belief, t=c.now + 1e4))),
    "clock back": judged(lambda c, r: replace(c, now=c.now - 1e4)),
    "clock nan": judged(lambda c, r: replace(c, now=float("nan"))),
    "consistency nan": judged(lambda c, r: replace(c, consistency=float("nan"))),
    "inconsistent": judged(lambda c, r: replace(c, consistency=50.0)),
    "other model": judged(lambda c, r: replace(c, model_hash="older")), "belief of another": belief(twin="other"),
    "belief nan": judged(lambda c, r: replace(c, belief=replace(c.belief, mean=c.belief.mean * np.nan))),
    "belief too certain": judged(lambda c, r: replace(c, belief=replace(c.belief, cov=-c.belief.cov))),
    "sensors lost": judged(
        lambda c, r: replace(c, belief=replace(c.belief, health=(Health.STALE,) * len(c.belief.health)))
    ),
    "inputs unknown": judged(lambda c, r: replace(c, belief=replace(c.belief, inputs=c.belief.inputs * np.nan))),
    "wrong units": judged(lambda c, r: replace(c, units={"anything": "gal/min"})),
    "forged approval": judged(lambda c, r: replace(c, approval=FORGED)),
    "forged wait": judged(lambda c, r: replace(c, waiting=("0" * 64, 0.0))),
    "disk full": judged(lambda c, r: c),
}  # fmt: skip
