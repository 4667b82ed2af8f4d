"""The `filter` and `tick` problem (cascaded tanks), and its peers: filterpy and a hand-written C kernel.

    x1' = -k1 sqrt(x1) + k4 u,   x2' = k2 sqrt(x1) - k3 sqrt(x2),   y = x2 + noise

sampled every 4 s, RK4 with 5 substeps; process noise by the trapezoidal rule, as Pollux does it.
"""

import ctypes
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from filterpy.kalman import ExtendedKalmanFilter, MerweScaledSigmaPoints, UnscentedKalmanFilter

from pollux import Scalar, Signals, Twin, param, var

DT, SUBSTEPS, DRIFT, NOISE, SPREAD = 4.0, 5, 0.01, 0.05, 0.2
K = (0.05, 0.05, 0.05, 0.05)


class State(Signals):
    x1: Scalar = var("m", start=1.0, drift=DRIFT, spread=SPREAD)
    x2: Scalar = var("m", start=1.0, drift=DRIFT, spread=SPREAD)


class Input(Signals):
    u: Scalar = var("V", start=1.0)


class Sensors(Signals):
    y: Scalar = var("m", noise=NOISE)


class Tanks(Twin[State, Input, Sensors]):
    """Two cascaded tanks."""

    k1: Scalar = param("m^1/2/s", K[0])
    k2: Scalar = param("m^1/2/s", K[1])
    k3: Scalar = param("m^1/2/s", K[2])
    k4: Scalar = param("m/s/V", K[3])

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        """Torricelli outflow."""
        a, b = jnp.sqrt(x.x1), jnp.sqrt(x.x2)
        return State(x1=-self.k1 * a + self.k4 * u.u, x2=self.k2 * a - self.k3 * b)

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        """The lower level."""
        return Sensors(y=x.x2)


