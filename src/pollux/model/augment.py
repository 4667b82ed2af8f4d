"""Joint state-and-parameter tracking: chosen parameters become states that walk at random.

    z = (x, theta),   dz/dt = (f(t, x, u, p(theta)), 0) + w,   w_theta ~ N(0, drift^2)

Source: Jazwinski, Stochastic Processes and Filtering Theory (1970), sec. 8.4.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from pollux.core.errors import DefinitionError
from pollux.model.statespace import StateSpace, System


def augment(space: StateSpace, names: tuple[str, ...]) -> StateSpace:
    """Append the named parameters to the state; the rest of Pollux then sees an ordinary state space.

    A tracked parameter needs a prior (its first uncertainty); its `drift` may be zero (a constant being learned).
    """
    if not names:
        return space
    where = [space.index("p", name) for name in names]
    for i in where:
        if space.p[i].prior is None:
            raise DefinitionError(
                f"A tracked parameter needs a prior; {space.p[i].name!r} of `{space.system.name}` has none. "
                "Write `param(..., prior=LogNormal(0.2))`"
            )
    n = len(space.x)
    s = space.system

    def split(z, p):
        pieces, at = [], 0  # static slices, so that small twins lower to straight-line code
        for i, k in sorted((i, k) for k, i in enumerate(where)):
            pieces += [p[at:i], z[n + k : n + k + 1]]
            at = i + 1
        return z[:n], jnp.concatenate([*pieces, p[at:]])

    def f(t, z, u, p):
        x, p = split(z, p)
        rest = z[n:] if s.period is not None else jnp.zeros(len(where))
        return jnp.concatenate([s.f(t, x, u, p), rest])

    def through(fn):
        def call(t, z, u, p):
            x, p = split(z, p)
            return fn(t, x, u, p)

        return call

    system = System(
        key=(s.key, "augment", tuple(where)),
        name=s.name,
        x_names=s.x_names + names,
        u_names=s.u_names,
        y_names=s.y_names,
        p_names=s.p_names,
        margin_names=s.margin_names,
        f=f,
        h=through(s.h),
        goal=through(s.goal),
        margins=through(s.margins),
        period=s.period,
    )
    return replace(space, system=system, x=space.x + tuple(space.p[i] for i in where))


def tracked_parameters(space: StateSpace, mean: np.ndarray) -> np.ndarray:
    """Full parameter vector with the tracked entries of `mean` put in."""
    p = space.p0
    names = [c.name for c in space.p]
    for i, channel in enumerate(space.x):
        if channel.name in names:
            p[names.index(channel.name)] = mean[i]
    return p
