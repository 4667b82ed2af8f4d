"""Covariance from information, for one fit or for a fleet of them, with what is not determined at all said."""

import numpy as np
from jaxtyping import Bool, Float

NULL = 1e-13
"""Eigenvalues of equilibrated information below this part of the largest are zero: sums leave about 1e-15."""


def equilibrated(H: Float[np.ndarray, "*N k k"]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(scale, values, vectors, null): eigenvalues of H scaled to a unit diagonal, and which of them are zero."""
    diagonal = np.diagonal(H, axis1=-2, axis2=-1)
    seen = diagonal > 0
    scale = np.where(seen, 1 / np.sqrt(np.where(seen, diagonal, 1.0)), 1.0)
    values, vectors = np.linalg.eigh(H * scale[..., :, None] * scale[..., None, :])
    return scale, values, vectors, values <= NULL * np.maximum(values[..., -1:], 1e-300)


def covariance(H: Float[np.ndarray, "*N k k"], precision: Float[np.ndarray, "*N k"]) -> Float[np.ndarray, "*N k k"]:
    """(H + diag precision)^-1, with inf on the diagonal for every unknown that takes part in a direction that neither
    data nor prior determine.
    """
    k = H.shape[-1]
    scale, values, vectors, null = equilibrated(H + precision[..., None] * np.eye(k))
    inverse = np.where(null, 0.0, 1 / np.where(null, 1.0, values))
    cov = (vectors * inverse[..., None, :]) @ np.swapaxes(vectors, -1, -2) * scale[..., :, None] * scale[..., None, :]
    lost: Bool[np.ndarray, "*N k"] = np.any(null[..., None, :] & (np.abs(vectors) > 1e-4), axis=-1)
    return np.where(lost[..., None] & np.eye(k, dtype=bool), np.inf, cov)