def record(steps: int, twins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters (4, twins), readings (steps, twins) and inputs (steps,) of simulated tanks."""
    g = np.random.default_rng(seed)
    p = np.array(K)[:, None] * g.uniform(0.95, 1.05, (4, twins))
    u = 1.0 + 0.2 * np.sign(np.sin(np.arange(steps + 1) * 0.21))
    x = np.ones((2, twins))
    y = np.empty((steps, twins))
    for i in range(steps):
        h = DT / SUBSTEPS
        for _ in range(SUBSTEPS):
            x = x + h * _f(x + h / 2 * _f(x, u[i], p), u[i], p)
        x = np.maximum(x + DRIFT * math.sqrt(DT) * g.standard_normal(x.shape), 0.2)
        y[i] = x[1] + NOISE * g.standard_normal(twins)
    return p, y, u


def _f(x, u, p):
    a, b = np.sqrt(x[0]), np.sqrt(x[1])
    return np.array([-p[0] * a + p[3] * u, p[1] * a - p[2] * b])


def _flow(x1, x2, u, k1, k2, k3, k4):
    """RK4 in plain floats, with its Jacobian (lower triangular: a, b, c)."""
    h = DT / SUBSTEPS
    a, b, c = 1.0, 0.0, 1.0
    sqrt = math.sqrt
    for _ in range(SUBSTEPS):
        s1 = s2 = da = db = dc = 0.0
        e1 = e2 = ea = eb = ec = 0.0
        for w, step in ((1.0, 0.0), (2.0, h / 2), (2.0, h / 2), (1.0, h)):
            r1, r2 = sqrt(x1 + step * s1), sqrt(x2 + step * s2)
            va, vb, vc = a + step * da, b + step * db, c + step * dc
            s1, s2 = -k1 * r1 + k4 * u, k2 * r1 - k3 * r2
            da = -k1 * 0.5 / r1 * va
            db = k2 * 0.5 / r1 * va - k3 * 0.5 / r2 * vb
            dc = -k3 * 0.5 / r2 * vc
            e1, e2, ea, eb, ec = e1 + w * s1, e2 + w * s2, ea + w * da, eb + w * db, ec + w * dc
        x1, x2 = x1 + h / 6 * e1, x2 + h / 6 * e2
        a, b, c = a + h / 6 * ea, b + h / 6 * eb, c + h / 6 * ec
    return x1, x2, a, b, c


def _flow_numpy(x, u, p):
    """The same in NumPy, as a filterpy model is usually written: f, its Jacobian, RK4 for both."""
    k1, k2, k3, k4 = p
    h = DT / SUBSTEPS

    def f(x):
        return np.array([-k1 * math.sqrt(x[0]) + k4 * u, k2 * math.sqrt(x[0]) - k3 * math.sqrt(x[1])])

    def A(x):
        a, b = 0.5 / math.sqrt(x[0]), 0.5 / math.sqrt(x[1])
        return np.array([[-k1 * a, 0.0], [k2 * a, -k3 * b]])

    F = np.eye(2)
    for _ in range(SUBSTEPS):
        s1, d1 = f(x), A(x) @ F
        s2, d2 = f(x + h / 2 * s1), A(x + h / 2 * s1) @ (F + h / 2 * d1)
        s3, d3 = f(x + h / 2 * s2), A(x + h / 2 * s2) @ (F + h / 2 * d2)
        s4, d4 = f(x + h * s3), A(x + h * s3) @ (F + h * d3)
        x = x + h / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
        F = F + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return x, F


class _Ekf(ExtendedKalmanFilter):
    def __init__(self, scalar: bool):
        super().__init__(dim_x=2, dim_z=1)
        self.scalar = scalar
        self.x = np.array([[1.0], [1.0]])
        self.P = np.eye(2) * SPREAD**2
        self.R = np.eye(1) * NOISE**2
        self.half = np.eye(2) * DRIFT**2 * DT / 2
        self.Q = self.half

    def advance(self, u, p):
        if self.scalar:
            x1, x2, a, b, c = _flow(float(self.x[0, 0]), float(self.x[1, 0]), u, *p)
            F = np.array([[a, 0.0], [b, c]])
            self.x = np.array([[x1], [x2]])
        else:
            x, F = _flow_numpy(self.x[:, 0], u, p)
            self.x = x[:, None]
        self.P = F @ (self.P + self.half) @ F.T + self.Q


_H = np.array([[0.0, 1.0]])


def filterpy_ekf(p: np.ndarray, y: np.ndarray, u: np.ndarray, scalar: bool = False) -> np.ndarray:
    """Final mean (2,) and covariance (4,) of one twin by filterpy's EKF; p (4,), y (steps,).

    The model is written in NumPy, or with `scalar` by hand in plain floats (about three times faster).
    """
    f = _Ekf(scalar)
    values = tuple(map(float, p))
    for i in range(len(y)):
        f.advance(float(u[i]), values)
        f.update(y[i : i + 1, None], lambda x: _H, lambda x: x[1:2])
    return np.concatenate([f.x.ravel(), f.P.ravel()])


def filterpy_ukf(p: np.ndarray, y: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The same by filterpy's UKF (kappa = 1, as in Pollux for two states)."""
    values = tuple(map(float, p))
    points = MerweScaledSigmaPoints(2, alpha=1.0, beta=0.0, kappa=1.0)
    at = [0.0]

    def fx(x, dt):
        return np.array(_flow(float(x[0]), float(x[1]), at[0], *values)[:2])

    f = UnscentedKalmanFilter(2, 1, DT, hx=lambda x: x[1:2], fx=fx, points=points)
    f.x, f.P, f.R = np.ones(2), np.eye(2) * SPREAD**2, np.eye(1) * NOISE**2
    half = np.eye(2) * DRIFT**2 * DT / 2
    f.Q = half
    for i in range(len(y)):
        at[0] = float(u[i])
        f.P = f.P + half
        f.predict()
        f.sigmas_f = points.sigma_points(f.x, f.P)  # new points from the predicted belief, noise included
        f.update(y[i : i + 1])
    return np.concatenate([f.x, f.P.ravel()])


_SOURCE = r"""
#include <math.h>
void pollux_bench_ekf(int n, double dt, double drift, double noise, double u,
    double *restrict x1, double *restrict x2, double *restrict P11, double *restrict P21, double *restrict P22,
    const double *restrict p, const double *restrict y) {
  double q = 0.5 * dt * drift * drift, r = noise * noise, h = dt / SUBSTEPS;
  #pragma GCC ivdep
  for (int i = 0; i < n; i++) {
    double k1 = p[i], k2 = p[n + i], k3 = p[2 * n + i], k4 = p[3 * n + i];
    double X = x1[i], Y = x2[i], a = 1, b = 0, c = 1;
    #pragma GCC unroll 16
    for (int s = 0; s < SUBSTEPS; s++) { /* known, or the loop over twins is not vectorised */
      double s1 = 0, s2 = 0, da = 0, db = 0, dc = 0, e1 = 0, e2 = 0, ea = 0, eb = 0, ec = 0;
      #define STAGE(w, d) { double r1 = sqrt(X + (d) * s1), r2 = sqrt(Y + (d) * s2); \
        double va = a + (d) * da, vb = b + (d) * db, vc = c + (d) * dc, i1 = 0.5 / r1, i2 = 0.5 / r2; \
        s1 = k4 * u - k1 * r1; s2 = k2 * r1 - k3 * r2; \
        da = -k1 * i1 * va; db = k2 * i1 * va - k3 * i2 * vb; dc = -k3 * i2 * vc; \
        e1 += (w) * s1; e2 += (w) * s2; ea += (w) * da; eb += (w) * db; ec += (w) * dc; }
      STAGE(1, 0) STAGE(2, h / 2) STAGE(2, h / 2) STAGE(1, h)
      X += h / 6 * e1; Y += h / 6 * e2; a += h / 6 * ea; b += h / 6 * eb; c += h / 6 * ec;
    }
    double A = P11[i] + q, B = P21[i], C = P22[i] + q;
    double m11 = a * a * A + q, m21 = a * (b * A + c * B), m22 = b * (b * A + c * B) + c * (b * B + c * C) + q;
    double S = m22 + r, g1 = m21 / S, g2 = m22 / S, nu = y[i] - Y;
    x1[i] = X + g1 * nu; x2[i] = Y + g2 * nu;
    P11[i] = m11 - g1 * m21; P21[i] = m21 * r / S; P22[i] = m22 * r / S;
  }
}
"""


def c_ekf(threads: int = 1) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None:
    """The same filter in vectorised C over a fleet, or None without a compiler: p (4, N), y (steps, N) -> (6, N)."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp())
    (folder / "ekf.c").write_text(_SOURCE)
    flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", f"-DSUBSTEPS={SUBSTEPS}"]
    flags += ["-fPIC", "-shared"]
    subprocess.run([compiler, *flags, "ekf.c", "-o", "ekf.so", "-lm"], cwd=folder, check=True)
    fn = ctypes.CDLL(str(folder / "ekf.so")).pollux_bench_ekf
    pointer = ctypes.POINTER(ctypes.c_double)
    pool = ThreadPoolExecutor(threads)
    d = ctypes.c_double

    def share(p: np.ndarray, y: np.ndarray, u: np.ndarray) -> np.ndarray:
        n = p.shape[1]
        p, y = np.ascontiguousarray(p), np.ascontiguousarray(y)
        x = np.ones((2, n))
        P = np.stack([np.full(n, SPREAD**2), np.zeros(n), np.full(n, SPREAD**2)])
        rows = [a.ctypes.data_as(pointer) for a in (x[0], x[1], P[0], P[1], P[2], p)]
        for i in range(len(y)):
            fn(n, d(DT), d(DRIFT), d(NOISE), d(u[i]), *rows, y[i].ctypes.data_as(pointer))
        return np.stack([x[0], x[1], P[0], P[1], P[1], P[2]])

    def run(p: np.ndarray, y: np.ndarray, u: np.ndarray) -> np.ndarray:
        cuts = np.array_split(np.arange(p.shape[1]), threads)
        parts = [pool.submit(share, p[:, c[0] : c[-1] + 1], y[:, c[0] : c[-1] + 1], u) for c in cuts if len(c)]
        return np.concatenate([part.result() for part in parts], axis=1)

    return run


def dynamax_ekf(p: np.ndarray, y: np.ndarray, u: np.ndarray) -> Callable[[], np.ndarray] | None:
    """dynamax's EKF under `jit(vmap)`, or None where it is not installed; the call returns the last means (2, N)."""
    try:
        from dynamax.nonlinear_gaussian_ssm import ParamsNLGSSM, extended_kalman_filter
    except ImportError:
        return None
    h = DT / SUBSTEPS

    def rate(x: Any, u: Any, p: Any) -> Any:
        a, b = jnp.sqrt(x[0]), jnp.sqrt(x[1])
        return jnp.array([-p[0] * a + p[3] * u, p[1] * a - p[2] * b])

    def one(p: Any, y: Any) -> Any:
        def flow(x: Any, u: Any) -> Any:
            def step(_: Any, x: Any) -> Any:
                k1 = rate(x, u[0], p)
                k2 = rate(x + h / 2 * k1, u[0], p)
                k3 = rate(x + h / 2 * k2, u[0], p)
                k4 = rate(x + h * k3, u[0], p)
                return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

            return jax.lax.fori_loop(0, SUBSTEPS, step, x)

        Q = jnp.eye(2) * DRIFT**2 * DT
        first = flow(jnp.ones(2), jnp.asarray(u[:1]))
        F = jax.jacfwd(flow)(jnp.ones(2), jnp.asarray(u[:1]))
        model = ParamsNLGSSM(  # dynamax corrects before it predicts, so it starts from the first prediction
            first, F @ (jnp.eye(2) * SPREAD**2) @ F.T + Q, flow, Q, lambda x, u: x[1:], jnp.eye(1) * NOISE**2
        )
        held = jnp.asarray(u[: len(u) - 1, None])
        found: Any = extended_kalman_filter(model, y[:, None], held, output_fields=["filtered_means"])
        return found.filtered_means[-1]

    run = jax.jit(jax.vmap(one, in_axes=(1, 1), out_axes=1))
    return lambda: np.asarray(run(p, y))
