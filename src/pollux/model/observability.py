"""Which states can the sensors see? The observability Gramian along a trajectory, in units that mean something.

    W = sum_k Phi_k' H_k' R^-1 H_k Phi_k,   Phi_k = dx(t_k)/dx(0)

scaled by the spread of the first belief, so that an eigenvalue w says: the record sharpens that combination of states
by a factor sqrt(w). Below one, the sensors tell less than was believed before; at zero (relative), nothing.
Source: Krener and Ide, Measures of unobservability, IEEE CDC (2009).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pollux.model.identify import STRUCTURAL, sparse_basis


@dataclass(frozen=True, eq=False)
class Observability:
    """Rank and gain over the window that was looked at."""

    names: tuple[str, ...]
    rank: int
    gains: Float[np.ndarray, " n"]
    """sqrt of the eigenvalues of W: belief spread over what the record leaves, strongest first."""
    unseen: tuple[dict[str, float], ...]
    """Combinations of states (in units of their spread) that no sensor sees."""
    weakest: dict[str, float]
    """The combination that is seen least."""

    @property
    def ok(self) -> bool:
        """Whether every state is seen."""
        return self.rank == len(self.names)

    def __str__(self) -> str:
        """One line."""
        if not self.ok:
            what = "; ".join(", ".join(f"`{n}`" for n in d) for d in self.unseen)
            return f"rank {self.rank} of {len(self.names)}: no sensor sees {what}"
        least = float(self.gains[-1]) if len(self.gains) else 1.0
        who = ", ".join(f"`{n}`" for n, w in self.weakest.items() if abs(w) > 0.3)
        return f"every state is seen; the weakest is {who}, sharpened {least:.3g} times"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "rank": self.rank,
            "states": list(self.names),
            "gains": [float(g) for g in self.gains],
            "unseen": list(self.unseen),
            "weakest": self.weakest,
        }


def observability(S: Float[np.ndarray, "N n"], names: tuple[str, ...]) -> Observability:
    """From the noise-scaled sensitivities of the readings to the first state, in units of its spread."""
    n = len(names)
    if n == 0:
        return Observability(names, 0, np.zeros(0), (), {})
    values, vectors = np.linalg.eigh(S.T @ S)
    gains = np.sqrt(np.maximum(values[::-1], 0.0))
    # a state whose first value dies out fast is seen weakly but is seen: hence relative to rounding of W, not of S
    null = values <= (STRUCTURAL * np.sqrt(max(values[-1], 1e-300))) ** 2 + 1e-14 * values[-1]
    unseen = tuple(_named(v, names) for v in sparse_basis(vectors[:, null].T))
    return Observability(names, int(n - null.sum()), gains, unseen, _named(vectors[:, 0], names))


def _named(v: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    v = v * np.sign(v[np.argmax(np.abs(v))])
    return {n: float(w) for n, w in zip(names, v, strict=True) if abs(w) > 0.05}
