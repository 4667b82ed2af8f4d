"""`simulate` for the edge: one interval of a twin's dynamics and what its sensors would read."""

from pollux.model.backend import Program
from pollux.model.native.c_file import Interface, as_argument
from pollux.model.rk4 import transition
from pollux.model.statespace import StateSpace


def simulate_interface(space: StateSpace, substeps: int = 4) -> Interface:
    """(t, dt, x, u, p) -> (x_next, y, margins): RK4 with `substeps` steps, sensors and margins at the end."""
    system = space.system
    flow = transition(system, substeps)

    def fn(t, dt, x, u, p):
        end = flow(t, dt, x, u, p)
        return end, system.h(t + dt, end, u, p), system.margins(t + dt, end, u, p)

    program = Program("edge simulate", (system, substeps), fn, (False, False, True, True, True))
    inputs = (
        as_argument("t", 0.0, "start of the interval, s"),
        as_argument("dt", 0.0, "its length, s"),
        as_argument("x", space.x0, f"state: {_names(system.x_names)}"),
        as_argument("u", space.u0, f"inputs, held: {_names(system.u_names)}"),
        as_argument("p", space.p0, f"parameters: {_names(system.p_names)}"),
    )
    outputs = (
        as_argument("x_next", space.x0, "state at t + dt"),
        as_argument("y", space.R, f"sensors at t + dt: {_names(system.y_names)}"),
        as_argument("margins", 0.0, f"distances to the limits, below 0 = violated: {_names(system.margin_names)}"),
    )
    doc = f"`{system.name}`: one interval of the dynamics, x_next = x + int f dt, by {substeps} Runge-Kutta steps."
    constants = {"x0": space.x0, "u0": space.u0, "p0": space.p0}
    return Interface("simulate", program, inputs, outputs, doc, constants)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
