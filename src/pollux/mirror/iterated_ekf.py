"""The iterated extended Kalman filter: the posterior mode by damped Gauss-Newton, on factors.

With x = x- + L z, L L' = P-, the mode minimises |z|^2 + |R^-1/2 (y - h(x- + L z))|^2. Linearised at z_i, with
G = H(x_i) L, one measurement update from the prior

    z* = G' (G G' + R)^-1 (y - h(x_i) + G z_i)

is the Gauss-Newton step. It is taken whole while the cost falls, and halved where it does not; the covariance is
that of the linearisation at the mode. One iteration has the mean of the extended Kalman filter. Innovation, gate, nis
and log det S are those of the linearisation at the prior mean, as for every method. A sensor that is precise on the
scale of its own curvature makes the path to the mode a curved valley, which takes more iterations.

Sources: Bell and Cathey (1993), The iterated Kalman filter update as a Gauss-Newton method, IEEE TAC 38; Skoglund,
Hendeby and Axehill (2015), Extended Kalman filter modifications based on an optimization view point, FUSION.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from pollux.core.errors import InputError
from pollux.mirror.method import StepFn
from pollux.mirror.square_root_ekf import prior_root
from pollux.model.gaussian import observe_jacobian
from pollux.model.squareroot import covariance, update
from pollux.model.statespace import System


@dataclass(frozen=True)
class IteratedEkf:
    """Extended Kalman filter that relinearises its sensors `iterations` times: for strongly curved sensors."""

    iterations: int = 6

    def __post_init__(self):
        if self.iterations < 1:
            raise InputError(f"`IteratedEkf` needs at least one iteration, received {self.iterations!r}")

    def step(self, system: System, substeps: int, low: Any, high: Any) -> StepFn:
        """One twin's step; see `pollux.mirror.method`."""
        prior = prior_root(system, substeps, low, high)

        def step(t, dt, x, P, u, v, y, use, gate, p, Q, R):
            x, L, y_hat, nu, G, S_diag, used = prior(t, dt, x, P, u, v, y, use, gate, p, Q, R)
            first, post, nis, logdet = update(jnp.zeros_like(x), jnp.eye(len(x)), G, None, nu, R, used)
            seen = used > 0

            def at(z):
                """(residual, G) at z."""
                h, H = observe_jacobian(system, t + dt, jnp.clip(x + L @ z, low, high), v, p)
                return jnp.where(seen, y - h, 0.0), H @ L

            def cost(z, e):
                return z @ z + jnp.sum(e * e / R)

            def iterate(carry, _):
                z, e, target, post, size = carry
                trial = z + size * (target - z)
                e_new, G = at(trial)
                better = cost(trial, e_new) <= cost(z, e)  # false for NaN
                z_star, post_new, _, _ = update(jnp.zeros_like(z), jnp.eye(len(z)), G, None, e_new + G @ trial, R, used)
                kept = [
                    jnp.where(better, a, b) for a, b in ((trial, z), (e_new, e), (z_star, target), (post_new, post))
                ]
                return (*kept, jnp.where(better, jnp.minimum(1.0, 2 * size), size / 2)), None

            start = (jnp.zeros_like(x), jnp.where(seen, nu, 0.0), first, post, jnp.ones(()))
            (z, _, _, post, _), _ = jax.lax.scan(iterate, start, None, length=self.iterations)
            x_post = jnp.clip(x + L @ z, low, high)
            return x_post, covariance(L @ post), y_hat, nu, S_diag, used, nis, logdet

        return step
