"""Explanations from recorded numbers alone: of a finding, a crossing of a limit, a decision, an update of a belief.

What moved a belief is the gain times the innovation of each reading that was used, in standard deviations:

    K = P H' R^-1,   m_ij = K_ij nu_j / sqrt(P_ii),   H = dh/dx, P the covariance after the update

which is exact for a linear sensor and independent noises. Every number in a text is one of its facts; the words
between them are fixed. Nothing is stored here: the caller hands over the values that it kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from pollux.core.errors import InputError
from pollux.core.signals import Belief, Crossing, Decision, Finding, Forecast, Health
from pollux.core.twin import Twin
from pollux.model.backend import Backend, Program, default
from pollux.model.statespace import StateSpace, System, flatten

TIMES = ("called", "since")
"""Evidence that is an instant: said as how long ago it was."""


@dataclass(frozen=True)
class Fact:
    """One recorded number, as it is quoted."""

    label: str
    value: float
    unit: str


@dataclass(frozen=True)
class Link:
    """One value that the explained one came from."""

    id: str
    kind: str
    t: float


@dataclass(frozen=True)
class Explanation:
    """Text made from facts, and the chain of ids back to the readings."""

    id: str
    text: str
    facts: tuple[Fact, ...]
    chain: tuple[Link, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON: id, text, facts, chain; a number that is not finite is null."""

        def number(v: float) -> float | None:
            return v if np.isfinite(v) else None

        return {
            "id": self.id,
            "text": self.text,
            "facts": [{"label": f.label, "value": number(f.value), "unit": f.unit} for f in self.facts],
            "chain": [vars(link) for link in self.chain],
        }


@dataclass
class _Story:
    """Collects facts and the sentences that quote them."""

    facts: list[Fact] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    chain: list[Link] = field(default_factory=list)

    def fact(self, label: str, value: Any, unit: str = "", sign: bool = False) -> str:
        """Note a number and return it as it stands in a sentence."""
        self.facts.append(Fact(label, float(value), unit))
        return f"{value:{'+' if sign else ''}.3g}{'' if unit in ('', '1', '%') else ' '}{'' if unit == '1' else unit}"

    def say(self, *sentences: str) -> None:
        """Add sentences."""
        self.sentences += [s[0].upper() + s[1:].rstrip(".") + "." for s in sentences if s]

    def link(self, kind: str, id: str, t: float) -> None:
        """Add a link of the chain, once."""
        if id and all(link.id != id for link in self.chain):
            self.chain.append(Link(id, kind, float(t)))

    def tell(self, id: str) -> Explanation:
        """The finished explanation."""
        return Explanation(id, " ".join(self.sentences), tuple(self.facts), tuple(self.chain))


def explain(
    subject: Finding | Crossing | Decision | Belief,
    twin: Twin | StateSpace,
    *,
    belief: Belief | None = None,
    forecast: Forecast | None = None,
    params: np.ndarray | None = None,
    R: np.ndarray | None = None,
    most: int = 3,
    backend: Backend | None = None,
) -> Explanation:
    """Why `subject` is so, in at most a few sentences.

    `twin` is what the beliefs are of (augmented where parameters are tracked). `belief`: the one at the time of the
    subject, just updated by its readings. `forecast`: what happens if nothing is done; needed to explain a
    `Crossing`. `params` and `R` as in a tuned mirror. `most`: how many contributions are named. Raises `InputError`
    when something that is needed is missing.
    """
    space = twin if isinstance(twin, StateSpace) else flatten(twin)
    story = _Story()
    slopes = _Slopes(space, space.p0 if params is None else params, backend or default())
    variance = space.R if R is None else np.asarray(R, np.float64)
    belief = subject if isinstance(subject, Belief) else belief
    if isinstance(subject, Finding):
        _finding(story, space, subject, belief)
    elif isinstance(subject, Decision):
        _decision(story, subject)
    elif isinstance(subject, Crossing):
        if forecast is None:
            raise InputError("A crossing is explained from the forecast that it was found in: pass `forecast=`")
        story.link("forecast", forecast.id, forecast.t)
        _crossing(story, subject, forecast.t)
        if belief is not None:
            _uncertain(story, slopes, belief, subject.margin, most)
    if belief is not None:
        if not isinstance(subject, Decision | Crossing):
            _moved(story, space, contributions(space, belief, slopes.sensors(belief), variance), belief, most)
        story.link("belief", belief.id, belief.t)
        story.link("readings", belief.source, belief.t)
    if forecast is not None and not isinstance(subject, Crossing):
        _if_nothing_is_done(story, forecast)
        story.link("forecast", forecast.id, forecast.t)
    name = subject.margin if isinstance(subject, Crossing) else subject.id
    return story.tell(name)


