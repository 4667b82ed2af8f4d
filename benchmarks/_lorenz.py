"""Lorenz-63 and Lorenz-96 as twins, in DAPPER's set-ups, and DAPPER as the peer.

Set-ups: Sakov and Oke (2008) for Lorenz-96 (40 states, F = 8, all seen every 0.05, R = I, start N(e_1, 0.001 I)) and
Sakov, Oliver and Bertino (2012) for Lorenz-63 (all seen every 0.25, R = 2 I, start N(x0, 2 I), steps of 0.01). Truth
and readings are DAPPER's own, so both filters see the same numbers.
"""

import contextlib
import io
import math
import os
import time
import warnings
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from pollux import NoInput, Record, Scalar, Signals, Track, Twin, assimilate, flatten, means, param, var

SITES = 40


class Ring(Signals):
    x: Scalar = var("1", start=8.0, shape=(SITES,))


class RingSeen(Signals):
    y: Scalar = var("1", noise=1.0, shape=(SITES,))


class Lorenz96(Twin[Ring, NoInput, RingSeen]):
    """dx_i/dt = (x_i+1 - x_i-2) x_i-1 - x_i + F on a ring, whose ends are repeated once for its three neighbours.

    Lorenz (1996), Predictability: a problem partly solved.
    """

    F: Scalar = param("1", 8.0)

    def dynamics(self, t: Scalar, x: Ring, u: NoInput) -> Ring:
        z = jnp.asarray(x.x)
        around = jnp.concatenate([z[-2:], z, z[:1]])
        return Ring(x=(around[3:] - around[:-3]) * around[1:-2] - around[2:-1] + self.F)

    def observe(self, t: Scalar, x: Ring, u: NoInput) -> RingSeen:
        return RingSeen(y=x.x)


class Roll(Signals):
    x: Scalar = var("1", start=1.509)
    y: Scalar = var("1", start=-1.531)
    z: Scalar = var("1", start=25.46)


class RollSeen(Signals):
    a: Scalar = var("1", noise=math.sqrt(2.0))
    b: Scalar = var("1", noise=math.sqrt(2.0))
    c: Scalar = var("1", noise=math.sqrt(2.0))


class Lorenz63(Twin[Roll, NoInput, RollSeen]):
    """Lorenz (1963), Deterministic nonperiodic flow."""

    sigma: Scalar = param("1", 10.0)
    rho: Scalar = param("1", 28.0)
    beta: Scalar = param("1", 8.0 / 3.0)

    def dynamics(self, t: Scalar, x: Roll, u: NoInput) -> Roll:
        return Roll(
            x=self.sigma * (x.y - x.x),
            y=self.rho * x.x - x.y - x.x * x.z,
            z=x.x * x.y - self.beta * x.z,
        )

    def observe(self, t: Scalar, x: Roll, u: NoInput) -> RollSeen:
        return RollSeen(a=x.x, b=x.y, c=x.z)


@dataclass(frozen=True, eq=False)
class Case:
    """One truth of a set-up, with its readings, for both filters."""

    hmm: Any
    xx: np.ndarray
    yy: Any
    space: Any
    record: Record
    substeps: int
    x0: np.ndarray
    P0: np.ndarray
    truth: np.ndarray
    """At the readings (T, n)."""
    settled: np.ndarray
    """Readings after the burn-in (T,)."""


def dapper() -> Any:
    """The peer, without its plots and progress bars. Raises `ImportError` with the way to install it."""
    os.environ.setdefault("MPLBACKEND", "agg")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            import dapper
            import dapper.da_methods
            import dapper.mods
            import dapper.tools.progressbar
        except ImportError as error:
            raise ImportError(
                f"this work item compares with DAPPER ({error}): pip install --no-deps dapper struct-tools==0.2.5 "
                "mpl-tools==0.4.1, and pip install dill pathos patlib tabulate threadpoolctl tqdm colorama ipython"
            ) from None
    dapper.tools.progressbar.disable_progbar = True
    return dapper


def case(model: str, cycles: int, seed: int) -> Case:
    """Truth and readings of `model` ("63" or "96") over `cycles` readings."""
    peer = dapper()
    if model == "96":
        from dapper.mods.Lorenz96.sakov2008 import HMM  # pyright: ignore[reportMissingImports]

        space, substeps = flatten(Lorenz96()), 1
    else:
        from dapper.mods.Lorenz63.sakov2012 import HMM  # pyright: ignore[reportMissingImports]

        space, substeps = flatten(Lorenz63()), 25
    hmm: Any = HMM.copy()
    hmm.tseq.Ko = cycles
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.set_seed(3000 + seed)
        xx, yy = hmm.simulate()
    every = hmm.tseq.dko
    truth = np.asarray(xx)[::every]
    y = np.stack([np.full(truth.shape[1], np.nan), *(np.asarray(row, float) for row in yy)])
    t = hmm.tseq.dt * every * np.arange(len(truth))
    record = Record(t, np.zeros((len(t), 0)), y, (), space.system.y_names)
    x0, P0 = np.asarray(hmm.X0.mu, float), np.asarray(hmm.X0.C.full, float)
    return Case(hmm, xx, yy, space, record, substeps, x0, P0, truth, t > hmm.tseq.BurnIn)


def ours(case: Case, method: Any) -> Track:
    """Pollux on a case, through its public face."""
    return assimilate(
        case.space, case.record, method=method, substeps=case.substeps, dt_max=math.inf, gate=0.0,
        x0=case.x0, P0=case.P0,
    )  # fmt: skip


def bare_ours(case: Case, method: Any) -> np.ndarray:
    """Pollux on a case without statistics: the analysed means alone."""
    return means(
        case.space, case.record, method=method, substeps=case.substeps, dt_max=math.inf, gate=0.0,
        x0=case.x0, P0=case.P0,
    )  # fmt: skip


def rmse(case: Case, mean: np.ndarray) -> float:
    """Time average, after the burn-in, of the root mean square error of the analysis: DAPPER's `rmse.a`."""
    error = np.sqrt(np.mean((mean - case.truth) ** 2, axis=1))
    return float(error[case.settled].mean())


def theirs(case: Case, method: Any, seed: int) -> float:
    """DAPPER's own `rmse.a` of its own method; NaN where it fails."""
    peer = dapper()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        peer.set_seed(7000 + seed)
        method.assimilate(case.hmm, case.xx, case.yy, fail_gently="silent", liveplots=False)
        if getattr(method, "crashed", False):
            return math.nan
        method.stats.average_in_time()
    return float(method.avrgs.err.rms.a.val)


class _Silent:
    """DAPPER's statistics, switched off: accepts everything and keeps nothing."""

    trHK = np.zeros(1_000_000)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def bare(case: Case, method: Any) -> Any:
    """DAPPER's method with its statistics off, to be timed."""
    method.stats = _Silent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return type(method).assimilate.__wrapped__(method, case.hmm, case.xx, case.yy)


def timed(fn: Any, calls: int) -> tuple[float, float]:
    """Wall and processor seconds of one of `calls` calls, on average."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        fn()
    return (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls
