"""`filter` for the edge: the mirror's step with the twin's own noise levels, bounds and gate."""

import numpy as np

from pollux.core.errors import InputError
from pollux.mirror.method import Carrying, program
from pollux.mirror.update import Mirror
from pollux.model.native.c_file import Interface, as_argument


def filter_interface(mirror: Mirror) -> Interface:
    """One step of the mirror's filter as an interface; see `pollux.mirror.method` for its arguments.

    Raises `InputError` for a method that carries more than mean and covariance.
    """
    if isinstance(mirror.method, Carrying):
        raise InputError(
            f"A filter for the edge carries a mean and a covariance, {mirror.method!r} carries more. Use `Ekf()`, "
            "`Ukf()` or another Gaussian method"
        )
    space, system = mirror.space, mirror.space.system
    n, ny = len(space.x), len(space.y)
    low, high = space.bounds("x")
    step = program(mirror.method, system, mirror.substeps, low, high)
    sensors = ", ".join(system.y_names) or "none"
    inputs = (
        as_argument("t", 0.0, "time of the belief, s"),
        as_argument("dt", 0.0, "time until the readings, s"),
        as_argument("x", space.x0, f"belief at t, mean: {', '.join(system.x_names)}"),
        as_argument("P", np.zeros((n, n)), "belief at t, covariance"),
        as_argument("u", space.u0, f"inputs from t on: {', '.join(system.u_names) or 'none'}"),
        as_argument("v", space.u0, "inputs at t + dt"),
        as_argument("y", np.zeros(ny), f"readings at t + dt, NAN where none came: {sensors}"),
        as_argument("use", np.ones(ny), "1 where a sensor may be fused, 0 where it is excluded"),
        as_argument("gate", np.ones(ny), "bound on nu^2 / S; a reading beyond it is not fused"),
        as_argument("p", space.p0, f"parameters: {', '.join(system.p_names) or 'none'}"),
        as_argument("Q", mirror.Q, "process noise, variance per second"),
        as_argument("R", mirror.R, "sensor noise, variance"),
    )
    outputs = (
        as_argument("x_next", space.x0, "belief at t + dt, mean"),
        as_argument("P_next", np.zeros((n, n)), "belief at t + dt, covariance"),
        as_argument("y_hat", np.zeros(ny), "predicted readings"),
        as_argument("nu", np.zeros(ny), "innovations y - y_hat"),
        as_argument("S", np.zeros(ny), "their predicted variances"),
        as_argument("used", np.zeros(ny), "1 where a reading was fused"),
        as_argument("nis", 0.0, "nu' S^-1 nu over the fused sensors"),
    )
    doc = f"`{system.name}`: one step of its mirror, method {mirror.method}: predict from t to t + dt, then fuse y."
    constants = {
        "x0": space.x0, "P0": np.diag(space.P0), "u0": space.u0, "p0": mirror.params, "Q": mirror.Q, "R": mirror.R,
        "gate": np.full(ny, mirror.gate),
    }  # fmt: skip
    return Interface("filter", step, inputs, outputs, doc, constants)
