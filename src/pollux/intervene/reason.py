"""The reason of a decision, in words made from its numbers: what is saved, which limit binds, what is risked."""

from collections.abc import Mapping

import numpy as np

from pollux.intervene.mpc import Mpc
from pollux.intervene.mpc_options import Outcome, Plan

_SHARE = 1e-3
"""A multiplier below this share of the largest one does not bind."""


def reasons(mpc: Mpc, plan: Plan, figures: Mapping[str, float], cost: str, horizon: float) -> str:
    """One to four sentences. Every number in them is in `figures` or in `plan`."""
    label, _, unit = cost.partition(" [")
    unit = unit.rstrip("]")
    acting, idle = figures[cost], figures[f"without_{cost}"]
    hours = f"{horizon / 3600:.3g} h" if horizon >= 3600 else f"{horizon:.3g} s"
    parts = [f"Expected {label} over {hours}: {acting:.4g} {unit}".rstrip() + f" instead of {idle:.4g}"]
    if idle > 0 and np.isfinite(acting):
        change = 1 - acting / idle
        parts[0] += f" ({abs(change):.1%} {'less' if change >= 0 else 'more'})"
    found = binding(mpc, plan)
    if found:
        parts.append("; ".join(found))
    risks = []
    for key, value in figures.items():
        if key.startswith("P("):
            without = figures[f"without_{key}"]
            if max(value, without) >= 0.005:
                risks.append(f"{key} {value:.1%}, without {without:.1%}")
    parts.append("; ".join(risks) if risks else "no limit is expected to be violated either way")
    if plan.outcome is not Outcome.OPTIMAL:
        parts.append(
            f"the search ended by {plan.outcome} where its last step promised {plan.promised:.2g} {unit}".rstrip()
        )
    return ". ".join(p[0].upper() + p[1:] for p in parts) + "."


def binding(mpc: Mpc, plan: Plan) -> list[str]:
    """Which limits hold the plan: the largest multiplier of each, and when; inputs that stay at a limit throughout."""
    found = []
    largest = float(np.max(plan.multipliers, initial=0.0))
    for j, name in enumerate(mpc.rows):
        k = int(np.argmax(plan.multipliers[:, j]))
        worth = float(plan.multipliers[k, j])
        if largest > 0 and worth > _SHARE * largest and worth > 1e-9:
            hours = (plan.times[k] + mpc.options.step - plan.t) / 3600
            found.append(f"the limit {name.replace('_', ' ')} binds in {hours:.3g} h (worth {worth:.3g} per unit)")
    for i in mpc.shape.controls:
        channel, row = mpc.space.u[i], plan.inputs[:, i]
        for edge, word in ((channel.low, "lower"), (channel.high, "upper")):
            if np.all(np.abs(row - edge) < 1e-6 * (channel.high - channel.low)):
                found.append(f"{channel.label} stays at its {word} limit {edge:.4g} {channel.unit}".rstrip())
    return found