def contributions(
    space: StateSpace, belief: Belief, H: Float[np.ndarray, "y n"], R: Float[np.ndarray, " y"]
) -> Float[np.ndarray, "n y"]:
    """How far each reading moved each tracked quantity, in standard deviations after the update; 0 where unused."""
    used = np.array([h is Health.GOOD for h in belief.health]) & np.isfinite(belief.innovation) & (R > 0)
    nu = np.where(used, belief.innovation, 0.0)
    sd = np.sqrt(np.maximum(np.diag(belief.cov), 0.0))
    moved = belief.cov @ H.T / np.where(R > 0, R, 1.0) * nu
    return np.where(sd[:, None] > 0, moved / np.where(sd > 0, sd, 1.0)[:, None], 0.0)


def _finding(story: _Story, space: StateSpace, finding: Finding, belief: Belief | None) -> None:
    story.link("finding", finding.id, finding.t)
    story.link("belief", finding.source, finding.t)
    story.say(finding.summary, f"It is a {finding.cause} about {finding.subject.replace('_', ' ')}")
    present = finding.t if belief is None else belief.t
    quoted = [
        f"{k} {story.fact(f'{k}: time ago', (present - v) / 3600.0, 'h')} ago"
        if k in TIMES
        else f"{k.replace('_', ' ')} {story.fact(k.replace('_', ' '), v)}"
        for k, v in finding.evidence.items()
    ]
    if quoted:
        story.say("The detector recorded " + ", ".join(quoted))
    if belief is None:
        return
    for i, channel in enumerate(space.y):
        nu, var = belief.innovation[i], belief.innovation_var[i]
        if channel.name == finding.subject and np.isfinite(nu) and var > 0:
            off = story.fact(f"{channel.label}: measured minus expected", nu, channel.unit, sign=True)
            times = story.fact(f"{channel.label}: the same in sd", nu / np.sqrt(var), "sd", sign=True)
            story.say(f"{channel.label} reads {off} from what the model expects, {times}")
    for i, channel in enumerate(space.x):
        if channel.name == finding.subject:
            now = story.fact(channel.label, belief.mean[i], channel.unit)
            sd = story.fact(f"{channel.label}: sd", np.sqrt(max(belief.cov[i, i], 0.0)), channel.unit)
            story.say(f"{channel.label} is estimated at {now}, sd {sd}")


def _moved(story: _Story, space: StateSpace, moved: np.ndarray, belief: Belief, most: int) -> None:
    order = np.argsort(-np.abs(moved), axis=None)[:most]
    for i, j in zip(*np.unravel_index(order, moved.shape), strict=True):
        if abs(moved[i, j]) < 1e-6:
            break
        x, y = space.x[i], space.y[j]
        by = story.fact(f"{x.label} moved by {y.label}", moved[i, j], "sd", sign=True)
        off = story.fact(f"{y.label}: measured minus expected", belief.innovation[j], y.unit, sign=True)
        story.say(f"{y.label}, {off} from what was expected, moved {x.label} by {by}")


def _crossing(story: _Story, crossing: Crossing, now: float) -> None:
    name = crossing.margin.replace("_", " ")
    share = story.fact(f"P({name} violated)", 100 * crossing.probability, "%")
    if not crossing.probability > 0:
        story.say(f"no member of the forecast violates {name}")
        return
    middle = story.fact(f"{name}: median time to the violation", (crossing.t_median - now) / 3600, "h")
    early = story.fact(f"{name}: early time to the violation", (crossing.t_early - now) / 3600, "h")
    story.say(f"{name} is violated with a probability of {share}, typically in {middle}, at the earliest in {early}")


