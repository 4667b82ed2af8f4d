"""After a restart: the charts' ring buffer again, from the history of the store."""

import numpy as np

from pollux.runtime.binding import Binding
from pollux.runtime.live import LiveTwin
from pollux.runtime.store.base import Source


def refill(live: LiveTwin, binding: Binding, store: Source, span: float) -> int:
    """Put the last `span` seconds of estimates and measurements into the ring of `live`. Returns the rows.

    What was predicted of each reading, and whether it was fused, is not stored and stays unknown. Rows that the ring
    holds already, from the replay, are kept as they are.
    """
    held = live.ring.rows()
    end = held[0, 0] if len(held) else np.inf
    newest = live.t if live.ready else np.nan
    if not np.isfinite(newest):
        return 0
    track = store.track(binding.twin, newest - span, np.nextafter(end, -np.inf) if np.isfinite(end) else newest)
    n, ny, nu = len(live.face.estimated), binding.n_sensors, binding.n_inputs
    if not len(track) or track.mean.shape[1] != n:
        return 0
    values, inputs = np.full((len(track), ny), np.nan), np.full((len(track), nu), np.nan)
    for port in binding.ports:
        t, value = store.history(binding.twin, port.tag, float(track.t[0]), float(track.t[-1]))
        _, mine, theirs = np.intersect1d(track.t, t, return_indices=True)
        (values if port.kind == "sensor" else inputs)[mine, port.column] = value[theirs]
    unknown = np.full((len(track), ny), np.nan)
    nis = np.full((len(track), 2), np.nan)
    rows = np.hstack([track.t[:, None], values, unknown, unknown, track.mean, track.sd, inputs, unknown, nis])
    live.ring.load(np.vstack([rows, held]))
    return len(rows)
