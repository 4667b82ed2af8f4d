"""Localisation: what a sensor says fades with its distance, because a small ensemble invents correlations from afar.

The weight of sensor j on state i is Gaspari and Cohn's fifth-order function of their distance d over c = radius
sqrt(10 / 3), which is close to exp(-d^2 / 2 radius^2) and exactly zero from 2 c on:

    -z^5/4 + z^4/2 + 5 z^3/8 - 5 z^2/3 + 1                            0 <= z = d / c <= 1
     z^5/12 - z^4/2 + 5 z^3/8 + 5 z^2/3 - 5 z + 4 - 2 / 3z            1 <= z <= 2

Source: Gaspari and Cohn (1999), Construction of correlation functions in two and three dimensions, QJRMS 125, eq. 4.10.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from pollux.core.errors import InputError
from pollux.model.statespace import System


@dataclass(frozen=True)
class Localisation:
    """Weights in [0, 1] of sensors on states; made by `localisation`. Equal weights share compiled kernels."""

    shape: tuple[int, int]
    data: bytes = field(repr=False)

    @property
    def weights(self) -> Float[np.ndarray, "n ny"]:
        """The weights."""
        return np.frombuffer(self.data).reshape(self.shape)


def weights_of(local: Localisation, system: System) -> np.ndarray:
    """The weights (n, ny) for this system; `InputError` where they are of another size."""
    sizes = len(system.x_names), len(system.y_names)
    if local.shape != sizes:
        raise InputError(
            f"`{system.name}` has {sizes[0]} states (tracked parameters included) and {sizes[1]} sensors, "
            f"`local` has weights of shape {local.shape}; give `localisation` one place for each"
        )
    return local.weights


def gaspari_cohn(z: np.ndarray) -> np.ndarray:
    """The function of the module docstring."""
    z = np.abs(np.asarray(z, np.float64))
    far = np.where(z > 0, z, 1.0)
    near = 1 + z**2 * (-5 / 3 + z * (5 / 8 + z * (1 / 2 - z / 4)))
    beyond = 4 - 2 / (3 * far) + z * (-5 + z * (5 / 3 + z * (5 / 8 + z * (-1 / 2 + z / 12))))
    return np.where(z <= 1, near, np.where(z < 2, np.maximum(beyond, 0.0), 0.0))


def localisation(states: Any, sensors: Any, radius: float, *, around: Any = None) -> Localisation:
    """Weights from places: `states` (n,) or (n, d), `sensors` (ny,) or (ny, d), `radius` in their unit.

    `around` is the length after which each axis repeats itself (a ring, a torus), one for all or one an axis.
    Raises `InputError` where the places do not fit or the radius is not positive.
    """
    a, b = (np.asarray(z, np.float64) for z in (states, sensors))
    a, b = (z[:, None] if z.ndim == 1 else z for z in (a, b))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not radius > 0:
        raise InputError(
            f"Localisation needs places (n, d) and (ny, d) and a radius > 0, received {a.shape}, {b.shape}, {radius!r}"
        )
    apart = np.abs(a[:, None] - b[None])
    if around is not None:
        length = np.broadcast_to(np.asarray(around, np.float64), a.shape[1:])
        apart = np.minimum(apart % length, length - apart % length)
    weights = gaspari_cohn(np.linalg.norm(apart, axis=2) / (radius * np.sqrt(10 / 3)))
    return Localisation(weights.shape, weights.tobytes())