def _uncertain(story: _Story, slopes: "_Slopes", belief: Belief, margin: str, most: int) -> None:
    """Which uncertain quantity the margin hangs on now: its slope times the standard deviation."""
    space = slopes.space
    if margin not in space.system.margin_names:
        raise InputError(f"`{space.system.name}` has no margin {margin!r}; it has {space.system.margin_names}")
    value, slope = slopes.margin(belief, space.system.margin_names.index(margin))
    here = story.fact(f"{margin.replace('_', ' ')}: margin now", value)
    story.say(f"the margin is {here} now")
    effect = slope * np.sqrt(np.maximum(np.diag(belief.cov), 0.0))
    for i in np.argsort(-np.abs(effect))[:most]:
        if abs(effect[i]) > 1e-3 * np.max(np.abs(effect), initial=0.0) > 0:
            one = story.fact(f"margin per sd of {space.x[i].label}", effect[i], sign=True)
            story.say(f"one sd of {space.x[i].label} is worth {one} of it")


def _decision(story: _Story, decision: Decision) -> None:
    story.link("decision", decision.id, decision.t)
    story.link("belief or forecast", decision.source, decision.t)
    sets = [f"{k.replace('_', ' ')} to {story.fact(k.replace('_', ' '), v)}" for k, v in decision.values.items()]
    story.say(f"{decision.proposer} proposes to set " + ", ".join(sets), decision.reason)
    for key, acting in decision.expected.items():
        if key.startswith("without_"):
            continue
        label, _, unit = key.partition(" [")
        label, unit = label.replace("_", " "), unit.rstrip("]")
        idle = decision.expected.get(f"without_{key}")
        told = story.fact(f"{label}, acting", acting, unit)
        if idle is not None:
            story.say(f"{label}: {told}, and {story.fact(f'{label}, not acting', idle, unit)} if nothing is done")
        else:
            story.say(f"{label}: {told}")


def _if_nothing_is_done(story: _Story, forecast: Forecast) -> None:
    worst = max(forecast.crossings, key=lambda c: c.probability, default=None)
    hours = (forecast.times[-1] - forecast.t) / 3600
    if worst is None or worst.probability == 0:
        over = story.fact("length of the forecast", hours, "h")
        story.say(f"if nothing is done, no limit is violated in {over} by any member of the forecast")
    else:
        story.say("if nothing is done:")
        _crossing(story, worst, forecast.t)


@dataclass(frozen=True)
class _Slopes:
    """Derivatives that explanations need, compiled once for each structure."""

    space: StateSpace
    params: np.ndarray
    backend: Backend

    def sensors(self, belief: Belief) -> Float[np.ndarray, "y n"]:
        """dh/dx at the belief's mean."""
        kernel = self.backend.one(_sensor_slopes(self.space.system))
        return kernel(np.float64(belief.t), belief.mean, belief.inputs, self.params)[0]

    def margin(self, belief: Belief, j: int) -> tuple[float, Float[np.ndarray, " n"]]:
        """Value and gradient of one margin at the belief's mean."""
        kernel = self.backend.one(_margin_slopes(self.space.system))
        g, G = kernel(np.float64(belief.t), belief.mean, belief.inputs, self.params)
        return float(g[j]), G[j]


@lru_cache(maxsize=64)
def _sensor_slopes(system: System) -> Program:
    return Program("sensor slopes", system, lambda *a: (jax.jacfwd(system.h, argnums=1)(*a),), (False,) * 4)


@lru_cache(maxsize=64)
def _margin_slopes(system: System) -> Program:
    def fn(*a: Any) -> Iterable[Any]:
        return system.margins(*a), jax.jacfwd(system.margins, argnums=1)(*a)

    return Program("margin slopes", system, fn, (False,) * 4)  # pyright: ignore[reportArgumentType]
