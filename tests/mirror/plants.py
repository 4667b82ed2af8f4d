"""Small plants with a textbook answer, shared by the tests of the mirror."""

import jax.numpy as jnp
import numpy as np

from pollux import NoInput, Scalar, Signals, Twin, param, var


class Motion(Signals):
    s: Scalar = var("m", start=0.0, drift=0.02, spread=1.0)
    v: Scalar = var("m/s", start=0.5, drift=0.1, spread=0.3)


class Force(Signals):
    a: Scalar = var("m/s^2", start=0.0)


class Seen(Signals):
    place: Scalar = var("m", noise=0.2)
    speed: Scalar = var("m/s", noise=0.1)


class Cart(Twin[Motion, Force, Seen]):
    """Linear: a cart with friction, s' = v, v' = -c v + a, sampled every second."""

    period = 1.0
    c: Scalar = param("1", 0.1)

    def step(self, t: Scalar, x: Motion, u: Force) -> Motion:
        return Motion(s=x.s + x.v, v=(1 - self.c) * x.v + u.a)

    def observe(self, t: Scalar, x: Motion, u: Force) -> Seen:
        return Seen(place=x.s, speed=x.v)


F = np.array([[1.0, 1.0], [0.0, 0.9]])
B = np.array([0.0, 1.0])
H = np.eye(2)
Q = np.diag([0.02**2, 0.1**2])
R = np.diag([0.2**2, 0.1**2])


def textbook(y: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kalman filter of the cart, written plainly: means (T, 2), covariances (T, 2, 2), log-likelihood (T,)."""
    x, P = np.array([0.0, 0.5]), np.diag([1.0, 0.09])
    means, covs, logs = [], [], []
    for k in range(len(y)):
        if k:
            x, P = F @ x + B * u[k - 1], F @ P @ F.T + Q
        seen = ~np.isnan(y[k])
        logp = 0.0
        if seen.any():
            h, nu = H[seen], y[k][seen] - (H @ x)[seen]
            S = h @ P @ h.T + R[np.ix_(seen, seen)]
            K = P @ h.T @ np.linalg.inv(S)
            x, P = x + K @ nu, (np.eye(2) - K @ h) @ P
            logp = -0.5 * (nu @ np.linalg.solve(S, nu) + np.log(np.linalg.det(2 * np.pi * S)))
        means.append(x)
        covs.append(P)
        logs.append(logp)
    return np.array(means), np.array(covs), np.array(logs)


def drive(T: int, seed: int, missing: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Readings (T, 2) with gaps and inputs (T, 1) of a cart that obeys its own definition."""
    g = np.random.default_rng(seed)
    u = 0.1 * np.sin(np.arange(T) / 7.0)
    x = np.array([0.0, 0.5]) + np.array([1.0, 0.3]) * g.standard_normal(2)
    y = np.empty((T, 2))
    for k in range(T):
        if k:
            x = F @ x + B * u[k - 1] + np.sqrt(np.diag(Q)) * g.standard_normal(2)
        y[k] = x + np.sqrt(np.diag(R)) * g.standard_normal(2)
    y[g.uniform(size=y.shape) < missing] = np.nan
    return y, u[:, None]


class One(Signals):
    x: Scalar = var("m", start=1.0, drift=0.05, spread=0.5)


class Many(Signals):
    y: Scalar = var("m", noise=0.3, shape=(8,))


class Wall(Twin[One, NoInput, Many]):
    """Eight sensors of one decaying state: the joint update."""

    k: Scalar = param("1/s", 0.01)

    def dynamics(self, t: Scalar, x: One, u: NoInput) -> One:
        return One(x=-self.k * x.x)

    def observe(self, t: Scalar, x: One, u: NoInput) -> Many:
        return Many(y=x.x * (1.0 + 0.1 * jnp.arange(8.0)))
